"""What a person may do with an order: one table for the API, for messages, and for `docs/actions.md`.

A guard returns why an action is not possible now, one of the closed codes of the action. Decisions ask the same guards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

from contracts.base import Command
from contracts.deciding import Context, Refusal
from contracts.limits import HOLDS_MAX, METADATA_BYTES_MAX, TAGS_MAX
from contracts.orders import (
    EDIT_CODES,
    HOLD_REASONS,
    AddAttachment,
    AddNote,
    Approve,
    ApproveAndCapture,
    Archive,
    AskAgain,
    Cancel,
    CaptureLine,
    CaptureOrder,
    ChangeEdit,
    ChangeTags,
    ConfirmEdit,
    DiscardEdit,
    Force,
    GiveUp,
    GiveUpRefund,
    Hold,
    OpenEdit,
    Refund,
    Release,
    Resolve,
    Retry,
    RetryRefund,
    SetMetadata,
    SetReference,
    Unarchive,
)
from contracts.payments import MoneyLine
from orders.domain.content.amounts import payable
from orders.domain.decisions import exceptions
from orders.domain.processes import changes, edit, refund, settle
from orders.domain.processes.kinds import PROCESSES
from orders.domain.state.annotations import NONE, metadata_after, tags_after
from orders.domain.state.order import Order, capture_option, has_shipped, retryable, unanswered
from orders.domain.state.run import Ask, Run

Answer = Literal["refused", "done", "tried"]
"""The answer to a request that is sent all the same: a refusal with the code; success, and nothing changes; or it is tried,
because what prevents it may have been corrected."""


class WhyNot(NamedTuple):
    answer: Answer
    detail: str
    of_request: Callable[[Order, Any], str] = lambda order, request: ""
    """What the refusal of one request adds to `detail`."""
    more: Callable[[Order, Any], Mapping[str, Any]] = lambda order, request: {}
    """Further members of the problem that refuses one request."""


@dataclass(frozen=True)
class Action:
    name: str
    message: type[Command]
    """The command, on the topic and over HTTP."""
    scope: str
    """What the API key needs."""
    guard: Callable[[Order, Any], str | None]
    """(order, request) -> why the action is not possible; null: it is. Without a request: why no request of it is. Called for
    orders that exist."""
    why_not: Mapping[str, WhyNot]
    """Every code that the guard returns."""
    moves: bool = True
    """Whether it can change a status or a process. A request that attaches something to an order changes neither."""


class Legal(NamedTuple):
    action: str
    allowed: bool
    why_not: str | None
    """One of the codes of the action, null if it is possible."""
    detail: str | None
    """The words of the code. A request that is refused with it is answered with the same words, and what it adds to them."""


def _approve(order: Order, request: Approve | None) -> str | None:
    if order.approved_at is not None and order.status != "cancelled":
        return "order_approved"
    if order.held:
        return "order_held"
    if edit.the_open(order) is not None:
        return "edit_open"
    place = order.runs.get("place")
    waits = place is not None and place.waits == "approval" and order.undo is None
    return None if waits else "order_not_awaiting_approval"


def _is_approved(order: Order) -> bool:
    """Whether it is approved, also while it is edited."""
    return order.status == "approved" or (order.status == "editing" and order.approved_at is not None)


def _cancel(order: Order, request: Cancel | None) -> str | None:
    if order.status == "cancelled" or order.undo is not None:
        return "order_cancelled"
    return "order_shipped" if has_shipped(order) else None


def _open_edit(order: Order, request: OpenEdit | None) -> str | None:
    if request is not None and edit.exists(order, request.operation_id):
        return "edit_opened"
    if order.status == "cancelled" or order.undo is not None:
        return "order_cancelled"
    if edit.the_open(order) is not None:
        return "edit_open"
    if order.completed_at is not None:
        return "order_completed"
    return None if order.status in ("placed", "approved") and "place" in order.runs else "order_not_placed"


def _change_edit(order: Order, request: ChangeEdit | None) -> str | None:
    run = _edit_of(order, request)
    return _no_edit(order, request) if run is None else _unless_draft(order, run)


def _confirm_edit(order: Order, request: ConfirmEdit | None) -> str | None:
    run = _edit_of(order, request)
    if run is None:
        return _no_edit(order, request)
    if (why := _unless_draft(order, run)) is not None:
        return why
    shown = edit.preview(order, run)
    if request is not None and request.preview is not None and request.preview != shown.digest:
        return "edit_stale"
    return shown.why_not[0].code if shown.why_not else None


def _discard_edit(order: Order, request: DiscardEdit | None) -> str | None:
    run = _edit_of(order, request)
    return _no_edit(order, request) if run is None else _unless_draft(order, run)


_OfEdit = ChangeEdit | ConfirmEdit | DiscardEdit


def _edit_of(order: Order, request: _OfEdit | None) -> Run | None:
    return edit.the_open(order) if request is None else edit.find(order, request.edit_id)


def _no_edit(order: Order, request: _OfEdit | None) -> str:
    """Why an edit that is not in the order's document can be neither changed nor confirmed nor discarded."""
    outcome = edit.outcome_of(order, request.edit_id) if request is not None else None
    return "edit_unknown" if outcome is None else "edit_discarded" if outcome == "discarded" else "edit_confirmed"


