"""What the other services have stated about an order, as far as its processes need it: money, invoices, stock, shipments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from contracts.base import UNLESS_EMPTY, Document
from contracts.invoicing import Credited
from contracts.payments import Authorized, Captured, MoneyLine, MoneyTotals, Reversed


class AuthorizationFact(Document):
    authorization_id: UUID
    authorized: Mapping[str, int]
    """line id -> minor units."""
    captured: Annotated[Mapping[str, int], UNLESS_EMPTY] = {}
    """line id -> minor units, by all captures of it."""
    spent: Annotated[bool, UNLESS_EMPTY] = False
    """Nothing is left of it: all is captured or voided. Its amounts are recorded no longer."""
    released: Annotated[Mapping[str, int], UNLESS_EMPTY] = {}
    """line id -> minor units, by the voids that released a part of it."""

    @property
    def left_minor(self) -> int:
        if self.spent:
            return 0
        return sum(self.authorized.values()) - sum(self.captured.values()) - sum(self.released.values())

    @property
    def left_by_line(self) -> dict[str, int]:
        """line id -> minor units that are neither captured nor voided; without lines of which nothing is left."""
        if self.spent:
            return {}
        captured, released = self.captured, self.released
        left = {
            name: amount - captured.get(name, 0) - released.get(name, 0) for name, amount in self.authorized.items()
        }
        return {name: amount for name, amount in left.items() if amount > 0}

    def with_voided(self, lines: Iterable[MoneyLine]) -> AuthorizationFact:
        """After a void of these amounts, or of all that was left."""
        more = {line.line_id: self.released.get(line.line_id, 0) + line.amount_minor for line in lines}
        part = self.model_copy(update={"released": {**self.released, **more}})
        return part._unless_spent() if more else part._spent()

    def with_captured(self, lines: Iterable[MoneyLine]) -> AuthorizationFact:
        more = {line.line_id: self.captured.get(line.line_id, 0) + line.amount_minor for line in lines}
        return self.model_copy(update={"captured": {**self.captured, **more}})._unless_spent()

    def _unless_spent(self) -> AuthorizationFact:
        return self if self.left_by_line else self._spent()

    def _spent(self) -> AuthorizationFact:
        """Its id stays: an authorization that is reported again is no other one."""
        return self.model_copy(update={"authorized": {}, "captured": {}, "released": {}, "spent": True})


class CapturedLine(Document):
    """What was captured of a line by one capture, and what of it has come back. Amounts are minor units."""

    line_id: str
    quantity: int
    amount_minor: int
    refunded_quantity: int = 0
    refunded_minor: int = 0
    credited_minor: int = 0
    """On credit notes of the capture's invoice."""
    credited_quantity: Annotated[int, UNLESS_EMPTY] = 0
    """On credit notes of the capture's invoice."""

    @property
    def to_credit(self) -> tuple[int, int]:
        """Pieces and minor units that are on no credit note."""
        pieces, minor = self.quantity - self.credited_quantity, self.amount_minor - self.credited_minor
        return max(pieces, 0), max(minor, 0)

    @property
    def to_refund(self) -> MoneyLine:
        return MoneyLine(
            line_id=self.line_id,
            quantity=max(self.quantity - self.refunded_quantity, 0),
            amount_minor=self.amount_minor - self.refunded_minor,
        )


