"""Operations that happened in a payment system elsewhere."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from contracts.base import Command, Event, Flag, Id, IfStated, LineId, MinorUnsigned, Open, OrderKeyed, Text
from contracts.money import Currency
from contracts.payments.amounts import MoneyLines, MoneyTotals
from contracts.payments.force import Outcome
from contracts.payments.means import AccountName, GatewayName
from contracts.payments.operations import OperationKind


class Record(OrderKeyed, Command, type="payments.record"):
    """Money has moved elsewhere, or was refused there: what happened is booked, and no gateway is asked.

    Answered by the event of its kind with `recorded` (authorized, captured, voided, refunded; declined or failed if it was
    refused), or by record_refused. Its operation is identified by store, system, kind and `payment_id`: stated once more, it
    changes nothing and is not answered again. If the ledger waits for exactly this (gateway `recorded`, the same amounts of
    the same lines), it ends that operation.
    """

    kind: OperationKind
    system: GatewayName
    """The payment system where it happened. Its ids of operations of one kind are unique."""
    payment_id: Id
    """What that system calls the operation."""
    currency: Currency
    lines: MoneyLines
    refers_to: IfStated[UUID] = None
    """The authorization (capture, void) or capture (refund) that it draws on; null: the only one of the order."""
    capture: Flag = False
    """An authorization that was captured at once."""
    gateway: IfStated[GatewayName] = None
    """For an authorization: the gateway that makes its captures and refunds; null: payments is informed of them."""
    account: IfStated[AccountName] = None
    """With `gateway`: the store's account there; null: its first."""
    outcome: Outcome = "succeeded"
    """A refused attempt is recorded, too; it moves nothing."""
    code: Text = ""
    """Why it was refused, in the words of that system."""
    reason: Text = ""


class CheckRefunds(OrderKeyed, Command, type="payments.check_refunds"):
    """A gateway has stated that something was refunded of a payment: it is asked what. Each refund that the ledger does not have
    is recorded like one that was stated with `payments.record`: answered by refunded or record_refused, or by nothing."""

    gateway: GatewayName
    account: AccountName
    payment: Id
    """The gateway's reference of the authorization, or of what was paid in a session before it."""


RecordCode = Literal[
    "payment_differs",
    "payment_taken",
    "currency_differs",
    "authorization_unknown",
    "capture_unknown",
    "reference_ambiguous",
    "line_unknown",
    "line_taken",
    "exceeds_authorizable",
    "exceeds_capturable",
    "exceeds_refundable",
]


class RecordRefused(OrderKeyed, Event, type="payments.record_refused"):
    """What was stated to have happened elsewhere is not booked: a person compares both sides. Nothing has changed."""

    code: Annotated[RecordCode, Open()]
    """`payment_differs`: the same `payment_id` was recorded with other amounts. `payment_taken`: on another order.
    `reference_ambiguous`: the order has several that it may refer to, and it names none. `line_taken`: a line is a reversal."""
    command: Annotated[OperationKind, Open()]
    system: GatewayName
    payment_id: Id
    refers_to: IfStated[UUID] = None
    currency: Currency | None = None
    """Null only where the ledger has none."""
    totals: MoneyTotals = MoneyTotals()
    line: IfStated[LineId] = None
    """The first line that does not fit."""
    allowed_minor: IfStated[MinorUnsigned] = None
    """What may still be taken of this line; with `exceeds_authorizable`, of the order."""
    reason: Text = ""
