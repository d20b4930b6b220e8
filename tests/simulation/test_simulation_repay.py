"""Money that comes after the cancel, or that a gateway does not release, in all four services: it goes back, or a person is shown it."""

from __future__ import annotations

from saga_gateway import Says
from saga_play import Saga
from saga_world import STORE

from contracts import orders, payments
from contracts.deciding import Task
from contracts.ids import order_id
from contracts.orders import MarketTerms
from contracts.snapshot import Line, OrderContent, Quantities, Tax, Totals
from orders.domain.shown.views import waiting
from orders.domain.state.order import Order
from payments.domain.gateway import GatewayCall


class Paid(Saga):
    """An order of one service, captured and invoiced. A test states each answer of its gateway."""

    def __init__(self) -> None:
        super().__init__()
        world = self.world
        line = Line(
            external_line_id="1", quantity=Quantities(ordered=2), line_total_minor=1999, tax=(Tax(rate="17"),),
            requires_shipping=False,
        )  # fmt: skip
        told = OrderContent(
            external_order_id="1", placed_at=world.now, currency="EUR", lines=(line,), totals=Totals(grand_minor=1999)
        )
        world.markets["a"] = MarketTerms(
            code="m", approval="automatic", seller="acme", gateway="test", capture="on_placement"
        )
        self.key = order_id(STORE, "bol", "a", "1")
        self.known[self.key] = ("a", told)
        self.tell(self.key, told, 0)
        self.drain()

    @property
    def order(self) -> Order:
        found = self.world.orders.states()[self.key]
        assert isinstance(found, Order)
        return found

    def reverse_to_a_dearer_line(self) -> None:
        asked = {"order_id": self.key, "store_id": STORE, "operation_id": self.world.name(), "actor": "person:ann"}
        self.reversed.add(self.key)
        command = payments.Reverse(
            **asked, currency="EUR",
            reversals=(payments.ReversedLine(line_id="2", reverses="1", quantity=2, amount_minor=1999),),
            lines=(payments.ReplacingLine(line_id="3", quantity=1, amount_minor=2599, title="Better", rate="17"),),
        )  # fmt: skip
        assert self.world.request(command) is None
        self.messages_come()

    def messages_come(self) -> None:
        while queues := self.world.waiting_queues():
            self.world.deliver(queues[0])
        self.look()

    def asked(self, *, to_follow: bool = False) -> Task:
        """The one call of the gateway that is under way. to_follow: what became of one that it answers later."""
        [task] = [
            one
            for one in self.world.payments.tasks.values()
            if isinstance(one.body, GatewayCall) and one.body.ask_only is to_follow
        ]
        return task

    def answers(self, kind: str, says: Says = "yes", *, pending: bool = False, to_follow: bool = False) -> None:
        task = self.asked(to_follow=to_follow)
        assert isinstance(task.body, GatewayCall) and task.body.kind == kind
        self.world.gateway.run(task, says=says, pending=pending)
        self.messages_come()


def paid_after_the_cancel() -> Paid:
    """The buyer pays what a replacement costs more when the order has been cancelled, and all its money is back."""
    saga = Paid()
    saga.reverse_to_a_dearer_line()
    saga.answers("authorize", pending=True)
    assert saga.ask(orders.Cancel, saga.key, cause="customer") is None
    saga.messages_come()
    saga.answers("refund")
    assert (saga.order.status, saga.order.payment_status, saga.order.open_runs) == ("cancelled", "refunded", [])
    saga.answers("authorize", to_follow=True)
    if saga.order.facts.money.captured_minor == 1999:  # captured by a call of its own
        saga.answers("capture")
    assert saga.order.facts.money.captured_minor == 2599
    return saga


def test_what_a_buyer_pays_after_the_cancel_goes_back_without_a_person() -> None:
    saga = paid_after_the_cancel()
    assert not saga.order.exceptions and waiting(saga.order) == "answer"
    saga.answers("refund")
    assert (saga.order.payment_status, waiting(saga.order)) == ("refunded", "")
    saga.ends()


def test_what_the_gateway_does_not_refund_is_shown_and_refunded_by_one_request() -> None:
    saga = paid_after_the_cancel()
    saga.answers("refund", "no")
    assert {*saga.order.exceptions} == {"captured_after_cancel"} and waiting(saga.order) == "exception"
    assert saga.ask(orders.Retry, saga.key) is None
    saga.messages_come()
    saga.answers("refund")
    assert (saga.order.payment_status, waiting(saga.order)) == ("refunded", "")
    saga.ends()


def held_for_nothing() -> Paid:
    """What a replacement costs more is authorized and not captured; the gateway refuses the void as well, twice."""
    saga = next(one for one in (_authorized_apart(n) for n in range(20)) if one is not None)
    saga.answers("capture", "no")
    saga.answers("void", "no")
    assert not {"void_refused"} & {*saga.order.exceptions}
    saga.answers("void", "no")
    return saga


def _authorized_apart(names: int) -> Paid | None:
    """Half of the gateway's calls authorize and capture: by the names of the operations."""
    saga = Paid()
    for _ in range(names):
        saga.world.name()
    saga.reverse_to_a_dearer_line()
    saga.answers("authorize")
    return saga if saga.order.facts.money.captured_minor == 1999 else None


def test_what_the_gateway_does_not_release_is_shown_and_released_by_one_request() -> None:
    saga = held_for_nothing()
    assert {*saga.order.exceptions} == {"void_refused", "difference_unpaid"}
    assert saga.ask(orders.Retry, saga.key) is None
    saga.messages_come()
    saga.answers("void")
    assert {*saga.order.exceptions} == {"difference_unpaid"}
    assert not [run for run in saga.order.open_runs if run.kind == "repay"]
    saga.ends()


def test_a_cancel_releases_it_too() -> None:
    saga = held_for_nothing()
    assert saga.ask(orders.Cancel, saga.key, cause="customer") is None
    saga.ends()
    assert (saga.order.status, saga.order.exceptions) == ("cancelled", {})
    assert saga.order.facts.money.voided_minor == 600
