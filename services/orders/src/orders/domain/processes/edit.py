"""How a placed order is edited. A row: the command, its yes, its noes and what they cause, what leaves it out, its end.

The edit becomes true when everything that it needs more is reserved and authorized (`orders.edited`, the point of no
return). Before it a refusal discards the edit. The steps behind it serve both ends: they give back what is too much.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final, Literal
from uuid import UUID

from contracts import fulfillment, payments
from contracts.base import Timestamp
from contracts.orders import (
    EditCause,
    EditChanged,
    EditChanges,
    EditConfirmed,
    EditDiscarded,
    EditOpened,
    FulfillmentStatus,
)
from contracts.payments import RECORDED
from contracts.snapshot import OrderContent
from orders.domain.content.amounts import destination, ships_anything
from orders.domain.content.previews import Difference, Money, difference
from orders.domain.content.refunds import Part
from orders.domain.content.snapshots import wholly_cancelled
from orders.domain.engine.process import Closed, Past, Process, Step
from orders.domain.engine.story import Story
from orders.domain.processes import differences, refund, refunded, settle_edits, settling, undo
from orders.domain.processes.edited import (
    KIND,
    NO_CHANGES,
    EditData,
    Returned,
    data_of,
    plan_of,
    state_of,
    target,
    the_open,
    why_not,
)
from orders.domain.state.lines import history
from orders.domain.state.order import Order
from orders.domain.state.run import Run

EXPIRES_SECONDS: Final = 86_400
"""How long an edit may wait for its confirmation, unless its market states another time."""


# -- up to the point of no return -------------------------------------------------------------------------------------


def expires(story: Story, run: Run) -> Timestamp:
    return data_of(run).expires_at


def expired(story: Story, run: Run) -> None:
    discard(story, run, "edit_expired", "it was not confirmed in time")


def nothing_awaited(story: Story, run: Run) -> bool:
    return is_discarded(story, run) or nothing_is_open(story, run)


def nothing_is_open(story: Story, run: Run) -> bool:
    """Whether every operation of the processes that the edit suspends is answered; the warehouse is suspended instead."""
    for ask in story.asks.values():
        if not ask.answer and story.kinds.suspends(story.runs[ask.run], run):
            undo = story.kinds[story.runs[ask.run].kind].step(ask.step).undo
            if undo is None or not undo.decides:
                return False
    return True


def still_possible(story: Story, run: Run, event: Any = None) -> None:
    """What has happened since the preview may have made it impossible."""
    order = story.order.model_copy(update={"facts": story.facts, "runs": story.runs})
    if not is_discarded(story, run) and (reason := next(iter(why_not(order, target(order))), None)) is not None:
        _give_up(story, run, reason.code, reason.detail)


def suspend(story: Story, run: Run, operation: UUID) -> fulfillment.Suspend:
    return fulfillment.Suspend(**story.addressed(operation))


def warehouse_has_nothing(story: Story, run: Run) -> bool:
    return is_discarded(story, run) or not story.facts.start_asked or story.facts.fulfilled


def suspended(story: Story, run: Run, event: fulfillment.Suspended | Past | None) -> None:
    if event is not None:
        run = story.set_data(run, suspension_id=event.operation_id)
        still_possible(story, run)


def extend(story: Story, run: Run, operation: UUID) -> fulfillment.Extend:
    order, after = story.order, target(story.order)
    assert order.market is not None
    skus = {line.external_line_id: line.sku or "" for line in after.lines}
    return fulfillment.Extend(
        **story.addressed(operation),
        lines=tuple(
            fulfillment.WantedLine(line_id=line_id, sku=skus[line_id], quantity=pieces)
            for line_id, pieces in _difference(story).to_reserve.items()
        ),
        locations=order.market.locations,
        ship_to=destination(after),
    )


def reserves_no_more(story: Story, run: Run) -> bool:
    return is_discarded(story, run) or not _difference(story).to_reserve


def extended(story: Story, run: Run, event: fulfillment.Extended | Past | None) -> None:
    if event is not None:
        story.set_data(run, release=_difference(story).to_reserve)


def out_of_stock(story: Story, run: Run, event: fulfillment.OutOfStock | Past) -> None:
    short = ", ".join(line.line_id for line in getattr(event, "short", ()))
    _give_up(story, run, "out_of_stock", f"too few pieces of line {short}" if short else "")
    story.advance(run.id)


def authorize(story: Story, run: Run, operation: UUID) -> payments.Authorize:
    """Without the payment token: gateways take one once."""
    order = story.order
    assert order.content is not None and order.market is not None
    elsewhere = order.market.gateway == RECORDED and story.facts.undone is None
    return payments.Authorize(
        **story.addressed(operation),
        gateway=order.market.gateway, account=order.market.account, currency=order.content.currency, reference=order.content.external_order_id,
        lines=_money(story).authorize,
        unless_recorded=elsewhere, authorizations_before=len(story.facts.authorizations) if elsewhere else None,
    )  # fmt: skip


def is_not_dearer(story: Story, run: Run) -> bool:
    return is_discarded(story, run) or not _money(story).authorize


def follow(story: Story, event: payments.Authorized) -> None:
    """What was recorded while the request for it was under way answers the request, as in `place.follow`."""
    order, run = story.order, the_open(story.order)
    if run is None or run.step != "authorize" or run.operation_id is None or str(event.operation_id) in story.asks:
        return
    assert order.market is not None
    asked = plan_of(_difference(story), story.runs, order.facts).authorize  # by what was authorized before this event
    wanted = {line.line_id: line.amount_minor for line in asked}
    if order.market.gateway == RECORDED and wanted == {line.line_id: line.amount_minor for line in event.lines}:
        story.answered(event.model_copy(update={"operation_id": run.operation_id}))


def declined(story: Story, run: Run, event: payments.Declined | Past) -> None:
    _give_up(story, run, "payment_declined", f"{event.code}: {event.reason}")
    story.advance(run.id)


# -- the point of no return -------------------------------------------------------------------------------------------


def becomes_true(story: Story, run: Run, event: payments.Authorized | Past | None) -> None:
    """The order is what the edit makes of it. What is captured and not yet invoiced is invoiced as it was sold."""
    if is_discarded(story, run):
        return
    order, after, carried = story.order, target(story.order), story.order.carried
    assert order.content is not None and order.market is not None
    before, change, back = order.content, _difference(story), _money(story).refund
    settle_edits.before_edit(story)
    story.edit(
        after, order.market, status=_resting(order), fulfillment=_fulfillment(order, after),
        edit_id=data_of(run).edit_id, lines=history(order, change, back),
    )  # fmt: skip
    returned = settle_edits.after_edit(story, back)
    differences.compare_edited(story, before, carried, data_of(run).accepted)
    story.set_data(
        run, outcome="edited", release=change.to_release, readdressed=destination(before) != destination(after),
        refund=tuple(Returned(capture_id=capture_id, lines=lines) for capture_id, lines in returned),
    )  # fmt: skip


def _fulfillment(order: Order, after: OrderContent) -> FulfillmentStatus:
    if not ships_anything(after):
        return "not_required"
    return "unfulfilled" if order.fulfillment_status == "not_required" else order.fulfillment_status


# -- giving back what is too much -------------------------------------------------------------------------------------


def reduce(story: Story, run: Run, operation: UUID) -> fulfillment.Reduce:
    lines = data_of(run).release.items()
    return fulfillment.Reduce(
        **story.addressed(operation),
        lines=tuple(fulfillment.LinePieces(line_id=line_id, quantity=pieces) for line_id, pieces in lines),
    )


def releases_nothing(story: Story, run: Run) -> bool:
    return not data_of(run).release


def refused(story: Story, run: Run, event: Any) -> None:
    """A refusal of what the edit has to give back: it waits for a person, who retries when the cause is fixed."""
    story.step_failed(run, getattr(event, "code", "refused"), getattr(event, "reason", ""))


def void(story: Story, run: Run, operation: UUID) -> payments.Void:
    authorization_id, lines = _money(story).void[0]
    return payments.Void(**story.addressed(operation), authorization_id=authorization_id, lines=lines)


def voids_nothing(story: Story, run: Run) -> bool:
    return not _money(story).void


def voided(story: Story, run: Run, event: payments.Voided | Past | None) -> None:
    if event is not None and _money(story).void:
        story.set(run, step="reduce")  # enters `void` again, for the next authorization


def resume(story: Story, run: Run, operation: UUID) -> fulfillment.Resume:
    suspension_id = data_of(run).suspension_id
    assert suspension_id is not None
    return fulfillment.Resume(**story.addressed(operation), suspension_id=suspension_id)


def is_not_suspended(story: Story, run: Run) -> bool:
    return data_of(run).suspension_id is None


def ended(story: Story, run: Run) -> None:
    """Money that was captured goes back, new money is captured by the market's option, shipments get their address."""
    data = data_of(run)
    story.set_data(run, changes=NO_CHANGES, release={}, refund=(), suspension_id=None)
    if data.outcome != "edited":
        return
    _pay_back(story, data)
    settling.begin_due(story)
    if data.readdressed:
        _send_address(story)


