"""One process of a service: HTTP first, which needs only PostgreSQL; topics, consumer and relay in the background."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Annotated, Any
from uuid import UUID

import structlog
from aiokafka.errors import KafkaError
from asyncpg import Connection
from fastapi import Depends, FastAPI, Request, Response
from sqlalchemy.engine import RowMapping
from sqlalchemy.sql import Executable

from chassis.batch.database import Database
from chassis.batch.errors import is_transient
from chassis.batch.history import History
from chassis.batch.shell import Shell
from chassis.declare.service import Service
from chassis.http import auth, docs, openapi, problems
from chassis.http.auth import Keys, Principal
from chassis.http.bodies import Readable
from chassis.http.commands import Answer, obey, operation_id
from chassis.kafka import recovery
from chassis.kafka import topics as kafka
from chassis.kafka.consumer import Consumer
from chassis.kafka.relay import Relay
from chassis.process import health, parked, watch
from chassis.settings import ServiceSettings
from chassis.telemetry import Metrics
from chassis.work import partitions
from chassis.work.replay import Replays
from chassis.work.tasks import Tasks
from chassis.work.timers import Timers
from contracts.base import Command

log = structlog.get_logger("chassis.process.app")

END_SECONDS_MAX = 60.0
"""For the parts of a process to end while it lives: a batch has its time limit, and the group is left."""


class App:
    """The parts of a process, wired. Routes get it to read, to obey and to know who asks."""

    def __init__(self, service: Service, settings: ServiceSettings, role: str = "all") -> None:
        self.service, self.settings, self.role = service, settings, role
        self.database = Database(settings, f"tradewind-{service.name}-{role}")
        self.metrics = Metrics(service.name)
        self.metrics.clock_skew.set_function(lambda: self.database.clock.skew)
        self.keys = Keys(self.database)
        self.relay = Relay(service, settings, self.database, self.metrics)
        self.shell = Shell(service, self.database, self.metrics)
        self.tasks = Tasks(service.tasks(self), self.database, self.shell, settings.task_concurrency)
        self.shell.on_tasks = self.tasks.wake
        self.timers = Timers(self.database, self.shell)
        self.replays = Replays(service, self.database, settings)
        self.consumer: Consumer | None = None
        self.start_failed: str | None = None
        """Why the consumer does not start although broker and database answer; a person has to look."""
        self.certified: History | None = None
        """That the database had when this process certified that it has adopted its topic: see `recovery`."""
        self._parts: dict[str, asyncio.Task[None]] = {}
        self.beat_at = time.monotonic()
        self.started_at = time.monotonic()

    # -- what routes use ----------------------------------------------------------------------------------------------

    def principal(self, scope: str, *, one_store: bool = True) -> Callable[..., Awaitable[Principal]]:
        """A dependency: who asks, if they have the scope; of one store, which an administrator has to name."""

        async def who(request: Request, _: Annotated[None, Depends(auth.security)]) -> Principal:
            found = await self.keys.principal(request, scope)
            if one_store and not found.store_id:
                raise problems.known("store_missing", "an administrator's key names it in the header X-Store-Id")
            return found

        return who

    async def read(self, statement: Executable) -> Sequence[RowMapping]:
        return await self.database.read(statement)

    async def write(self, work: Callable[[Connection], Awaitable[Any]]) -> Any:
        async with self.database.transaction() as tx:
            return await work(tx)

    def operation_id(self, request: Request, who: Principal, key: UUID) -> UUID:
        """The operation that a request asks of the aggregate `key`: see `chassis.http.commands`."""
        return operation_id(request, who, key, self.settings.idempotency_retention_days)

    async def obey(self, request: Request, who: Principal, message: Command, answer: Answer) -> Response:
        return await obey(self.shell, request, who, message, answer)

    # -- the process --------------------------------------------------------------------------------------------------

    def asgi(self) -> FastAPI:
        app = FastAPI(
            title=f"Tradewind {self.service.name}", version="1", lifespan=self._lifespan, telemetry={"tracing": False,
            "metrics": False, "logs": False}, docs_url=None, redoc_url=None, dependencies=[Depends(openapi.check_query)],
        )  # fmt: skip
        problems.install_problems(app)
        openapi.describe(app, self.service.problems)
        app.add_middleware(Readable)
        app.include_router(health.routes(self))
        app.include_router(parked.routes(self))
        app.mount("/docs", docs.pages(self.service.name))
        app.include_router(problems.pages(self.service.problems))
        if self.role in ("all", "api") and self.service.routes is not None:
            app.include_router(self.service.routes(self))
        return app

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        always = [
            self._part("beat", self._beat()),
            self._part("clock", watch.watch_clock(self)),
            self._part("history", self._follow_database()),
        ]
        self._begin()
        try:
            yield
        finally:
            for task in always:
                task.cancel()
            await asyncio.gather(*always, return_exceptions=True)
            await self._end(drain=True)
            await self.tasks.close()
            await self.database.close()

    def _part(self, name: str, run: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(run, name=name)
        task.add_done_callback(self._fell)
        return task

    def _begin(self, *, moved: bool = False) -> None:
        """Start the parts of this role on the data that the database has now. `moved`: it has lost some of those before."""
        if self.service.adopts:
            self.shell.ready.clear()  # until the database knows all that it had stated: see `recovery`
        else:
            self.shell.ready.set()
        self.certified = None
        parts = {"shell": self.shell.run(), "shell 2": self.shell.run()}
        if self.role == "api":
            if self.service.adopts:
                parts["recovery"] = self._await_recovery()
        else:
            self.relay = Relay(self.service, self.settings, self.database, self.metrics)
            self.shell.on_published = self.relay.offer
            parts |= {
                "relay": self._once_ready(self.relay.run),
                "consumer": self._consume(moved=moved),
                "timers": self._once_ready(self.timers.run),
                "tasks": self._once_ready(self.tasks.run),
                "parking": self._once_ready(functools.partial(self.replays.run, self.relay.wake)),
                "partitions": partitions.keep(self.database, self.settings),
                "observe": watch.observe(self),
            }
        self._parts = {name: self._part(name, run) for name, run in parts.items()}

    async def _end(self, *, drain: bool) -> None:
        """Stop what `_begin` has started. `drain`: publish what the outbox holds."""
        consumer, self.consumer = self.consumer, None
        if consumer is not None:
            await consumer.stop()
        self.relay.stopping = True
        self.relay.wake()
        if drain and "relay" in self._parts and self.shell.ready.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5):  # an outbox that cannot drain stays in PostgreSQL
                    await self._parts["relay"]
        for task in self._parts.values():
            task.cancel()
        await asyncio.gather(*self._parts.values(), return_exceptions=True)
        await self.relay.close()

    async def _follow_database(self) -> None:
        """When the database has lost what was committed (failover to a standby that was behind, restore), begin anew.

        Every part starts as it does in a new process: nothing that was cached, read or about to be published is of use.
        """
        while True:
            await self.database.moved.wait()
            log.error("database_moved", detail="it has lost what was committed, or may have: everything begins anew")
            self.shell.ready.clear()
            async with asyncio.timeout(END_SECONDS_MAX):  # else the process ends, and its supervisor starts it again
                await self._end(drain=False)
            await self.tasks.abandon()
            self.shell.forget()
            await self.database.accept()
            self._begin(moved=True)

    async def _await_recovery(self) -> None:
        await recovery.until_recovered(self.database)
        self.shell.ready.set()

    async def certify(self) -> None:
        """Renew the certificate when the server was restarted and has lost nothing: new api processes wait for it."""
        found = self.database.history
        if self.certified is not None and found is not None and found.certificate != self.certified.certificate:
            await recovery.certify(self.database)
            self.certified = found

    def _fell(self, task: asyncio.Task[None]) -> None:
        """A part that ends by an error takes the process with it: a supervisor restarts it, nothing limps."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("part_fell", part=task.get_name(), error=repr(error), exc_info=error)
            signal.raise_signal(signal.SIGTERM)

    async def _once_ready(self, run: Callable[[], Awaitable[None]]) -> None:
        """A database that was restored first learns what it had stated: until then nothing is decided or published."""
        await self.shell.ready.wait()
        await run()

    async def _beat(self) -> None:
        while True:
            self.beat_at = time.monotonic()
            await asyncio.sleep(0.5)

    async def _consume(self, *, moved: bool) -> None:
        """Join the group as soon as the broker and the topics are there; then watch intake."""
        self.consumer = consumer = Consumer(self.service, self.settings, self.database, self.shell, self.metrics)
        while True:
            try:
                if await kafka.topics_ready(self.settings, [*consumer.topics, f"{self.service.name}.events.v1"]):
                    if self.service.adopts:
                        if moved:
                            await recovery.until_relays_have_stopped(self.database)
                        await recovery.recover(self.service, self.settings, self.database, self.metrics)
                        self.certified = self.database.history
                        self.shell.ready.set()
                    await consumer.start()
                    break
                log.info("waiting_for_topics", topics=consumer.topics)
            except (KafkaError, OSError, TimeoutError) as error:
                log.info("waiting_for_broker", error=repr(error))
            except Exception as error:
                if is_transient(error):
                    log.info("waiting_for_database", error=repr(error))
                else:  # the own topic does not fit the own rows: somebody has to look, and nothing is decided until then
                    self.start_failed = repr(error)
                    log.error("start_failed", error=self.start_failed, exc_info=True)
                    await asyncio.sleep(2)  # each time is an error in the log: not three a second
            await asyncio.sleep(0.3)
        self.start_failed = None
        await asyncio.gather(watch.watch_intake(self, consumer), watch.watch_lag(consumer))
