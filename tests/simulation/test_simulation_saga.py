"""Proof of the processes: for any order of replies, duplicates, timeouts, cancels and people's acts, every order ends in
a legal state, and the promises on money, stock and invoices hold after every single message.

The pure domains of all four services, wired in memory (`saga_world`), the acts (`saga_play`), and what has to hold after
each (`saga_checks`). A failure names its seed, or the steps and the blob that repeat them. HYPOTHESIS_PROFILE=long runs more.
"""

from __future__ import annotations

import os
from functools import cache
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from saga_orders import LOCATIONS, SKUS
from saga_play import Saga
from saga_world import BARE_SELLER, STORE
from test_simulation_repay import held_for_nothing, paid_after_the_cancel

from contracts import orders, payments
from contracts.ids import order_id
from contracts.orders import MarketTerms
from contracts.snapshot import Line, OrderContent, Quantities, Tax, Totals
from orders.domain.processes.kinds import PROCESSES
from orders.domain.shown.views import waiting
from orders.domain.state.order import Progressed

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
RANDOMS = st.randoms(use_true_random=False)
SEEDS_TO_REACH = 60
"""Schedules that together reach every step of every kind."""


@pytest.mark.parametrize("seed", range(1000 if LONG else 100))
def test_whatever_happens_every_order_ends_in_a_legal_state(seed: int) -> None:
    """Promises 1 to 4 and 7, on a schedule drawn from the seed."""
    steps_reached(seed)


def test_the_schedules_reach_every_step_of_every_declared_process() -> None:
    """A kind that is declared and that no schedule reaches is not proven by any of them."""
    missed = {(process.kind, step.name) for process in PROCESSES.values() for step in process.steps}
    for saga in (
        refunded_between_two_parcels(),
        reversed_before_its_invoice(),
        paid_after_the_cancel(),
        held_for_nothing(),
    ):
        missed -= steps_of(saga)
    for seed in range(SEEDS_TO_REACH):
        missed -= steps_reached(seed)
        if not missed:
            return
    raise AssertionError(f"no schedule reaches {missed}")


@cache
def steps_reached(seed: int) -> frozenset[tuple[str, str]]:
    """Plays the schedule of a seed to its end. Raises AssertionError at the first act after which a promise does not hold."""
    rng, saga = Random(seed), Saga()
    saga.opens(rng)
    acts = rng.choices(list(Saga.ACTS), list(Saga.ACTS.values()), k=120)
    for n, act in enumerate(["an_order_comes_in", *acts]):
        try:
            getattr(saga, act)(rng)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, step {n} {act}: {error}") from error
    saga.ends()
    return steps_of(saga)


def steps_of(saga: Saga) -> frozenset[tuple[str, str]]:
    """(kind, step) that its processes have reached."""
    progress = [event for event in saga.world.orders.journal if isinstance(event, Progressed)]
    return frozenset((run.kind, run.step) for event in progress for run in event.runs)


def refunded_between_two_parcels() -> Saga:
    """All the money of an order comes back after its first parcel has left. Schedules of chance hardly ever come to it."""
    saga = Saga()
    world = saga.world
    world.count_stock("main", "A", 5)
    world.count_stock("second", "B", 5)
    lines = tuple(
        Line(
            external_line_id=sku, sku=sku, quantity=Quantities(ordered=2), line_total_minor=1999, tax=(Tax(rate="17"),)
        )
        for sku in SKUS
    )
    told = OrderContent(
        external_order_id="1", placed_at=world.now, currency="EUR", lines=lines, totals=Totals(grand_minor=3998)
    )
    world.markets["a"] = MarketTerms(
        code="m", approval="automatic", seller="acme", locations=LOCATIONS, gateway="test", capture="per_shipment"
    )
    key = order_id(STORE, "bol", "a", "1")
    saga.known[key] = ("a", told)
    saga.tell(key, told, 0)
    saga.drain()
    world.ship(*world.picking()[0])
    saga.drain()
    asked = {"order_id": key, "store_id": STORE, "actor": "person:ann", "operation_id": world.name()}
    assert world.request(orders.Refund(**asked, goodwill_minor=1999)) is None
    saga.ends()
    return saga


def test_a_full_refund_between_two_parcels_gives_back_the_second() -> None:
    """The first stays shipped, the second is in stock again, what was not captured is voided."""
    world = refunded_between_two_parcels().world
    (order,), (state,) = world.orders.states().values(), world.fulfillment.states().values()
    assert (order.status, order.payment_status, order.fulfillment_status) == ("cancelled", "refunded", "unfulfilled")
    assert sorted(one.status for one in state.shipments) == ["cancelled", "shipped"] and not state.held
    assert order.facts.money.voided_minor == 1999


def reversed_before_its_invoice() -> Saga:
    """A line is reversed in the books while its invoice waits for the seller; schedules of chance reverse none."""
    saga = Saga()
    world = saga.world
    world.seller = BARE_SELLER
    line = Line(
        external_line_id="1", sku="A", quantity=Quantities(ordered=2), line_total_minor=1999, tax=(Tax(rate="17"),),
        requires_shipping=False,
    )  # fmt: skip
    told = OrderContent(
        external_order_id="1", placed_at=world.now, currency="EUR", lines=(line,), totals=Totals(grand_minor=1999)
    )
    world.markets["a"] = MarketTerms(
        code="m", approval="automatic", seller="acme", locations=LOCATIONS, gateway="test", capture="on_placement"
    )
    key = order_id(STORE, "bol", "a", "1")
    saga.known[key] = ("a", told)
    saga.tell(key, told, 0)
    saga.drain()
    reverse = payments.Reverse(
        order_id=key, store_id=STORE, operation_id=world.name(), actor="person:ann", currency="EUR",
        reversals=(payments.ReversedLine(line_id="2", reverses="1", quantity=2, amount_minor=1999),),
        lines=(payments.ReplacingLine(line_id="3", quantity=1, amount_minor=1999),),
    )  # fmt: skip
    assert world.request(reverse) is None
    saga.drain()
    saga.everybody_does_their_part()
    return saga


def test_a_line_that_is_reversed_before_its_invoice_is_credited_after_it_and_its_replacement_invoiced() -> None:
    world = reversed_before_its_invoice().world
    (order,), (billing,) = world.orders.states().values(), world.invoicing.states().values()
    assert (order.status, order.payment_status, waiting(order)) == ("approved", "paid", "")
    assert [(one.total_minor, one.credited_minor) for one in billing.invoices.values()] == [(1999, 1999), (1999, 0)]
    assert order.completed_at is not None


class Machine(RuleBasedStateMachine):
    """The same acts in any order that hypothesis thinks of. What fails is made as short as it can be with
    HYPOTHESIS_PROFILE=long, which repeats it first: that takes minutes, more than a test may take."""

    def __init__(self) -> None:
        super().__init__()
        self.saga = Saga()

    @initialize(rng=RANDOMS)
    def opens(self, rng: Random) -> None:
        self.saga.opens(rng)
        self.saga.an_order_comes_in(rng)

    @rule(rng=RANDOMS, act=st.sampled_from(list(Saga.ACTS)), times=st.integers(1, 5))
    def acts(self, rng: Random, act: str, times: int) -> None:
        for _ in range(times):
            getattr(self.saga, act)(rng)

    def teardown(self) -> None:
        self.saga.ends()


Machine.TestCase.settings = settings(
    max_examples=500 if LONG else 30,
    phases=[phase for phase in Phase if LONG or phase not in (Phase.shrink, Phase.explain)],
    stateful_step_count=60 if LONG else 30,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
TestAnyInterleaving = Machine.TestCase
