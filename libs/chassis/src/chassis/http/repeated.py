"""Requests that run no command and may come twice: with an Idempotency-Key, the second gets the answer of the first.

Stored is the answer of a request that succeeded. One that was refused leaves its key free.
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson
from asyncpg import Connection
from fastapi import Request, Response

from chassis.batch import idempotency
from chassis.batch.inbound import Idempotency
from chassis.declare.app import Principal, Rendered
from chassis.http.commands import fingerprint, identity
from chassis.http.problems import known, respond


@dataclass(frozen=True, slots=True)
class Repeated:
    """One request. asked: None without an Idempotency-Key: then nothing is stored, and nothing found."""

    asked: Idempotency | None

    @classmethod
    async def of(cls, request: Request, who: Principal) -> Repeated:
        """Raises Problem 400."""
        key = identity(request, who)
        return cls(Idempotency(who.store_id, key, await fingerprint(request)) if key else None)

    async def found(self, tx: Connection) -> Response | None:
        """Returns the answer of the first request; None: this is the first. Raises Problem 409 if the key came with another one."""
        if self.asked is None:
            return None
        stored = await tx.fetchrow(idempotency.STORED, [self.asked.store_id], [self.asked.key])
        return self._repeated(stored) if stored is not None else None

    async def claimed(self, tx: Connection) -> Response | None:
        """As `found`; and claims the key until the transaction ends: a request with the same key waits."""
        if self.asked is None:
            return None
        stored = await idempotency.claim(tx, [self.asked])
        return self._repeated(*stored.values()) if stored else None

    def _repeated(self, stored: object) -> Response:
        assert self.asked is not None
        outcome = idempotency.repeat(self.asked, stored)
        if outcome.answer is None:
            raise known("idempotency_key_reused", "use a new key per request")
        return respond(outcome.answer)

    async def store(self, tx: Connection, answer: Rendered) -> None:
        """Stores the answer under the key, which this transaction has claimed."""
        if self.asked is not None:
            headers = orjson.dumps(dict(answer.headers)).decode()
            await tx.execute(
                idempotency.ANSWERED,
                [self.asked.store_id], [self.asked.key], [answer.status], [headers], [answer.body],
            )  # fmt: skip