def _pay_back(story: Story, data: EditData) -> None:
    """What goes back, less what other refunds take since. A marketplace that takes the money gives back by itself what it has
    cancelled: that is booked, and taken for the refund that it states later."""
    market, planned = story.order.market, [Part(part.capture_id, part.lines) for part in data.refund]
    assert market is not None
    parts = refunded.still_left(story, planned) if planned else []
    if parts:
        recorded = data.cause == "marketplace" and market.gateway == "marketplace"
        refund.begin(story, parts, data.edit_id, "edit", actor=data.actor, recorded=recorded)


def _send_address(story: Story) -> None:
    """Starts again, as a new operation, what the warehouse has started with another address."""
    run = story.runs.get("place")
    if run is not None and run.step == "fulfill" and not run.end:
        story.ask_anew(run)


def undone(story: Story, run: Run) -> None:
    """The order was cancelled, and with it what the edit had reserved and authorized."""
    if not data_of(run).outcome:
        _give_up(story, run, "order_cancelled", "")
    story.set_data(story.runs[run.id], changes=NO_CHANGES, release={}, refund=(), suspension_id=None)


def leaves(story: Story, run: Run) -> Closed:
    return Closed(data_of(run).edit_id, state_of(run))


# fmt: off
EDIT = Process(KIND, EditData, (
    #    step          command        yes                         no -> what it causes                       left out when                waits for          its end
    Step("draft",      ask=None,      yes=None,                                                                                           waits="confirm",   until=expires, expired=expired),
    Step("outcomes",   ask=None,      yes=None,                                                              skip=nothing_awaited,        waits="outcomes",  then=still_possible),
    Step("suspend",    ask=suspend,   yes=fulfillment.Suspended,                                             skip=warehouse_has_nothing,                     then=suspended),
    Step("extend",     ask=extend,    yes=fulfillment.Extended,   no={fulfillment.OutOfStock: out_of_stock}, skip=reserves_no_more,                          then=extended),
    Step("authorize",  ask=authorize, yes=payments.Authorized,    no={payments.Declined: declined},          skip=is_not_dearer,                             then=becomes_true),
    # the point of no return: the steps behind it also end a discarded edit
    Step("reduce",     ask=reduce,    yes=fulfillment.Reduced,    no={fulfillment.TooLate: refused},         skip=releases_nothing),
    Step("void",       ask=void,      yes=payments.Voided,        no={payments.Failed: refused},             skip=voids_nothing,                             then=voided),
    Step("resume",     ask=resume,    yes=fulfillment.Resumed,                                               skip=is_not_suspended),
), ended=ended, undone=undone, leaves=leaves, patience=False)
# fmt: on


