"""A series numbers documents of one seller and kind: 1..n without a gap, dates never backwards.

A series is named by what its numbers have in common: the prefix, and the year if the seller's format holds it. Another
prefix, format or year begins another series at 1; one that was used before goes on where it ended. The seller's row is
locked while a document is decided and saved, so no other worker can take the same number, and a number that is not saved
was never taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from contracts.base import Event
from contracts.invoicing import Credited, DocumentEvent, Issued
from invoicing.domain.sellers import Kind, SellerTerms


class SeriesKey(NamedTuple):
    store_id: str
    seller: str
    kind: Kind


class Last(NamedTuple):
    """The last document of a series."""

    number: int
    issued_at: datetime
    issued_on: date
    """Stored beside the time: a seller that moves its time zone west must not date backwards."""


@dataclass(frozen=True, slots=True)
class Numbering:
    """The series of one seller and kind."""

    seller: SellerTerms | None = None
    """As it is now; null when this store has no such seller."""
    last: Mapping[str, Last] = field(default_factory=dict)
    """By series."""
    locked_at: datetime | None = None
    """The database's clock once the seller's row was locked."""
    numbered: frozenset[str] = frozenset()
    """The series that got a number since they were loaded."""


class Stamp(NamedTuple):
    """What a series gives to a document."""

    series: str
    number: str
    sequence: int
    issued_at: datetime
    issued_on: date


def stamp(
    numbering: Numbering,
    seller: SellerTerms,
    kind: Kind,
    time_zone: str,
    now: datetime,
    follows: DocumentEvent | None = None,
) -> Stamp:
    """The next number, and a time that is neither before any earlier document of the kind nor before the one it `follows`.

    With a clock that was set back, the time stays the same here until the clock has caught up. The year of the number is that of the
    date on the document.
    """
    before = [now, numbering.locked_at, *(last.issued_at for last in numbering.last.values())]
    times = [*before, None if follows is None else follows.issued_at]
    issued_at = max(time for time in times if time is not None)
    days = [issued_at.astimezone(ZoneInfo(time_zone)).date(), *(last.issued_on for last in numbering.last.values())]
    issued_on = max(days if follows is None else [*days, follows.issued_on])
    series = seller.series(kind, issued_on.year)
    sequence = numbering.last[series].number + 1 if series in numbering.last else 1
    return Stamp(series, f"{series}{sequence:06d}", sequence, issued_at, issued_on)


def touched(event: Event) -> Iterable[SeriesKey]:
    match event:
        case Issued():
            return (SeriesKey(event.store_id, event.seller.code, "invoice"),)
        case Credited():
            return (SeriesKey(event.store_id, event.seller.code, "credit"),)
        case _:
            return ()


def evolve(numbering: Numbering | None, key: SeriesKey, event: Event) -> Numbering:
    """A document that is stated again, or read again from the topic out of order, moves nothing."""
    numbering = numbering or Numbering()
    if not isinstance(event, (Issued, Credited)):
        return numbering
    known = numbering.last.get(event.series)
    if known is not None and event.sequence <= known.number:
        return numbering
    last = {**numbering.last, event.series: Last(event.sequence, event.issued_at, event.issued_on)}
    return replace(numbering, last=last, numbered=numbering.numbered | {event.series})
