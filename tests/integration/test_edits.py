"""Edits of placed orders on the real services: dearer, cheaper, another address, refused; and a crash at each step."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from tests.integration.shop import Options, Shop
from tests.integration.test_crash import SHOP as CRASHING

SHOP = Options(
    static_members=True,
    gateway=("--latency-ms", "2"),
    markets={"manual": {"approval": "manual", "gateway": "test"}},
    settings=CRASHING.settings,
)
DISCOUNTED = {"totals": {"discount_minor": 1920, "grand_minor": 7680}}
"""Case A01: two pieces at 48.00 with 20 % off each."""


async def paid(shop: Shop, more: dict[str, Any] | None = None) -> str:
    """Two pieces; captured and invoiced, in the warehouse."""
    body = shop.content([("S001", 2, 9600)], account="gateway") | (more or {})
    status, placed = await shop.call("orders", "POST", "/v1/orders", body)
    assert status == 201, placed
    order: str = placed["order_id"]
    await shop.until_at_rest([order])
    return order


async def edit(shop: Shop, order: str, body: dict[str, Any]) -> dict[str, Any]:
    status, opened = await shop.call("orders", "POST", f"/v1/orders/{order}/edits", body)
    assert status == 201, opened
    found: dict[str, Any] = opened
    return found


async def confirm(shop: Shop, order: str, opened: dict[str, Any], key: str | None = None) -> tuple[int, Any]:
    path = f"/v1/orders/{order}/edits/{opened['edit_id']}/confirm"
    preview = opened["preview"] and opened["preview"]["preview"]
    return await shop.call("orders", "POST", path, {"preview": preview}, key=key)


def code_of(problem: dict[str, Any]) -> str:
    found: str = problem["type"].rpartition("/")[2]
    return found


async def documents(shop: Shop, order: str) -> list[tuple[str, int, int]]:
    sql = "select kind, total_minor, vat_minor from documents where order_id = $1 order by kind desc, total_minor desc"
    return [tuple(row) for row in await shop.rows("invoicing", sql, uuid.UUID(order))]


async def test_fewer_pieces_of_a_discounted_line(shop: Shop) -> None:
    """Case A01, to the minor unit: what is shown, stays, goes back, credited and recorded."""
    line = {"external_line_id": "1", "sku": "S001", "quantity": {"ordered": 2}, "unit_price_minor": 4800,
            "line_total_minor": 9600, "discount_minor": 1920, "tax": [{"rate": "19"}]}  # fmt: skip
    order = await paid(shop, {**DISCOUNTED, "lines": [line]})
    held = (await shop.stock("S001"))["reserved"]
    opened = await edit(shop, order, {"lines": [{"line_id": "1", "quantity": 1}]})
    shown = opened["preview"]
    assert (shown["new_total_minor"], shown["difference_minor"], shown["discount_left_minor"]) == (3840, -3840, 960)
    assert shown["stock"] == {"reserve": [], "release": [{"line_id": "1", "sku": "S001", "quantity": 1}]}
    assert shown["payments"] == {"authorize_minor": 0, "void_minor": 0, "refund_minor": 3840}
    status, first = await confirm(shop, order, opened, key="k1")
    assert status == 202
    await shop.until_at_rest([order])
    told = await shop.order(order)
    assert (told["status"], told["payment_status"], told["grand_minor"]) == ("approved", "partially_refunded", 3840)
    assert (told["money"]["captured_minor"], told["money"]["refunded_minor"]) == (7680, 3840)
    assert (await shop.stock("S001"))["reserved"] == held - 1
    assert await documents(shop, order) == [("invoice", 7680, 1226), ("credit", 3840, 613)]
    status, history = await shop.call("orders", "GET", f"/v1/orders/{order}/lines")
    rows = [(row["kind"], row["quantity"], row["amount_minor"], row["related_to"]) for row in history["items"]]
    assert rows == [
        ("original", 2, 7680, None),
        ("reversal", -2, -7680, 1),
        ("replacement", 1, 3840, 1),
        ("refund", 1, 3840, 1),
    ]
    assert sum(row["amount_minor"] for row in history["items"]) == 7680
    assert await confirm(shop, order, opened, key="k1") == (202, first)  # the same answer
    assert (await confirm(shop, order, opened, key="k2"))[0] == 202
    assert (await shop.order(order))["version"] == told["version"]
    assert await shop.ship_all([order]) == 1
    await shop.until_at_rest([order])
    assert (await shop.order(order))["completed_at"]
    await shop.assert_promises()


async def test_a_dearer_order_has_a_second_authorization_that_is_captured_and_invoiced(shop: Shop) -> None:
    order = await paid(shop)
    new = {"sku": "S002", "title": "Thing S002", "quantity": 1, "unit_price_minor": 500, "tax": [{"rate": "20.00"}]}
    opened = await edit(shop, order, {"lines": [{"line_id": "1", "quantity": 3}], "add": [new]})
    assert opened["preview"]["payments"]["authorize_minor"] == 5300
    assert (await confirm(shop, order, opened))[0] == 202
    await shop.until_at_rest([order])
    moved = sorted((one["kind"], one["amount_minor"]) for one in shop.charges() if one["order_id"] == order)
    assert moved == [("authorize", 5300), ("authorize", 9600), ("capture", 5300), ("capture", 9600)]
    assert [total for _, total, _ in await documents(shop, order)] == [9600, 5300]
    assert await shop.ship_all([order]) == 1  # the pieces joined the open shipment
    await shop.until_at_rest([order])
    told = await shop.order(order)
    assert (told["payment_status"], told["fulfillment_status"], bool(told["completed_at"])) == (
        "paid",
        "fulfilled",
        True,
    )


async def test_a_cheaper_order_is_voided_before_it_is_captured(shop: Shop) -> None:
    order = await shop.place([("S001", 2, 9600)], account="manual")
    await shop.until_at_rest([order], may_wait="approval")
    opened = await edit(shop, order, {"lines": [{"line_id": "1", "unit_price_minor": 4000}]})
    assert opened["preview"]["payments"] == {"authorize_minor": 0, "void_minor": 1600, "refund_minor": 0}
    await confirm(shop, order, opened)
    await shop.until_at_rest([order], may_wait="approval")
    assert (await shop.approve(order))[0] == 200
    await shop.until_at_rest([order])
    moved = sorted((one["kind"], one["amount_minor"]) for one in shop.charges() if one["order_id"] == order)
    assert moved == [("authorize", 9600), ("capture", 8000), ("void", 1600)]


async def test_another_address_reaches_the_shipment(shop: Shop) -> None:
    order = await paid(shop)
    opened = await edit(shop, order, {"ship_to": {"name": "Bo", "line1": "2 Way", "city": "Lyon", "country": "FR"}})
    assert opened["preview"]["difference_minor"] == 0
    await confirm(shop, order, opened)
    await shop.until_at_rest([order])
    (row,) = await shop.rows("fulfillment", "select doc from fulfillments where key = $1", uuid.UUID(order))
    assert "2 Way" in row["doc"]
    assert await shop.ship_all([order]) == 1
    await shop.until_at_rest([order])
    assert (await shop.order(order))["completed_at"]


async def test_a_refused_authorization_leaves_the_order_as_it_was(shop: Shop) -> None:
    """The pieces go back, the warehouse goes on, and the reason is shown."""
    order = await paid(shop)
    before, held = await shop.order(order), (await shop.stock("S001"))["reserved"]
    assert shop.gateway is not None
    await trouble(shop, order, {"authorize": "declined"})
    opened = await edit(shop, order, {"lines": [{"line_id": "1", "quantity": 3}]})
    await confirm(shop, order, opened)
    await shop.until_at_rest([order])
    after = await shop.order(order)
    assert (after["order"], after["grand_minor"], after["status"]) == (before["order"], 9600, "approved")
    assert (await shop.stock("S001"))["reserved"] == held
    _, shown = await shop.call("orders", "GET", f"/v1/orders/{order}/edits/{opened['edit_id']}")
    assert (shown["state"], shown["code"]) == ("discarded", "payment_declined")
    assert await shop.ship_all([order]) == 1
    await shop.until_at_rest([order])
    assert (await shop.order(order))["completed_at"]


async def trouble(shop: Shop, order: str, kinds: dict[str, str]) -> None:
    assert shop.gateway is not None and shop._http is not None
    async with shop._http.put(f"{shop.gateway.url}/trouble/{order}", json=kinds) as answer:
        assert answer.status < 300, await answer.text()


async def test_what_has_shipped_and_a_stale_preview_are_refused(shop: Shop) -> None:
    order = await paid(shop)
    opened = await edit(shop, order, {"lines": [{"line_id": "1", "quantity": 1}]})
    status, other = await shop.call("orders", "POST", f"/v1/orders/{order}/edits", {})
    assert (status, code_of(other)) == (409, "edit_open") and opened["edit_id"] in other["detail"]
    await shop.ship_all([order])
    await shop.until_at_rest([order], may_wait="confirm")
    assert code_of((await confirm(shop, order, opened))[1]) == "edit_stale"
    opened["preview"] = None
    status, refused = await confirm(shop, order, opened)
    assert (status, code_of(refused)) == (409, "order_shipped")
    status, gone = await shop.call("orders", "POST", f"/v1/orders/{order}/edits/{opened['edit_id']}/discard", {})
    assert (status, gone["state"]) == (200, "discarded")
    await shop.until_at_rest([order])
    assert (await shop.order(order))["completed_at"]


DEATHS = [
    ("orders", "after_commit"),
    ("payments", "before_commit"),
    ("fulfillment", "after_commit"),
    ("invoicing", "before_commit"),
]
"""One of each service; `make chaos` has the other point of each."""


@pytest.mark.parametrize(
    ("service", "point"),
    [
        *DEATHS,
        *(
            pytest.param(service, other, marks=pytest.mark.chaos(minutes=1))
            for service, point in DEATHS
            for other in ("before_commit", "after_commit")
            if other != point
        ),
    ],
)
async def test_a_service_that_dies_under_edits_repeats_nothing(shop: Shop, service: str, point: str) -> None:
    """Dearer and cheaper edits at once, in every step of which a service dies and is started again."""
    orders = [await shop.place([("S001", 2, 9600)], account="gateway") for _ in range(6)]
    await shop.until_at_rest(orders)
    opened = [
        await edit(shop, order, {"lines": [{"line_id": "1", "quantity": 1 + 2 * (n % 2)}]})
        for n, order in enumerate(orders)
    ]
    members = shop.system.of(service)
    await shop.arm(members, point)
    confirmed = asyncio.gather(*(confirm(shop, order, one) for order, one in zip(orders, opened, strict=True)))
    await shop.until_dead_and_restarted(members, point)
    assert {status for status, _ in await confirmed} == {202}
    await shop.until_at_rest(orders)
    await shop.ship_all(orders)
    await shop.until_at_rest(orders)
    for n, order in enumerate(orders):
        told = await shop.order(order)
        money = told["money"]
        assert told["completed_at"] and money["captured_minor"] - money["refunded_minor"] == told["grand_minor"]
        assert told["grand_minor"] == (14400 if n % 2 else 4800)
    await shop.assert_promises()
