"""Compares our ledgers with a gateway's own list of captures and refunds: what differs, and how it could be corrected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Literal, NamedTuple, get_args
from uuid import UUID

from payments.domain.pairing import Movement, MovementKind, PairState, Sought, pairs


class Listed(NamedTuple):
    """A capture or refund in a gateway's list. It has succeeded there."""

    kind: MovementKind
    reference: str
    """The gateway's own name of it."""
    names: tuple[str, ...]
    """Further names under which we may have it: our operation id, the gateway's name of the payment."""
    currency: str
    amount_minor: int
    at: datetime


DifferenceKind = Literal[
    "not_booked",
    "not_at_gateway",
    "made_twice",
    "amount_differs",
    "currency_differs",
    "reference_ambiguous",
    "payment_unknown",
]
DIFFERENCES: Final[tuple[DifferenceKind, ...]] = get_args(DifferenceKind)
Proposal = Literal["book", "refund", "ask"]
PROPOSALS: Final[tuple[Proposal, ...]] = get_args(Proposal)


class Difference(NamedTuple):
    kind: DifferenceKind
    proposal: Proposal
    """`book`: the gateway's movement is recorded in our ledger. `refund`: the gateway gives back what it took twice. `ask`: a person
    finds out first."""
    order_id: UUID | None
    ours: Movement | None
    theirs: Listed | None


_PAIRED: Final[Mapping[PairState, DifferenceKind]] = {
    "amount_differs": "amount_differs",
    "currency_differs": "currency_differs",
    "reference_ambiguous": "reference_ambiguous",
    "repeated": "made_twice",
}


def differences(
    listed: Sequence[Listed], movements: Sequence[Movement], orders: Mapping[str, UUID]
) -> list[Difference]:
    """Returns each difference once: first those of the gateway's list, in its order, then what only we have.

    listed: everything that the gateway has of a period, each reference once. movements: ours of the same period, and all of
    those that `listed` names. orders: by each reference of ours, also of authorizations.
    """
    sought = [Sought(one.kind, (*one.names, one.reference), ((one.currency, one.amount_minor),)) for one in listed]
    found: list[Difference] = []
    confirmed: set[UUID] = set()
    ambiguous: set[str] = set()
    for one, pair in zip(listed, pairs(sought, movements), strict=True):
        if pair.movement is not None:
            confirmed.add(pair.movement.operation_id)
        if pair.state == "matched":
            continue
        if pair.state == "unmatched":
            found.append(_not_ours(one, orders))
            continue
        if pair.state == "reference_ambiguous":
            ambiguous.update(one.names, (one.reference,))
        order_id = pair.movement.order_id if pair.movement else None
        kind = _PAIRED[pair.state]
        proposal: Proposal = "refund" if kind == "made_twice" and one.kind == "capture" else "ask"
        found.append(Difference(kind, proposal, order_id, pair.movement, one))
    found += [
        Difference("not_at_gateway", "ask", movement.order_id, movement, None)
        for movement in movements
        if movement.operation_id not in confirmed and ambiguous.isdisjoint(movement.references)
    ]
    return found


def _not_ours(one: Listed, orders: Mapping[str, UUID]) -> Difference:
    """A movement that we have not booked. If the payment is ours it was made elsewhere, and can be booked."""
    order_id = next((orders[name] for name in (*one.names, one.reference) if name in orders), None)
    if order_id is None:
        return Difference("payment_unknown", "ask", None, None, one)
    return Difference("not_booked", "book", order_id, None, one)
