"""Which lines are ours to ship and where they go, and what an order carries without any effect on goods and money."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from orders_play import NOW, Play, content, line, market

from contracts.fulfillment import Reserve, Start
from contracts.invoicing import Issue
from contracts.orders import DetailsChanged, Edited, ExceptionRaised, FulfillmentChanged, Received
from contracts.payments import Authorize
from contracts.snapshot import (
    Address,
    Attribute,
    Cancellation,
    Discount,
    Gift,
    Line,
    OrderContent,
    Origin,
    Quantities,
    Settlement,
    Shipping,
    Tax,
    TaxRegistration,
    Totals,
    UpstreamInvoice,
    UpstreamPayment,
    UpstreamShipment,
    Windows,
)
from orders.api.shown import shown
from orders.domain.content.amounts import amounts, payable
from orders.domain.processes import differences
from orders.domain.shown.views import waiting

PARIS = Address(name="Ann", line1="1 Way", city="Paris", country="FR")
"""Where the orders of a play go."""
LYON = Address(name="Bob", line1="2 Road", city="Lyon", country="FR")


def reserved(play: Play) -> list[str]:
    return [one.line_id for one in play.last(Reserve).lines]


# -- what ships -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["service", "fee", "tip"])
def test_a_line_that_is_not_goods_is_charged_and_invoiced_and_never_shipped(play: Play, kind: Any) -> None:
    extra = line("fee:1", 2_50, kind=kind, sku=None)
    play.receives(content(line(), extra), market()).then(Received, asks=[Reserve])
    assert reserved(play) == ["1"]
    play.reserved().authorized().captured()
    for command in (Authorize, Issue):
        assert [(one.line_id, one.amount_minor) for one in play.last(command).lines] == [("1", 10_00), ("fee:1", 2_50)]


def test_an_order_of_fees_alone_has_nothing_to_ship(play: Play) -> None:
    play.receives(content(line(kind="fee", sku=None)), market()).then(Received, asks=[Authorize])
    assert play.status == "placing/unpaid/not_required"


@pytest.mark.parametrize("printed", [True, False])
def test_a_gift_card_ships_if_it_requires_shipping(play: Play, printed: bool) -> None:
    card = line("2", kind="gift_card", requires_shipping=printed, tax=(Tax(rate="0"),))
    play.receives(content(line(), card), market())
    assert reserved(play) == (["1", "2"] if printed else ["1"])


def test_lines_that_the_marketplace_fulfills_are_charged_and_not_shipped_here(play: Play) -> None:
    play.receives(content(line(), line("2", sku=None, fulfilled_by="marketplace")), market())
    assert reserved(play) == ["1"]
    play.reserved().authorized().started().shipped().fulfilled().captured()
    assert [one.line_id for one in play.last(Issue).lines] == ["1", "2"]
    assert play.order.fulfillment_status == "fulfilled"


def test_a_line_may_be_ours_in_an_order_that_the_marketplace_fulfills(play: Play) -> None:
    play.receives(content(line(), line("2", fulfilled_by="merchant"), fulfilled_by="marketplace"), market())
    assert reserved(play) == ["2"]


def mixed(pieces_of_ours: int = 0, **more: Any) -> OrderContent:
    """Line 1 is ours, line 2 the marketplace's; something has shipped."""
    ours = line().model_copy(update={"quantity": Quantities(ordered=1, shipped=pieces_of_ours)})
    return content(ours, line("2", fulfilled_by="marketplace"), **{"lifecycle": "partially_shipped", **more})


def test_what_the_marketplace_ships_of_its_own_lines_is_no_shipment_of_ours(play: Play) -> None:
    play.receives(mixed(lifecycle="ready_to_fulfill"), market()).reserved().authorized().started()
    play.receives(mixed(), seconds=1)
    assert not play.order.exceptions


def test_a_shipped_piece_of_ours_that_we_did_not_ship_is_reported(play: Play) -> None:
    play.receives(mixed(lifecycle="ready_to_fulfill"), market()).reserved().authorized().started()
    play.receives(mixed(pieces_of_ours=1), seconds=1)
    assert list(play.order.exceptions) == ["shipment_reported"]


