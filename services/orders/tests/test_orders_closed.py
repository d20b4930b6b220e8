"""Ended edits, refunds and captures leave their order's document: it stays small, and nothing is decided otherwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from orders_play import Play, content, line, uid

from contracts import fulfillment, invoicing, payments
from contracts.orders import LineEdit, RefundLine, Resolution
from contracts.snapshot import OrderContent, UpstreamRefund
from orders.domain.decisions import actions
from orders.domain.engine import story
from orders.domain.processes import edited, settled
from orders.domain.processes import refunded as refunds_of
from orders.domain.shown.views import waiting
from orders.domain.state.order import Order, ProcessClosed, RefundAdopted
from orders.domain.state.run import Run

SOLD = content(line("1", 20_00, quantity=2), line("2", 10_00), shipping=4_95)
Act = Callable[[Play], Any]


def answered(play: Play) -> Play:
    """Each open operation gets its yes, until nothing is asked."""
    while asked := next((run for run in play.order.open_runs if run.waits == "answer"), None):
        command = next(one for one in reversed(play.commands) if one.operation_id == asked.operation_id)
        match command:
            case payments.Authorize():
                play.authorized(command)
            case payments.Capture():
                play.captured(command)
            case invoicing.Issue():
                play.issued(command)
            case invoicing.Credit(lines=lines):
                play.credited([payments.MoneyLine(**one.model_dump()) for one in lines])
            case _:
                getattr(play, YES[type(command)])()
    return play


YES = {
    payments.Void: "voided", payments.Refund: "refunded", fulfillment.Suspend: "suspended", fulfillment.Resume: "resumed",
    fulfillment.Extend: "extended", fulfillment.Reduce: "partly_reduced", fulfillment.Release: "released",
    fulfillment.CancelShipments: "shipments_cancelled", fulfillment.Reserve: "reserved", fulfillment.Start: "started",
}  # fmt: skip


def edit_line(play: Play, name: str, **change: Any) -> Play:
    """An edit of one line that is carried out, if it can be."""
    play.opens_an_edit(LineEdit(**change), op=name)
    play.confirms(f"{name} confirm", name)
    return answered(play)


def refunded(play: Play, name: str, minor: int, line_id: str = "1") -> Play:
    return answered(play.refunds(op=name, lines=(RefundLine(line_id=line_id, amount_minor=minor),)))


def paid(play: Play, terms: dict[str, Any] | None = None) -> Play:
    return answered(play.in_the_warehouse(SOLD, **(terms or {})))


def closed(play: Play) -> dict[str, Run]:
    return {event.run.id: event.run for event in play.events if isinstance(event, ProcessClosed)}


# -- the document -----------------------------------------------------------------------------------------------------


def test_an_order_with_many_edits_and_refunds_has_a_small_document(play: Play) -> None:
    """What stays of each: a capture, the id of its authorization, and how the edit and the refund ended."""
    paid(play)
    size = dict[int, int]()
    for n in range(1, 21):
        refunded(edit_line(play, f"e{n}", line_id="1", unit_price_minor=10_00 + n), f"r{n}", 1)
        size[n] = len(play.order.model_dump_json())
    assert len(play.order.runs) <= 3 * (story.ENDED_KEPT + 1) + 1
    assert (size[20] - size[10]) / 10 < 800
    assert [run.id for run in edited.of_order(play.order)] == [f"edit:{n}" for n in range(15, 21)]
    assert {run.id for run in edited.of_order(play.order)} | {*closed(play)} >= {f"edit:{n}" for n in range(1, 21)}


# -- nothing is decided otherwise -------------------------------------------------------------------------------------


def outcome(order: Order) -> Any:
    """What later decisions and views see of an order."""
    assert order.content is not None
    drafts = [edited.preview(order, run).digest for run in edited.of_order(order) if edited.is_draft(run)]
    return (
        order.status, order.payment_status, order.fulfillment_status, waiting(order), order.content, order.line_rows,
        order.facts.money, actions.legal(order), refunds_of.left_minor(order), settled.left(order), drafts,
        settled.captured(order.runs, order.facts), [run.id for run in order.open_runs], [*order.exceptions],
    )  # fmt: skip


def both(monkeypatch: pytest.MonkeyPatch, acts: Sequence[Act], terms: dict[str, Any]) -> None:
    """The same messages for an order that keeps one ended process of a kind, and for one that keeps all."""
    lean, whole = Play(), Play()
    for act in (lambda play: paid(play, terms), *acts):
        seen = []
        for play, kept in ((lean, 1), (whole, 1_000)):
            monkeypatch.setattr(story, "ENDED_KEPT", kept)
            before = len(play.events), len(play.commands)
            act(play)
            events = [one for one in play.events[before[0] :] if one.TYPE not in PRIVATE]
            seen.append((events, play.commands[before[1] :], play.refusal, outcome(play.order)))
        assert seen[0] == seen[1]
    assert not closed(whole)
    runs = {**closed(lean), **lean.order.runs}
    assert {name: runs[name] for name in whole.order.runs} == whole.order.runs


PRIVATE = {"orders.progressed", "orders.process_closed"}
ACTS: Any = st.one_of(
    st.tuples(st.just("price"), st.sampled_from("12"), st.integers(0, 30_00)),
    st.tuples(st.just("pieces"), st.sampled_from("12"), st.integers(1, 4)),
    st.tuples(st.just("discount"), st.sampled_from("12"), st.integers(0, 5_00)),
    st.tuples(st.just("refund"), st.sampled_from("12"), st.integers(1, 8_00)),
    st.tuples(st.just("goodwill"), st.just(""), st.integers(1, 8_00)),
    st.tuples(st.just("discard"), st.sampled_from("12"), st.integers(1, 4)),
    st.tuples(st.just("again"), st.just(""), st.integers(0, 11)),
    st.tuples(st.just("give up"), st.just(""), st.integers(1, 8_00)),
    st.tuples(st.just("ship"), st.just(""), st.just(0)),
    st.tuples(st.just("cancel"), st.just(""), st.just(0)),
)


def act_of(n: int, word: str, line_id: str, number: int) -> Act:
    match word:
        case "price":
            return lambda play: edit_line(play, f"{n}", line_id=line_id, unit_price_minor=number)
        case "pieces":
            return lambda play: edit_line(play, f"{n}", line_id=line_id, quantity=number)
        case "discount":
            return lambda play: edit_line(play, f"{n}", line_id=line_id, discount_minor=number)
        case "refund":
            return lambda play: refunded(play, f"{n}", number, line_id)
        case "goodwill":
            return lambda play: answered(play.refunds(op=f"{n}", goodwill_minor=number))
        case "discard":
            return lambda play: play.opens_an_edit(LineEdit(line_id=line_id, quantity=number), op=f"{n}").discards(
                f"{n} d", f"{n}"
            )
        case "again":
            return lambda play: [act(play) for act in again(number)]
        case "give up":
            return lambda play: given_up(play, f"{n}", number)
        case "ship":
            return lambda play: answered(play.shipped().fulfilled()) if can_ship(play.order) else None
        case _:
            return lambda play: answered(play.cancels(f"{n}"))


def given_up(play: Play, name: str, minor: int) -> None:
    play.refunds(op=name, goodwill_minor=minor)
    if play.sent:
        play.failed(payments.Refund).gives_up(name, f"{name} give up")


def can_ship(order: Order) -> bool:
    return order.status == "approved" and order.fulfillment_status == "in_progress" and not edited.the_open(order)


def again(n: int) -> list[Act]:
    """Every request about one edit or refund, once more."""
    name = f"{n}"
    return [
        lambda play: play.confirms(f"{name} again", name),
        lambda play: play.discards(f"{name} not", name),
        lambda play: play.gives_up(name, f"{name} up"),
        lambda play: play.retries_refund(name, f"{name} retry"),
        lambda play: play.opens_an_edit(op=name) if edited.exists(play.order, uid(name)) else None,
        lambda play: play.refunds(op=name, goodwill_minor=1) if refunds_of.exists(play.order, uid(name)) else None,
    ]


TERMS: Any = st.fixed_dictionaries({
    "capture": st.sampled_from(["on_approval", "per_shipment", "manual"]), "gateway": st.sampled_from(["marketplace", "test"]),
})  # fmt: skip


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(acts=st.lists(ACTS, min_size=3, max_size=12), terms=TERMS)
def test_an_order_that_keeps_one_ended_process_decides_as_one_that_keeps_all(
    monkeypatch: pytest.MonkeyPatch, acts: list[tuple[str, str, int]], terms: dict[str, Any]
) -> None:
    both(monkeypatch, [act_of(n, *act) for n, act in enumerate(acts)], terms)


def test_an_order_that_is_placed_anew_counts_nothing_of_the_captures_before(monkeypatch: pytest.MonkeyPatch) -> None:
    gone, back = SOLD.model_copy(update={"lifecycle": "cancelled"}), SOLD
    accept: Resolution = "accept"
    both(monkeypatch, [
        lambda play: edit_line(play, "a", line_id="1", unit_price_minor=12_00),
        lambda play: edit_line(play, "b", line_id="1", unit_price_minor=13_00),
        lambda play: edit_line(play, "c", line_id="1", quantity=1),
        lambda play: refunded(play, "d", 1_00),
        lambda play: answered(play.receives(gone, seconds=10)),
        lambda play: answered(play.receives(back, seconds=20).resolves("order_reinstated", accept)),
    ], {})  # fmt: skip


def test_a_capture_that_waits_for_its_invoice_keeps_those_after_it(play: Play) -> None:
    """The parts of a stated tax add up in the order in which they were captured."""
    play.in_the_warehouse(SOLD).captured().rejected()
    for n in range(story.ENDED_KEPT + 2):
        edit_line(play, f"e{n}", line_id="1", unit_price_minor=10_01 + n)
    assert not any(name.startswith("settle") for name in closed(play))
    answered(play.retries())
    edit_line(play, "last", line_id="1", unit_price_minor=12_00)
    assert {"settle:1", "settle:2"} <= {*closed(play)}


def test_an_edit_and_the_refund_that_it_causes_have_one_id_and_two_outcomes(play: Play) -> None:
    paid(play)
    edit_line(play, "cheaper", line_id="1", quantity=1)
    for n in range(story.ENDED_KEPT + 1):
        refunded(edit_line(play, f"e{n}", line_id="2", unit_price_minor=10_01 + n), f"r{n}", 1)
    assert {"edit:1", "refund:1"} <= {*closed(play)}
    assert (edited.outcome_of(play.order, uid("cheaper")), refunds_of.outcome_of(play.order, uid("cheaper"))) == (
        "edited",
        "settled",
    )


# -- messages about what has left -------------------------------------------------------------------------------------


@pytest.fixture
def long_lived(play: Play) -> Play:
    """An order whose first edits and refunds have left its document."""
    paid(play)
    play.opens_an_edit(op="discarded").discards(edit="discarded")
    given_up(play, "given up", 1_00)
    edit_line(play, "edited", line_id="1", unit_price_minor=12_00)
    refunded(play, "refunded", 1_00)
    for n in range(story.ENDED_KEPT + 1):
        refunded(edit_line(play, f"e{n}", line_id="1", unit_price_minor=12_01 + n), f"r{n}", 1)
    assert {"edit:1", "edit:2", "refund:1", "refund:2", "settle:1"} <= {*closed(play)}
    return play


@pytest.mark.parametrize(("act", "code"), [
    (lambda play: play.opens_an_edit(op="edited"), None), (lambda play: play.confirms("later", "edited"), None),
    (lambda play: play.discards("later", "edited"), "edit_confirmed"), (lambda play: play.discards("later", "discarded"), None),
    (lambda play: play.confirms("later", "discarded"), "edit_discarded"), (lambda play: play.confirms("later", "refunded"), "edit_unknown"),
    (lambda play: play.refunds(op="refunded", goodwill_minor=1), None), (lambda play: play.gives_up("given up", "later"), None),
    (lambda play: play.gives_up("refunded", "later"), "refund_not_refused"), (lambda play: play.retries_refund("edited", "later"), "refund_unknown"),
])  # fmt: skip
def test_a_request_about_what_has_left_is_answered_as_before(long_lived: Play, act: Act, code: str | None) -> None:
    act(long_lived)
    assert not long_lived.stated and not long_lived.sent
    assert (long_lived.refusal and long_lived.refusal.code) == code


def test_an_answer_to_what_has_left_changes_nothing_when_it_is_delivered_again(long_lived: Play) -> None:
    first = {
        one.operation_id
        for run in closed(long_lived).values()
        for one in long_lived.commands
        if one.operation_id in operations(run)
    }
    answers = [message for message, _ in long_lived.received if getattr(message, "operation_id", None) in first]
    assert {type(one).__name__ for one in answers} >= {"Refunded", "Captured"}
    before = long_lived.order
    for answer in answers:
        long_lived.when(answer).nothing()
        assert long_lived.refusal is None
    assert long_lived.order == before


def operations(run: Run) -> set[Any]:
    match run.data:
        case refunds_of.RefundData(parts=parts):
            return {part.refund_id for part in parts} | {part.credit_note_id for part in parts}
        case settled.SettleData(capture_id=capture_id):
            return {capture_id}
        case _:
            return set()


def test_a_refund_that_has_left_is_the_one_that_the_marketplace_states_afterwards(play: Play) -> None:
    paid(play)
    refunded(play, "first", 7_77)
    for n in range(story.ENDED_KEPT + 1):
        refunded(play, f"r{n}", 1 + n)
    assert play.order.unstated == {str(uid("first")): 7_77}
    told = stated("R1", 7_77)
    play.receives(told, seconds=10)
    assert not play.sent and not play.order.unstated
    adopted = play.event(RefundAdopted)
    assert (adopted.refund_id, adopted.reference) == (uid("first"), "R1")
    play.receives(told, seconds=20).nothing()


def stated(name: str, minor: int) -> OrderContent:
    made = UpstreamRefund(external_refund_id=name, amount_minor=minor)
    return SOLD.model_copy(update={"refunds": (made,), "payment_state": "partially_refunded"})
