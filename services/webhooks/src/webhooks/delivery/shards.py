"""Which endpoints a process delivers to: those of the shards that it holds a lease on."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Final
from uuid import UUID, uuid4

from asyncpg import Connection

from chassis.declare.app import App
from webhooks.domain.endpoint import SHARDS

LEASE_SECONDS: Final = 5.0
RENEW_SECONDS: Final = 1.0

# The processes that deliver share the shards evenly: this table states which there are.
PRESENT: Final = """
with gone as (delete from dispatchers where until < clock_timestamp() - interval '1 minute'),
me as (
  insert into dispatchers (holder, until) values ($1, clock_timestamp() + make_interval(secs => $2))
  on conflict (holder) do update set until = excluded.until)
select holder from dispatchers where until > clock_timestamp() union select $1::uuid order by 1"""
LEASED: Final = """
insert into shards as s (shard, holder, until, term)
select shard, $2, clock_timestamp() + make_interval(secs => $3), 1 from unnest($1::int2[]) as u(shard) order by shard
on conflict (shard) do update set holder = excluded.holder, until = excluded.until,
    term = s.term + (s.holder is distinct from excluded.holder)::int
  where s.holder = excluded.holder or s.holder is null or s.until < clock_timestamp()
returning shard, term"""
RELEASED: Final = "update shards set holder = null where shard = any($1::int2[]) and holder = $2"
ABSENT: Final = "delete from dispatchers where holder = $1"
# The rows stay locked until the commit: no other process takes a shard over while its progress is written.
HELD: Final = """
select s.shard, s.term from shards s join unnest($1::int2[], $2::int[]) as u(shard, term) on s.shard = u.shard and s.term = u.term
where holder = $3 and until > clock_timestamp() order by s.shard for share of s"""


class Shards:
    """The leases of one process."""

    def __init__(self, app: App) -> None:
        self._app = app
        self.holder: UUID = uuid4()
        self._until: dict[int, float] = {}
        """By shard: until when the lease is ours, on the monotonic clock. A process that was stopped finds it over."""
        self._terms: dict[int, int] = {}
        self.wanted: frozenset[int] = frozenset()
        """Those that are this process' part. A shard that is held and not wanted is released once nothing is in flight."""

    def is_held(self, shard: int, term: int) -> bool:
        """Returns whether no other process has delivered since `term` began, nor may now."""
        return time.monotonic() < self._until.get(shard, 0) and self._terms.get(shard) == term

    @property
    def held(self) -> dict[int, int]:
        """The terms, by shard."""
        return {shard: term for shard, term in self._terms.items() if self.is_held(shard, term)}

    async def renew(self) -> None:
        """Renew the leases, and take what is free of this process' part."""
        rows = await self._app.fetch(PRESENT, self.holder, LEASE_SECONDS)
        holders = [row["holder"] for row in rows]
        mine = holders.index(self.holder)
        self.wanted = frozenset(shard for shard in range(SHARDS) if shard % len(holders) == mine)
        sent_at = time.monotonic()
        leased = await self._app.fetch(LEASED, sorted(self.wanted | self.held.keys()), self.holder, LEASE_SECONDS)
        self._until = {row["shard"]: sent_at + LEASE_SECONDS for row in leased}
        self._terms = {row["shard"]: row["term"] for row in leased}

    async def release(self, shards: Collection[int]) -> None:
        """Give shards up at once. Nothing of them may be in flight or unwritten."""
        for shard in shards:
            self._until.pop(shard, None)
        await self._app.fetch(RELEASED, sorted(shards), self.holder)

    async def leave(self) -> None:
        """Give everything up: the process ends."""
        await self.release(list(self._until))
        await self._app.fetch(ABSENT, self.holder)

    async def held_until_commit(self, tx: Connection, terms: Collection[tuple[int, int]]) -> frozenset[tuple[int, int]]:
        """Returns which (shard, term) are still ours, and stay so until the transaction ends; sends nothing more for the others."""
        rows = await tx.fetch(HELD, [shard for shard, _ in terms], [term for _, term in terms], self.holder)
        held = frozenset((row["shard"], row["term"]) for row in rows)
        for shard, term in set(terms) - held:
            if self._terms.get(shard) == term:
                del self._terms[shard]
        return held
