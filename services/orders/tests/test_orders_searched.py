"""What an order is found by: words, lexemes and marks, and when their rows are written."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orders_play import ORDER, STORE, Play, content, line, market

from chassis.declare.service import Change
from contracts.snapshot import Address, Buyer
from orders import indexing
from orders.api.listing import Asked
from orders.domain.shown import searched
from orders.domain.shown.searched import lexeme, marks, words
from orders.domain.shown.views import in_flight, waits_since
from orders.domain.state.order import Order, initial


def written(before: Order, after: Order) -> dict[str, list[tuple[Any, ...]]]:
    """The rows that a batch writes after a change, by their table."""
    change = Change(ORDER, STORE, before, after, ())
    return {one.piece.text.split()[0]: list(zip(*one.arguments, strict=True)) for one in indexing.rows([change])}


@pytest.mark.parametrize(
    ("title", "found"),
    [
        ("Red mug, LARGE (2 l)", ["red", "mug", "large", "2", "l"]),
        ("Café crème", ["cafe", "creme"]),
        ("Straße-7", ["strasse", "7"]),
        ("don't_stop", ["don", "t_stop"]),
        ("日本 茶", ["日本", "茶"]),
        ("…", []),
    ],
)
def test_words_have_no_case_and_no_accents(title: str, found: list[str]) -> None:
    assert words(title) == found


@given(st.text(), st.text())
def test_a_lexeme_is_bounded_and_two_values_have_two(one: str, other: str) -> None:
    first, second = (lexeme(STORE, searched.SKU, value.encode("utf-8", "ignore").decode()) for value in (one, other))
    assert len(first.encode()) <= 5 + searched.WORD_BYTES_MAX
    if one.encode("utf-8", "ignore") != other.encode("utf-8", "ignore"):
        assert first != second


def test_a_store_and_a_kind_have_lexemes_of_their_own() -> None:
    made = {lexeme(store, kind, "x") for store in ("a", "b") for kind in (searched.SKU, searched.WORD, searched.NAME)}
    assert len(made) == 6


def test_an_address_has_another_hash_under_another_key_and_the_same_in_another_case() -> None:
    assert searched.email_hash(" Ann@Example.com ", b"1") == searched.email_hash("ann@example.COM", b"1")
    assert searched.email_hash("ann@example.com", b"1") != searched.email_hash("ann@example.com", b"2")


def test_lexemes_are_of_what_was_sold_and_hold_no_address(play: Play) -> None:
    sold = content(
        line("1", sku="S1", title="Blue Mug"), line("2", sku=None, title=None), external_number="B-7", purchase_order_number="PO 9",
        buyer=Buyer(email="ann@example.com"), ship_to=None, bill_to=Address(country="LU"), test=True,
    )  # fmt: skip
    order = play.receives(sold, market(code="eu")).order
    key = searched.email_hash("ann@example.com", b"k")
    found = {one[4:] for one in searched.lexemes(order, b"k")}
    assert found == {"sS1", "wblue", "wmug", "na-1", "nb-7", "npo 9", "cLU", "yEUR", "meu", f"h{order.source and order.source.channel}",
                     f"a{order.source and order.source.account}", "t", f"e{key}"}  # fmt: skip
    assert f"e{key}" not in {one[4:] for one in searched.lexemes(order, None)}


def test_an_order_with_very_many_words_is_searched_by_the_first_of_them(play: Play) -> None:
    many = [line(f"{n}", sku=None, title=" ".join(f"w{n}x{m}" for m in range(50))) for n in range(30)]
    order = play.receives(content(*many)).order
    found = [one for one in searched.lexemes(order, None) if one[4] == searched.WORD]
    assert len(found) == searched.WORDS_MAX


def test_the_usual_path_of_an_order_writes_its_search_row_once_and_no_mark(play: Play) -> None:
    before, rows = initial(ORDER, STORE), []

    def step() -> None:
        nonlocal before
        rows.append(written(before, play.order))
        before = play.order

    for act in (lambda: play.receives(content(), market()), play.reserved, play.authorized, play.started, play.captured, play.issued,
                play.shipped, play.fulfilled):  # fmt: skip
        act()
        step()
    assert [sorted(one) for one in rows] == [["searched"], [], [], [], [], [], [], []]
    assert play.order.completed_at is not None and marks(play.order) == frozenset()


def test_marks_begin_and_end_with_the_state(play: Play) -> None:
    play.receives(content(), market(approval="manual")).reserved()
    in_between = play.order
    assert in_flight(in_between) and marks(in_between) == frozenset()
    play.authorized()
    placed = play.order
    assert marks(placed) == {
        "status:placed",
        "payment_status:authorized",
        "fulfillment_status:unfulfilled",
        "waiting:approval",
    }
    assert {row[1] for row in written(in_between, placed)["marked"]} == marks(placed)
    play.cancels()
    assert in_flight(play.order) and marks(play.order) == {"cancel_cause:customer"}
    assert {row[1] for row in written(placed, play.order)["unmarked"]} == marks(placed)
    assert written(play.order, play.order) == {}


def test_an_order_waits_since_a_person_or_the_warehouse_is_due_and_not_while_our_services_answer(play: Play) -> None:
    play.receives(content(), market()).reserved()
    assert waits_since(play.order) is None
    play.authorized()
    assert waits_since(play.order) is None
    play.started().captured().issued()
    assert waits_since(play.order) == play.order.runs["place"].since


def test_a_cursor_belongs_to_every_filter_and_to_the_sort() -> None:
    asked = [Asked(), Asked(sort="oldest"), Asked(status=["placed"]), Asked(status=["placed", "editing"]), Asked(q="a"), Asked(sku=["a"]),
             Asked(amount_min=0), Asked(archived="false"), Asked(test=False)]  # fmt: skip
    assert len({one.fingerprint() for one in asked}) == len(asked)
    assert Asked(limit=7, count=True, cursor="x").fingerprint() == Asked().fingerprint()
