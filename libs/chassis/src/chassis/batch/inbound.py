"""What the shell takes in, whatever brought it: a record, a request, a timer, a task's report, a replayed message."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

from contracts.base import Event
from contracts.deciding import Refusal

Origin = Literal["topic", "http", "timer", "task", "replay"]


HEADERS_BYTES_MAX: Final = 64 * 1024
"""Stored of the headers of a parked record, and of its key."""
VALUE_BYTES_MAX: Final = 1024 * 1024
"""Stored of the value of a parked record. No message is larger."""


class Record(NamedTuple):
    """A Kafka record as it came, enough to park it and to read it again."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]

    def headers_json(self) -> list[list[str | None]]:
        """Names lose a NUL, which jsonb cannot hold; values are kept byte for byte, all in all HEADERS_BYTES_MAX.

        Beyond that foreign headers are left out: the envelope's own are short, and come first.
        """
        headers, room, kept = self.headers, HEADERS_BYTES_MAX, []
        if sum(len(name) + len(value or b"") for name, value in headers) > room:
            headers = sorted(headers, key=lambda header: not header[0].startswith("ce_"))
        for name, value in headers:
            room -= len(name) + len(value or b"")
            if room >= 0:
                kept.append([name.replace("\0", ""), None if value is None else base64.b64encode(value).decode()])
        return kept

    def fingerprint(self) -> bytes:
        """16 bytes that say whether it is the same record: a new broker gives known offsets to other ones."""
        digest = hashlib.blake2b(self.value or b"", digest_size=16)
        digest.update(repr((self.value is None, self.key, [tuple(header) for header in self.headers])).encode())
        return digest.digest()


def headers_from_json(stored: Sequence[Sequence[str | None]]) -> list[tuple[str, bytes | None]]:
    return [(str(name), None if value is None else base64.b64decode(value)) for name, value in stored]


@dataclass(frozen=True, slots=True)
class Rendered:
    """An HTTP answer in bytes: stored with its idempotency key, so a repetition gets the same ones."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Idempotency:
    store_id: str
    key: str
    """SHA-256 of principal, method, path and Idempotency-Key, in hex."""
    fingerprint: bytes
    """SHA-256 of query and body."""


@dataclass(slots=True)
class Outcome:
    """What became of one inbound message."""

    status: Literal["done", "duplicate", "parked", "queued", "ignored", "faulty"]
    state: Any = None
    events: tuple[Event, ...] = ()
    refusal: Refusal | None = None
    error: BaseException | None = None
    answer: Rendered | None = None
    version: int = 0
    """The aggregate's version after the message; 0: none."""
    unheeded: bool = False
    """Nothing was done, because what it is about is not known here: not yet, or not any more after a restore."""


@dataclass(slots=True)
class Inbound:
    origin: Origin
    key: UUID
    store_id: str
    id: UUID
    """Root of every id that the decision makes. It is a function of store and key too, whatever the origin."""
    type: str
    body: Any
    correlation_id: str
    traceparent: str | None = None
    actor: str = ""
    aggregate: str | None = None
    """For timers and reports: whose."""
    claim: UUID | None = None
    """Its row in the inbox, which is its `id`; null when something else makes it happen once."""
    record: Record | None = None
    task_id: UUID | None = None
    parked_id: int | None = None
    idempotency: Idempotency | None = None
    render: Callable[[Outcome], Rendered] | None = None
    if_versions: frozenset[int] | None = None
    """The versions of the aggregate that the request was made for; null: any."""


@dataclass(slots=True)
class Rejected:
    """A record that is parked without being handled. `key` waits behind it unless null."""

    record: Record
    key: UUID | None
    cause: str
    detail: str
    store_id: str | None = None
    type: str | None = None
    claim: UUID | None = None


STALE: Final = frozenset({"too_old", "from_the_future"})
"""Causes that depend on the time at which a message is judged."""
AHEAD_SECONDS_MAX: Final = 86_400


def judged_by_time(time: datetime, now: float, horizon_seconds: float) -> tuple[str, str] | None:
    """Cause and detail if a message of this `ce_time` is refused at `now` (the database's clock); None if it is not.

    horizon_seconds: how long the inbox stores ids; an older message could take effect twice.
    """
    age = now - time.timestamp()
    if -AHEAD_SECONDS_MAX < age < horizon_seconds:
        return None
    cause, hint = ("too_old", "older than the inbox stores ids") if age > 0 else ("from_the_future", "a day ahead")
    return cause, f"ce_time {time.isoformat()} is {hint} by the database's clock; send it anew with a new ce_id"


LANES_FROM = 64
"""Entries of a poll that are worth two transactions at once."""


@dataclass(slots=True)
class Intake:
    """A decoded poll: what to handle and what to park, in the order of the records; offsets to store with it."""

    entries: list[Inbound | Rejected] = field(default_factory=list)
    offsets: dict[tuple[str, int], int] = field(default_factory=dict)
    """(topic, partition) -> the offset after the last record."""
    ignored: int = 0

    def lanes(self) -> list[Intake]:
        """Of a large one its two halves by order, so that none is in both: one decides while the other waits.

        Whole, if offsets are stored with it: a partition's counts for both halves.
        """
        if len(self.entries) < LANES_FROM or self.offsets:
            return [self]
        halves = Intake(), Intake()
        for entry in self.entries:
            halves[entry.key.int & 1 if entry.key is not None else 0].entries.append(entry)
        return [half for half in halves if half.entries]
