"""An order as the API shows it."""

import json
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from contracts.base import shown_word
from contracts.orders import CancelCause, FulfillmentStatus, PaymentStatus, Status
from orders.domain.decisions import actions
from orders.domain.decisions.exceptions import KINDS
from orders.domain.decisions.guards import waits
from orders.domain.engine.story import stuck, waits_for
from orders.domain.processes import edited, refunded, settled
from orders.domain.shown.views import waiting
from orders.domain.state.annotations import NONE
from orders.domain.state.order import OnHold, OpenException, Order
from orders.domain.state.run import Run

WORDS: Final = {
    "status": Status,
    "payment_status": PaymentStatus,
    "fulfillment_status": FulfillmentStatus,
    "cancel_cause": CancelCause,
}


def words(order: Mapping[Any, Any]) -> dict[str, str | None]:
    """Returns the statuses of an order, given as a row or a state. A word of a newer release is shown as `unknown`."""
    return {name: shown_word(order[name], words) for name, words in WORDS.items()}


def plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else str(value) if isinstance(value, UUID) else value


def _shown_exception(code: str, one: OpenException) -> dict[str, Any]:
    return {
        "exception_id": str(one.exception_id), "code": code, "since": one.since.isoformat(), "detail": one.detail,
        "why_not": one.why_not, "difference": [change.model_dump() for change in one.difference], "changes_more": one.changes_more,
        "resolutions": KINDS[code].resolutions if code in KINDS else (),
    }  # fmt: skip


def shown_annotations(order: Order) -> dict[str, Any]:
    own = order.annotations or NONE
    return {
        "archived_at": plain(own.archived_at), "reference": own.reference, "tags": own.tags, "note_count": own.notes,
        "attachment_count": own.attachments, "metadata": json.loads(order.metadata or "{}"),
    }  # fmt: skip


def _shown_hold(hold: OnHold) -> dict[str, Any]:
    fields = ("hold_id", "reason", "note", "placed_by", "since", "until")
    return {name: plain(getattr(hold, name)) for name in fields}


def shown_actions(order: Order) -> list[dict[str, Any]]:
    return [one._asdict() for one in actions.legal(order)]


def shown_processes(order: Order) -> list[dict[str, Any]]:
    forcible = waits.forcible(order)
    return [
        {"id": run.id, "kind": run.kind, "step": run.step, "waits_for": waits_for(run), "since": run.since.isoformat(),
         "end": run.end, "asks": run.asks, "operation_id": plain(run.operation_id), "detail": run.detail,
         "forcible_operation_id": plain(forcible.get(run.id))}
        for run in order.runs.values()
    ]  # fmt: skip


def shown(key: UUID, order: Order, version: int) -> dict[str, Any]:
    """Returns an order as the API shows it."""
    content = order.content
    assert content is not None and order.source is not None and order.market is not None
    return {
        "order_id": str(key),
        "version": version,
        "store_id": order.store_id,
        "number": order.number,
        "external_order_id": content.external_order_id,
        "channel": order.source.channel,
        "account": order.source.account,
        **words(order.__dict__),
        "waiting": waiting(order),
        "legal_actions": shown_actions(order),
        "currency": content.currency,
        "grand_minor": order.grand_minor,
        "test": content.test,
        "money": order.facts.money.model_dump(),
        "ordered_at": content.placed_at.isoformat(),
        **{name: plain(getattr(order, name)) for name in ("placed_at", "approved_at", "cancelled_at", "completed_at")},
        "processes": shown_processes(order),
        "invoices": [
            {"invoice_id": str(capture.invoice_id), "number": capture.invoice_number, "capture_id": str(capture.capture_id),
             "credited": not capture.uncredited_minor, "credited_minor": sum(line.credited_minor for line in capture.lines)}
            for capture in order.facts.captures.values() if capture.invoice_id
        ],
        "shipments": [json.loads(shipment.model_dump_json()) for shipment in order.facts.shipments.values()],
        "holds": [_shown_hold(hold) for hold in order.holds.values()],
        "exceptions": [_shown_exception(code, one) for code, one in order.exceptions.items()],
        "remarks": [{"code": code, "detail": detail} for code, detail in order.remarks.items()],
        **shown_annotations(order),
        "market": order.market.model_dump(),
        "order": json.loads(content.model_dump_json()),
    }  # fmt: skip


def opened(order: Order) -> dict[str, Any]:
    """order: without its content. What a cancel has ended is not open, although its processes still end."""
    refused = [
        f"{run.id}.{run.step}"
        for run in order.open_runs
        if run.waits == "person" and (order.status != "cancelled" or run.kind == "undo") and not _is_invoice(run)
    ]
    exceptions = [{"code": code, "since": plain(one.since)} for code, one in order.exceptions.items()]
    steps = {f"{run.id}.{run.step}": stuck(run) for run in order.open_runs}
    if order.status == "cancelled":
        unanswered = {step: word for step, word in steps.items() if word == "no_answer"}
        return {
            "holds": [],
            "exceptions": exceptions,
            "refused": refused,
            "stuck": unanswered,
            "refunds": [],
            "edit": "",
        }
    edits = [edited.state_of(run) for run in order.open_runs if run.kind == edited.KIND]
    return {
        "holds": [{"hold_id": plain(one.hold_id), "since": plain(one.since)} for one in order.holds.values()],
        "exceptions": exceptions,
        "refused": refused,
        "stuck": {step: word for step, word in steps.items() if word},
        "refunds": [plain(refunded.data_of(run).refund_id) for run in order.open_runs if run.kind == refunded.KIND],
        "edit": next((state for state in edits if state in ("draft", "confirmed")), ""),
    }


def _is_invoice(run: Run) -> bool:
    """Whether it has asked for an invoice: its refusal is an exception of the order, `invoice_failed`."""
    return run.kind == settled.KIND and run.step == "invoice"