def _unless_draft(order: Order, run: Run) -> str | None:
    """Why an edit can be neither changed nor confirmed nor discarded."""
    if edit.data_of(run).outcome == "discarded":
        return "edit_discarded"
    if not edit.is_draft(run):
        return "edit_confirmed"
    return "order_cancelled" if order.undo is not None else None


def _why_not_taken(order: Order, request: Resolve) -> str:
    code = exceptions.open_code(order, request.exception_id)
    reason = changes.why_not(order, code) if code is not None else None
    return f": {reason.detail}" if reason is not None else ""


def _open_one(order: Order, request: Command) -> str:
    run = edit.the_open(order)
    return f": {edit.data_of(run).edit_id}" if run is not None else ""


def _open_edit_id(order: Order, request: Command) -> Mapping[str, Any]:
    run = edit.the_open(order)
    return {"edit_id": str(edit.data_of(run).edit_id)} if run is not None else {}


def _shipped_lines(order: Order, request: Command) -> Mapping[str, Any]:
    """The lines of which pieces have shipped; none if the marketplace shipped them."""
    shipments = order.facts.shipments.values()
    return {
        "lines": sorted({line for one in shipments if one.status in ("shipped", "delivered") for line in one.lines})
    }


def _why_not_edit(order: Order, request: ConfirmEdit) -> str:
    run = edit.find(order, request.edit_id)
    if run is None or not edit.is_draft(run):
        return ""
    return "".join(f"; {one.code}: {one.detail}" for one in edit.preview(order, run).why_not)


def _lines_of_edit(order: Order, request: ConfirmEdit) -> Mapping[str, Any]:
    """The lines of the first reason, whose code the problem has."""
    run = edit.find(order, request.edit_id)
    reasons = edit.preview(order, run).why_not if run is not None and edit.is_draft(run) else ()
    return {"lines": list(reasons[0].lines)} if reasons else {}


def _capture(order: Order, request: CaptureOrder | None) -> str | None:
    if order.status == "cancelled" or order.undo is not None:
        return "order_cancelled"
    if not _is_approved(order) or "place" not in order.runs:
        return "order_not_approved"
    if capture_option(order) != "manual":
        return "capture_automatic"
    if order.held:
        return "order_held"
    if edit.the_open(order) is not None:
        return "edit_open"
    left, lines = settle.left(order), request.lines if request is not None else ()
    if not any(rest.amount_minor for rest in left.values()) and not lines:
        return "order_captured" if order.grand_minor else "nothing_to_capture"
    return _capture_lines(order, lines, left) if lines else None


