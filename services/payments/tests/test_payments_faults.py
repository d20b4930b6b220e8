"""Many orders at a gateway where three of ten operations go wrong. Afterwards its book equals ours, cent by cent.

Each order authorizes, captures in two parts, voids the rest and refunds, and repeats what was refused. The buyers of some leave, and
a part of those pays before the cancel arrives. Some tasks are run by two workers, as when one was frozen past its lease. The ledger's decisions, the policy and the gateway's code are the
service's; the servers are `gatewayservers`, whose books have nothing of ours.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import pytest
from payments_gateways import Paying, Shape, shaped

from contracts.deciding import Reported, Task
from contracts.payments import PAYMENT_ABANDONED, Declined, Failed
from gatewayservers.faults import TROUBLES, Times
from payments.domain.gateway import GatewayCall
from tests.waiting import patience

SHAPES: Final = ("test", "stripe", "dintero")
KINDS: Final = ("authorize", "capture", "void", "refund")
SHARE_OF_FAULTS: Final = 0.3
SHARE_OF_TWINS: Final = 0.1
SHARE_OF_LEAVING: Final = 0.15
AT_ONCE: Final = 100
"""Orders that are under way together."""
TIMES: Final = Times(latency_ms=1, late_ms=30, hold_ms=30)
SILENT_SECONDS: Final = 0.2
CURRENCIES: Final = {"EUR": 1, "JPY": 1, "KWD": 10}
"""The unit that amounts are multiples of: Stripe takes no thousandths."""


@dataclass
class Tally:
    operations: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    twins: int = 0
    left: Counter[str] = field(default_factory=Counter)
    """Orders whose buyer has left: `unpaid`, or `paid` before the cancel."""


class Unlucky(Paying):
    """An order of which each operation may go wrong."""

    def __init__(self, shape: Shape, chance: random.Random, tally: Tally) -> None:
        super().__init__(shape, chance.choice(sorted(CURRENCIES)))
        self.chance, self.tally = chance, tally
        self.unit = CURRENCIES[self.currency]
        self.has_left = False

    async def live(self) -> None:
        amount = self.unit * self.chance.randint(100, 5_000)
        if self.chance.random() < SHARE_OF_LEAVING:
            return await self.leave(amount)
        token = self.shape.pays
        if self.shape.single_capture and self.chance.random() < 0.2:
            token = self.shape.single_capture
        await self.luck("authorize")
        if isinstance(await self.authorize(amount, token), Declined):
            await self.luck("authorize", None)
            await self.authorize(amount, token)
        first = self.unit * self.chance.randint(1, amount // self.unit // 2)
        for part in (first, self.unit * self.chance.randint(1, (amount - first) // self.unit)):
            await self.luck("capture")
            await self.capture(part)
        if not self.ledger.captures:
            await self.luck("capture", None)
            await self.capture(first)
        await self.luck("void")
        if isinstance(await self.void(), Failed):
            await self.luck("void", None)
            assert not isinstance(await self.void(), Failed)
        for capture_id, captured in [*self.ledger.captures.items()]:
            await self.luck("refund")
            [line] = captured.lines.values()
            await self.refund(self.unit * self.chance.randint(1, line.captured_minor // self.unit), capture_id)

    async def leave(self, amount: int) -> None:
        """The buyer leaves: nothing is taken, or all of it is given back, before the authorization is declined."""
        self.has_left = True
        self.decide(self.authorizing(amount, self.shape.waits_with))
        await super().run(self.tasks.pop())
        pays = self.chance.random() < 0.5
        self.tally.left["paid" if pays else "unpaid"] += 1
        if pays:
            [(operation_id, operation)] = self.ledger.operations.items()
            buyers = operation_id if self.shape.name == "test" else operation.gateway_reference
            await self.shape.post(f"/buyers/{buyers}/confirm")
        await self.luck("void")
        # A cancel that is refused is not the end: it is asked for until the gateway agrees.
        asyncio.get_running_loop().call_later(SILENT_SECONDS, self.shape.faults.tell, self.order_id, {"void": None})
        ended = await self.abandon()
        assert isinstance(ended, Declined) and ended.code == PAYMENT_ABANDONED, ended
        assert self.ledger.authorized_minor == self.ledger.voided_minor

    async def luck(self, kind: str, trouble: str | None = "") -> None:
        if trouble == "":
            trouble = self.chance.choice(TROUBLES) if self.chance.random() < SHARE_OF_FAULTS else None
            self.tally.operations += 1
        if trouble:
            self.tally.faults[trouble] += 1
        self.shape.faults.tell(self.order_id, dict.fromkeys(KINDS, None) | {kind: trouble})
        if trouble == "silent":
            asyncio.get_running_loop().call_later(SILENT_SECONDS, self.shape.faults.tell, self.order_id, {kind: None})

    async def run(self, task: Task) -> None:
        """By two workers at times: both call or ask, and both report."""
        if self.chance.random() >= SHARE_OF_TWINS:
            return await super().run(task)
        self.tally.twins += 1
        assert isinstance(task.body, GatewayCall)
        async with patience():
            outcomes = await asyncio.gather(self.outcome(task.body), self.outcome(task.body))
        for outcome in outcomes:
            self.decide(Reported(task_id=task.task_id, kind=task.kind, asked=task.body, outcome=outcome))

    def ours(self) -> Counter[str]:
        """By kind, what our ledger has moved, in minor units."""
        one = self.ledger
        amounts = (one.authorized_minor, one.captured_minor, one.voided_minor, one.refunded_minor)
        return Counter({kind: amount for kind, amount in zip(KINDS, amounts, strict=True) if amount})


async def fault_run(name: str, orders: int, seed: int) -> Tally:
    """Runs the orders and compares both books. Raises AssertionError with the seed."""
    tally, chance = Tally(), random.Random(seed)
    async with shaped(name, TIMES) as shape:
        room = asyncio.Semaphore(AT_ONCE)

        async def one(order: Unlucky) -> None:
            async with room:
                await order.live()

        crowd = [Unlucky(shape, random.Random(chance.random()), tally) for _ in range(orders)]
        await asyncio.gather(*map(one, crowd))
        theirs: dict[str, Counter[str]] = {}
        operations: Counter[tuple[str, str]] = Counter()
        for moved in (await shape.get("/charges"))["charges"]:
            theirs.setdefault(moved["order_id"], Counter())[moved["kind"]] += moved["amount_minor"]
            if moved["operation"]:
                operations[moved["kind"], moved["operation"]] += 1
    assert {key: n for key, n in operations.items() if n > 1} == {}, f"moved twice, seed {seed}"
    for order in crowd:
        assert order.open_operations() == [] and order.tasks == [], f"pending without an owner, seed {seed}"
        at_gateway = theirs.get(str(order.order_id), Counter())
        if order.has_left:  # what a cancel has released by itself is in the gateway's book alone
            released = at_gateway["void"] - order.ours()["void"]
            at_gateway = at_gateway - Counter(authorize=released, void=released)
        assert order.ours() == at_gateway, f"order {order.order_id}, seed {seed}"
    return tally


@pytest.mark.parametrize("name", SHAPES)
async def test_after_500_orders_with_faults_both_books_are_equal(name: str) -> None:
    tally = await fault_run(name, 500, seed=random.randrange(10**6))
    assert tally.operations >= 2_000 and sum(tally.faults.values()) > 0.25 * tally.operations
    assert {*tally.faults} == {*TROUBLES} and tally.twins > 50, "every fault has happened"
    assert {*tally.left} == {"paid", "unpaid"}


@pytest.mark.chaos(minutes=2)
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", SHAPES)
async def test_after_10000_orders_with_faults_both_books_are_equal(name: str) -> None:
    seed = random.randrange(10**6)
    tally = await fault_run(name, 10_000, seed)
    print(
        f"{name}: {tally.operations} operations, {sum(tally.faults.values())} faults, {tally.twins} twins, seed {seed}"
    )
