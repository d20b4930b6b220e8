"""The outcome of an operation as a person states it, and the gateway's contradiction."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from contracts.base import (
    Command,
    Counter,
    Event,
    Id,
    IfStated,
    MinorUnsigned,
    Open,
    OrderKeyed,
    Personal,
    Text,
    Timestamp,
)
from contracts.money import Currency
from contracts.payments.amounts import MoneyTotals
from contracts.payments.event import PaymentEvent
from contracts.payments.means import GatewayName

Outcome = Literal["succeeded", "failed"]


class Force(OrderKeyed, Command, type="payments.force"):
    """A person states the outcome of an operation whose gateway gives none. Nothing is moved: the outcome is booked.

    Answered by forced or force_refused. After forced comes the event of the target operation (authorized, declined,
    captured, voided, refunded, failed) with `recorded`. Stating a recorded outcome once more changes nothing.
    """

    target_operation_id: UUID
    outcome: Outcome
    reference: IfStated[Id] = None
    """The gateway's name of the operation, if the person has it."""
    reason: Annotated[Text, Personal()] = ""


class Forced(PaymentEvent, type="payments.forced"):
    """A person's statement is booked. `totals` are those before; the event of the target operation follows."""

    target_operation_id: UUID
    outcome: Annotated[Outcome, Open()]
    reference: IfStated[Id] = None
    actor: Text
    reason: Annotated[Text, Personal()] = ""


ForceCode = Literal["operation_unknown", "not_forceable", "amount_exceeded"]


class ForceRefused(OrderKeyed, Event, type="payments.force_refused"):
    """A person's statement that is not booked."""

    code: Annotated[ForceCode, Open()]
    """`not_forceable`: its gateway can still be asked and gives an answer, or the operation has its outcome.
    `amount_exceeded`: a refused operation cannot have succeeded, because its amount is no longer left."""
    refers_to: UUID
    """The operation whose outcome was stated."""
    currency: Currency | None = None
    """Null only where the ledger has none."""
    totals: MoneyTotals = MoneyTotals()
    gateway: GatewayName | None = None
    """Who is being asked."""
    since: Timestamp | None = None
    """When it was first asked."""
    tries: Counter = 0
    """How many times it has been asked without giving an outcome."""
    allowed_minor: MinorUnsigned | None = None
    """With `amount_exceeded`: the amount that is left."""
    reason: Text = ""


class Contradicted(PaymentEvent, type="payments.contradicted"):
    """The gateway reports another outcome than the recorded one. No amount has changed: a person compares both sides."""

    target_operation_id: UUID
    command: Text
    """`authorize`, `capture`, `void` or `refund`."""
    refers_to: UUID | None = None
    """The authorization (capture, void) or capture (refund) that the target operation is about."""
    recorded_outcome: Annotated[Outcome, Open()]
    reported_outcome: Annotated[Literal["succeeded", "failed", "unknown"], Open()]
    """`unknown`: the gateway has no operation of this id."""
    amount_minor: MinorUnsigned
    """The amount of the operation."""
    reported_minor: MinorUnsigned | None = None
    """What the gateway moved, if it states it."""
    gateway: GatewayName | None = None
    gateway_reference: Text | None = None
    reason: Text = ""
