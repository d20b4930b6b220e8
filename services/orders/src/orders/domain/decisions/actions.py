"""What a person may do with an order: one table for the API, for messages, and for `docs/actions.md`.

A guard returns why an action is not possible now, one of the closed codes of the action. Decisions ask the same guards.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from contracts.base import Command
from contracts.deciding import Context, Refusal
from contracts.limits import HOLDS_MAX, METADATA_BYTES_MAX, TAGS_MAX
from contracts.orders import (
    EDIT_CODES,
    AddAttachment,
    AddNote,
    Approve,
    ApproveAndCapture,
    Archive,
    AskAgain,
    Cancel,
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
from orders.domain.decisions.action import Action, WhyNot
from orders.domain.decisions.guards import attached, captures, edits, orders, refunds, waits
from orders.domain.state.order import Order

HELD: Final = WhyNot("refused", "it is on hold; see `holds`, and release them first")
UNDONE: Final = WhyNot("refused", "it is cancelled, or is being cancelled: all its money goes back")
NO_REFUND: Final = WhyNot("refused", "it has no refund of this id")
NO_EDIT: Final = WhyNot("refused", "it has no open edit, or none of this id")
CONFIRMED: Final = WhyNot("refused", "the edit is confirmed: it is being carried out, or has become true")
CANCELLED: Final = WhyNot("refused", "it is cancelled, or is being cancelled")
NOT_TAKEN: Final = WhyNot("refused", "an edit cannot take it over", orders.why_not_taken)
SHIPPED: Final = WhyNot("refused", "something has shipped; a return is the way back", more=orders.shipped_lines)
BEING_EDITED: Final = WhyNot("refused", "it is being edited", edits.open_one, edits.open_edit_id)

ACTIONS: Final[Mapping[str, Action]] = {
    action.name: action
    for action in (
        Action("approve", Approve, "orders.edit", orders.approve, {
            "order_approved": WhyNot("done", "it is approved"),
            "order_held": HELD,
            "edit_open": BEING_EDITED,
            "order_not_awaiting_approval": WhyNot("refused", "only an order that is placed and waits for approval is approved"),
        }),
        Action("capture", CaptureOrder, "payments.capture", captures.capture, {
            "order_cancelled": WhyNot("refused", "it is cancelled, or is being cancelled"),
            "order_not_approved": WhyNot("refused", "only an approved order is captured by hand"),
            "capture_automatic": WhyNot("refused", "its market captures by itself"),
            "order_held": HELD,
            "edit_open": BEING_EDITED,
            "order_captured": WhyNot("done", "all of it is captured, or is being captured"),
            "nothing_to_capture": WhyNot("refused", "it is free, or nothing is left of the lines"),
            "line_unknown": WhyNot("refused", "it has no such line"),
            "capture_exceeds": WhyNot("refused", "fewer pieces are left", captures.exceeding),
        }),
        Action("approve_and_capture", ApproveAndCapture, "payments.capture", captures.approve_and_capture, {
            "order_approved": WhyNot("done", "it is approved, and captured as its market does"),
            "order_captured": WhyNot("done", "all of it is captured, or is being captured"),
            "order_cancelled": WhyNot("refused", "it is being cancelled"),
            "order_held": HELD,
            "edit_open": BEING_EDITED,
            "order_not_awaiting_approval": WhyNot("refused", "only an order that is placed and waits for approval is approved"),
            "capture_automatic": WhyNot("refused", "its market captures each shipment"),
        }),
        Action("cancel", Cancel, "orders.cancel", orders.cancel, {
            "order_cancelled": WhyNot("done", "it is cancelled, or is being cancelled"),
            "order_shipped": SHIPPED,
        }),
        Action("retry", Retry, "orders.edit", waits.retry, {
            "order_held": HELD,
            "obstacle_remains": WhyNot("tried", "an exception keeps the order from starting"),
            "step_not_failed": WhyNot("refused", "no step of the order waits for a person"),
        }),
        Action("ask", AskAgain, "orders.edit", waits.ask, {
            "step_not_asked": WhyNot("refused", "no step of the order waits for an answer of another service"),
        }, moves=False),
        Action("give_up", GiveUp, "orders.cancel", waits.give_up, {
            "order_cancelled": WhyNot("done", "it is cancelled, or is being cancelled, and an undo has no undo: ask again what has no answer, retry what is refused"),
            "order_shipped": SHIPPED,
            "order_held": HELD,
            "edit_open": BEING_EDITED._replace(detail="it is being edited: discard the edit, and the order goes on"),
            "edit_confirmed": CONFIRMED._replace(detail="an edit is being carried out: ask again what has no answer; a cancel gives back what the edit has reserved and authorized, too"),
            "refund_running": WhyNot("refused", "only a refund waits, and its money may have gone back: ask again, or state the outcome; one that is refused has `give_up_refund`"),
            "step_not_waiting": WhyNot("refused", "no step waits for an answer, for stock, or for a person after a refusal"),
        }),
        Action("force", Force, "orders.force", waits.force, {
            "operation_unknown": WhyNot("refused", "no operation of this id waits for an answer or for a person"),
            "outcome_recorded": WhyNot("done", "the operation has this outcome"),
            "not_forceable": WhyNot("refused", "the owner of the operation may still answer, or it has its outcome", waits.who_answers, waits.asked_since),
        }),
        Action("resolve", Resolve, "orders.edit", orders.resolve, {
            "exception_unknown": WhyNot("refused", "the order has no open exception, or none of this id"),
            "resolution_unsupported": WhyNot("refused", "the exception does not have this resolution", orders.ends_by),
            "obstacle_remains": WhyNot("tried", "an exception keeps the order from starting"),
            "order_shipped": SHIPPED._replace(of_request=orders.why_not_taken),
            "order_held": HELD,
            "undo_running": WhyNot("refused", "the cancel has not ended; see `processes`, and accept when none is open"),
            "goods_shipped": WhyNot("refused", "goods had shipped before it was refunded; keep it cancelled, and place what is wanted again as a new order"),
            "step_not_failed": WhyNot("refused", "no step of the order waits for a person"),
            "edit_open": WhyNot("refused", "it is being edited", edits.open_one),
            "order_not_placed": WhyNot("refused", "it is being placed; accept when it is"),
            "order_completed": WhyNot("refused", "it is completed; money goes back as a refund"),
            **{code: NOT_TAKEN for code in (*EDIT_CODES, "total_differs") if code != "order_shipped"},
        }),
        Action("refund", Refund, "payments.refund", refunds.refund, {
            "refund_open": WhyNot("done", "the same request has opened the refund"),
            "order_cancelled": UNDONE,
            "line_unknown": WhyNot("refused", "a line is none of the order's", refunds.refused_detail, refunds.refused_more),
            "refund_exceeds": WhyNot("refused", "more than is left to refund", refunds.refused_detail, refunds.refused_more),
            "refund_empty": WhyNot("refused", "nothing that was captured goes back"),
            "refund_limit_reached": WhyNot("refused", "it has too many refunds", refunds.refused_detail),
        }),
        Action("retry_refund", RetryRefund, "payments.refund", refunds.retry_refund, {
            "order_cancelled": UNDONE,
            "refund_unknown": NO_REFUND,
            "refund_not_refused": WhyNot("refused", "no refund, or not this one, is refused and waits for a person"),
        }),
        Action("give_up_refund", GiveUpRefund, "payments.refund", refunds.give_up_refund, {
            "refund_given_up": WhyNot("done", "it was given up before"),
            "order_cancelled": UNDONE,
            "refund_unknown": NO_REFUND,
            "refund_not_refused": WhyNot("refused", "no refund, or not this one, is refused before its money has gone back"),
        }),
        Action("archive", Archive, "orders.edit", attached.archive, {
            "order_archived": WhyNot("done", "it is archived"),
        }, moves=False),
        Action("unarchive", Unarchive, "orders.edit", attached.unarchive, {
            "order_not_archived": WhyNot("done", "it is not archived"),
        }, moves=False),
        Action("add_note", AddNote, "orders.edit", attached.always, {}, moves=False),
        Action("change_tags", ChangeTags, "orders.edit", attached.change_tags, {
            "tags_unchanged": WhyNot("done", "it has these tags"),
            "tags_exceeded": WhyNot("refused", f"it would have more than {TAGS_MAX} tags"),
        }, moves=False),
        Action("set_metadata", SetMetadata, "orders.edit", attached.set_metadata, {
            "metadata_unchanged": WhyNot("done", "it has this metadata"),
            "metadata_exceeded": WhyNot("refused", f"its metadata would have more than {METADATA_BYTES_MAX:,} bytes"),
        }, moves=False),
        Action("add_attachment", AddAttachment, "orders.edit", attached.always, {}, moves=False),
        Action("set_reference", SetReference, "orders.edit", attached.set_reference, {
            "reference_unchanged": WhyNot("done", "it has this reference"),
        }, moves=False),
        Action("hold", Hold, "orders.edit", orders.hold, {
            "hold_reason_unknown": WhyNot("refused", "the reason is none of the closed set, and none of its market's `hold_reasons`"),
            "order_cancelled": WhyNot("refused", "it is cancelled, or is being cancelled"),
            "order_finished": WhyNot("refused", "it is completed, or the marketplace carried it through"),
            "hold_limit_reached": WhyNot("refused", f"it has {HOLDS_MAX} open holds"),
        }),
        Action("release", Release, "orders.edit", orders.release, {
            "hold_released": WhyNot("done", "the hold is released"),
            "hold_unknown": WhyNot("refused", "the order has no such hold"),
        }),
        Action("open_edit", OpenEdit, "orders.edit", edits.open_edit, {
            "edit_opened": WhyNot("done", "the same request has opened the edit"),
            "order_cancelled": CANCELLED,
            "edit_open": WhyNot("refused", "it has an open edit", edits.open_one, edits.open_edit_id),
            "order_completed": WhyNot("refused", "it is completed; money goes back as a refund"),
            "order_not_placed": WhyNot("refused", "an edit changes an order that was placed here; before that a snapshot or a request does"),
        }),
        Action("change_edit", ChangeEdit, "orders.edit", edits.change_edit, {
            "edit_unknown": NO_EDIT,
            "edit_confirmed": CONFIRMED,
            "edit_discarded": WhyNot("refused", "the edit is discarded; open another one"),
            "order_cancelled": CANCELLED,
        }),
        Action("confirm_edit", ConfirmEdit, "orders.edit", edits.confirm_edit, {
            "edit_unknown": NO_EDIT,
            "edit_confirmed": CONFIRMED._replace(answer="done"),
            "edit_discarded": WhyNot("refused", "the edit is discarded; open another one"),
            "order_cancelled": CANCELLED,
            "edit_stale": WhyNot("refused", "the order or the edit has changed since the preview; confirm the new one"),
            **{code: WhyNot("refused", "the edit cannot be made", edits.why_not_edit, edits.lines_of_draft) for code in EDIT_CODES},
        }),
        Action("discard_edit", DiscardEdit, "orders.edit", edits.discard_edit, {
            "edit_unknown": NO_EDIT,
            "edit_confirmed": CONFIRMED,
            "edit_discarded": WhyNot("done", "the edit is discarded"),
            "order_cancelled": CANCELLED,
        }),
    )
}  # fmt: skip  # fmt: skip


class Legal(NamedTuple):
    action: str
    allowed: bool
    why_not: str | None
    """One of the codes of the action, null if it is possible."""
    detail: str | None
    """The words of the code. A request that is refused with it is answered with the same words, and what it adds to them."""


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
