"""Writes rejected messages into `parked`, and makes their keys wait.

A message that is refused before or in decide becomes a row. If its record key is the id of an aggregate, the later records
and timers of that aggregate queue behind it (`parked_keys`); every other aggregate goes on. `chassis.work.replay` handles
the rows again. Consumer and replay lock the same row of `parked_keys`, so neither strands what the other leaves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from traceback import walk_tb
from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson
import structlog
from asyncpg import Connection

from chassis.batch.errors import Explained, overtaxes
from chassis.batch.inbound import Inbound
from chassis.batch.record import HEADERS_BYTES_MAX, VALUE_BYTES_MAX, Record
from contracts.envelope import Ignored, Poison
from contracts.payments import without_card_numbers
from contracts.registry import SERVICES

log = structlog.get_logger("chassis.batch.parking")


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
    stack: Sequence[str] = ()
    """See `frames`."""


def shown(error: BaseException) -> str:
    """An error as a reader of the parked message sees it. Tracebacks, errors of the driver and SQL are only in the log."""
    if isinstance(error, (Explained, Poison, Ignored)):
        return str(error)
    if overtaxes(error):
        return "alone in its transaction, it exceeds a time limit of the database"
    what = (
        "the database refuses it" if isinstance(error, asyncpg.PostgresError) else f"{type(error).__name__} in our code"
    )
    return f"{what}; the log of the service has the cause"


_OURS: Final = frozenset({*SERVICES, "chassis", "contracts"})


def frames(error: BaseException) -> list[str]:
    """Returns the lines of our code that an error has passed, as `module:line function`, the one that raised it last.

    Without its message and without values, which may be personal, and without frames of the driver.
    """
    passed = [(frame.f_globals.get("__name__", ""), line, frame.f_code) for frame, line in walk_tb(error.__traceback__)]
    return [f"{module}:{line} {code.co_qualname}" for module, line, code in passed if module.partition(".")[0] in _OURS]


def raised_at(stack: Sequence[str]) -> str | None:
    """Returns the line that raised an error, `module:line`."""
    return stack[-1].partition(" ")[0] if stack else None


def reject(entry: Inbound, error: BaseException) -> Rejected:
    """A message that decide or the database refused: a fault of ours, or a body that no check foresaw."""
    assert entry.record is not None
    log.warning("message_refused", type=entry.type, key=str(entry.key), message_id=str(entry.id), error=repr(error),
                exc_info=error)  # fmt: skip
    cause = "timed_out" if overtaxes(error) else "fault"
    detail = f"{shown(error)} (message {entry.id})"
    return Rejected(entry.record, entry.key, cause, detail, entry.store_id, entry.type, entry.claim, frames(error))


def foreign(entry: Inbound, error: Exception) -> Rejected:
    """A message of one store under the key of another's order, which must not wait behind it."""
    assert entry.record is not None
    return Rejected(entry.record, None, "store_differs", str(error), entry.store_id, entry.type, entry.claim)


def queue(entry: Inbound) -> Rejected:
    """A good message that waits behind a parked one."""
    assert entry.record is not None
    return Rejected(entry.record, entry.key, "waits", "an earlier message of this order is parked", entry.store_id,
                   entry.type, entry.claim)  # fmt: skip


def plain(detail: str) -> str:
    """The text without what PostgreSQL cannot store: an explanation must never fail the batch."""
    return detail[-4_000:].replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()


# The update changes nothing but takes the row's lock: a replay that is about to unpark the key waits for us.
WAITING = """
insert into parked_keys as p (key, retry_at) select k, now() from unnest($1::uuid[]) as k
on conflict (key) do update set since = p.since"""

PARKED = """
insert into parked (key, store_id, type, topic, partition, "offset", record_key, headers, value, value_bytes, fingerprint,
  cause, detail, raised_at, stack)
select key, store_id, type, topic, partition, off, record_key, headers, value, value_bytes, fingerprint, cause, detail,
  raised_at, stack
from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::int[], $6::bigint[], $7::bytea[], $8::jsonb[], $9::bytea[],
  $10::int[], $11::bytea[], $12::text[], $13::text[], $14::text[], $15::text[]) with ordinality
  as u(key, store_id, type, topic, partition, off, record_key, headers, value, value_bytes, fingerprint, cause, detail,
    raised_at, stack, n)
order by n on conflict do nothing"""


async def park(tx: Connection, refused: Sequence[Rejected]) -> None:
    """Write rows in the order given and make their keys wait."""
    keys = sorted({one.key for one in refused if one.key is not None})
    if keys:
        await tx.execute(WAITING, keys)
    rows = [_row(one) for one in refused]
    await tx.execute(PARKED, *(list(column) for column in zip(*rows, strict=True)))


def _row(one: Rejected) -> tuple[Any, ...]:
    """A row of `parked`. A value above VALUE_BYTES_MAX is cut and its hash added, so that a flood cannot fill the database.
    Card numbers that came as payment tokens are not stored."""
    record, detail = one.record, plain(one.detail)
    value, value_bytes = record.value and without_card_numbers(record.value), None
    if value is not None and len(value) > VALUE_BYTES_MAX:
        value_bytes = len(value)
        detail += f" (of the value's {value_bytes} bytes the first {VALUE_BYTES_MAX} are stored; {sha256_of(value)})"
        value = value[:VALUE_BYTES_MAX]
    key = record.key[:HEADERS_BYTES_MAX] if record.key is not None else None
    return (
        one.key, one.store_id, one.type, record.topic, record.partition, record.offset, key,
        orjson.dumps(record.headers_json()).decode(), value, value_bytes, record.fingerprint(), one.cause, detail,
        raised_at(one.stack), "\n".join(one.stack) or None,
    )  # fmt: skip


def sha256_of(value: bytes) -> str:
    return f"SHA-256 {hashlib.sha256(value).hexdigest()}"
