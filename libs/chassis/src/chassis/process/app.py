"""One process of a service: HTTP first, which needs only PostgreSQL; topics, consumer and relay in the background.

`python -m <service> [all|api|worker|migrate|provision|apply FILE|api-key create|list|revoke|recover|put-back|check]`
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import gc
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import asyncpg
import structlog
import yaml
from aiokafka.errors import KafkaError
from fastapi import Depends, FastAPI, Request, Response
from pydantic import ValidationError
from sqlalchemy.engine import RowMapping
from sqlalchemy.sql import Executable

from chassis.batch.database import Database, is_transient
from chassis.batch.history import History
from chassis.batch.shell import Shell
from chassis.declare.service import Service
from chassis.http import auth, docs, openapi, problems, server
from chassis.http.auth import Keys, Principal
from chassis.http.bodies import Readable
from chassis.http.commands import Answer, obey, operation_id
from chassis.kafka import recovery
from chassis.kafka import topics as kafka
from chassis.kafka.consumer import Consumer
from chassis.kafka.relay import Relay
from chassis.process import crash, operations
from chassis.process.priority import stand_back
from chassis.process.settings import ServiceSettings
from chassis.process.telemetry import Metrics, configure_logging
from chassis.work import partitions
from chassis.work.parking import Parking
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
        self.parking = Parking(service, self.database, settings)
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

    async def write(self, work: Callable[[asyncpg.Connection], Awaitable[Any]]) -> Any:
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
        app.include_router(operations.routes(self))
        app.mount("/docs", docs.pages(self.service.name))
        app.include_router(problems.pages(self.service.problems))
        if self.role in ("all", "api") and self.service.routes is not None:
            app.include_router(self.service.routes(self))
        return app

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        always = [
            self._part("beat", self._beat()),
            self._part("clock", operations.watch_clock(self)),
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
                "parking": self._once_ready(functools.partial(self.parking.run, self.relay.wake)),
                "partitions": partitions.keep(self.database, self.settings),
                "observe": operations.observe(self),
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
        await asyncio.gather(operations.watch_intake(self, consumer), operations.watch_lag(consumer))


def serve(service: Service, settings: ServiceSettings, role: str) -> None:
    stand_back(settings.niceness)
    configure_logging(service.name, settings.log_level)
    crash.arm(service.name)
    app = App(service, settings, role)
    listener = server.listen(settings.http_host, settings.http_port)
    # What is loaded by now lives for ever; what a batch makes dies with it. Looking at all of it again and again costs a tenth.
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 50, 100)
    log.info("listening", host=settings.http_host, port=listener.getsockname()[1], role=role)
    server.Server(server.configured(app.asgi())).run(sockets=[listener])


# -- the command line -------------------------------------------------------------------------------------------------


def run(service: Service) -> None:
    """`python -m <service> ...`."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {service.name}", description=f"Tradewind's {service.name} service"
    )
    commands = parser.add_subparsers(dest="command")
    for role, text in (
        ("all", "everything (the default)"),
        ("api", "HTTP only"),
        ("worker", "topics, relay, timers, tasks"),
    ):
        commands.add_parser(role, help=text)
    commands.add_parser("migrate", help="bring the database to the newest schema")
    commands.add_parser("provision", help="make the topics")
    commands.add_parser("recover", help="adopt what the own events topic knows and the database does not")
    commands.add_parser(
        "put-back", help="publish what the broker refused and the relay set aside, after the cause is mended"
    )
    check = commands.add_parser("check", help="check the invariants of the service's tables")
    check.add_argument("--json", action="store_true", help="one line for programs: [{name, checked, violated}]")
    apply = commands.add_parser("apply", help="write small tables from a YAML file")
    apply.add_argument("file", type=Path)
    keys = commands.add_parser("api-key", help="manage API keys").add_subparsers(dest="action", required=True)
    create = keys.add_parser("create", help="make a key and print it once")
    create.add_argument("--store", help="the one store it belongs to; without: an administrator's")
    create.add_argument("--name", default="cli")
    create.add_argument("--scope", action="append", required=True, help="repeat for several; '*' for all")
    keys.add_parser("list", help="every key with its id, store and scopes")
    revoke = keys.add_parser("revoke", help="end a key; processes that know it forget it within half a minute")
    revoke.add_argument("id", help="what stands between the underscores of the key, or the whole key")
    arguments = parser.parse_args()
    try:
        settings = service.settings()
    except ValidationError as error:
        prefix = service.settings.model_config.get("env_prefix", "")
        told = "; ".join(f"{prefix}{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
        raise SystemExit(f"{service.name}: the settings do not fit: {told}") from None
    command = arguments.command or "all"
    if command in ("all", "api", "worker"):
        serve(service, settings, command)
        return
    try:
        asyncio.run(_command(service, settings, command, arguments))
    except (OSError, asyncpg.PostgresError, TimeoutError) as error:
        raise SystemExit(f"{service.name} {command}: {error}") from None


async def _command(service: Service, settings: ServiceSettings, command: str, arguments: argparse.Namespace) -> None:
    if command == "migrate":
        from chassis.declare import migrations  # alembic is a tenth of a start, and only this command needs it

        await migrations.upgrade(service, settings.database_url)
        return
    if command == "provision":
        await kafka.provision(settings)
        return
    database = Database(settings, f"tradewind-{service.name}-{command}")
    try:
        if command == "recover":
            print(await recovery.recover(service, settings, database, Metrics(service.name)), "events adopted")
        elif command == "put-back":
            print(await Relay(service, settings, database, Metrics(service.name)).put_back(), "rows put back")
        elif command == "check":
            await _check(service, database, as_json=arguments.json)
        elif command == "apply":
            await _apply(service, database, arguments.file)
        else:
            await _keys(Keys(database), arguments)
    finally:
        await database.close()


async def _keys(keys: Keys, arguments: argparse.Namespace) -> None:
    if arguments.action == "create":
        try:
            print(await keys.create(arguments.store, arguments.name, arguments.scope))
        except ValidationError as error:
            raise SystemExit(f"no such key can be made: {error.errors()[0]['msg']} (store, name, scopes)") from None
    elif arguments.action == "list":
        for key in await keys.all():
            whose = f"store {key['store_id']}" if key["store_id"] else "administrator"
            state = "revoked" if key["revoked"] else "valid"
            print(
                f"{key['id']} {state} {whose} {key['name']}: {', '.join(key['scopes'])} ({key['created_at']:%Y-%m-%d})"
            )
    else:
        identity = arguments.id.split("_")[1] if arguments.id.startswith("tw_") else arguments.id
        if not await keys.revoke(identity):
            raise SystemExit(f"there is no key {identity}; `api-key list` shows those there are")
        print(f"{identity} is revoked")


async def _check(service: Service, database: Database, *, as_json: bool) -> None:
    found: list[tuple[str, int, int]] = []
    if service.check is not None:
        async with database.transaction() as tx:
            await tx.execute("set local enable_seqscan = on")  # it reads whole tables
            found = list(await service.check(tx))
    if as_json:
        print(json.dumps([dict(zip(("name", "checked", "violated"), row, strict=True)) for row in found]))
    else:
        for name, checked, violated in found:
            print(f"{name}: {checked} checked, {violated} violated")
    if any(violated for _, _, violated in found):
        sys.exit(1)


async def _apply(service: Service, database: Database, file: Path) -> None:
    if service.apply is None:
        raise SystemExit(f"{service.name} has no small tables to apply")
    try:
        wanted = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SystemExit(f"{file} cannot be read as YAML: {error}") from None
    if not isinstance(wanted, dict):
        raise SystemExit(f"{file}: a mapping of table names to lists is expected")
    try:
        async with database.transaction() as tx:
            for line in await service.apply(tx, wanted):
                print(line)
    except (ValidationError, ValueError, KeyError) as error:
        raise SystemExit(f"{file}: {error}") from None
