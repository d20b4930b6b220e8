"""Compares our ledgers with a gateway's own list of captures and refunds: what differs, and how it could be corrected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple
from uuid import UUID

from contracts.differences import DifferenceKind, Proposal
from payments.domain.listing import Listed
from payments.domain.pairing import Movement, Pair, PairState, Sought, pairs


class Unfinished(NamedTuple):
    """A capture or refund of a ledger that has not succeeded here."""

    movement: Movement
    is_awaited: bool
    """Its gateway is being asked, and may answer: it is no difference."""


class Difference(NamedTuple):
    kind: DifferenceKind
    proposal: Proposal
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
    listed: Sequence[Listed],
    movements: Sequence[Movement],
    orders: Mapping[str, UUID],
    unfinished: Mapping[str, Unfinished] = MappingProxyType({}),
) -> list[Difference]:
    """Returns each difference once: first those of the gateway's list, in its order, then what only we have.

    listed: everything that the gateway has of a period, each reference once. movements: ours of the same period, and all of
    those that `listed` names. orders: by each reference of ours, also of authorizations. unfinished: by operation id.
    """
    sought = [Sought(one.kind, (one.reference, *one.names), ((one.currency, one.amount_minor),)) for one in listed]
    found: list[Difference] = []
    confirmed: set[UUID] = set()
    ambiguous: set[str] = set()
    for one, pair in zip(listed, pairs(sought, movements, own_name_first=True), strict=True):
        if pair.movement is not None:
            confirmed.add(pair.movement.operation_id)
        if pair.state == "matched":
            continue
        if pair.state == "unmatched" or _is_another(one, pair):
            ours = next((unfinished[name] for name in one.names if name in unfinished), None)
            if ours is None:
                found.append(_not_ours(one, orders))
            elif not ours.is_awaited:
                found.append(Difference("state_differs", "book", ours.movement.order_id, ours.movement, one))
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


def _is_another(one: Listed, pair: Pair) -> bool:
    """Whether it has a name of a movement that another one is, and another amount: it is a further part of the payment."""
    movement = pair.movement
    return (
        pair.state == "repeated"
        and movement is not None
        and (movement.currency, movement.amount_minor) != (one.currency, one.amount_minor)
    )


def _not_ours(one: Listed, orders: Mapping[str, UUID]) -> Difference:
    """A movement that we have not booked. If the payment is ours it was made elsewhere, and can be booked."""
    order_id = next((orders[name] for name in (*one.names, one.reference) if name in orders), None)
    if order_id is None:
        return Difference("payment_unknown", "ask", None, None, one)
    return Difference("not_booked", "book", order_id, None, one)