# -- what a person requests -------------------------------------------------------------------------------------------


def open_edit(
    story: Story, edit_id: UUID, cause: EditCause, *, actor: str, changes: EditChanges = NO_CHANGES, reason: str = "",
    answers: UUID | None = None,
) -> Run:  # fmt: skip
    """Opens an edit; returns its process, which waits for the confirmation."""
    now, market = story.context.now, story.order.market
    assert market is not None
    expires_at = now + timedelta(seconds=market.edit_expires_seconds or EXPIRES_SECONDS)
    data = EditData(
        edit_id=edit_id, cause=cause, actor=actor, reason=reason, opened_at=now, expires_at=expires_at, changes=changes
    )
    run = Run(id=story.next_id(KIND), data=data, since=now)
    story.state(
        EditOpened, status="editing", answers=answers, edit_id=edit_id, number=run.number, cause=cause, changes=changes,
        reason=reason, actor=actor, expires_at=expires_at,
    )  # fmt: skip
    story.begin(run)
    return story.runs[run.id]


def change(story: Story, run: Run, changes: EditChanges, answers: UUID) -> None:
    story.state(EditChanged, answers=answers, edit_id=data_of(run).edit_id, changes=changes)
    story.set_data(run, changes=changes)


def confirm(story: Story, run: Run, content: OrderContent, *, actor: str, answers: UUID | None = None) -> None:
    """Carries it out. An edit that leaves no piece cancels the order."""
    if wholly_cancelled(content):
        discard(story, run, "order_cancelled", "it leaves nothing of the order", actor=actor)
        undo.begin(story, "marketplace" if data_of(run).cause == "marketplace" else "customer", answers)
        return
    story.state(EditConfirmed, answers=answers, edit_id=data_of(run).edit_id, order=content, actor=actor)
    story.pass_step(run)


