"""What this process has just put into the outbox: published from memory, if nothing that comes before it can be missing.

Rows of a key are published in the order of their ids. A row may therefore go as soon as every lower id is accounted for: was
published, or belongs to a transaction that ended without it. Ids that follow one another show it by themselves. After a gap
(other processes write too, and what was rolled back has used up its ids) only the database knows: it is looked at, and the
gap is closed once no transaction is left that may have taken an id inside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from chassis.batch.outbox import OutboxRow

BYTES_MAX = 8 * 1024 * 1024
"""Payloads kept in memory; with more, all are read from the database. The broker may be away for long."""


class Look(NamedTuple):
    """What a look at the outbox has shown. Transaction ids never wrap (`xid8`)."""

    ids: Sequence[int]
    """Of the rows that were read; whoever looked publishes them."""
    complete: bool
    """Nothing was left unread for want of room."""
    ended_before: int
    """Every transaction with a lower id has ended, and the look has seen what it wrote (`pg_snapshot_xmin`)."""
    own: int | None
    """The id of the look's own transaction, if it was asked for. Who had an outbox id before has a lower one, since
    nobody writes there who has not written or locked another row before (journal, aggregate, what was set aside)."""


class Fresh:
    """Committed rows that nobody has published, by id. `None` for `_upto`: not known where accounting begins."""

    def __init__(self) -> None:
        self._rows: dict[int, OutboxRow] = {}
        self._bytes = 0
        self._upto: int | None = None
        """Every id up to here is accounted for."""
        self._seen: set[int] = set()
        """Ids above that looks have shown."""
        self._gap_end: int | None = None
        """The gap to be closed lies below this id."""
        self._closes_at: int | None = None
        """It is closed when all transactions with a lower id than this have ended."""

    def offer(self, rows: Iterable[OutboxRow]) -> None:
        """Rows of a transaction that was committed in this process."""
        for row in rows:
            if row.id not in self._seen and (self._upto is None or row.id > self._upto):
                self._rows[row.id] = row
                self._bytes += len(row.payload)
        if self._bytes > BYTES_MAX:
            self._rows.clear()
            self._bytes = 0

    def take(self, at_most: int) -> list[OutboxRow]:
        """Those that may be published now, in order: no unknown id is below them."""
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
        """Whether there are rows; those that `take` leaves are behind a gap."""
        return bool(self._rows)

    @property
    def asks_own(self) -> bool:
        """Whether the next look has to tell the id of its own transaction."""
        return self._gap_end is not None and self._closes_at is None

    def looked(self, look: Look) -> None:
        """The rows that a look has read are for whoever looked; what it proves about a gap is remembered."""
        for number in look.ids:
            self._drop(number)
        self._seen.update(number for number in look.ids if self._upto is None or number > self._upto)
        if self._gap_end is not None:
            if self._closes_at is None:
                self._closes_at = look.own
            elif look.complete and look.ended_before >= self._closes_at:
                self._close(self._gap_end)
        self._pass_seen()
        if self._gap_end is None and self._seen:
            self._gap_end = max(self._seen)

    def forget(self) -> None:
        """Nothing is known any more: somebody else may have published meanwhile, or the database is another one."""
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
