"""People who change placed orders, to mix with other traffic: edits, refunds, holds and releases, a rule for each order."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.integration.shop import Line, Shop

LINES: tuple[Line, ...] = (("S001", 2, 4_000), ("S002", 3, 1_000))
WINDOW = {"gateway": "test", "hold_window_seconds": 2}
"""Terms of a market whose orders are held at first, for an account `window`."""
PER_SECOND = 2.0
SECONDS_MAX = 180.0

Body = dict[str, Any]


@dataclass
class Desk:
    """What was done with the orders, and how each has to end."""

    shop: Shop
    ends: dict[str, tuple[str, int]] = field(default_factory=dict)
    """order id -> its status, and what is left of the money that was captured, in minor units."""
    done: Counter[str] = field(default_factory=Counter)

    async def post(self, order: str, path: str, body: Body | None = None) -> Any:
        status, answer = await self.shop.call(
            "orders", "POST", f"/v1/orders/{order}/{path}", body, seconds_max=SECONDS_MAX
        )
        assert status < 300, (path, status, answer)
        self.done[path.rpartition("/")[2]] += 1
        return answer

    async def edit(self, order: str, *lines: Body) -> None:
        edit = await self.post(order, "edits", {"lines": list(lines)})
        await self.post(order, f"edits/{edit['edit_id']}/confirm", {})

    async def until_paid(self, order: str) -> None:
        async def paid() -> bool:
            return str((await self.shop.order(order))["payment_status"]) == "paid"

        await self.shop.until(paid, f"{order} paid", SECONDS_MAX)

    async def until_released(self, order: str) -> None:
        async def released() -> bool:
            return not (await self.shop.order(order))["holds"]

        await self.shop.until(released, f"{order} released by its timer", SECONDS_MAX)

    async def assert_all_ended(self) -> None:
        """Asserts that each edit and refund has ended as it was asked for, and each order as its rule states."""
        for order, (status, kept_minor) in self.ends.items():
            told = await self.shop.order(order)
            money = told["money"]
            assert told["status"] == status, told
            assert money["captured_minor"] - money["refunded_minor"] == kept_minor, (order, money, kept_minor)
            for kind, state in (("edits", "edited"), ("refunds", "settled")):
                _, listed = await self.shop.call("orders", "GET", f"/v1/orders/{order}/{kind}")
                assert {one["state"] for one in listed["items"]} <= {state}, (order, listed)


# -- the rules --------------------------------------------------------------------------------------------------------


async def dearer(desk: Desk, order: str) -> tuple[str, int]:
    await desk.edit(order, {"line_id": "1", "quantity": 3})
    return "approved", 7_000


async def cheaper(desk: Desk, order: str) -> tuple[str, int]:
    await desk.edit(order, {"line_id": "1", "quantity": 1})
    return "approved", 3_000


async def a_line_is_replaced(desk: Desk, order: str) -> tuple[str, int]:
    other = {"sku": "S003", "title": "Another", "quantity": 1, "unit_price_minor": 700, "tax": [{"rate": "20.00"}]}
    await desk.edit(order, {"line_id": "2", "replace_by": other})
    return "approved", 4_700


async def a_line_is_removed(desk: Desk, order: str) -> tuple[str, int]:
    await desk.edit(order, {"line_id": "2", "quantity": 0})
    return "approved", 4_000


async def partly_refunded(desk: Desk, order: str) -> tuple[str, int]:
    await desk.post(order, "refunds", {"lines": [{"line_id": "2", "quantity": 1}], "goodwill_minor": 101})
    return "approved", 4_566


async def wholly_refunded(desk: Desk, order: str) -> tuple[str, int]:
    await desk.post(order, "refunds", {"goodwill_minor": 5_000})
    return "cancelled", 0


async def edited_and_refunded_on_hold(desk: Desk, order: str) -> tuple[str, int]:
    """The edit becomes true after the release, the refund at once."""
    hold = await desk.post(order, "holds", {"reason": "fraud"})
    await asyncio.gather(
        desk.edit(order, {"line_id": "1", "quantity": 3}),
        desk.post(order, "refunds", {"lines": [{"line_id": "2", "amount_minor": 200}]}),
    )
    await desk.post(order, f"holds/{hold['hold_id']}/release")
    return "approved", 6_800


async def held_twice_and_released_by_time(desk: Desk, order: str) -> tuple[str, int]:
    until = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
    first = await desk.post(order, "holds", {"reason": "address"})
    await desk.post(order, "holds", {"reason": "manual", "until": until})
    await desk.post(order, f"holds/{first['hold_id']}/release")
    await desk.until_released(order)
    await desk.edit(order, {"line_id": "2", "quantity": 1})
    return "approved", 4_333


async def held_before_it_is_paid(desk: Desk, order: str) -> tuple[str, int]:
    hold = await desk.post(order, "holds", {"reason": "payment"})
    await desk.post(order, f"holds/{hold['hold_id']}/release")
    await desk.until_paid(order)
    return "approved", 5_000


Rule = Callable[[Desk, str], Awaitable[tuple[str, int]]]
AFTER_PAYMENT: Sequence[Rule] = (
    dearer, cheaper, a_line_is_replaced, a_line_is_removed, partly_refunded, wholly_refunded, edited_and_refunded_on_hold,
    held_twice_and_released_by_time,
)  # fmt: skip
AT_ONCE: Sequence[Rule] = (held_before_it_is_paid,)
RULES = (*AFTER_PAYMENT, *AT_ONCE)


@asynccontextmanager
async def at_work(shop: Shop) -> AsyncIterator[Desk]:
    """Orders are placed and changed while the block runs, every second one in a market that holds each order at first; what
    was begun is finished afterwards."""
    desk = Desk(shop)
    running: list[asyncio.Task[None]] = []

    async def one(number: int) -> None:
        rule = RULES[number // 2 % len(RULES)]
        order = await shop.place(LINES, account=("gateway", "window")[number % 2])
        if rule in AFTER_PAYMENT:
            await desk.until_paid(order)
        desk.ends[order] = await rule(desk, order)

    async def drive() -> None:
        while True:
            running.append(asyncio.create_task(one(len(running))))
            await asyncio.sleep(1 / PER_SECOND)

    driver = asyncio.create_task(drive())
    try:
        yield desk
    finally:
        driver.cancel()
        await asyncio.gather(*running)
