"""Pieces of an order by the operation that reserved them, and the sums of them that others see.

A `reserve` and each `extend` make a part. Parts stay apart for ever, because the table `reservations` has a row per
operation and line; messages and the warehouse have the sums by line and location.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple
from uuid import UUID

from contracts.base import Document, LineId
from contracts.fulfillment import PlacedLine


class Part(Document):
    """Pieces that one operation reserved, each line once and at one location."""

    operation_id: UUID
    lines: tuple[PlacedLine, ...]
    restocked: Mapping[LineId, int] = {}
    """Pieces of `lines` that shipped and are on the shelf again."""

    def at(self, location: str) -> Part:
        """Returns the pieces that are at a location."""
        here = tuple([line for line in self.lines if line.location == location])
        return self if len(here) == len(self.lines) else self.model_copy(update={"lines": here})


Parts = tuple[Part, ...]


class Place(NamedTuple):
    """Pieces of one place are alike."""

    line_id: str
    sku: str
    location: str


def place_of(line: PlacedLine) -> Place:
    return Place(line.line_id, line.sku, line.location)


def count(parts: Iterable[Part]) -> int:
    return sum([line.quantity for part in parts for line in part.lines])


def summed(parts: Parts) -> tuple[PlacedLine, ...]:
    """Returns the pieces by line and location, in the order in which they were reserved."""
    return parts[0].lines if len(parts) == 1 else added(line for part in parts for line in part.lines)


def added(lines: Iterable[PlacedLine]) -> tuple[PlacedLine, ...]:
    """Returns one line for all lines of the same place, with the sum of their pieces."""
    lines = tuple(lines)
    pieces = quantities(lines)
    if len(pieces) == len(lines):
        return lines
    first = {place_of(line): line for line in reversed(lines)}
    return tuple(of(first[place], quantity) for place, quantity in pieces.items())


def of(line: PlacedLine, quantity: int) -> PlacedLine:
    """Returns the line with another number of pieces."""
    return line.model_copy(update={"quantity": quantity})


def quantities(lines: Iterable[PlacedLine]) -> dict[Place, int]:
    """Returns the pieces of each place."""
    pieces: dict[Place, int] = {}
    for line in lines:
        place = place_of(line)
        pieces[place] = pieces.get(place, 0) + line.quantity
    return pieces


def without(parts: Parts, gone: dict[Place, int]) -> Parts:
    """Returns the parts without the pieces of `gone`, and takes these out of `gone`. What was reserved last goes first.

    Parts without a line are left out.
    """
    left: list[Part] = []
    for part in reversed(parts):
        lines: list[PlacedLine] = []
        for line in part.lines:
            place = place_of(line)
            taken = min(line.quantity, gone.get(place, 0))
            if taken:
                gone[place] -= taken
            if taken < line.quantity:
                lines.append(of(line, line.quantity - taken) if taken else line)
        if lines:
            left.append(part.model_copy(update={"lines": tuple(lines)}))
    return tuple(reversed(left))


def restocked(part: Part, back: dict[Place, int]) -> Part:
    """Returns the part with pieces of `back` restocked, at most those that it has left, and takes these out of `back`."""
    pieces = dict(part.restocked)
    for line in part.lines:
        before = pieces.get(line.line_id, 0)
        more = min(line.quantity - before, back.get(place := place_of(line), 0))
        if more:
            back[place] -= more
            pieces[line.line_id] = before + more
    return part.model_copy(update={"restocked": pieces})