def test_an_order_of_which_only_the_marketplaces_lines_have_shipped_starts(play: Play) -> None:
    play.receives(mixed(), market()).then(Received, asks=[Reserve])


def test_an_order_of_which_our_lines_have_shipped_elsewhere_waits_for_a_person(play: Play) -> None:
    play.receives(mixed(pieces_of_ours=1), market()).then(Received, ExceptionRaised)
    assert list(play.order.exceptions) == ["partly_shipped_elsewhere"]


# -- where it goes ----------------------------------------------------------------------------------------------------


def test_the_address_of_all_lines_that_ship_is_that_of_the_shipment(play: Play) -> None:
    lines = line(ship_to=LYON), line("2", ship_to=LYON), line("3", requires_shipping=False)
    play.in_the_warehouse(content(*lines))
    assert play.last(Start).ship_to == LYON


def test_lines_that_go_to_different_addresses_wait_for_a_person(play: Play) -> None:
    play.receives(content(line(ship_to=LYON), line("2"), line("3", ship_to=PARIS)), market())
    assert list(play.order.exceptions) == ["addresses_differ"] and waiting(play.order) == "exception"
    assert "line 1, 3" in play.event(ExceptionRaised).detail and "Lyon" not in play.event(ExceptionRaised).detail
    play.resolves("addresses_differ", "keep").reserved().authorized()
    assert play.last(Start).ship_to == PARIS


def test_one_address_in_a_newer_snapshot_lets_the_order_start(play: Play) -> None:
    play.receives(content(line(ship_to=LYON), line("2")), market())
    play.receives(content(line(), line("2")), seconds=1)
    assert not play.order.exceptions
    assert reserved(play) == ["1", "2"]


# -- money ------------------------------------------------------------------------------------------------------------


def test_the_discount_of_the_order_is_taken_off_goods_and_not_off_fees_and_tips() -> None:
    told = content(line("1", 30_00), line("2", 10_00), line("tip", 40_00, kind="tip"), discount=4_00)
    assert [row.amount_minor for row in payable(told)] == [27_00, 9_00, 40_00]


def test_a_discount_beyond_the_goods_is_shared_by_all_lines() -> None:
    told = content(line("1", 1_00), line("fee", 3_00, kind="fee"), discount=2_00)
    assert [row.amount_minor for row in payable(told)] == [50, 1_50]


def test_shipping_is_taxed_like_the_goods_and_not_like_a_gift_card() -> None:
    card = line("card", 100_00, kind="gift_card", tax=(Tax(rate="0"),))
    assert [row.rate for row in payable(content(line("1", 20_00), card, shipping=5_00))] == ["17", "0", "17"]
    assert [row.rate for row in payable(content(card, shipping=5_00))] == ["0", "0"]
    assert not amounts(content(card)).untaxed


# -- what is carried --------------------------------------------------------------------------------------------------

INFORMS: dict[str, Any] = {
    "purchase_order_number": "PO-7",
    "site": "A1PA6795UKMFR9",
    "programs": ("prime",),
    "tax_address": PARIS,
    "ship_from": Origin(country="DE", postcode="10115"),
    "tax_registrations": (TaxRegistration(party="buyer", number="11222333000181", kind="cnpj", country="BR"),),
    "buyer_note": "ring twice",
    "delivery_note": "behind the house",
    "seller_note": "a friend",
    "discounts": (Discount(code="TEN", paid_by="marketplace", amount_minor=1_00),),
    "settlement": Settlement(currency="GBP", amount_minor=8_50, rate="0.85"),
    "payments": (UpstreamPayment(method="card", state="captured", amount_minor=10_00, at=NOW),),
    "shipments": (UpstreamShipment(carrier="DHL", tracking_number="JD1"),),
    "invoices": (UpstreamInvoice(number="M-1"),),
    "attributes": (Attribute(name="tag", value="vip"),),
    "totals": Totals(shipping_minor=0, discount_minor=0, grand_minor=10_00, due_minor=10_00, commission_minor=1_20),
}
LINE_INFORMS: dict[str, Any] = {
    "parent_line_id": "0",
    "tax_category": "reduced",
    "ship_from": Origin(location="hall 2"),
    "windows": Windows(ship_after=NOW),
    "quantity": Quantities(ordered=1, accepted=1),
    "cancellation": Cancellation(request_id="C-1", requested_at=NOW),
}


