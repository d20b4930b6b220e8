"""How events change the ledger of an order: one case each."""

from __future__ import annotations

from typing import assert_never

from contracts.differences import DifferencesChanged
from contracts.payments import (
    Authorized,
    Captured,
    Contradicted,
    Declined,
    DisputeClosed,
    DisputeOpened,
    ExpiryAnnounced,
    Failed,
    Forced,
    ForceRefused,
    GiftCardsRedeemed,
    Pending,
    PrepaymentReceived,
    PrepaymentRetained,
    PrepaymentReturnAsked,
    PrepaymentReturned,
    RecordRefused,
    Refunded,
    ReversalRefused,
    Reversed,
    SessionClosed,
    SessionOpened,
    Voided,
)
from payments.domain import (
    disputes,
    expiring,
    money_folds,
    noting,
    operation_folds,
    prepayment_folds,
    reversals,
    session_folds,
    tender_folds,
)
from payments.domain.ledger import Ledger
from payments.domain.ledger_events import (
    Abandoned,
    Asked,
    Confirmed,
    LedgerEvent,
    PrepaymentDeclined,
    PrepaymentPending,
    VoidPostponed,
)


def evolve(ledger: Ledger, event: LedgerEvent) -> Ledger:
    """Fold one event. A published event is enough by itself: the private ones before it may be lost with a backup."""
    match event:
        case Authorized():
            after = money_folds.authorized(ledger, event)
        case Captured():
            after = money_folds.captured(ledger, event)
        case Voided():
            after = money_folds.voided(ledger, event)
        case Refunded():
            after = money_folds.refunded(ledger, event)
        case GiftCardsRedeemed():
            after = tender_folds.redeemed(ledger, event)
        case Declined():
            after = operation_folds.closed(ledger, event.operation_id, "authorize", "declined", event)
            after = tender_folds.given_back(after, event)
            after = session_folds.ended(after, event.operation_id, "cancelled", event.code)
        case Failed():
            kind = operation_folds.kind_of(event.command)
            after = operation_folds.closed(ledger, event.operation_id, kind, "failed", event)
        case Pending():
            after = operation_folds.pending(ledger, event)
        case Asked():
            after = operation_folds.asked(ledger, event)
        case VoidPostponed():
            after = operation_folds.postponed(ledger, event)
        case Forced():
            after = operation_folds.stated(ledger, event)
        case Confirmed():
            after = operation_folds.changed(
                ledger, event.target_operation_id, recorded="confirmed", reference=event.gateway_reference
            )
        case Contradicted():
            after = operation_folds.changed(ledger, event.target_operation_id, recorded="contradicted")
        case ForceRefused():
            after = ledger
        case RecordRefused():
            after = ledger
        case ExpiryAnnounced():
            after = expiring.folded(ledger, event)
        case Abandoned():
            after = operation_folds.abandoned(ledger, event)
        case SessionOpened():
            after = session_folds.opened(ledger, event)
        case SessionClosed():
            after = session_folds.closed(ledger, event)
        case PrepaymentReceived():
            after = prepayment_folds.received(ledger, event)
        case PrepaymentReturned():
            after = prepayment_folds.returned(ledger, event)
        case PrepaymentRetained():
            after = prepayment_folds.retained(ledger, event)
        case PrepaymentPending():
            after = prepayment_folds.accepted(ledger, event)
        case PrepaymentDeclined():
            after = prepayment_folds.declined(ledger, event)
        case PrepaymentReturnAsked():
            after = prepayment_folds.asked_back(ledger, event)
        case DisputeOpened():
            after = disputes.folded(ledger, event)
        case DisputeClosed():
            after = disputes.folded(ledger, event)
        case DifferencesChanged():
            after = noting.folded(ledger, event)
        case Reversed():
            after = reversals.applied(ledger, event)
        case ReversalRefused():
            after = ledger
        case _:
            assert_never(event)  # an event without a case does not type-check
    return after