def _capture_lines(order: Order, lines: Sequence[CaptureLine], left: Mapping[str, MoneyLine]) -> str | None:
    assert order.content is not None
    if not {one.line_id for one in lines} <= {line.line_id for line in payable(order.content)}:
        return "line_unknown"
    named = [one for one in lines if one.line_id in left]
    if not any(left[one.line_id].amount_minor for one in named):
        return "nothing_to_capture"
    exceeding = any(one.quantity > left[one.line_id].quantity for one in named if one.quantity is not None)
    return "capture_exceeds" if exceeding else None


def _exceeding(order: Order, request: CaptureOrder) -> str:
    left = settle.left(order)
    asked = [one for one in request.lines if one.quantity is not None and one.line_id in left]
    return ": " + ", ".join(
        f"line {one.line_id}: {one.quantity} asked, {left[one.line_id].quantity} left"
        for one in asked
        if (one.quantity or 0) > left[one.line_id].quantity
    )


def _approve_and_capture(order: Order, request: ApproveAndCapture | None) -> str | None:
    """On an approved order it is a capture of all that is left, if its market captures by hand."""
    if order.approved_at is not None and _is_approved(order):
        why = _capture(order, None)
        return "order_approved" if why in ("capture_automatic", "nothing_to_capture", "order_not_approved") else why
    if (why := _approve(order, None)) is not None:
        return why
    return "capture_automatic" if capture_option(order) == "per_shipment" else None


def _retry(order: Order, request: Retry | None) -> str | None:
    if order.held:
        return "order_held"
    if exceptions.obstacle(order) is not None:
        return "obstacle_remains"
    return None if retryable(order) else "step_not_failed"


def _ask(order: Order, request: AskAgain | None) -> str | None:
    return None if unanswered(order) else "step_not_asked"


def _give_up(order: Order, request: GiveUp | None) -> str | None:
    """As the market's patience: it ends no step of an order that has shipped, nor one that is suspended."""
    if (why := _cancel(order, None)) is not None:
        return why
    if order.held:
        return "order_held"
    if edit.the_open(order) is not None:
        return "edit_open"
    waits = any(run.waits in ("answer", "stock", "person") and PROCESSES[run.kind].patience for run in order.open_runs)
    return None if waits else "step_not_waiting"


def _hold(order: Order, request: Hold | None) -> str | None:
    assert order.market is not None
    if request is not None and request.reason not in (*HOLD_REASONS, *order.market.hold_reasons):
        return "hold_reason_unknown"
    if order.status == "cancelled" or order.undo is not None:
        return "order_cancelled"
    if order.completed_at is not None or (order.status == "approved" and "place" not in order.runs):
        return "order_finished"
    return "hold_limit_reached" if len(order.holds) >= HOLDS_MAX else None


def _release(order: Order, request: Release | None) -> str | None:
    if request is None:
        return None if order.holds else "hold_unknown"
    if str(request.hold_id) in order.holds:
        return None
    return "hold_released" if request.hold_id in order.released else "hold_unknown"


def _resolve(order: Order, request: Resolve | None) -> str | None:
    if request is not None:
        code = exceptions.open_code(order, request.exception_id)
        return "exception_unknown" if code is None else exceptions.why_not(order, code, request.resolution)
    if not order.exceptions:
        return "exception_unknown"
    whys = [exceptions.why_not(order, code, way) for code in order.exceptions for way in exceptions.resolutions(code)]
    return None if None in whys else next(iter(whys), "resolution_unsupported")


def _force(order: Order, request: Force | None) -> str | None:
    if request is None:
        whys = [_forcible(order, ask, "succeeded") for ask in order.asks.values()]
        return None if None in whys else next(iter(whys), "operation_unknown")
    ask = order.asks.get(str(request.target_operation_id))
    if ask is not None:
        return _forcible(order, ask, request.outcome)
    target, facts = str(request.target_operation_id), order.facts
    if target not in facts.captures and target not in facts.authorizations:
        return "operation_unknown"
    return "outcome_recorded" if request.outcome == "succeeded" else "not_forceable"


