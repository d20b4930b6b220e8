"""Which closed operations and sessions a ledger has in its document, and which it has to read again to decide."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from uuid import UUID

from contracts.deciding import Reported
from contracts.gift_cards import GIFT_CARD
from contracts.payments import Force, Void
from payments.domain.gateway import GatewayCall, Refunds, RefundsCall
from payments.domain.ledger import Ledger
from payments.domain.operation import EarlierKey
from payments.domain.session_state import Session

CLOSED_MAX: Final = 8
"""Closed operations that a ledger has in its document. Few orders have more."""


CLOSED_SESSIONS_MAX: Final = 2
"""Closed sessions that a ledger has in its document; all are in the table `payment_sessions`."""


def compact(ledger: Ledger) -> Ledger:
    """Without the oldest closed operations: the document does not grow with each. The latest authorization stays: the status of
    an order of which nothing is authorized is its outcome."""
    closed_sessions = [name for name, one in ledger.sessions.items() if _is_over(ledger, name, one)]
    if len(closed_sessions) > CLOSED_SESSIONS_MAX:
        gone = {*closed_sessions[:-CLOSED_SESSIONS_MAX]}
        left = {name: one for name, one in ledger.sessions.items() if name not in gone}
        ledger = ledger.model_copy(update={"sessions": left})
    if len(ledger.operations) <= CLOSED_MAX:
        return ledger
    authorizations = [
        operation_id
        for operation_id, one in ledger.operations.items()
        if one.kind == "authorize" and one.gateway != GIFT_CARD
    ]
    closed = [
        operation_id
        for operation_id, operation in ledger.operations.items()
        if not operation.is_open and operation.recorded != "unconfirmed" and operation_id not in authorizations[-1:]
    ]
    oldest = {*closed[:-CLOSED_MAX]}
    stay = {
        operation_id: operation for operation_id, operation in ledger.operations.items() if operation_id not in oldest
    }
    return ledger.model_copy(update={"operations": stay})


def _is_over(ledger: Ledger, session_id: UUID, session: Session) -> bool:
    """Whether nothing of a session can still be paid or given back."""
    asked = ledger.operations.get(session_id)
    return session.state != "open" and not session.held_minor and not (asked is not None and asked.is_open)


def earlier(ledger: Ledger, message: Any) -> Iterable[EarlierKey]:
    """The closed operations that deciding needs and the ledger no longer has: what a gateway reports on, what is voided, forced."""
    order_id, named = _named(message)
    for operation_id in named:
        if operation_id not in ledger.operations and len(ledger.operations) >= CLOSED_MAX:
            yield EarlierKey(order_id, operation_id)


def _named(message: Any) -> tuple[UUID, Iterable[UUID]]:
    match message:
        case Reported(asked=GatewayCall(order_id=order_id, operation_id=named)):
            return order_id, [named]
        case Reported(asked=RefundsCall(order_id=order_id), outcome=Refunds() as refunds):
            return order_id, refunds.operation_ids
        case Void(order_id=order_id, authorization_id=named):
            return order_id, [named]
        case Force(order_id=order_id, target_operation_id=named):
            return order_id, [named]
        case _:
            return UUID(int=0), ()