def discard(story: Story, run: Run, code: str, detail: str, *, actor: str = "", answers: UUID | None = None) -> None:
    """Ends an edit that is not confirmed."""
    _give_up(story, run, code, detail, actor=actor, answers=answers)
    story.advance(run.id)


def _give_up(story: Story, run: Run, code: str, detail: str, **more: Any) -> None:
    """What the marketplace has changed and the edit does not take over is an exception again."""
    _state_discarded(story, run, code, detail, **more)
    story.set_data(run, outcome="discarded", code=code, explanation=detail[:500])
    if code != "order_cancelled":
        differences.raise_refused(story, data_of(run).accepted, code, detail)


def _state_discarded(story: Story, run: Run, code: str, detail: str, **more: Any) -> None:
    status = story.order.status
    story.state(
        EditDiscarded, status=_resting(story.order) if status == "editing" else None, edit_id=data_of(run).edit_id,
        code=code, detail=detail[:500], **more,
    )  # fmt: skip


def _resting(order: Order) -> Literal["placed", "approved"]:
    """The status of an order that is not being edited."""
    return "approved" if order.approved_at is not None else "placed"


def proceed(story: Story) -> None:
    """An edit that waits for outcomes goes on when the last one is there. Called after every answer."""
    for run in story.runs.values():
        if run.waits == "outcomes" and run.kind == KIND and not run.end and not story.is_paused(run):
            if nothing_is_open(story, run):
                story.pass_step(run)
            return


def _difference(story: Story) -> Difference:
    assert story.order.content is not None
    return difference(story.order.content, target(story.order))


def _money(story: Story) -> Money:
    return plan_of(_difference(story), story.runs, story.facts)


def is_discarded(story: Story, run: Run) -> bool:
    return data_of(run).outcome == "discarded"
