"""The rules of a snapshot: what was sold adds up, and what is not stated is not guessed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from contracts.snapshot import Line, NewContent, OrderContent, Snapshot


def line(name: str = "1", total: int | None = 1000, **more: Any) -> dict[str, Any]:
    return {"external_line_id": name, "quantity": {"ordered": 1}, "line_total_minor": total, **more}


def order(*lines: dict[str, Any], **more: Any) -> dict[str, Any]:
    told = {"external_order_id": "A-1", "placed_at": "2026-11-21T09:30:00Z", "currency": "EUR", "lines": list(lines)}
    return told | more


def refused(content: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        OrderContent.model_validate(content)


def test_gross_lines_plus_shipping_less_discount_is_the_grand_total() -> None:
    totals = {"items_minor": 3000, "shipping_minor": 495, "discount_minor": 200, "tax_minor": 670, "grand_minor": 3295}
    assert OrderContent.model_validate(order(line("1", 1000), line("2", 2000), totals=totals)).priced


def test_net_prices_have_the_tax_on_top() -> None:
    totals = {"shipping_minor": 500, "tax_minor": 375, "grand_minor": 1875}
    assert OrderContent.model_validate(order(line(), price_basis="net", totals=totals)).priced
    refused(
        order(line(), price_basis="net", totals={"shipping_minor": 500, "grand_minor": 1500}), "tax_minor is required"
    )


@pytest.mark.parametrize("off", [-1, 1])
@pytest.mark.parametrize("basis", ["gross", "net"])
def test_a_cent_off_is_refused(basis: str, off: int) -> None:
    grand = 1495 + (300 if basis == "net" else 0)
    totals = {"shipping_minor": 495, "tax_minor": 300, "grand_minor": grand}
    OrderContent.model_validate(order(line(), price_basis=basis, totals=totals))
    refused(
        order(line(), price_basis=basis, totals=totals | {"grand_minor": grand + off}),
        f"totals.grand_minor is {grand + off}, but",
    )


def test_the_total_of_the_items_is_checked_when_it_is_told() -> None:
    refused(
        order(line(), totals={"items_minor": 999, "grand_minor": 1000}),
        "totals.items_minor is 999, the lines add up to 1000",
    )


def test_two_lines_of_one_id_are_refused_even_without_prices() -> None:
    refused(order(line("1", None), line("1", None)), "must be unique")


def test_the_id_of_the_shipping_charge_is_taken() -> None:
    refused(order(line("shipping", None)), "reserved for the shipping charge")


@pytest.mark.parametrize("what", ["discount_minor", "shipping_minor"])
def test_parts_of_lines_are_at_most_the_total(what: str) -> None:
    def content(part: int) -> dict[str, Any]:
        grand = 2100 if what == "shipping_minor" else 1900
        return order(
            line("1", 1000, **{what: part}), line("2", 1000, **{what: 40}), totals={what: 100, "grand_minor": grand}
        )

    OrderContent.model_validate(content(60))
    OrderContent.model_validate(content(0))
    refused(content(61), f"{what} add up to 101, more than totals.{what} 100")


def test_a_discount_is_at_most_what_it_is_taken_off() -> None:
    refused(
        order(line(total=10, discount_minor=11), line("2", 5), totals={"discount_minor": 11, "grand_minor": 4}),
        "exceeds line_total",
    )
    totals = {"shipping_minor": 500, "discount_minor": 1001, "grand_minor": 499}
    refused(order(line(), totals=totals), "discount_minor 1001 exceeds the lines' total")


def test_prices_that_are_not_told_are_not_checked_and_the_order_is_not_priced() -> None:
    for content in (
        order(line(total=None)),
        order(line()),
        order(line(total=None), totals={"grand_minor": 1000}),
        order(line("1"), line("2", None), totals={"items_minor": 1, "grand_minor": 7}),
    ):
        assert not OrderContent.model_validate(content).priced


def test_told_zero_is_told() -> None:
    assert OrderContent.model_validate(order(line(total=0), totals={"grand_minor": 0})).priced


def test_a_negative_price_is_refused() -> None:
    refused(order(line(total=-1)), "greater than or equal to 0")


def test_unknown_fields_are_ignored_and_unknown_lifecycles_refused() -> None:
    read = OrderContent.model_validate(order(line(colour="blue"), gift_wrap=True))
    assert not hasattr(read, "gift_wrap") and not hasattr(read.lines[0], "colour")
    refused(order(line(), lifecycle="on_its_way"), "Input should be 'awaiting_payment'")


def test_an_order_has_at_most_a_thousand_lines() -> None:
    OrderContent.model_validate(order(*(line(str(n)) for n in range(1_000))))
    refused(order(*(line(str(n)) for n in range(1_001))), "at most 1000")


@pytest.mark.parametrize("written", ["2026-11-25", "2026-11-25T00:00:00Z", "2026-11-25T18:00:00Z"])
def test_a_delivery_day_stays_a_day_and_a_midnight_stays_a_time(written: str) -> None:
    content = OrderContent.model_validate(order(line(), windows={"deliver_by": written}))
    assert content.model_dump(mode="json")["windows"]["deliver_by"] == written
    assert OrderContent.model_validate_json(content.model_dump_json()) == content


def test_pieces_are_what_is_ordered_less_what_is_cancelled() -> None:
    lines = order(line(quantity={"ordered": 3, "cancelled": 1}), line("2", quantity={"ordered": 1, "cancelled": 2}))
    assert [each.pieces for each in OrderContent.model_validate(lines).lines] == [2, 0]


def test_an_executed_cancellation_leaves_no_piece_of_its_line() -> None:
    lines = order(
        line(quantity={"ordered": 3}, cancellation={"executed": True}),
        line(quantity={"ordered": 0}) | {"external_line_id": "2"},
    )
    assert [each.pieces for each in OrderContent.model_validate(lines).lines] == [0, 0]


def test_the_cancelled_part_of_a_line_is_at_most_what_it_costs_after_discount() -> None:
    def content(**of: Any) -> dict[str, Any]:
        lines = [line("1", 1000, discount_minor=100, **of), line("2", 900)]
        return order(*lines, totals={"discount_minor": 280, "grand_minor": 1620})

    OrderContent.model_validate(content(quantity={"ordered": 2, "cancelled": 1}, cancelled_minor=810))
    refused(
        content(quantity={"ordered": 2, "cancelled": 1}, cancelled_minor=811), "exceeds the 810 that the line costs"
    )
    OrderContent.model_validate(content(quantity={"ordered": 2, "cancelled": 2}, cancelled_minor=810))
    refused(
        content(quantity={"ordered": 2, "cancelled": 2}, cancelled_minor=405),
        "no piece is left, so cancelled_minor must be 810",
    )
    refused(content(cancellation={"executed": True}, cancelled_minor=0), "no piece is left")


def test_totals_that_leave_cancelled_pieces_out_say_so() -> None:
    """48.00 each, two ordered, one cancelled: stated as sold, or as what is left; never reduced twice."""
    gone = {"ordered": 2, "cancelled": 1}
    OrderContent.model_validate(
        order(line(total=9600, quantity=gone, unit_price_minor=4800), totals={"grand_minor": 9600})
    )
    left = line(total=4800, quantity=gone, unit_price_minor=4800)
    with pytest.raises(ValidationError, match="is the price of the pieces left, 1 of 2.* state cancelled_minor 0"):
        TypeAdapter(NewContent).validate_python(order(left, totals={"grand_minor": 4800}))
    OrderContent.model_validate(order(left | {"cancelled_minor": 0}, totals={"grand_minor": 4800}))
    refused(order(line(total=9600, quantity=gone), totals={"grand_minor": 4800}), "totals include cancelled pieces")


def test_the_page_of_the_fields_names_every_field_of_an_order_and_a_line() -> None:
    page = (Path(__file__).parents[3] / "docs/snapshot.md").read_text("utf-8")
    named = set(re.findall(r"`(?:lines\[\]\.)?([a-z_0-9]+)(?:[.\[][^`]*)?`", page))
    assert {*OrderContent.model_fields, *Line.model_fields} - named == set()


def tax(rate: str | None = None, amount: int | None = None, **more: Any) -> dict[str, Any]:
    return {"rate": rate, "amount_minor": amount, **more}


def test_what_the_marketplace_remits_is_on_top_of_our_totals() -> None:
    remitted = [tax("15", 3270, collected_by="marketplace")]
    totals = {"shipping_minor": 1800, "grand_minor": 21800, "remitted_minor": 3270, "buyer_paid_minor": 25070}
    OrderContent.model_validate(order(line(total=20000, tax=remitted), totals=totals))
    OrderContent.model_validate(order(line(total=20000, tax=remitted), totals=totals | {"remitted_minor": None}))
    refused(
        order(line(total=20000), totals=totals | {"buyer_paid_minor": 21800}), "grand 21800 [+] remitted 3270 = 25070"
    )
    refused(
        order(line(total=20000, tax=remitted), totals=totals | {"remitted_minor": 3269}),
        "more than totals.remitted_minor",
    )
    net = {"tax_minor": 2433, "grand_minor": 12433}
    inside = line(total=10000, tax=[tax("8.25", 2433, collected_by="marketplace")])
    refused(
        order(inside, price_basis="net", totals=net), "tax that the marketplace collects is in totals.remitted_minor"
    )


def test_stated_taxes_add_up_to_the_stated_total() -> None:
    two = [line("1", 10000, tax=[tax("8.25", 825)]), line("2", 5000, tax=[tax("0", 0)])]
    OrderContent.model_validate(order(*two, price_basis="net", totals={"tax_minor": 825, "grand_minor": 15825}))
    refused(order(*two, price_basis="net", totals={"tax_minor": 900, "grand_minor": 15900}), "add up to 825")
    refused(order(*two, price_basis="net", totals={"tax_minor": 400, "grand_minor": 15400}), "add up to 825")


def test_a_gross_amount_contains_its_taxes() -> None:
    OrderContent.model_validate(
        order(line(total=1000, tax=[tax(None, 600), tax(None, 400)]), totals={"grand_minor": 1000})
    )
    refused(
        order(line(total=1000, tax=[tax(None, 600), tax(None, 401)]), totals={"grand_minor": 1000}),
        "taxes of 1001 exceed",
    )
    shipping = {"shipping_minor": 100, "shipping_tax": [tax("20", 101)], "grand_minor": 1100}
    refused(order(line(), totals=shipping), "totals.shipping_tax: taxes of 101")
    refused(
        order(line(), totals={"shipping_tax": [tax("20", 1)], "grand_minor": 1000}), "there is no totals.shipping_minor"
    )


@pytest.mark.parametrize("total", [868, 871, 874])
def test_a_gross_total_of_tax_may_be_rounded_otherwise_than_the_rates(total: int) -> None:
    three = [line(str(n), 1999, tax=[tax("17")]) for n in range(3)]
    OrderContent.model_validate(order(*three, totals={"tax_minor": total, "grand_minor": 5997}))
    refused(
        order(*three, totals={"tax_minor": 0, "grand_minor": 5997}), "tax_minor is 0, but amounts and rates .* make 871"
    )


@given(
    st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**6)), min_size=1, max_size=8),
    st.integers(0, 10**6),
    st.sampled_from(["gross", "net"]),
)
def test_whatever_adds_up_is_taken_and_reads_back_as_it_was_written(
    parts: list[tuple[int, int, int]], tax: int, basis: str
) -> None:
    lines = [
        line(str(n), total, discount_minor=min(off, total), shipping_minor=ship)
        for n, (total, off, ship) in enumerate(parts)
    ]
    items, discount = sum(total for total, _, _ in parts), sum(min(off, total) for total, off, _ in parts)
    shipping = sum(ship for _, _, ship in parts) + 7
    grand = items - discount + shipping + (tax if basis == "net" else 0)
    totals = {"shipping_minor": shipping, "discount_minor": discount, "tax_minor": tax, "grand_minor": grand}
    source = {"channel": "bol", "account": "a", "updated_at": "2026-11-21T09:30:00Z", "content_hash": "1"}
    told = Snapshot.model_validate({"source": source, "order": order(*lines, price_basis=basis, totals=totals)})
    assert told.order.priced
    assert Snapshot.model_validate_json(told.model_dump_json()) == told
