"""Rows that this process has just put into the outbox: published from memory, if no row that precedes them can be missing.

The rows of a key are published in the order of their ids. So a row may go as soon as every lower id is accounted for: it was
published, or its transaction ended without it. For consecutive ids this is certain. After a gap (other processes add rows,
and a transaction that rolled back has used its ids) only the database can decide: the outbox is queried, and the gap is
closed once no transaction is left that may have taken an id inside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from chassis.batch.outbox import OutboxRow

BYTES_MAX = 8 * 1024 * 1024
"""Payloads held in memory. Above this, all rows are read from the database: the broker may be away for long."""


class Queried(NamedTuple):
    """The result of a query of the outbox. Transaction ids never wrap (`xid8`)."""

    ids: Sequence[int]
    """The ids of the rows that were read; the relay publishes these rows."""
    complete: bool
    """No row was left unread because of the limit."""
    ended_before: int
    """Every transaction with a lower id has ended, and the query has seen its rows (`pg_snapshot_xmin`)."""
    own: int | None
    """The id of the query's own transaction, if it was requested. A transaction that took an outbox id before has a lower
    one, since it has written or locked another row first (journal, aggregate, a row that was set aside)."""


class Fresh:
    """Committed rows of this process that are not published, by id. `_upto` is None until a first query has proven an id."""

    def __init__(self) -> None:
        self._rows: dict[int, OutboxRow] = {}
        self._bytes = 0
        self._upto: int | None = None
        """Every id up to here is accounted for."""
        self._seen: set[int] = set()
        """Ids above `_upto` that queries have returned."""
        self._gap_end: int | None = None
        """The gap to be closed is below this id."""
        self._closes_at: int | None = None
        """It is closed when all transactions with a lower id than this have ended."""

    def offer(self, rows: Iterable[OutboxRow]) -> None:
        """Add the rows of a transaction that was committed in this process."""
        for row in rows:
            if row.id not in self._seen and (self._upto is None or row.id > self._upto):
                self._rows[row.id] = row
                self._bytes += len(row.payload)
        if self._bytes > BYTES_MAX:
            self._rows.clear()
            self._bytes = 0

    def take(self, at_most: int) -> list[OutboxRow]:
        """Remove and return the rows that may be published now, in order: every lower id is accounted for."""
        taken: list[OutboxRow] = []
        while self._upto is not None and len(taken) < at_most and (row := self._rows.pop(self._upto + 1, None)):
            taken.append(row)
            self._bytes -= len(row.payload)
            self._upto = row.id
            self._pass_seen()
        return taken

    def __contains__(self, number: int) -> bool:
        return number in self._rows

    @property
    def waiting(self) -> bool:
        """Whether there are rows. Rows that `take` leaves are behind a gap."""
        return bool(self._rows)

    @property
    def asks_own(self) -> bool:
        """Whether the next query has to return the id of its own transaction."""
        return self._gap_end is not None and self._closes_at is None

    def queried(self, found: Queried) -> None:
        """Drop the rows that a query has returned, since the relay publishes them, and close a gap if it proves that."""
        for number in found.ids:
            self._drop(number)
        self._seen.update(number for number in found.ids if self._upto is None or number > self._upto)
        if self._gap_end is not None:
            if self._closes_at is None:
                self._closes_at = found.own
            elif found.complete and found.ended_before >= self._closes_at:
                self._close(self._gap_end)
        self._pass_seen()
        if self._gap_end is None and self._seen:
            self._gap_end = max(self._seen)

    def reset(self) -> None:
        """Start anew: another relay may have published meanwhile, or the database is another one."""
        self.__dict__.update(Fresh().__dict__)

    def _close(self, gap_end: int) -> None:
        self._upto, self._gap_end, self._closes_at = gap_end, None, None
        self._seen = {number for number in self._seen if number > gap_end}

    def _pass_seen(self) -> None:
        while self._upto is not None and self._upto + 1 in self._seen:
            self._upto += 1
            self._seen.remove(self._upto)
        if self._upto is not None and self._gap_end is not None and self._upto >= self._gap_end:
            self._gap_end = self._closes_at = None  # what was missing has come

    def _drop(self, number: int) -> None:
        if (row := self._rows.pop(number, None)) is not None:
            self._bytes -= len(row.payload)
