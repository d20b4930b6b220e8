"""A decoded poll: the messages to handle and the records to park, in the order of the records."""

from __future__ import annotations

from dataclasses import dataclass, field

from chassis.batch.inbound import Inbound
from chassis.batch.parking import Rejected

Entry = Inbound | Rejected

LANES_FROM = 64
"""A poll with at least so many entries is split into two concurrent transactions."""


@dataclass(slots=True)
class Intake:
    """Entries to handle or to park, in the order of the records, and the offsets to store with them."""

    entries: list[Entry] = field(default_factory=list)
    offsets: dict[tuple[str, int], int] = field(default_factory=dict)
    """(topic, partition) -> the offset after the last record."""
    ignored: int = 0

    def lanes(self) -> list[Intake]:
        """Splits a large poll into two halves by order id, so that they can run concurrently: one decides while the other waits.

        A poll with offsets stays whole: the offset of a partition covers records of both halves.
        """
        if len(self.entries) < LANES_FROM or self.offsets:
            return [self]
        halves = Intake(), Intake()
        for entry in self.entries:
            halves[entry.key.int & 1 if entry.key is not None else 0].entries.append(entry)
        return [half for half in halves if half.entries]
