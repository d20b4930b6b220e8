"""One process of a service: HTTP first, which needs only PostgreSQL; topics, consumer and relay in the background."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import structlog
from aiokafka.errors import KafkaError
from fastapi import Depends, FastAPI

from chassis.batch.errors import is_transient
from chassis.declare.service import Service
from chassis.http import docs, openapi, problems
from chassis.http.bodies import Readable
from chassis.kafka import recovery
from chassis.kafka import topics as kafka
from chassis.kafka.consumer import Consumer
from chassis.kafka.relay import Relay
from chassis.process import health, journal, operations, parked, watch
from chassis.process.parts import Parts
from chassis.settings import ServiceSettings
from chassis.work import partitions
from contracts.registry import TOPICS

log = structlog.get_logger("chassis.process.app")

END_SECONDS_MAX = 60.0
"""Time limit for the parts to end while the process goes on: a batch has its time limit, and the consumer leaves its group."""


class App(Parts):
    """The process: its HTTP application, and the start and end of its parts."""

    def __init__(self, service: Service, settings: ServiceSettings, role: str = "all") -> None:
        super().__init__(service, settings, role)
        self._running: dict[str, asyncio.Task[None]] = {}

    def asgi(self) -> FastAPI:
        app = FastAPI(
            title=f"Tradewind {self.service.name}", version="1", lifespan=self._lifespan, telemetry={"tracing": False,
            "metrics": False, "logs": False}, openapi_url=None, docs_url=None, redoc_url=None,
            dependencies=[Depends(openapi.check_query)],
        )  # fmt: skip
        problems.install_problems(app, self.service.problem_members)
        openapi.describe(app, self.service.problems, self.service.requests)
        app.add_middleware(Readable, forms=self.service.forms)
        app.include_router(health.routes(self))
        app.include_router(operations.routes(self))
        app.include_router(parked.routes(self))
        if self.service.aggregates:
            app.include_router(journal.routes(self))
        app.mount("/docs", docs.pages(self.service.name))
        app.include_router(problems.pages(self.service.problems))
        if self.role in ("all", "api") and self.service.routes is not None:
            app.include_router(self.service.routes(self))
        return app

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        always = [
            self._start("beat", self._beat()),
            self._start("clock", watch.watch_clock(self)),
            self._start("history", self._follow_database()),
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
            await self.tracing.close()

    def _start(self, name: str, run: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(run, name=name)
        task.add_done_callback(self._fell)
        return task

    def _begin(self, *, moved: bool = False) -> None:
        """Start the parts of this role on the present data. moved: the database has lost data that it had before."""
        if self.service.adopts:
            self.shell.ready.clear()  # until the database has all events that it published: see `recovery`
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
                **{name: self._once_ready(run) for name, run in self.service.loops(self).items()},
            }
        self._running = {name: self._start(name, run) for name, run in parts.items()}

    async def _end(self, *, drain: bool) -> None:
        """Stop what `_begin` has started. `drain`: publish what the outbox holds."""
        consumer, self.consumer = self.consumer, None
        if consumer is not None:
            await consumer.stop()
        self.relay.stopping = True
        self.relay.wake()
        if drain and "relay" in self._running and self.shell.ready.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5):  # an outbox that cannot drain stays in PostgreSQL
                    await self._running["relay"]
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        await self.relay.close()

    async def _follow_database(self) -> None:
        """Restart all parts when the database has lost commits: failover to a standby that was behind, or restore.

        Every part starts as in a new process, because all that was cached, read or about to be published is invalid.
        """
        while True:
            await self.database.moved.wait()
            log.error("database_moved", detail="commits are lost, or may be: all parts restart")
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

    def _fell(self, task: asyncio.Task[None]) -> None:
        """End the process when a part ends by an error: its supervisor restarts it, whole."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("part_fell", part=task.get_name(), error=repr(error), exc_info=error)
            signal.raise_signal(signal.SIGTERM)

    async def _once_ready(self, run: Callable[[], Awaitable[None]]) -> None:
        """Run once the database has all events that it published: before that nothing is decided or published."""
        await self.shell.ready.wait()
        await run()

    async def _beat(self) -> None:
        while True:
            self.beat_at = time.monotonic()
            await asyncio.sleep(0.5)

    async def _begin_listening(self) -> None:
        if (listener := self.service.listener) is not None and listener.begin is not None:
            async with self.database.transaction() as tx:
                assert self.database.history is not None
                await listener.begin(tx, self.database.history.certificate)

    async def _consume(self, *, moved: bool) -> None:
        """Join the group as soon as the broker and the topics are there; then watch intake."""
        self.consumer = consumer = Consumer(self.service, self.settings, self.database, self.shell, self.metrics)
        needed = {*consumer.topics, *({f"{self.service.name}.events.v1"} & TOPICS.keys())}
        while True:
            try:
                if await kafka.topics_ready(self.settings, sorted(needed)):
                    if self.service.adopts:
                        if moved:
                            await recovery.until_relays_have_stopped(self.database)
                        await recovery.recover(self.service, self.settings, self.database, self.metrics)
                        self.certified = self.database.history
                        self.shell.ready.set()
                    await self._begin_listening()
                    await consumer.start()
                    break
                log.info("waiting_for_topics", topics=consumer.topics)
            except (KafkaError, OSError, TimeoutError) as error:
                log.info("waiting_for_broker", error=repr(error))
            except Exception as error:
                if is_transient(error):
                    log.info("waiting_for_database", error=repr(error))
                else:  # the own topic contradicts the own rows: nothing is decided until a person has acted
                    self.start_failed = repr(error)
                    log.error("start_failed", error=self.start_failed, exc_info=True)
                    await asyncio.sleep(2)  # each time is an error in the log: not three a second
            await asyncio.sleep(0.3)
        self.start_failed = None
        await asyncio.gather(
            watch.watch_intake(self, consumer), watch.watch_offsets(consumer), watch.watch_lag(consumer)
        )