def _forcible(order: Order, ask: Ask, outcome: str) -> str | None:
    """Why the outcome of this operation cannot be stated now; null: it can, and payments decides."""
    run = order.runs[ask.run]
    yes = PROCESSES[run.kind].step(ask.step).yes
    if yes is None or yes.owner() != "payments":
        return "not_forceable"
    if ask.answer:
        was_refused = ask.answer != yes.TYPE and run.waits == "person"
        return None if outcome == "succeeded" and was_refused else "not_forceable"
    is_new = run.operation_id == ask.operation_id and run.asks < 2 and not run.interim
    return "not_forceable" if is_new else None


def forcible(order: Order) -> dict[str, UUID]:
    """Process -> the operation whose outcome a person may state now."""
    return {ask.run: ask.operation_id for ask in order.asks.values() if _forcible(order, ask, "succeeded") is None}


def _owner(order: Order, request: Force) -> str:
    ask = order.asks.get(str(request.target_operation_id))
    if ask is None:
        return ": it has succeeded"
    owner = _owner_of(order, ask)
    if owner != "payments":
        return f": {owner} has been asked since {ask.asked_at.isoformat()} and answers for itself"
    if ask.answer:
        return f": payments has answered {ask.code or ask.answer}"
    return f": payments has been asked since {ask.asked_at.isoformat()} and may still answer"


def _owner_of(order: Order, ask: Ask) -> str:
    """The service that is asked."""
    yes = PROCESSES[order.runs[ask.run].kind].step(ask.step).yes
    return yes.owner() if yes is not None else "nobody"


def _asked(order: Order, request: Force) -> Mapping[str, Any]:
    """Who is asked, and since when; nothing if the operation has its outcome."""
    ask = order.asks.get(str(request.target_operation_id))
    if ask is None or ask.answer:
        return {}
    return {"owner": _owner_of(order, ask), "since": ask.asked_at.isoformat()}


def _ends_by(order: Order, request: Resolve) -> str:
    code = exceptions.open_code(order, request.exception_id)
    return f": {code} ends by {exceptions.ends_by(code)}" if code is not None else ""


def _archive(order: Order, request: Archive | None) -> str | None:
    return "order_archived" if (order.annotations or NONE).archived_at is not None else None


def _unarchive(order: Order, request: Unarchive | None) -> str | None:
    return "order_not_archived" if (order.annotations or NONE).archived_at is None else None


def _change_tags(order: Order, request: ChangeTags | None) -> str | None:
    if request is None:
        return None
    before = (order.annotations or NONE).tags
    after = tags_after(before, request.add, request.remove)
    return "tags_unchanged" if after == before else "tags_exceeded" if len(after) > TAGS_MAX else None


def _set_metadata(order: Order, request: SetMetadata | None) -> str | None:
    if request is None:
        return None
    try:
        after = metadata_after(order.metadata, request.metadata, request.mode)
    except ValueError:
        return "metadata_exceeded"
    return "metadata_unchanged" if after == (order.metadata or "{}") else None


def _set_reference(order: Order, request: SetReference | None) -> str | None:
    unchanged = request is not None and request.reference == (order.annotations or NONE).reference
    return "reference_unchanged" if unchanged else None


def _always(order: Order, request: Command | None) -> str | None:
    return None


HELD: Final = WhyNot("refused", "it is on hold; see `holds`, and release them first")


def _refund(order: Order, request: Refund | None) -> str | None:
    if order.status == "cancelled" or order.undo is not None:
        return "order_cancelled"
    if request is None:
        return None if refund.left_minor(order) else "refund_empty"
    if refund.exists(order, request.operation_id):
        return "refund_open"
    parts = refund.planned(order, request)
    return parts.code if isinstance(parts, Refusal) else None


def _refund_detail(order: Order, request: Refund) -> str:
    refused = refund.planned(order, request)
    return f": {refused.detail}" if isinstance(refused, Refusal) else ""


def _refund_more(order: Order, request: Refund) -> Mapping[str, Any]:
    refused = refund.planned(order, request)
    return refused.more if isinstance(refused, Refusal) else {}


