"""Runs tasks, the only external I/O: leased rows, run outside any transaction, one per key at a time, in order, unless a
task is to run beside the others.

The lease restricts who may call, not who may report: a decision handles the report like any message, and recognises a
repeated one.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
from typing import Any

import orjson
import structlog

from chassis import crash
from chassis.batch import parking
from chassis.batch.database import Database
from chassis.batch.errors import is_transient
from chassis.batch.inbound import Inbound
from chassis.batch.shell import Shell
from chassis.declare.service import Attempt, TaskKind, TryAgain
from contracts.deciding import Reported
from contracts.ids import decided

log = structlog.get_logger("chassis.work.tasks")

# Only kinds that this process can run: during an upgrade another release may have added one.
LEASE = """
update tasks set leased_by = $2, lease_until = clock_timestamp() + make_interval(secs => $3), tries = tries + 1,
  first_tried_at = coalesce(first_tried_at, clock_timestamp())
where task_id in (
  select t.task_id from tasks t
  where t.run_at <= now() and (t.lease_until is null or t.lease_until < now()) and t.kind = any($4::text[])
    and (t.beside or not exists (select 1 from tasks e where e.key = t.key and e.seq < t.seq and not e.beside))
  order by t.run_at limit $1 for update skip locked)
returning task_id, seq, key, store_id, aggregate, kind, body::text as body, correlation_id, traceparent, tries, first_tried_at,
  run_at, clock_timestamp() as now"""

# A `run_at` that was changed meanwhile requests another run, which the pause must not delay.
LATER = """
update tasks set lease_until = null, leased_by = null, last_error = $3,
  run_at = clock_timestamp() + case when run_at = $5 then make_interval(secs => $2) else interval '0' end
where task_id = $1 and leased_by = $4"""


class Tasks:
    def __init__(self, kinds: tuple[TaskKind, ...], database: Database, shell: Shell, concurrency: int) -> None:
        self.kinds = {kind.kind: kind for kind in kinds}
        self.database, self.shell, self.concurrency = database, shell, concurrency
        self.holder = f"{socket.gethostname()}:{os.getpid()}"
        self.running: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()

    def wake(self) -> None:
        self._wake.set()

    async def abandon(self) -> None:
        """Cancel running calls, whose rows are lost. An order that needs an outcome asks again, with the same key."""
        for task in self.running:
            task.cancel()
        await asyncio.gather(*self.running, return_exceptions=True)

    async def close(self) -> None:
        """Give running calls two seconds to end, then close the runners."""
        if self.running:
            await asyncio.wait(self.running, timeout=2)
        for kind in self.kinds.values():
            if kind.close is not None:
                await kind.close()

    async def run(self) -> None:
        if not self.kinds:
            return
        lease_seconds = max(kind.lease_seconds for kind in self.kinds.values())
        while True:
            rows: list[Any] = []
            try:
                if (room := self.concurrency - len(self.running)) > 0:
                    async with self.database.connection() as connection:
                        rows = await connection.fetch(LEASE, room, self.holder, lease_seconds, [*self.kinds])
            except Exception as error:
                if not is_transient(error):
                    log.error("tasks_failed", error=repr(error), exc_info=True)
                await asyncio.sleep(0.5)
            for row in rows:
                task = asyncio.create_task(self._one(row))
                self.running.add(task)
                task.add_done_callback(self._ended)
            if not rows:
                try:
                    async with asyncio.timeout(0.1):
                        await self._wake.wait()
                except TimeoutError:
                    pass
                self._wake.clear()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.running.discard(task)
        self.wake()

    async def _one(self, row: Any) -> None:
        kind = self.kinds[row["kind"]]
        try:
            body = kind.body.model_validate_json(row["body"])
            attempt = Attempt(row["task_id"], row["key"], row["tries"], row["first_tried_at"], row["now"])
            async with asyncio.timeout(kind.lease_seconds * 0.9):
                outcome = await kind.run(body, attempt)
            crash.point("before_report")
            await self._report(row, body, outcome)
        except Exception as error:
            after = error.after_seconds if isinstance(error, TryAgain) else None
            if after is None:
                after = min(0.5 * 2 ** min(row["tries"], 12), kind.backoff_seconds_max) * random.uniform(0.7, 1.3)
            if not isinstance(error, (TryAgain, TimeoutError)) and not is_transient(error):
                log.error("task_faulty", kind=row["kind"], task=str(row["task_id"]), error=repr(error), exc_info=True)
            await self._later(row, after, repr(error))

    async def _report(self, row: Any, body: Any, outcome: Any) -> None:
        """Submit the outcome until the database accepts it: an external effect must not be lost."""
        name = f"report {row['seq']}.{row['tries']}"
        inbound = Inbound(
            "task", row["key"], row["store_id"], decided(row["store_id"], row["key"], row["task_id"], name), f"task:{row['kind']}",
            Reported(row["task_id"], row["kind"], body, outcome), row["correlation_id"], row["traceparent"],
            actor=f"task:{row['kind']}", aggregate=row["aggregate"], task_id=row["task_id"],
        )  # fmt: skip
        while True:
            try:
                done = await self.shell.submit(inbound)
                break
            except Exception as error:
                if not is_transient(error):
                    raise
                await asyncio.sleep(0.5)
        if done.status == "faulty":
            assert done.error is not None
            await self._contradicts(row, outcome, done.error)

    async def _contradicts(self, row: Any, outcome: Any, error: BaseException) -> None:
        """Handle a report that the decision refuses: run an open task again later, else park the report for a person."""
        if await self._later(row, 60, repr(error)):
            log.error("report_faulty", kind=row["kind"], task=str(row["task_id"]), error=repr(error))
            return
        async with self.database.transaction() as tx:
            await tx.execute(
                "insert into parked (key, store_id, type, topic, headers, value, cause, detail)"
                " values (null, $1, $2, 'task', '[]', $3, 'contradiction', $4)",
                row["store_id"],
                f"task:{row['kind']}",
                orjson.dumps(
                    {
                        "task_id": str(row["task_id"]),
                        "key": str(row["key"]),
                        "outcome": outcome.model_dump(mode="json"),
                    }
                ),
                f"the outcome in the body contradicts an earlier report: {parking.shown(error)}",
            )

    async def _later(self, row: Any, seconds: float, error: str) -> bool:
        try:
            async with self.database.connection() as connection:
                done: str = await connection.execute(
                    LATER, row["task_id"], seconds, error[:1000].replace("\0", ""), self.holder, row["run_at"]
                )
            return done != "UPDATE 0"
        except Exception as again:
            if not is_transient(again):
                raise
            return True  # the lease runs out by itself