class CaptureFact(Document):
    capture_id: UUID
    operation_id: UUID | None = None
    """The operation that captured."""
    lines: tuple[CapturedLine, ...]
    invoice_id: UUID | None = None
    invoice_number: str = ""
    last_credit_note: UUID | None = None
    credited_version: int = 0
    """The version of the last credit note's event."""
    returned: Annotated[Mapping[str, tuple[int, int]], UNLESS_EMPTY] = {}
    """line id -> pieces and minor units that edits have taken off the order since it was captured."""
    settled: Annotated[bool, UNLESS_EMPTY] = False
    """The process that captured it has ended and has left the order's document."""
    past: Annotated[bool, UNLESS_EMPTY] = False
    """It was captured before the order, cancelled then, was placed anew."""

    @property
    def sold(self) -> dict[str, tuple[int, int]]:
        """line id -> pieces and minor units that it captured and that are still sold."""
        return {
            line.line_id: (line.quantity - pieces, line.amount_minor - minor)
            for line in self.lines
            for pieces, minor in (self.returned.get(line.line_id, (0, 0)),)
        }

    @classmethod
    def of(cls, capture_id: UUID, event: Authorized | Captured) -> CaptureFact:
        lines = (
            CapturedLine(line_id=line.line_id, quantity=line.quantity, amount_minor=line.amount_minor)
            for line in event.lines
        )
        return cls(capture_id=capture_id, operation_id=event.operation_id, lines=tuple(lines))

    @property
    def of_the_past(self) -> CaptureFact:
        """As it is once a cancelled order is placed anew: nothing of it counts for the new attempt."""
        return self.model_copy(update={"returned": {}, "settled": False, "past": True})

    @property
    def unrefunded_minor(self) -> int:
        return sum(line.amount_minor - line.refunded_minor for line in self.lines)

    @property
    def uncredited_minor(self) -> int:
        """What is invoiced and not credited."""
        return sum(line.amount_minor - line.credited_minor for line in self.lines) if self.invoice_id else 0

    def refunded(self, lines: Iterable[MoneyLine]) -> CaptureFact:
        back = {line.line_id: line for line in lines}
        return self._with(
            {
                "refunded_quantity": line.refunded_quantity + back[line.line_id].quantity,
                "refunded_minor": line.refunded_minor + back[line.line_id].amount_minor,
            }
            if line.line_id in back
            else {}
            for line in self.lines
        )

    def reversed(self, event: Reversed) -> CaptureFact:
        """It pays other lines: what they were reversed by counts as captured of those that replace them."""
        off: dict[str, tuple[int, int]] = {}
        for one in event.reversals:
            pieces, minor = off.get(one.reverses, (0, 0))
            off[one.reverses] = pieces + one.quantity, minor + one.amount_minor
        fact = self._with(
            {
                "quantity": max(line.quantity - off.get(line.line_id, (0, 0))[0], 0),
                "amount_minor": line.amount_minor - off.get(line.line_id, (0, 0))[1],
            }
            for line in self.lines
        )
        paid = (*event.lines, *([event.refund_line] if event.refund_line is not None else []))
        new = (
            CapturedLine(line_id=line.line_id, quantity=line.quantity, amount_minor=line.amount_minor) for line in paid
        )
        return fact.model_copy(update={"lines": (*fact.lines, *new)})

    def credited(self, event: Credited) -> CaptureFact:
        """A credit note counts once: read again, its version is not newer; only the last one answers another operation."""
        if event.version <= self.credited_version or event.credit_note_id == self.last_credit_note:
            return self
        back: dict[str, tuple[int, int]] = {}
        for line in event.lines:
            pieces, minor = back.get(line.line_id, (0, 0))
            back[line.line_id] = pieces + line.quantity, minor + line.gross_minor
        fact = self._with(
            {"credited_quantity": line.credited_quantity + pieces, "credited_minor": line.credited_minor + minor}
            for line in self.lines
            for pieces, minor in (back.get(line.line_id, (0, 0)),)
        )
        return fact.model_copy(update={"last_credit_note": event.credit_note_id, "credited_version": event.version})

    def _with(self, changes: Iterable[Mapping[str, int]]) -> CaptureFact:
        lines = tuple(line.model_copy(update=change) for line, change in zip(self.lines, changes, strict=True))
        return self.model_copy(update={"lines": lines})


class ShipmentFact(Document):
    shipment_id: UUID
    location: str
    status: Literal["picking", "shipped", "delivered", "cancelled"] = "picking"
    lines: Mapping[str, int]
    """line id -> pieces."""


class Facts(Document):
    """What the other services have stated, as far as the processes need it."""

    money: MoneyTotals = MoneyTotals()
    money_version: int = 0
    undone: MoneyTotals | None = None
    """The money as it was when a cancelled order was placed anew: nothing of it counts for the new attempt."""
    authorizations: Mapping[str, AuthorizationFact] = {}
    captures: Mapping[str, CaptureFact] = {}
    reserved: bool = False
    """Something is reserved, and not handed to the warehouse, released or shipped."""
    start_asked: bool = False
    """The start is asked: from then on fulfillment decides whether a cancel comes in time."""
    shipments: Mapping[str, ShipmentFact] = {}
    fulfilled: bool = False

    @property
    def unspent(self) -> list[AuthorizationFact]:
        """The authorizations of which something is left, the oldest first."""
        return [one for one in self.authorizations.values() if not one.spent]


class Learnt(Document):
    """The changed facts; null and empty: unchanged. `PaymentChanged` states the money."""

    money_version: int | None = None
    authorizations: tuple[AuthorizationFact, ...] = ()
    captures: tuple[CaptureFact, ...] = ()
    reserved: bool | None = None
    start_asked: bool | None = None
    shipments: tuple[ShipmentFact, ...] = ()
    fulfilled: bool | None = None


_SINGLE: Final = ("money_version", "reserved", "start_asked", "fulfilled")


_KEYED: Final = {"authorizations": "authorization_id", "captures": "capture_id", "shipments": "shipment_id"}
"""Facts by id: their field, and the field of each that holds its id."""


def learnt(before: Facts, after: Facts) -> Learnt | None:
    """Returns the facts that `after` has and `before` does not; None if only the money differs."""
    change: dict[str, Any] = {name: now for name in _SINGLE if (now := getattr(after, name)) != getattr(before, name)}
    for name in _KEYED:
        known, now = getattr(before, name), getattr(after, name)
        if now is not known:
            change[name] = tuple(one for key, one in now.items() if known.get(key) != one)
    return Learnt(**change) if any(value not in (None, ()) for value in change.values()) else None


def with_learnt(facts: Facts, news: Learnt) -> Facts:
    change: dict[str, Any] = {name: now for name in _SINGLE if (now := getattr(news, name)) is not None}
    for name, key in _KEYED.items():
        if changed := getattr(news, name):
            change[name] = {**getattr(facts, name), **{str(getattr(one, key)): one for one in changed}}
    return facts.model_copy(update=change)
