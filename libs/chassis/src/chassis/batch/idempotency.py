"""Idempotency keys of HTTP requests, stored in the transaction of the effect: a repeated request gets the first one's bytes.

Only the answer of a request that was executed is stored, a refusal of the business included. A request whose precondition
failed (412) or that a fault ended leaves its key free: the same key may come with another `If-Match` and another body.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from asyncpg import Connection

from chassis.batch.inbound import Idempotency, Inbound
from chassis.declare.app import Outcome, Rendered

CLAIM = """
insert into idempotency (store_id, key, fingerprint) select * from unnest($1::text[], $2::text[], $3::bytea[])
on conflict do nothing returning store_id, key"""

STORED = """
select store_id, key, fingerprint, status, headers::text as headers, body from idempotency
join unnest($1::text[], $2::text[]) as u(s, k) on store_id = s and key = k"""

ANSWERED = """
update idempotency i set status = u.status, headers = u.headers, body = u.body
from unnest($1::text[], $2::text[], $3::int2[], $4::jsonb[], $5::bytea[]) as u(s, k, status, headers, body)
where i.store_id = u.s and i.key = u.k"""

FREED = "delete from idempotency using unnest($1::text[], $2::text[]) as u(s, k) where store_id = s and key = k"


class KeyReused(Exception):
    """Another request was executed under the same Idempotency-Key."""


async def claim(tx: Connection, asked: Sequence[Idempotency]) -> dict[tuple[str, str], Any]:
    """Claims the keys. Returns the rows of those that were claimed before; waits for a concurrent first request."""
    if not asked:
        return {}
    ordered = sorted({(one.store_id, one.key): one for one in asked}.values(), key=lambda one: (one.store_id, one.key))
    columns = [one.store_id for one in ordered], [one.key for one in ordered], [one.fingerprint for one in ordered]
    fresh = {(row["store_id"], row["key"]) for row in await tx.fetch(CLAIM, *columns)}
    repeated = [one for one in ordered if (one.store_id, one.key) not in fresh]
    if not repeated:
        return {}
    rows = await tx.fetch(
        STORED,
        [one.store_id for one in repeated],
        [one.key for one in repeated],
    )
    return {(row["store_id"], row["key"]): row for row in rows}


def repeat(asked: Idempotency, stored: Any) -> Outcome:
    """Returns the stored answer, or KeyReused as the outcome's error for another query or body."""
    if stored["fingerprint"] != asked.fingerprint:
        return Outcome("faulty", error=KeyReused(asked.key))
    headers = {**orjson.loads(stored["headers"]), "idempotency-replayed": "true"}
    return Outcome("duplicate", answer=Rendered(stored["status"], headers, stored["body"]))


async def store(tx: Connection, entries: Sequence[Any], outcomes: Sequence[Outcome]) -> None:
    """Stores the answers of the executed requests and deletes the keys of the others."""
    rows: list[tuple[Any, ...]] = []
    free: list[tuple[str, str]] = []
    for entry, outcome in zip(entries, outcomes, strict=True):
        if not isinstance(entry, Inbound) or entry.idempotency is None or outcome.status == "duplicate":
            continue
        asked, answer = entry.idempotency, outcome.answer
        if answer is not None and outcome.status != "outdated":
            rows.append(
                (asked.store_id, asked.key, answer.status, orjson.dumps(dict(answer.headers)).decode(), answer.body)
            )
        elif not isinstance(outcome.error, KeyReused):
            free.append((asked.store_id, asked.key))
    if rows:
        await tx.execute(
            ANSWERED,
            *(list(column) for column in zip(*rows, strict=True)),
        )
    if free:
        await tx.execute(
            FREED,
            [store_id for store_id, _ in free],
            [key for _, key in free],
        )
