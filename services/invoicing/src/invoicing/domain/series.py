"""A series numbers the documents of one seller and kind: 1..n without a gap, dates never backwards.

Its row is locked while a document is decided and saved, so nobody else can take the same number, and a number that is
not saved was never taken.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from contracts.base import Event
from contracts.invoicing import Credited, DocumentEvent, Issued
from invoicing.domain.sellers import SellerTerms

Kind = Literal["invoice", "credit"]


class SeriesKey(NamedTuple):
    store_id: str
    seller: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Series:
    seller: SellerTerms | None = None
    """As it stands now; null when nobody knows it."""
    last_number: int = 0
    last_issued_at: datetime | None = None
    last_issued_on: date | None = None
    """Kept beside the time: a seller that moves its time zone west must not date backwards."""
    locked_at: datetime | None = None
    """The database's clock once the row was ours."""


class Stamp(NamedTuple):
    """What a series gives to a document."""

    series: str
    number: str
    sequence: int
    issued_at: datetime
    issued_on: date


def stamp(series: Series, prefix: str, time_zone: str, now: datetime, follows: DocumentEvent | None = None) -> Stamp:
    """The next number, and a time that is neither before the last document's nor before the one it `follows`.

    A clock that was set back therefore stands still here until it has caught up.
    """
    sequence = series.last_number + 1
    times = [now, series.locked_at, series.last_issued_at, None if follows is None else follows.issued_at]
    issued_at = max(time for time in times if time is not None)
    day = issued_at.astimezone(ZoneInfo(time_zone)).date()
    days = [day, series.last_issued_on, None if follows is None else follows.issued_on]
    issued_on = max(day for day in days if day is not None)
    return Stamp(prefix, f"{prefix}{sequence:06d}", sequence, issued_at, issued_on)


def touched(event: Event) -> Iterable[SeriesKey]:
    match event:
        case Issued():
            return (SeriesKey(event.store_id, event.seller.code, "invoice"),)
        case Credited():
            return (SeriesKey(event.store_id, event.seller.code, "credit"),)
        case _:
            return ()


def evolve(series: Series | None, key: SeriesKey, event: Event) -> Series:
    """A document that is stated again, or read again from the topic out of order, moves nothing."""
    series = series or Series()
    if not isinstance(event, (Issued, Credited)) or event.sequence <= series.last_number:
        return series
    return replace(
        series,
        last_number=event.sequence,
        last_issued_at=event.issued_at,
        last_issued_on=event.issued_on,
    )
