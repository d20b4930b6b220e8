"""The parts of one process, wired, and what the routes and tasks of a service use of them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from asyncpg import Connection, Record
from fastapi import Request, Response, Security
from sqlalchemy.engine import RowMapping
from sqlalchemy.sql import Executable

from chassis.batch import tracing
from chassis.batch.database import Database
from chassis.batch.history import History
from chassis.batch.shell import Shell
from chassis.declare.app import Answer, App, Made, Outcome, Principal
from chassis.declare.service import Service
from chassis.http import auth, problems
from chassis.http.auth import Keys
from chassis.http.commands import execute, operation_id, submit
from chassis.http.repeated import Repeated
from chassis.kafka import recovery
from chassis.kafka.consumer import Consumer
from chassis.kafka.relay import Relay
from chassis.process.observer import Observer
from chassis.settings import ServiceSettings
from chassis.telemetry import Metrics
from chassis.work.replay import Replays
from chassis.work.tasks import Tasks
from chassis.work.timers import Timers
from contracts.base import Command


class Parts:
    """The parts of a process. Routes and tasks see it as `chassis.declare.app.App`."""

    def __init__(self, service: Service, settings: ServiceSettings, role: str = "all") -> None:
        self.service, self.settings, self.role = service, settings, role
        self.database = Database(settings, f"tradewind-{service.name}-{role}")
        self.metrics = Metrics(service.name)
        self.registry = self.metrics.registry
        self.metrics.clock_skew.set_function(lambda: self.database.clock.skew)
        self.observer = Observer(service, self.database)
        self.keys = Keys(self.database)
        self.relay = Relay(service, settings, self.database, self.metrics)
        self.tracing = tracing.configured(service.name)
        self.shell = Shell(service, self.database, self.metrics, tracing=self.tracing)
        self._shared: dict[Callable[[App], Any], Any] = {}
        self.tasks = Tasks(service.tasks(self), self.database, self.shell, settings.task_concurrency)
        self.shell.on_tasks = self.tasks.wake
        self.timers = Timers(self.database, self.shell)
        self.replays = Replays(service, self.database, settings)
        self.consumer: Consumer | None = None
        """Null while the process has none: before it starts, and in the role `api`."""
        self.start_failed: str | None = None
        """The error that keeps the consumer from starting although broker and database answer; a person has to act."""
        self.certified: History | None = None
        """The history of the database at the last certificate that this process wrote: see `recovery`."""
        self.beat_at = time.monotonic()
        self.started_at = datetime.now(UTC)
        self.ending = False

    def end_soon(self) -> None:
        """Called when the process is asked to end."""
        self.ending = True

    # -- what routes use ----------------------------------------------------------------------------------------------

    def principal(self, scope: str, *, one_store: bool = True) -> Callable[..., Awaitable[Principal]]:
        async def who(request: Request, _: None = Security(auth.security, scopes=[scope])) -> Principal:
            found = await self.keys.principal(request, scope)
            if one_store and not found.store_id:
                raise problems.known("store_missing", "an administrator's key names it in the header X-Store-Id")
            return found

        return who

    async def read(self, statement: Executable) -> Sequence[RowMapping]:
        return await self.database.queries.read(statement)

    async def fetch(self, statement: str, *arguments: Any) -> Sequence[Record]:
        async with self.database.connection() as connection:
            rows: Sequence[Record] = await connection.fetch(statement, *arguments)
            return rows

    async def write(self, work: Callable[[Connection], Awaitable[Any]]) -> Any:
        async with self.database.transaction() as tx:
            return await work(tx)

    def shared(self, make: Callable[[App], Made]) -> Made:
        if make not in self._shared:
            self._shared[make] = make(self)
        made: Made = self._shared[make]
        return made

    def behind_seconds(self) -> float | None:
        return self.consumer.behind_seconds() if self.consumer is not None else None

    def operation_id(self, request: Request, who: Principal, key: UUID) -> UUID:
        now = self.database.clock.now_or_host()
        return operation_id(request, who, key, self.settings.idempotency_retention_days, now)

    async def answered(self, request: Request, who: Principal) -> Response | None:
        repeated = await Repeated.of(request, who)
        if repeated.asked is None:
            return None
        async with self.database.connection() as connection:
            return await repeated.found(connection)

    async def submit(self, who: Principal, command: Command) -> Outcome:
        return await submit(self.shell, who, command)

    async def execute(self, request: Request, who: Principal, message: Command, answer: Answer) -> Response:
        return await execute(self.shell, request, who, message, answer)

    async def certify(self) -> None:
        """Renew the certificate when the server was restarted and has lost nothing: new api processes wait for it."""
        found = self.database.history
        if self.certified is not None and found is not None and found.certificate != self.certified.certificate:
            await recovery.certify(self.database)
            self.certified = found