def _retry_refund(order: Order, request: RetryRefund | None) -> str | None:
    return _of_refund(order, request, refund.is_refused)


def _give_up_refund(order: Order, request: GiveUpRefund | None) -> str | None:
    if request is not None and refund.was_given_up(order, request.refund_id):
        return "refund_given_up"
    return _of_refund(order, request, refund.can_be_given_up)


def _of_refund(order: Order, request: RetryRefund | GiveUpRefund | None, possible: Callable[[Run], bool]) -> str | None:
    if order.status == "cancelled" or order.undo is not None:
        return "order_cancelled"
    if request is None:
        return None if any(possible(run) for run in refund.of_order(order.runs)) else "refund_not_refused"
    if not refund.exists(order, request.refund_id):
        return "refund_unknown"
    run = refund.find(order, request.refund_id)
    return None if run is not None and possible(run) else "refund_not_refused"


UNDONE: Final = WhyNot("refused", "it is cancelled, or is being cancelled: all its money goes back")
NO_REFUND: Final = WhyNot("refused", "it has no refund of this id")
NO_EDIT: Final = WhyNot("refused", "it has no open edit, or none of this id")
CONFIRMED: Final = WhyNot("refused", "the edit is confirmed: it is being carried out, or has become true")
CANCELLED: Final = WhyNot("refused", "it is cancelled, or is being cancelled")
NOT_TAKEN: Final = WhyNot("refused", "an edit cannot take it over", _why_not_taken)
SHIPPED: Final = WhyNot("refused", "something has shipped; a return is the way back", more=_shipped_lines)
BEING_EDITED: Final = WhyNot("refused", "it is being edited", _open_one, _open_edit_id)

