"""What a refund means: which amounts of which captures go back. Pure, exact to the minor unit.

A line goes back from its own captures, the newest first. Pieces go back at the share of all pieces so far, less what went
back before; so all pieces together are exactly what was captured. An amount without a line goes back from the captures,
the newest first, spread over the lines of each by what is left of them.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple
from uuid import UUID

from contracts.base import SHIPPING_LINE
from contracts.deciding import Refusal
from contracts.invoicing import InvoiceLine, InvoiceLineWanted
from contracts.money import round_half_up, split
from contracts.payments import MoneyLine
from contracts.vat import CreditedLine, assess, credited
from orders.domain.content.facts import CapturedLine, CaptureFact


class Wanted(NamedTuple):
    """What is to go back of one line. One of the two is given; with both, the amount is that of the pieces."""

    line_id: str
    quantity: int | None = None
    amount_minor: int | None = None


class Part(NamedTuple):
    """What goes back of one capture."""

    capture_id: UUID
    lines: tuple[MoneyLine, ...]

    @property
    def amount_minor(self) -> int:
        return sum(line.amount_minor for line in self.lines)


Taken = Mapping[tuple[UUID, str], tuple[int, int]]
"""(capture id, line id) -> pieces and minor units that open refunds are going to take."""


@dataclass(slots=True)
class _Left:
    """A captured line, and how much of it is gone: refunded, taken by an open refund, or by this one."""

    capture_id: UUID
    reversal_id: UUID | None
    """The reversal whose lines it pays; that of a reversal itself is its `capture_id`."""
    line: CapturedLine
    pieces_gone: int
    minor_gone: int
    pieces: int = 0
    """What this refund takes."""
    minor: int = 0

    @property
    def pieces_left(self) -> int:
        return max(self.line.quantity - self.pieces_gone, 0)

    @property
    def minor_left(self) -> int:
        return max(self.line.amount_minor - self.minor_gone, 0)

    def take(self, pieces: int, minor: int) -> None:
        self.pieces_gone, self.pieces = self.pieces_gone + pieces, self.pieces + pieces
        self.minor_gone, self.minor = self.minor_gone + minor, self.minor + minor

    def price_of(self, pieces: int) -> int:
        """What the next pieces come to."""
        return self.share_of(Fraction(self.pieces_gone + pieces, self.line.quantity))

    def share_of(self, so_far: Fraction) -> int:
        """What goes back of it when this part of its pieces is gone."""
        return min(max(round_half_up(self.line.amount_minor * so_far) - self.minor_gone, 0), self.minor_left)


def left_minor(captures: Iterable[CaptureFact], taken: Taken) -> int:
    """How much may still go back of all captures."""
    return sum(one.minor_left for one in _lefts(captures, taken))


def left_by_line(captures: Iterable[CaptureFact], taken: Taken) -> dict[str, MoneyLine]:
    """line id -> pieces and amount that may still go back of all captures."""
    found: dict[str, MoneyLine] = {}
    for one in _lefts(captures, taken):
        line_id, known = one.line.line_id, found.get(one.line.line_id)
        pieces, minor = (known.quantity, known.amount_minor) if known is not None else (0, 0)
        found[line_id] = MoneyLine(
            line_id=line_id, quantity=pieces + one.pieces_left, amount_minor=minor + one.minor_left
        )
    return found


def plan(
    captures: Iterable[CaptureFact],
    taken: Taken,
    lines: Container[str],
    wanted: Iterable[Wanted],
    goodwill_minor: int = 0,
) -> tuple[Part, ...] | Refusal:
    """The parts of a refund, the newest capture first; or why it is refused.

    captures: the order's, the oldest first. lines: the ids of the order's lines. goodwill_minor: an amount without a line.
    Checks, in this order: line_unknown, refund_exceeds, refund_empty.
    """
    lefts = _lefts(captures, taken)
    for one in wanted:
        own = [left for left in lefts if left.line.line_id == one.line_id]
        if not own and one.line_id not in lines and one.line_id != SHIPPING_LINE:
            return Refusal("line_unknown", f"the order has no line {one.line_id}", {"line": one.line_id})
        if (refused := _take(own, one)) is not None:
            return refused
    if goodwill_minor > (allowed := sum(left.minor_left for left in lefts if left.line.billed)):
        return _exceeds(None, "amount_minor", allowed, goodwill_minor)
    for _, of_capture in groupby(lefts, key=attrgetter("capture_id")) if goodwill_minor else ():
        own = [left for left in of_capture if left.minor_left and left.line.billed]
        amount = min(goodwill_minor, sum(left.minor_left for left in own))
        if amount:
            weights = [left.minor_left for left in own]
            for left, share in zip(own, split(amount, weights), strict=True):
                left.take(0, share)
            goodwill_minor -= amount
    parts = _parts(lefts)
    return parts if any(part.amount_minor for part in parts) else Refusal("refund_empty", "nothing goes back")


def credit_lines(
    invoiced: Sequence[InvoiceLineWanted], before: Mapping[str, int], part: Part
) -> tuple[InvoiceLine, ...]:
    """The lines of the credit note of a part, with their VAT, as invoicing makes them.

    invoiced: the lines that the invoice was asked for with. before: line id -> what is credited before, minor units.
    """
    whole, lines = {line.line_id: line for line in assess(invoiced).lines}, []
    for line in part.lines:
        if line.line_id not in whole:
            continue  # it is on no invoice
        of_invoice, gross_before = whole[line.line_id], before.get(line.line_id, 0)
        amount = min(line.amount_minor, of_invoice.gross_minor - gross_before)
        lines.append(credited(of_invoice, CreditedLine(gross_minor=gross_before), line.quantity, amount))
    return tuple(lines)


def _lefts(captures: Iterable[CaptureFact], taken: Taken) -> list[_Left]:
    """The captured lines, those of the newest capture first."""
    lefts = []
    for capture in reversed([*captures]):
        for line in capture.lines:
            pieces, minor = taken.get((capture.capture_id, line.line_id), (0, 0))
            gone = line.gone_quantity + pieces, line.gone_minor + minor
            lefts.append(_Left(capture.capture_id, capture.reversal_id, line, *gone))
    return lefts


def _take(own: list[_Left], wanted: Wanted) -> Refusal | None:
    """Takes a line from its captures. By pieces, by amount, or an amount for pieces."""
    pieces, minor = wanted.quantity or 0, wanted.amount_minor
    if pieces > (allowed := sum(left.pieces_left for left in own)):
        return _exceeds(wanted.line_id, "quantity", allowed, pieces)
    if minor is not None and minor > (allowed := sum(left.minor_left for left in own)):
        return _exceeds(wanted.line_id, "amount_minor", allowed, minor)
    for left in own:
        now = min(pieces, left.pieces_left)
        if minor is None:
            left.take(now, left.price_of(now) if now else 0)
            for more in _dearer(left, own) if now else ():
                more.take(0, more.share_of(Fraction(left.pieces_gone, left.line.quantity)))
        else:
            amount = min(minor, left.minor_left)
            left.take(now, amount)
            minor -= amount
        pieces -= now
    return None


def _dearer(left: _Left, own: Iterable[_Left]) -> Iterator[_Left]:
    """What the pieces that a reversal pays have cost more: further captures, which have no pieces of their own."""
    for one in own:
        if one.reversal_id == left.capture_id != one.capture_id and not one.line.quantity:
            yield one


def _exceeds(line_id: str | None, of: str, allowed: int, asked: int) -> Refusal:
    detail = (
        f"{f'line {line_id}' if line_id is not None else 'the order'}: {of} {asked} is more than the {allowed} left"
    )
    return Refusal("refund_exceeds", detail, {"line": line_id, "of": of, "allowed": allowed, "asked": asked})


def _parts(lefts: Iterable[_Left]) -> tuple[Part, ...]:
    by_capture: dict[UUID, list[MoneyLine]] = {}
    for left in lefts:
        if left.pieces or left.minor:
            line = MoneyLine(line_id=left.line.line_id, quantity=left.pieces, amount_minor=left.minor)
            by_capture.setdefault(left.capture_id, []).append(line)
    return tuple(Part(capture_id, tuple(lines)) for capture_id, lines in by_capture.items())
