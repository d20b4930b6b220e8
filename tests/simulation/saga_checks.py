"""What has to hold of an order: after every message, and at its end."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any, Final
from uuid import UUID

from saga_world import STORE, World

from contracts import orders
from contracts.base import Command
from contracts.deciding import Context, Refusal, effects_of
from contracts.ids import derived
from contracts.orders import (
    CaptureLine,
    CaptureOrder,
    ChangeEdit,
    ConfirmEdit,
    DiscardEdit,
    EditChanges,
    Force,
    GiveUpRefund,
    Hold,
    OrderEvent,
    RefundLine,
    Release,
    Resolution,
    Resolve,
    RetryRefund,
)
from contracts.payments import Outcome
from orders.domain.decisions.actions import ACTIONS, allowed
from orders.domain.engine.story import stuck
from orders.domain.processes import edited, refunded, settled
from orders.domain.processes.kinds import PROCESSES
from orders.domain.shown.views import waiting
from orders.domain.state.order import Order, has_shipped
from orders.handlers import ORDERS

WAYS: tuple[Resolution, ...] = ("accept", "keep")
OUTCOMES: tuple[Outcome, ...] = ("succeeded", "failed")


def is_partly_shipped(order: Order) -> bool:
    statuses = {shipment.status for shipment in order.facts.shipments.values()}
    return "picking" in statuses and bool(statuses & {"shipped", "delivered"})


def shipped(order: Order) -> dict[str, int]:
    """line id -> pieces that have shipped."""
    pieces: dict[str, int] = {}
    for shipment in order.facts.shipments.values():
        for line_id, quantity in shipment.lines.items() if shipment.status in ("shipped", "delivered") else ():
            pieces[line_id] = pieces.get(line_id, 0) + quantity
    return pieces


def check_statuses(event: OrderEvent, expired: bool = False) -> None:
    """The three statuses of a public event agree, at any moment. expired: an authorization of the order has expired, or was paid
    after its time, and is voided."""
    status, payment, fulfillment = event.status, event.payment_status, event.fulfillment_status
    told = f"{event.TYPE}: {status}/{payment}/{fulfillment}"
    voided = ("voided", "partially_voided", "partially_authorized") if expired else ()
    if status == "pending":
        assert payment in ("unpaid", "free") and fulfillment in ("unfulfilled", "not_required"), told
    if status == "placing":
        # A capture may come with the authorization, and what was captured may be refunded by the marketplace at any time.
        assert payment in ("unpaid", "free", "authorized", "paid", "partially_refunded", "refunded", *voided), told
        assert fulfillment in ("unfulfilled", "not_required"), told
    if status == "placed":
        assert payment in ("free", "authorized", "paid", "partially_paid", "partially_refunded", "refunded", *voided), (
            told
        )
        assert fulfillment in ("unfulfilled", "not_required"), told
    if status == "approved" and fulfillment == "in_progress":
        assert payment in ("free", "authorized", "paid", "partially_paid", "partially_refunded", "refunded", *voided), (
            told
        )
    if status == "editing":
        assert payment not in ({"unpaid", "voided"} - {*voided}), told
    if status == "cancelled":
        assert fulfillment in ("unfulfilled", "not_required") or payment == "refunded", told
    if event.TYPE == "orders.completed":
        assert payment in ("paid", "free", "partially_refunded"), told
        assert fulfillment in ("fulfilled", "not_required"), told


def check_order(order: Order) -> None:
    """At any moment."""
    for run in order.open_runs:
        ask = order.asks.get(str(run.operation_id))
        if run.waits == "answer":
            assert ask is not None and not ask.answer and run.due_at is not None, f"{run.id} would never ask again"
        assert run.waits or PROCESSES.paused(run, order.runs), f"{run.id} does not state what it waits for"
    for ask in order.asks.values():
        run = order.runs[ask.run]
        undo = PROCESSES[run.kind].step(ask.step).undo
        if not ask.answer and not run.end and not (undo and undo.decides):
            assert run.operation_id == ask.operation_id and run.due_at is not None, f"{ask.step} is not asked on"
    began = [run for run in order.open_runs if run.kind != "hold"]  # a hold that begins again keeps its place
    for earlier, later in combinations(began, 2):
        assert PROCESSES.precedence[earlier.kind, later.kind] != "excludes", f"{later.id} runs beside {earlier.id}"
    if order.completed_at is not None:
        assert order.status == "approved" and all(run.kind in ("refund", "rebill", "repay") for run in order.open_runs)
    assert len({one.exception_id for one in order.exceptions.values()}) == len(order.exceptions)


WHO_ENDS: Final[Mapping[str, frozenset[str]]] = {
    "person": frozenset({"retry", "retry_refund", "resolve"}),
    "stock": frozenset({"retry"}),
    "approval": frozenset({"approve"}),
    "confirm": frozenset({"confirm_edit", "change_edit", "discard_edit"}),
    "hold": frozenset({"release"}),
}
"""What a process waits for -> the actions of a person that end it."""


def check_owners(order: Order) -> None:
    """Each process that waits has who ends it: a timer that asks again, a person, the warehouse, or another process that has. One
    that is paused or suspended goes on with the process that does so."""
    possible = {*allowed(order)}
    for run in order.open_runs:
        if stuck(run) is not None:  # which `orders.waiting_changed` states
            assert run.due_at is not None, f"{run.id} waits for {stuck(run)} and never asks again"
        if PROCESSES.paused(run, order.runs):
            continue
        if run.waits in WHO_ENDS:
            assert WHO_ENDS[run.waits] & possible, f"no action ends that {run.id} waits for {run.waits} ({run.detail})"
        elif run.waits == "invoice":
            placing = order.status == "placing"  # what is captured is settled when it is placed
            issuing = any(
                (one.kind == "settle" and settled.is_captured(one, order.facts))
                or (one.kind == "rebill" and one.id != run.id)
                for one in order.open_runs
            )
            assert placing or issuing, f"{run.id} waits for an invoice that no settle asks for"
        elif run.waits == "outcomes":
            assert any(not ask.answer for ask in order.asks.values()), f"{run.id} waits for no outcome"
        else:
            assert run.waits in ("answer", "warehouse"), f"{run.id} waits for {run.waits!r}"
    if waiting(order) == "capture" and edited.the_open(order) is None:
        assert "capture" in possible, "it waits for a capture that is not possible"


def check_end(order: Order, picking: bool) -> None:
    """When nothing is on its way any more: at an end, or it shows who has to act. picking: the warehouse has something of it."""
    word = waiting(order)
    for run in order.open_runs:
        assert run.waits != "warehouse" or picking or PROCESSES.paused(run, order.runs), f"{run.id} waits for no parcel"
    if not word and order.status == "approved" and "place" in order.runs:
        assert order.completed_at is not None
    if order.status in ("placing", "placed"):
        assert word, order.status
    if order.status == "cancelled" and not order.open_runs:
        assert order.payment_status in ("unpaid", "voided", "refunded", "free"), order.payment_status
        assert not has_shipped(order) or order.cancel_cause == "refunded"


def check_actions(order: Order, key: UUID, world: World) -> None:
    """What is called legal is taken and does something; what is not is refused or changes nothing."""
    decide = {handler.message: handler.decide for handler in ORDERS.handlers}
    possible = allowed(order)
    for action in (action for action in ACTIONS.values() if action.moves):
        operation = derived(key, f"{action.name} {world.n} {world.now}")
        body = {"order_id": key, "store_id": STORE, "operation_id": operation, "actor": "person:ann"}
        context = Context(world.now, key, STORE, operation, "person:ann", action.message.TYPE)
        any_taken = False
        for command in requests(action.message, order, body):
            effects = effects_of(decide[action.message](order, command, context))
            refusal = next((effect.code for effect in effects if isinstance(effect, Refusal)), None)
            taken = bool(effects) and refusal is None
            code = action.guard(order, command)
            assert taken == (code is None), f"{command} on {order.status}: {effects}"
            if not taken:
                assert refusal == (None if action.why_not[code or ""].answer == "done" else code)
            any_taken |= taken
        assert any_taken == (action.name in possible), f"{action.name} on {order.status}"


def requests(message: type[Any], order: Order, body: dict[str, Any]) -> list[Command]:
    """Every request of an action: for `resolve`, each resolution of each exception, and an exception that is not open; for
    `release`, each hold, one that was released, and one that never was; for `hold`, a reason, and what is none; for `capture`, all,
    and an unknown line; for `force`, each outcome of each operation, and an operation that is not asked."""
    if message is Hold:
        return [Hold(**body, reason=reason) for reason in ("fraud", "none")]
    if message is CaptureOrder:
        return [CaptureOrder(**body), CaptureOrder(**body, lines=(CaptureLine(line_id="none"),))]
    if message is Release:
        return [
            Release(**body, hold_id=one) for one in (*order.holds, *order.released, derived(body["order_id"], "none"))
        ]
    if message is orders.Refund:
        captured = [line for capture in order.facts.captures.values() for line in capture.lines]
        apart = [RefundLine(line_id=line.line_id, amount_minor=1) for line in captured if not line.billed]
        lines = [{"lines": (line,)} for line in (RefundLine(line_id="9", quantity=1), *apart)]
        return [message(**body, **wanted) for wanted in ({"goodwill_minor": 1}, {"goodwill_minor": 10**9}, *lines, {})]
    if message in (RetryRefund, GiveUpRefund):
        known = [refunded.data_of(run).refund_id for run in refunded.of_order(order.runs)]
        return [message(**body, refund_id=one) for one in (*known, derived(body["order_id"], "none"))]
    if message in (ChangeEdit, ConfirmEdit, DiscardEdit):
        known = [edited.data_of(run).edit_id for run in edited.of_order(order)]
        more = {"changes": EditChanges(shipping_minor=7)} if message is ChangeEdit else {}
        return [message(**body, edit_id=one, **more) for one in (*known, derived(body["order_id"], "none"))]
    if message is Force:
        targets = [*(ask.operation_id for ask in order.asks.values()), derived(body["order_id"], "none")]
        return [
            Force(**body, target_operation_id=target, outcome=outcome) for target in targets for outcome in OUTCOMES
        ]
    if message is not Resolve:
        return [message(**body)]
    ids = [*(one.exception_id for one in order.exceptions.values()), derived(body["order_id"], "none")]
    return [Resolve(**body, exception_id=exception, resolution=way) for exception in ids for way in WAYS]