def told_of(name: str) -> OrderContent:
    if name in INFORMS:
        return content().model_copy(update={name: INFORMS[name]})
    return content(line().model_copy(update={name.removeprefix("line."): LINE_INFORMS[name.removeprefix("line.")]}))


@pytest.mark.parametrize("name", [*INFORMS, *(f"line.{name}" for name in LINE_INFORMS)])
def test_what_only_informs_is_stored_and_shown_and_changes_nothing(play: Play, name: str) -> None:
    told = told_of(name)
    play.in_the_warehouse().receives(told, seconds=1)
    play.then(*([DetailsChanged] if name == "purchase_order_number" else []))
    assert play.order.content == told and not play.order.exceptions
    assert OrderContent.model_validate(shown(uuid4(), play.order, 1)["order"]) == told


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("lines[1].kind", content(line(kind="service"))),
        ("lines[1].fulfilled_by", content(line(fulfilled_by="marketplace"))),
        ("lines[1].ship_to.name", content(line(ship_to=LYON))),
        ("lines[1].gift.message", content(line(gift=Gift(message="with love")))),
        ("lines[1].attributes[0].value", content(line(attributes=(Attribute(name="engraving", value="Ann"),)))),
        ("lines[1].quantity.returned", content(line().model_copy(update={"quantity": Quantities(ordered=1, returned=1)}))),
        ("shipping.requirements[0]", content(shipping=0).model_copy(update={"shipping": Shipping(requirements=("age_18",))})),
    ],
)  # fmt: skip
def test_a_change_of_what_is_to_be_made_or_shipped_is_for_a_person(play: Play, path: str, told: OrderContent) -> None:
    play.in_the_warehouse().receives(told, seconds=1).then(ExceptionRaised)
    raised = play.event(ExceptionRaised)
    assert raised.code == "snapshot_changed" and path in [change.path for change in raised.difference]
    personal = ("ship_to.name", "message", "value")
    assert all(one.after is None for one in raised.difference if one.path.endswith(personal))


def test_personal_fields_that_the_marketplace_wipes_stay(play: Play) -> None:
    notes = {name: INFORMS[name] for name in ("buyer_note", "delivery_note", "seller_note", "attributes")}
    parts: dict[str, Any] = {
        "gift": Gift(message="love"),
        "attributes": (Attribute(name="a", value="b"),),
        "ship_to": LYON,
    }
    told = content(line(**parts)).model_copy(update={**notes, "tax_address": PARIS})
    play.in_the_warehouse(told).receives(content(ship_to=None), seconds=1).nothing()
    assert play.order.content == told and not play.order.exceptions


def test_every_field_that_only_informs_exists() -> None:
    """A name that is misspelt there would raise an exception for a field that has no effect."""
    for names, model in (
        (differences.ORDER_INFORMS, OrderContent),
        (differences.LINE_INFORMS, Line),
        (differences.QUANTITY_INFORMS, Quantities),
        (differences.CANCELLATION_INFORMS, Cancellation),
        (differences.TOTALS_INFORMS, Totals),
    ):
        assert {*names} <= model.model_fields.keys()


def test_a_kind_that_changes_before_the_order_starts_is_applied(play: Play) -> None:
    play.receives(content(lifecycle="awaiting_payment"), market())
    play.receives(content(line(kind="service")), seconds=1).then(Edited, asks=[Authorize])
    assert play.order.fulfillment_status == "not_required" and FulfillmentChanged not in map(type, play.stated)
