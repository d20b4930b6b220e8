"""The acts that a schedule is made of: messages, time, gateways, the warehouse, people."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from random import Random
from typing import Any, ClassVar
from uuid import UUID

from saga_checks import check_actions, check_end, check_order, check_owners, check_statuses, is_partly_shipped
from saga_ends import Ends
from saga_gateway import Says
from saga_orders import LOCATIONS, SKUS, changes, content, market, snapshot
from saga_world import BARE_SELLER, COMPLETE_SELLER, STORE, Record, World

from contracts import orders
from contracts.base import Event
from contracts.deciding import Refusal
from contracts.ids import order_id
from contracts.orders import (
    HOLD_REASONS,
    Approve,
    ApproveAndCapture,
    AskAgain,
    Cancel,
    CaptureOrder,
    ChangeEdit,
    ConfirmEdit,
    DiscardEdit,
    GiveUp,
    GiveUpRefund,
    Held,
    Hold,
    OpenEdit,
    OrderEvent,
    Place,
    Placed,
    RefundLine,
    Release,
    Released,
    Resolution,
    Resolve,
    Retry,
    RetryRefund,
)
from contracts.payments import Outcome
from contracts.snapshot import OrderContent
from orders.domain.decisions.actions import ACTIONS, allowed
from orders.domain.decisions.exceptions import why_not
from orders.domain.processes import edited, refunded
from orders.domain.processes.kinds import PROCESSES
from orders.domain.shown.views import waiting
from orders.domain.state.order import Order, Progressed
from orders.domain.state.run import Run

WAYS: tuple[Resolution, ...] = ("accept", "keep")
OUTCOMES: tuple[Outcome, ...] = ("succeeded", "failed")
AT_REST = {"approval", "capture", "confirm", "hold", "stock", "warehouse", "exception"}
"""What an order may wait for when nothing is under way any more; the rest is at its end."""


class Saga(Ends):
    """Up to three orders that share a shelf and a series, and everybody who acts on them. Every choice is the `rng`'s."""

    def __init__(self) -> None:
        super().__init__(World())
        self.known: dict[UUID, tuple[str, OrderContent]] = {}
        self.stated = 0
        self.looked_at: dict[UUID, tuple[Order, datetime]] = {}
        self.holds: dict[UUID, set[UUID]] = defaultdict(set)

    def opens(self, rng: Random) -> None:
        ample, apart = rng.random() < 0.5, rng.random() < 0.3
        for n, location in enumerate(LOCATIONS):
            for m, sku in enumerate(SKUS):
                pieces = rng.randint(20, 30) if ample else rng.randint(0, 6)
                self.world.count_stock(location, sku, pieces if n == m or not apart else 0)
        self.world.seller = COMPLETE_SELLER if rng.random() < 0.7 else BARE_SELLER
        self.issue_gift_cards(rng)

    # -- what marketplaces state -------------------------------------------------------------------------------------

    def an_order_comes_in(self, rng: Random) -> None:
        if len(self.known) < 3:
            told, account = content(rng, self.cards), f"a{len(self.known)}"
            self.world.markets[account] = market(rng)
            key = order_id(STORE, "bol", account, told.external_order_id)
            self.known[key] = (account, told)
            if rng.random() < 0.3:
                self.place(key, told)
            else:
                self.tell(key, told, 0)

    def the_marketplace_says_more(self, rng: Random) -> None:
        if self.known:
            key = rng.choice(sorted(self.known))
            lifecycle = rng.choice(
                ["ready_to_fulfill", "ready_to_fulfill", "shipped", "partially_shipped", "cancelled"]
            )
            told = rng.choice([self.known[key][1], content(rng, self.cards)])
            if key in self.placed_here:
                self.place(key, told)
            else:
                self.tell(key, told.model_copy(update={"lifecycle": lifecycle}), rng.randint(-1, 3))

    def place(self, key: UUID, told: OrderContent) -> None:
        """By a request, at first or once more."""
        self.placed_here.add(key)
        body = {"order_id": key, "store_id": STORE, "operation_id": self.world.name(), "actor": "api-key:till"}
        self.world.request(Place(**body, channel="bol", account=self.known[key][0], order=told))

    def tell(self, key: UUID, told: OrderContent, seconds: int) -> None:
        message = snapshot(told, self.known[key][0], self.world.now, seconds)
        self.world.publish(Record(self.world.name(), message.TYPE, key, message.model_dump_json()))

    # -- how messages travel ------------------------------------------------------------------------------------------

    def messages_arrive(self, rng: Random) -> None:
        for _ in range(rng.randint(1, 8)):
            if queues := self.world.waiting_queues():
                self.world.deliver(rng.choice(queues))
        self.look()

    def a_message_arrives_again(self, rng: Random) -> None:
        self.world.deliver_again(rng.randrange(1000))

    def time_passes(self, rng: Random) -> None:
        self.world.pass_time(rng.choice([1, 31, 61, 901, 4000]))
        self.look()

    # -- what others do -----------------------------------------------------------------------------------------------

    def the_gateway_answers(self, rng: Random) -> None:
        if tasks := self.world.gateway.tasks():
            says: Says = rng.choice(["yes", "yes", "yes", "yes", "no", "expired"])
            pays_within = rng.choice([None, None, 600.0])
            self.world.gateway.run(rng.choice(tasks), says=says, pending=rng.random() < 0.3, pays_within=pays_within)

    def a_frozen_worker_reports_too(self, rng: Random) -> None:
        self.world.gateway.report_again(rng.randrange(1000))

    def the_warehouse_ships(self, rng: Random) -> None:
        if picking := self.world.picking():
            self.world.ship(*rng.choice(picking))

    def a_person_asks(self, rng: Random) -> None:
        if self.known:
            self.ask(
                rng.choice([Approve, ApproveAndCapture, AskAgain, CaptureOrder, Cancel, GiveUp, Retry]),
                rng.choice(sorted(self.known)),
            )
            self.look()

    def resolve(self, key: UUID, order: Order) -> None:
        """Ends the first exception that can end: by `accept` or `keep`, and by the other one if that is refused."""
        one = next(
            one for code, one in order.exceptions.items() if any(why_not(order, code, way) is None for way in WAYS)
        )
        body = {"order_id": key, "store_id": STORE, "actor": "person:ann", "exception_id": one.exception_id}
        wishes: tuple[Resolution, ...] = ("accept", "keep") if one.exception_id.int % 2 else ("keep", "accept")
        for resolution in wishes:
            command = Resolve(**body, operation_id=self.world.name(), resolution=resolution)
            if self.world.request(command) is None:
                return
        raise AssertionError(f"{order.exceptions} cannot be resolved")

    def ask(self, word: type[Any], key: UUID, **body: Any) -> Refusal | None:
        command = word(order_id=key, store_id=STORE, operation_id=self.world.name(), actor="person:ann", **body)
        return self.world.request(command)

    def a_person_holds_or_releases(self, rng: Random) -> None:
        if not self.known:
            return
        key = rng.choice(sorted(self.known))
        order = self.world.orders.states().get(key)
        holds = sorted(order.holds) if order is not None else []
        if holds and rng.random() < 0.5:
            self.ask(Release, key, hold_id=UUID(rng.choice(holds)))
        else:
            until = rng.choice([None, self.world.now + timedelta(seconds=rng.choice([0, 50, 5000]))])
            self.ask(Hold, key, reason=rng.choice(HOLD_REASONS), until=until)
        self.look()

    def a_person_refunds(self, rng: Random) -> None:
        """Pieces, an amount, goodwill, or all that is left; a refused refund is tried again or given up."""
        orders_ = self.world.orders.states()
        paid = [(key, left) for key, order in sorted(orders_.items()) if (left := refunded.left_minor(order))]
        refused = [(key, run) for key, order in sorted(orders_.items()) for run in refunded.of_order(order.runs)
                   if refunded.can_be_given_up(run) and order.undo is None]  # fmt: skip
        if refused and rng.random() < 0.5:
            key, run = rng.choice(refused)
            self.about_refund(rng.choice([RetryRefund, GiveUpRefund]), key, run)
        elif paid:
            between = [one for one in paid if is_partly_shipped(orders_[one[0]])]
            key, left = rng.choice(between or paid)
            lines = [(one.line_id, one.to_refund.quantity, one.to_refund.amount_minor)
                     for capture in orders_[key].facts.captures.values() for one in capture.lines]  # fmt: skip
            line_id, pieces, minor = rng.choice(lines)
            wanted = rng.choice(
                [
                    {"lines": (RefundLine(line_id=line_id, quantity=rng.randint(1, max(pieces, 1))),)},
                    {"lines": (RefundLine(line_id=line_id, amount_minor=rng.randint(1, max(minor, 1))),)},
                    {"goodwill_minor": rng.randint(1, left), "restock": True},
                    {"goodwill_minor": left},
                ]
                if key not in dict(between) or rng.random() < 0.5
                else [{"goodwill_minor": left}]
            )
            body: dict[str, Any] = {"reason": "goodwill", "restock": rng.random() < 0.5, **wanted}
            asked = {"order_id": key, "store_id": STORE, "actor": "person:ann"}
            self.world.request(orders.Refund(**asked, operation_id=self.world.name(), **body))
        self.look()

    def about_refund(self, word: type[Any], key: UUID, run: Run) -> Refusal | None:
        asked = {"order_id": key, "store_id": STORE, "actor": "person:ann"}
        refund_id = refunded.data_of(run).refund_id
        return self.world.request(word(**asked, operation_id=self.world.name(), refund_id=refund_id))

    def a_person_edits(self, rng: Random) -> None:
        """Opens an edit; or changes, confirms or discards the one that is open."""
        started = {key: order for key, order in sorted(self.world.orders.states().items()) if "place" in order.runs}
        if not started:
            return
        key = rng.choice([*started])
        order, run = started[key], edited.the_open(started[key])
        assert order.content is not None
        asked = {"order_id": key, "store_id": STORE, "actor": "person:ann", "operation_id": self.world.name()}
        if run is None:
            self.world.request(OpenEdit(**asked, changes=changes(rng, order.content)))
        elif rng.random() < 0.7:
            self.world.request(ConfirmEdit(**asked, edit_id=edited.data_of(run).edit_id))
        elif rng.random() < 0.7:
            about = {**asked, "edit_id": edited.data_of(run).edit_id}
            self.world.request(ChangeEdit(**about, changes=changes(rng, order.content)))
        else:
            self.world.request(DiscardEdit(**asked, edit_id=edited.data_of(run).edit_id))
        self.look()

    def the_cause_is_mended_or_made(self, rng: Random) -> None:
        self.world.seller = COMPLETE_SELLER if rng.random() < 0.6 else BARE_SELLER
        self.world.count_stock("main", rng.choice(SKUS), rng.randint(0, 9))

    # name -> how often, in a schedule drawn from a seed
    ACTS: ClassVar[dict[str, int]] = {
        "an_order_comes_in": 2,
        "the_marketplace_says_more": 1,
        "messages_arrive": 20,
        "a_message_arrives_again": 2,
        "time_passes": 3,
        "the_gateway_answers": 8,
        "a_frozen_worker_reports_too": 1,
        "the_warehouse_ships": 2,
        "a_person_asks": 3,
        "a_person_holds_or_releases": 1,
        "a_person_refunds": 2,
        "a_person_edits": 4,
        "a_part_goes_back": 1,
        "a_refund_is_recorded": 1,
        "captured_pieces_are_reversed": 2,
        "a_payment_is_recorded": 2,
        "a_buyer_pays_in_a_session": 2,
        "a_buyer_disputes": 1,
        "a_gift_card_changes": 1,
        "the_cause_is_mended_or_made": 1,
    }

    # -- what must hold -----------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Checks the orders, and the events since the last check."""
        for event in self.world.orders.journal[self.stated :]:
            if isinstance(event, OrderEvent):
                check_statuses(event, self.world.gateway.has_expired(event.order_id))
            self.check_held(event)
        self.stated = len(self.world.orders.journal)
        for key, order in self.world.orders.states().items():
            if self.looked_at.get(key) != (looked_at := (order, self.world.now)):  # else decisions are the same
                self.looked_at[key] = looked_at
                check_order(order)
                check_owners(order)
                check_actions(order, key, self.world)

    def check_held(self, event: Event) -> None:
        """No process that a hold suspends asks anything new of an order that is held."""
        holds = self.holds[event.key]
        if isinstance(event, Held):
            holds.add(event.hold_id)
        elif isinstance(event, Released):
            holds.remove(event.hold_id)
        elif isinstance(event, Progressed) and holds:
            asked = [ask for ask in event.asks if not ask.answer]
            kinds = {ask.run.partition(":")[0] for ask in asked}
            assert not any(PROCESSES.precedence[kind, "hold"] == "suspends" for kind in kinds), f"{asked} while held"
        elif isinstance(event, Placed):
            assert not holds, "placed while it is held"

    def ends(self) -> None:
        self.drain()
        picked = {key for key, _ in self.world.picking()}
        for key, order in self.world.orders.states().items():
            word = waiting(order)
            assert word in AT_REST or not order.open_runs, f"hangs: {order.status} waits for {word!r}"
            check_end(order, key in picked)
        self.everybody_does_their_part()
        for seconds in (4_001, 9_001):  # every session has ended; what was paid in one has waited for its order
            self.world.pass_time(seconds)
            self.drain()
        for key, order in self.world.orders.states().items():
            self.check_final(key, order)
        self.check_gift_cards()

    def drain(self) -> None:
        """All that is on its way arrives, and every gateway call comes to its end."""
        for _ in range(10_000):
            if queues := self.world.waiting_queues():
                self.world.deliver(queues[0])
            elif tasks := self.world.gateway.tasks():
                self.world.gateway.run(tasks[0])
            elif awaited := self.world.gateway.awaited():
                assert self.world.gateway.inform(awaited[0][0], awaited[0][2]) is None
            else:
                break
        else:
            raise AssertionError("the messages never end")
        self.look()

    def everybody_does_their_part(self) -> None:
        """Stock comes, the seller is complete, people approve and retry, the warehouse ships."""
        world = self.world
        world.seller = COMPLETE_SELLER
        for location in LOCATIONS:
            for sku in SKUS:
                world.count_stock(location, sku, 1000)
        for attempt in range(40):
            world.pass_time(901)
            self.drain()
            for key, order in world.orders.states().items():
                possible = allowed(order)
                if attempt > 4 and "give_up_refund" in possible:
                    for run in filter(refunded.can_be_given_up, refunded.of_order(order.runs)):
                        assert self.about_refund(GiveUpRefund, key, run) is None
                    continue
                for action in possible:
                    order = world.orders.states()[key]
                    if action not in allowed(order):
                        continue  # an action before it has done it
                    if action == "discard_edit":
                        self.end_the_edit(key, order)
                    elif action == "resolve":
                        self.resolve(key, order)
                    elif action == "release":
                        for hold in order.holds.values():
                            assert self.ask(Release, key, hold_id=hold.hold_id) is None
                    elif action in ("approve", "capture", "retry"):
                        refusal = self.ask(ACTIONS[action].message, key)
                        assert refusal is None, refusal
            self.drain()
            for key, shipment_id in world.picking():
                world.ship(key, shipment_id)
            self.drain()
            if not any(
                order.open_runs or {"resolve", "capture"} & {*allowed(order)}
                for order in world.orders.states().values()
            ):
                return
        raise AssertionError([(order.status, waiting(order)) for order in world.orders.states().values()])

    def end_the_edit(self, key: UUID, order: Order) -> None:
        """Confirms the draft if that is possible, else discards it."""
        run = edited.the_open(order)
        assert run is not None
        asked = {"order_id": key, "store_id": STORE, "actor": "person:ann", "edit_id": edited.data_of(run).edit_id}
        word: type[Any] = ConfirmEdit if "confirm_edit" in allowed(order) else DiscardEdit
        refusal = self.world.request(word(**asked, operation_id=self.world.name()))
        assert refusal is None, refusal
