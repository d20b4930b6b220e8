"""What a marketplace changes of an order that has started: an edit takes it over, by the market's rule or when a person accepts.

The changes since what the marketplace stated before are merged into the order as it is here, so what people have edited
stays. Changes that leave nothing of the order cancel it. What cannot be taken over stays an exception with the reason.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final, NamedTuple
from uuid import UUID

from contracts.orders import CancelCause
from contracts.snapshot import OrderContent
from orders.domain.content import agreement, merging, snapshots
from orders.domain.content.amounts import ships_anything
from orders.domain.content.edits import Reason
from orders.domain.engine.story import Story
from orders.domain.processes import differences, edit, edited, undo, upstream
from orders.domain.state.order import Order, has_shipped

RULE: Final = "rule:on_change"
"""The actor of what the market's rule takes over."""
AWAITED: Final = frozenset({"edit_open", "order_not_placed"})
"""Why a change is not taken over yet: it is as soon as the edit has ended, or the order is placed."""

EMPTY: Final[Mapping[str, Reason | None]] = {}


class Plan(NamedTuple):
    content: OrderContent
    """What would be sold."""
    why_not: Reason | None


def compare(story: Story, told: OrderContent) -> None:
    """A newer snapshot of an order that has started: each difference is taken over or raised."""
    news = differences.record(story, told)
    assert story.order.market is not None
    by_rule = story.order.market.on_change == "apply"
    codes = differences.CARRIED_OUT.intersection(news) if by_rule else frozenset[str]()
    planned = plan(story.present, codes) if codes else None
    if planned is not None and planned.why_not is None:
        after = story.order.model_copy(update={"content": planned.content})
        settled = codes | (news.keys() - differences.find(after, told).keys())
        _raise(story, {code: changes for code, changes in news.items() if code not in settled})
        for code in settled:
            story.resolve_exception(code)
        _carry_out(story, codes, planned.content, RULE)
    else:
        _raise(story, news, dict.fromkeys(codes, planned.why_not) if planned is not None else {})


def _raise(story: Story, news: differences.Found, reasons: Mapping[str, Reason | None] = EMPTY) -> None:
    for code, changes in news.items():
        reason = reasons.get(code)
        differences.raise_anew(story, code, changes, *reason[:2] if reason is not None else ())


def accept(story: Story, code: str, operation: UUID) -> None:
    """A person accepts a difference; the guard has found that it can be taken over."""
    _carry_out(story, {code}, plan(story.present, {code}).content, story.context.actor, operation)


def why_not(order: Order, code: str) -> Reason | None:
    """Why an open difference cannot be taken over now."""
    return plan(order, {code}).why_not


def proceed(story: Story) -> None:
    """Takes over what had to wait for the end of an edit, or for the placement. Called when either may have come."""
    codes = {code for code, one in story.order.exceptions.items() if one.why_not in AWAITED}
    if not codes:
        return
    planned = plan(story.present, codes)
    if planned.why_not is None:
        for code in codes:
            story.resolve_exception(code)
        _carry_out(story, codes, planned.content, RULE)
    elif planned.why_not.code not in AWAITED:
        differences.raise_refused(story, codes, *planned.why_not[:2])


def plan(order: Order, codes: Iterable[str]) -> Plan:
    """What taking over the differences of these codes makes of the order."""
    ours, told, codes = order.content, order.stated, frozenset(codes)
    assert ours is not None
    base = order.base or ours
    if told is None:
        return Plan(ours, Reason("edit_empty", "the marketplace states the order as it is"))
    try:
        takes = differences.takes(codes)
        content = merging.merged(ours, base, told, takes, agreement.alike(ours, told) if takes("totals") else ())
    except ValueError as error:
        return Plan(ours, Reason("total_differs", f"with what was changed here it does not add up: {error}"[:300]))
    if "cancel_requested" in codes:
        before = {line.external_line_id for line in base.lines if line.cancellation.requested}
        content = snapshots.with_requested_cancelled(content, {*snapshots.requested(told)} - before)
    if not snapshots.wholly_cancelled(content) and content.priced:
        content = upstream.with_refunds_of_cancelled(order, content, told)
    return Plan(content, _why_not(order, content, codes))


def _why_not(order: Order, content: OrderContent, codes: frozenset[str]) -> Reason | None:
    if order.undo is not None:
        return Reason("undo_running", "the order is being cancelled")
    if snapshots.wholly_cancelled(content):
        return Reason("order_shipped", "something has shipped") if has_shipped(order) else None
    if order.completed_at is not None:
        return Reason("order_completed", "the order is completed")
    if edited.the_open(order) is not None:
        return Reason("edit_open", "the order is being edited")
    if _is_direct(order, codes):
        return None if content.priced else Reason("price_missing", "not every price is stated")
    if order.status not in ("placed", "approved"):
        return Reason("order_not_placed", "the order is being placed")
    return next(iter(edited.why_not(order, content)), None)


def _is_direct(order: Order, codes: frozenset[str]) -> bool:
    """Whether nothing was asked by what is sold: the marketplace carried the order through, or it waits for stock. An address
    is not asked by until the warehouse starts."""
    placing = order.runs.get("place")
    if placing is None or placing.waits == "stock":
        return True
    return order.status == "placing" and codes == {"address_changed"}


def _carry_out(
    story: Story, codes: Iterable[str], content: OrderContent, actor: str, operation: UUID | None = None
) -> None:
    order, codes = story.order, frozenset(codes)
    assert order.content is not None and order.market is not None
    if snapshots.wholly_cancelled(content):
        cause: CancelCause = "customer" if codes == {"cancel_requested"} else "marketplace"
        undo.begin(story, cause, operation, accepted=tuple(sorted(codes)))
    elif _is_direct(story.present, codes):
        _replace(story, content, codes)
    else:
        run = edit.open_edit(story, story.context.new_id("edit"), "marketplace", actor=actor)
        run = story.set_data(run, accepted=tuple(sorted(codes)))
        edit.confirm(story, run, content, actor=actor)


def _replace(story: Story, content: OrderContent, codes: Collection[str]) -> None:
    """What is sold of an order of which nothing is reserved, authorized or shipped here."""
    order, told = story.order, story.order.stated
    assert order.content is not None and order.market is not None
    placing = story.runs.get("place")
    before, fulfillment = order.content, order.fulfillment_status
    if placing is not None:
        fulfillment = "unfulfilled" if ships_anything(content) else "not_required"
    story.edit(content, order.market, fulfillment=fulfillment)
    differences.compare_edited(story, before, told, codes)
    if placing is not None and placing.waits == "stock":
        story.enter_anew(placing)