ACTIONS: Final[Mapping[str, Action]] = {
    action.name: action
    for action in (
        Action("approve", Approve, "orders.edit", _approve, {
            "order_approved": WhyNot("done", "it is approved"),
            "order_held": HELD,
            "edit_open": BEING_EDITED,
            "order_not_awaiting_approval": WhyNot("refused", "only an order that is placed and waits for approval is approved"),
        }),
        Action("capture", CaptureOrder, "orders.edit", _capture, {
            "order_cancelled": WhyNot("refused", "it is cancelled, or is being cancelled"),
            "order_not_approved": WhyNot("refused", "only an approved order is captured by hand"),
            "capture_automatic": WhyNot("refused", "its market captures by itself"),
            "order_held": HELD,
            "edit_open": BEING_EDITED,
            "order_captured": WhyNot("done", "all of it is captured, or is being captured"),
            "nothing_to_capture": WhyNot("refused", "it is free, or nothing is left of the lines"),
            "line_unknown": WhyNot("refused", "it has no such line"),
            "capture_exceeds": WhyNot("refused", "fewer pieces are left", _exceeding),
        }),
        Action("approve_and_capture", ApproveAndCapture, "orders.edit", _approve_and_capture, {
            "order_approved": WhyNot("done", "it is approved, and captured as its market does"),
            "order_captured": WhyNot("done", "all of it is captured, or is being captured"),
            "order_cancelled": WhyNot("refused", "it is being cancelled"),
            "order_held": HELD,
            "edit_open": BEING_EDITED,
            "order_not_awaiting_approval": WhyNot("refused", "only an order that is placed and waits for approval is approved"),
            "capture_automatic": WhyNot("refused", "its market captures each shipment"),
        }),
        Action("cancel", Cancel, "orders.cancel", _cancel, {
            "order_cancelled": WhyNot("done", "it is cancelled, or is being cancelled"),
            "order_shipped": SHIPPED,
        }),
        Action("retry", Retry, "orders.edit", _retry, {
            "order_held": HELD,
            "obstacle_remains": WhyNot("tried", "an exception keeps the order from starting"),
            "step_not_failed": WhyNot("refused", "no step of the order waits for a person"),
        }),
        Action("ask", AskAgain, "orders.edit", _ask, {
            "step_not_asked": WhyNot("refused", "no step of the order waits for an answer of another service"),
        }, moves=False),
        Action("give_up", GiveUp, "orders.cancel", _give_up, {
            "order_cancelled": WhyNot("done", "it is cancelled, or is being cancelled"),
            "order_shipped": SHIPPED,
            "order_held": HELD,
            "edit_open": BEING_EDITED,
            "step_not_waiting": WhyNot("refused", "no step of its placing or settling waits for an answer, for stock, or for a person after a refusal"),
        }),
        Action("force", Force, "orders.force", _force, {
            "operation_unknown": WhyNot("refused", "no operation of this id waits for an answer or for a person"),
            "outcome_recorded": WhyNot("done", "the operation has this outcome"),
            "not_forceable": WhyNot("refused", "the owner of the operation may still answer, or it has its outcome", _owner, _asked),
        }),
        Action("resolve", Resolve, "orders.edit", _resolve, {
            "exception_unknown": WhyNot("refused", "the order has no open exception, or none of this id"),
            "resolution_unsupported": WhyNot("refused", "the exception does not have this resolution", _ends_by),
            "obstacle_remains": WhyNot("tried", "an exception keeps the order from starting"),
            "order_shipped": SHIPPED._replace(of_request=_why_not_taken),
            "order_held": HELD,
            "undo_running": WhyNot("refused", "the cancel has not ended; see `processes`, and accept when none is open"),
            "step_not_failed": WhyNot("refused", "no step of the order waits for a person"),
            "edit_open": WhyNot("refused", "it is being edited", _open_one),
            "order_not_placed": WhyNot("refused", "it is being placed; accept when it is"),
            "order_completed": WhyNot("refused", "it is completed; money goes back as a refund"),
            **{code: NOT_TAKEN for code in (*EDIT_CODES, "total_differs") if code != "order_shipped"},
        }),
        Action("refund", Refund, "orders.refund", _refund, {
            "refund_open": WhyNot("done", "the same request has opened the refund"),
            "order_cancelled": UNDONE,
            "line_unknown": WhyNot("refused", "a line is none of the order's", _refund_detail, _refund_more),
            "refund_exceeds": WhyNot("refused", "more than is left to refund", _refund_detail, _refund_more),
            "refund_empty": WhyNot("refused", "nothing that was captured goes back"),
            "refund_limit_reached": WhyNot("refused", "it has too many refunds", _refund_detail),
        }),
        Action("retry_refund", RetryRefund, "orders.refund", _retry_refund, {
            "order_cancelled": UNDONE,
            "refund_unknown": NO_REFUND,
            "refund_not_refused": WhyNot("refused", "no refund, or not this one, is refused and waits for a person"),
        }),
        Action("give_up_refund", GiveUpRefund, "orders.refund", _give_up_refund, {
            "refund_given_up": WhyNot("done", "it was given up before"),
            "order_cancelled": UNDONE,
            "refund_unknown": NO_REFUND,
            "refund_not_refused": WhyNot("refused", "no refund, or not this one, is refused before its money has gone back"),
        }),
        Action("archive", Archive, "orders.edit", _archive, {
            "order_archived": WhyNot("done", "it is archived"),
        }, moves=False),
        Action("unarchive", Unarchive, "orders.edit", _unarchive, {
            "order_not_archived": WhyNot("done", "it is not archived"),
        }, moves=False),
        Action("add_note", AddNote, "orders.edit", _always, {}, moves=False),
        Action("change_tags", ChangeTags, "orders.edit", _change_tags, {
            "tags_unchanged": WhyNot("done", "it has these tags"),
            "tags_exceeded": WhyNot("refused", f"it would have more than {TAGS_MAX} tags"),
        }, moves=False),
        Action("set_metadata", SetMetadata, "orders.edit", _set_metadata, {
            "metadata_unchanged": WhyNot("done", "it has this metadata"),
            "metadata_exceeded": WhyNot("refused", f"its metadata would have more than {METADATA_BYTES_MAX:,} bytes"),
        }, moves=False),
        Action("add_attachment", AddAttachment, "orders.edit", _always, {}, moves=False),
        Action("set_reference", SetReference, "orders.edit", _set_reference, {
            "reference_unchanged": WhyNot("done", "it has this reference"),
        }, moves=False),
        Action("hold", Hold, "orders.edit", _hold, {
            "hold_reason_unknown": WhyNot("refused", "the reason is none of the closed set, and none of its market's `hold_reasons`"),
            "order_cancelled": WhyNot("refused", "it is cancelled, or is being cancelled"),
            "order_finished": WhyNot("refused", "it is completed, or the marketplace carried it through"),
            "hold_limit_reached": WhyNot("refused", f"it has {HOLDS_MAX} open holds"),
        }),
        Action("release", Release, "orders.edit", _release, {
            "hold_released": WhyNot("done", "the hold is released"),
            "hold_unknown": WhyNot("refused", "the order has no such hold"),
        }),
        Action("open_edit", OpenEdit, "orders.edit", _open_edit, {
            "edit_opened": WhyNot("done", "the same request has opened the edit"),
            "order_cancelled": CANCELLED,
            "edit_open": WhyNot("refused", "it has an open edit", _open_one, _open_edit_id),
            "order_completed": WhyNot("refused", "it is completed; money goes back as a refund"),
            "order_not_placed": WhyNot("refused", "an edit changes an order that was placed here; before that a snapshot or a request does"),
        }),
        Action("change_edit", ChangeEdit, "orders.edit", _change_edit, {
            "edit_unknown": NO_EDIT,
            "edit_confirmed": CONFIRMED,
            "edit_discarded": WhyNot("refused", "the edit is discarded; open another one"),
            "order_cancelled": CANCELLED,
        }),
        Action("confirm_edit", ConfirmEdit, "orders.edit", _confirm_edit, {
            "edit_unknown": NO_EDIT,
            "edit_confirmed": CONFIRMED._replace(answer="done"),
            "edit_discarded": WhyNot("refused", "the edit is discarded; open another one"),
            "order_cancelled": CANCELLED,
            "edit_stale": WhyNot("refused", "the order or the edit has changed since the preview; confirm the new one"),
            **{code: WhyNot("refused", "the edit cannot be made", _why_not_edit, _lines_of_edit) for code in EDIT_CODES},
        }),
        Action("discard_edit", DiscardEdit, "orders.edit", _discard_edit, {
            "edit_unknown": NO_EDIT,
            "edit_confirmed": CONFIRMED,
            "edit_discarded": WhyNot("done", "the edit is discarded"),
            "order_cancelled": CANCELLED,
        }),
    )
}  # fmt: skip


def legal(order: Order) -> list[Legal]:
    """Every action, and why it is not possible now."""
    return [_legal(order, action) for action in ACTIONS.values()]


def _legal(order: Order, action: Action) -> Legal:
    if (code := action.guard(order, None)) is None:
        return Legal(action.name, True, None, None)
    return Legal(action.name, False, code, _detail(order, action.why_not[code]))


def _detail(order: Order, why: WhyNot) -> str:
    return f"the order is {order.status}: {why.detail}"


def allowed(order: Order) -> list[str]:
    """The actions that are possible now and may move the order."""
    return [one.action for one in legal(order) if one.allowed and ACTIONS[one.action].moves] if order.known else []


def check(name: str, order: Order, context: Context, request: Command) -> list[Refusal] | None:
    """The answer to a request that is not possible: a refusal, or nothing if it is done; null: it is carried out."""
    if not order.known:
        return [Refusal("order_unknown", f"no order {context.key} in this store")]
    action = ACTIONS[name]
    if (code := action.guard(order, request)) is None or action.why_not[code].answer == "tried":
        return None
    why = action.why_not[code]
    if why.answer == "done":
        return []
    return [Refusal(code, _detail(order, why) + why.of_request(order, request), why.more(order, request))]
