"""A draft becomes an order of ours, and an order of ours is shown as Dintero's: amounts and numbers of lines survive both ways."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from contracts.snapshot import OrderContent
from dintero_compat.domain import placing, showing
from dintero_compat.domain.numbers import ALPHABET, alphanumeric_9
from dintero_compat.domain.shapes import Draft, uncovered

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
AID = "T12345678"
DRAFT_ID = str(uuid4())
EMPTY: dict[str, list[Any]] = {}


def read(content: OrderContent, **more: Any) -> dict[str, Any]:
    """An order as orders answers it, as far as it is shown."""
    return {
        "order_id": str(uuid4()), "channel": "dintero", "account": AID, "version": 3, "status": "placed", "payment_status": "unpaid", "archived_at": None,
        "cancelled_at": None, "cancel_cause": None, "ordered_at": NOW.isoformat(), "timeline": [], "notes": [], "metadata": {},
        "order": json.loads(content.model_dump_json()),
    } | more  # fmt: skip


def placed(order: dict[str, Any], *, ships: bool = True) -> OrderContent:
    draft = Draft.model_validate({"order": {"currency": "NOK", **order}})
    return placing.content(draft, DRAFT_ID, "ABC123XYZ", NOW, ships=ships)


RATES = st.sampled_from(["0", "12", "15", "25", "25.5", "11.11"])


@st.composite
def items(draw: st.DrawFn) -> list[dict[str, Any]]:
    numbers = draw(st.lists(st.integers(1, 10_000), min_size=1, max_size=8, unique=True))
    found = []
    for number in numbers:
        gross = draw(st.integers(0, 10**9))
        taxes = [
            {"amount": draw(st.integers(0, gross // 3)), "percentage": float(draw(RATES)), "included_in_price": True}
            for _ in range(draw(st.integers(0, 2)))
        ]
        found.append(
            {"id": f"SKU{number}", "line_id": number, "quantity": draw(st.integers(1, 99)), "gross_amount": gross,
             "description": draw(st.text(max_size=20).filter(lambda text: "\0" not in text)), "tax_lines": taxes}
        )  # fmt: skip
    return found


@given(items())
def test_numbers_quantities_amounts_and_taxes_of_items_survive_both_ways(sent: list[dict[str, Any]]) -> None:
    order = showing.shown(read(placed({"items": sent})), AID, EMPTY, None, {})
    kept = ("id", "line_id", "quantity", "gross_amount", "description")
    assert [{name: item[name] for name in kept} for item in order["items"]] == [
        {name: item[name] for name in kept} for item in sent
    ]
    for shown, item in zip(order["items"], sent, strict=True):
        assert [(tax["amount"], tax["percentage"]) for tax in shown["tax_lines"]] == [
            (tax["amount"], tax["percentage"]) for tax in item["tax_lines"]
        ]
    assert order["gross_amount"] == sum(item["gross_amount"] for item in sent)
    taxes = sum(tax["amount"] for item in sent for tax in item["tax_lines"])
    assert order["net_amount"] == order["gross_amount"] - taxes


def test_the_sample_of_the_documentation_is_shown_as_there() -> None:
    """Source: docs.dintero.com/docs/order-management/order-update-refund."""
    sent = [
        {
            "id": "175938",
            "line_id": 1,
            "quantity": 2,
            "gross_amount": 39800,
            "tax_lines": [{"amount": 7960, "percentage": 25}],
        }
    ]
    customer = {"first_name": "John", "last_name": "Doe", "company": {"bussiness_name": "TKP tech AS"}}
    address = {"address_line": "Sommerkroveien 34", "postal_code": "0349", "postal_place": "Oslo", "country": "NO",
               "first_name": "John", "last_name": "Doe", "comment": "5th floor, use doorbell."}  # fmt: skip
    content = placed({"items": sent, "customer": customer, "shipping_address": address})
    assert content.fulfilled_by == "merchant" and content.lines[0].tax[0].rate == "25.0"
    stored = {
        "items": [{"line_id": 1, "description_alias": "Stablestol", "gross_amount": 1}],
        "store": {"id": "s-1"},
        "events": "x",
        "cancelled_by": 1,
        "id": "x",
    }
    order = showing.shown(read(content), AID, EMPTY, None, stored)
    assert (order["gross_amount"], order["net_amount"], order["payment_status"]) == (39800, 31840, "pending")
    assert order["store"] == {"id": "s-1"} and order["id"] != "x" and not {"events", "cancelled_by"} & order.keys()
    assert order["items"][0]["description_alias"] == "Stablestol" and order["items"][0]["gross_amount"] == 39800
    assert order["customer"] == customer and order["shipping_address"] == address
    assert order["items"][0]["tax_lines"] == [
        {"amount": 7960, "percentage": 25.0, "tax_basis": 39800, "included_in_price": True}
    ]


def test_goods_that_are_shipped_elsewhere_are_neither_reserved_nor_shipped_here() -> None:
    assert placed({"items": [{"id": "A", "line_id": 1, "gross_amount": 1}]}, ships=False).fulfilled_by == "marketplace"


def test_an_order_of_a_marketplace_has_its_lines_numbered_by_place_and_its_shipping_as_the_last() -> None:
    content = OrderContent.model_validate({
        "external_order_id": "A-1", "placed_at": NOW, "currency": "EUR",
        "lines": [
            {"external_line_id": "x-9", "sku": "MUG", "quantity": {"ordered": 1}, "line_total_minor": 1000, "discount_minor": 100,
             "tax": [{"rate": "25.00"}]},
            {"external_line_id": "7", "quantity": {"ordered": 1}, "line_total_minor": 500},
        ],
        "totals": {"grand_minor": 1700, "shipping_minor": 300, "discount_minor": 100},
    })  # fmt: skip
    assert showing.line_numbers(content) == {"x-9": 1, "7": 2, "shipping": 3}
    order = showing.shown(read(content), AID, EMPTY, None, {})
    assert [(one["line_id"], one["gross_amount"]) for one in order["items"]] == [(1, 900), (2, 500), (3, 300)]
    assert order["items"][0]["tax_lines"][0]["amount"] == 180 and order["gross_amount"] == 1700


def test_net_prices_are_shown_with_their_tax() -> None:
    content = OrderContent.model_validate({
        "external_order_id": "A-1", "placed_at": NOW, "currency": "EUR", "price_basis": "net",
        "lines": [{"external_line_id": "1", "quantity": {"ordered": 1}, "line_total_minor": 1000, "tax": [{"rate": "20"}]}],
        "totals": {"grand_minor": 1200, "tax_minor": 200},
    })  # fmt: skip
    order = showing.shown(read(content), AID, EMPTY, None, {})
    assert (order["gross_amount"], order["net_amount"]) == (1200, 1000)


@pytest.mark.parametrize(
    ("fields", "status", "more"),
    [
        ({}, "open", {}),
        ({"status": "cancelled", "cancelled_at": "2026-11-22", "cancel_cause": "customer", "archived_at": "2026-11-23"}, "cancelled",
         {"cancelled_at": "2026-11-22", "cancelled_reason": "customer"}),
        ({"archived_at": "2026-11-23", "timeline": [{"type": "orders.archived", "at": "2026-11-23", "caused_by": {"actor": "person:ann"}}]},
         "closed", {"closed_at": "2026-11-23", "closed_by": "person:ann"}),
    ],
)  # fmt: skip
def test_the_status_of_an_order(fields: dict[str, Any], status: str, more: dict[str, Any]) -> None:
    order = showing.shown(
        read(placed({"items": [{"id": "A", "line_id": 1, "gross_amount": 1}]}), **fields), AID, EMPTY, "paid", {}
    )
    assert (order["status"], order["payment_status"]) == (status, "paid")
    assert more.items() <= order.items()


def test_what_was_set_after_the_completion_is_shown_and_no_other_metadata() -> None:
    content = placed({"items": [{"id": "A", "line_id": 1, "gross_amount": 1}]})
    for metadata, shown in (
        ({"dintero": {"courier_id": "c-1", "gross_amount": 5}, "erp": {"delivery_id": "x"}}, {"courier_id": "c-1"}),
        ({"dintero": "x"}, {}),
    ):
        order = showing.shown(read(content, metadata=metadata), AID, EMPTY, None, {})
        assert {name: order[name] for name in showing.UPDATES if name in order} == shown and order["gross_amount"] == 1


def test_every_payment_status_of_orders_has_a_word() -> None:
    from typing import get_args

    from contracts.orders import PaymentStatus

    assert set(showing.PAYMENT_STATUSES) == set(get_args(PaymentStatus))


def test_what_is_not_covered_is_named() -> None:
    draft = Draft.model_validate({
        "options": {"generate_order_id": "ALPHANUMERIC_9", "order_time_to_live": 60, "payout": True, "split_draft": True,
                    "multiple_authorizations": True, "replace": None},
        "order": {"currency": "NOK", "items": [
            {"id": "A", "line_id": 1, "gross_amount": 1},
            {"id": "B", "line_id": 2, "gross_amount": 5, "tax_lines": [{"amount": 1, "percentage": 25, "included_in_price": False}]},
        ]},
    })  # fmt: skip
    assert list(uncovered(draft)) == [
        "options.order_time_to_live", "options.payout", "options.split_draft",
        "line 2: a tax that is not included in the price",
    ]  # fmt: skip


def test_an_order_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValidationError):
        placed({"items": [{"id": "A", "line_id": 1, "gross_amount": 1, "tax_lines": [{"amount": 1, "percentage": Decimal(25)}]}],
                "shipping_address": {"country": "Norway"}})  # fmt: skip


def test_a_completed_draft_has_no_personal_data() -> None:
    doc = {
        "options": {},
        "order": {
            "currency": "NOK",
            "items": [],
            "customer": {"id": "1"},
            "shipping_address": {},
            "billing_address": {},
        },
    }
    assert placing.without_personal_data(doc) == {"options": {}, "order": {"currency": "NOK", "items": []}}


def test_a_code_has_nine_letters_and_digits() -> None:
    assert alphanumeric_9(lambda n: n - 1) == "999999999"
    assert len(ALPHABET) == 36
