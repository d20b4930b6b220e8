"""Events about differences between a ledger of payments and its gateway's own list of captures and refunds."""

from __future__ import annotations

from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import Field

from contracts.base import (
    Addressed,
    Event,
    Frozen,
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
from contracts.payments import GatewayName


class DifferenceKeyed(Addressed, key="difference_id"):
    """Declares the key of a message about one difference between a ledger and its gateway."""

    difference_id: UUID


DifferenceKind = Literal[
    "not_booked",
    "not_at_gateway",
    "state_differs",
    "made_twice",
    "amount_differs",
    "currency_differs",
    "reference_ambiguous",
    "payment_unknown",
    "dispute_differs",
]
Proposal = Literal["book", "refund", "ask"]
"""`book`: the ledger books what the gateway has made. `refund`: the gateway gives back what it took twice. `ask`: a person finds
out first."""


class OurSide(Frozen):
    """The operation of the ledger."""

    operation_id: UUID
    kind: Annotated[Literal["capture", "refund", "dispute"], Open()]
    currency: Currency
    amount_minor: MinorUnsigned
    state: IfStated[Text] = None
    """`open`, `won` or `lost`, if it is a dispute."""


class TheirSide(Frozen):
    """The movement in the gateway's list."""

    kind: Annotated[Literal["capture", "refund", "dispute"], Open()]
    reference: Id
    """The gateway's name of it."""
    names: Annotated[tuple[Id, ...], Field(max_length=10)] = ()
    """Further names that the list has for it: our operation id, the gateway's name of the payment."""
    currency: Text
    amount_minor: MinorUnsigned
    at: Timestamp
    state: IfStated[Text] = None
    """`open`, `won` or `lost`, if it is a dispute."""


class DifferenceEvent(DifferenceKeyed, Event):
    gateway: GatewayName
    account: Id
    """The name of the store's account at the gateway."""
    order_id: UUID | None = None
    """Null: no order of ours has the payment, or several have it."""
    kind: Annotated[DifferenceKind, Open()]
    """`not_booked`: the gateway has made it, our ledger does not have it. `not_at_gateway`: the reverse. `state_differs`: it has
    succeeded at the gateway and not here, or the reverse. `made_twice`: once more than our ledger has it. `payment_unknown`: no
    order of ours has the payment. `dispute_differs`: the gateway states another end of a dispute than before, or another payment."""


class DifferenceFound(DifferenceEvent, type="payments.difference_found"):
    """A reconciliation found that the ledger and the gateway's own list differ; also if an earlier difference has changed, or is
    found after it was closed. Nothing has moved."""

    proposal: Annotated[Proposal, Open()]
    ours: OurSide | None = None
    theirs: TheirSide | None = None
    at: Timestamp
    """When the movement was made that is in question."""
    found_at: Timestamp
    """When it was found first."""
    reconciliation_id: UUID | None = None
    """Null: an answer of the gateway showed it, no comparison of lists."""


DifferenceClosedBecause = Literal["applied", "dismissed", "gone"]


class DifferenceClosed(DifferenceEvent, type="payments.difference_closed"):
    because: Annotated[DifferenceClosedBecause, Open()]
    """`applied`: its proposal was carried out. `dismissed`: a person leaves it. `gone`: a later reconciliation did not find it."""
    closed_at: Timestamp
    actor: Text
    reason: Annotated[Text, Personal()] = ""


ORDER_DIFFERENCES_MAX: Final = 100
"""Open differences that an order has at most; payments lists further ones without it."""


class OpenDifference(Frozen):
    """A difference that waits for a person at payments. Its amount is in minor units of `currency`: the gateway's or, if it has no
    such movement, ours."""

    difference_id: UUID
    gateway: GatewayName
    kind: Annotated[DifferenceKind, Open()]
    proposal: Annotated[Proposal, Open()]
    currency: Text
    amount_minor: MinorUnsigned


class DifferencesChanged(OrderKeyed, Event, type="payments.differences_changed"):
    """The open differences of an order are others than before. Nothing has moved."""

    open: Annotated[tuple[OpenDifference, ...], Field(max_length=ORDER_DIFFERENCES_MAX)] = ()
    """All that are open now, in the sequence in which they were found. Empty: none is left."""
