"""What the other services have stated about an order, as far as its processes need it: money, invoices, stock, shipments."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from contracts.base import UNLESS_EMPTY, Document, Timestamp
from contracts.invoicing import Credited
from contracts.payments import Authorized, Captured, MoneyLine, MoneyTotals, Reversed, ReversedLine


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
    held_until: Annotated[Timestamp | None, UNLESS_EMPTY] = None
    """When its issuer releases what is left of it, once payments has announced that; null: not announced."""
    held_by: Annotated[str, UNLESS_EMPTY] = ""
    """The gateway that holds it, stated with `held_until`."""

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
    reversed_quantity: Annotated[int, UNLESS_EMPTY] = 0
    reversed_minor: Annotated[int, UNLESS_EMPTY] = 0
    """What other lines have replaced: the money stays, for those."""
    unbilled: Annotated[bool, UNLESS_EMPTY] = False
    """It is on no invoice: what a reversal has left over, to be refunded, or a line that no invoice can describe."""
    undescribed: Annotated[bool, UNLESS_EMPTY] = False
    """Neither it nor the line that it replaces has a title and a rate: it belongs on an invoice, and is on none."""

    @classmethod
    def billed_if(cls, described: bool, line: MoneyLine | CapturedLine) -> CapturedLine:
        """A line that replaces another. described: an invoice can describe it."""
        return cls(
            line_id=line.line_id, quantity=line.quantity, amount_minor=line.amount_minor, unbilled=not described,
            undescribed=not described,
        )  # fmt: skip

    @property
    def billed(self) -> bool:
        return not self.unbilled

    @property
    def gone_quantity(self) -> int:
        return self.refunded_quantity + self.reversed_quantity

    @property
    def gone_minor(self) -> int:
        """What is refunded or reversed."""
        return self.refunded_minor + self.reversed_minor

    @property
    def to_credit(self) -> tuple[int, int]:
        """Pieces and minor units that are on no credit note."""
        pieces, minor = self.quantity - self.credited_quantity, self.amount_minor - self.credited_minor
        return (max(pieces, 0), max(minor, 0)) if self.billed else (0, 0)

    @property
    def to_refund(self) -> MoneyLine:
        return MoneyLine(
            line_id=self.line_id,
            quantity=max(self.quantity - self.gone_quantity, 0),
            amount_minor=self.amount_minor - self.gone_minor,
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
    paid_by: Annotated[UUID | None, UNLESS_EMPTY] = None
    """The capture that pays the lines, if it is a reversal."""
    reversal_id: Annotated[UUID | None, UNLESS_EMPTY] = None
    """It pays lines that replace reversed ones: the reversal."""
    unpaid: Annotated[Mapping[str, int], UNLESS_EMPTY] = {}
    """line id -> what the lines of a reversal cost more and no capture has paid, minor units."""
    refund_id: Annotated[UUID | None, UNLESS_EMPTY] = None
    """The operation by which payments refunds what the lines of a reversal cost less."""
    charge_id: Annotated[UUID | None, UNLESS_EMPTY] = None
    """The operation that authorizes that."""
    charge_gateway: Annotated[str | None, UNLESS_EMPTY] = None
    charge_account: Annotated[str | None, UNLESS_EMPTY] = None
    charge_refused: Annotated[bool, UNLESS_EMPTY] = False
    """It was declined, or not captured, and was not asked for again."""
    charged_here: Annotated[bool, UNLESS_EMPTY] = False
    """The order has asked for it, because payments was refused."""

    @property
    def source_id(self) -> UUID:
        """What payments calls the capture that its money is in."""
        return self.paid_by or self.capture_id

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
        return sum(line.to_refund.amount_minor for line in self.lines)

    @property
    def to_invoice_minor(self) -> int:
        """What has not gone back and belongs on an invoice."""
        return sum(line.to_refund.amount_minor for line in self.lines if line.billed)

    @property
    def uncredited_minor(self) -> int:
        """What is invoiced and not credited."""
        billed = [line for line in self.lines if line.billed] if self.invoice_id else []
        return sum(line.amount_minor - line.credited_minor for line in billed)

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

    def reversed(self, reversals: Iterable[ReversedLine]) -> CaptureFact:
        """Other lines are paid with what these take off."""
        off: dict[str, tuple[int, int]] = {}
        for one in reversals:
            pieces, minor = off.get(one.reverses, (0, 0))
            off[one.reverses] = pieces + one.quantity, minor + one.amount_minor
        return self._with(
            {
                "reversed_quantity": line.reversed_quantity + off[line.line_id][0],
                "reversed_minor": line.reversed_minor + off[line.line_id][1],
            }
            if line.line_id in off
            else {}
            for line in self.lines
        )

    @classmethod
    def of_reversal(cls, event: Reversed, described: Container[str]) -> CaptureFact:
        """What a capture pays instead of the lines that are reversed. described: the lines that an invoice can describe."""
        assert event.operation_id is not None, "a reversal is an operation"
        lines = [CapturedLine.billed_if(line.line_id in described, line) for line in event.lines]
        if (rest := event.refund_line) is not None:
            lines.append(
                CapturedLine(
                    line_id=rest.line_id, quantity=rest.quantity, amount_minor=rest.amount_minor, unbilled=True
                )
            )
        return cls(
            capture_id=event.operation_id,
            operation_id=event.operation_id,
            lines=tuple(lines),
            paid_by=event.capture_id,
            reversal_id=event.operation_id,
            unpaid={line.line_id: line.amount_minor for line in event.charge},
            refund_id=event.refund_id,
            charge_id=event.charge_id,
            charge_gateway=event.charge_gateway,
            charge_account=event.charge_account,
        )

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
