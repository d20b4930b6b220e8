"""What all events of payments have. `totals` are those after the event."""

from __future__ import annotations

from contracts.base import Event, Flag, Frozen, Id, IfStated, OrderKeyed
from contracts.money import Currency
from contracts.payments.amounts import MoneyTotals
from contracts.payments.means import GatewayName


class PaymentName(Frozen):
    """What a payment system elsewhere calls an operation."""

    system: GatewayName
    payment_id: Id


class PaymentEvent(OrderKeyed, Event):
    currency: Currency
    totals: MoneyTotals = MoneyTotals()


class OutcomeEvent(PaymentEvent):
    """The end of an operation."""

    recorded: Flag = False
    """A person, the marketplace or a payment system elsewhere stated it, not the gateway."""
    payment: IfStated[PaymentName] = None
    """The name of an operation that happened elsewhere (`payments.record`)."""
