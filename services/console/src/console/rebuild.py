"""Makes the rows of the lists anew, from the lists of their owners, while the console is running.

The ends of the topics are noted. Then all lists are read into a table of its own schema, which no page reads. Then the events
behind the noted ends are folded into it: at first while the projection goes on, the last of them while it waits for the lock of
the old table. The swap is the end of that transaction. Events that the projection then folds once more change nothing: the
versions in the rows decide. A rebuild that ends early leaves the old table, and its own schema to the next rebuild.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any, Final, cast
from uuid import UUID

import structlog
from asyncpg import Connection, InterfaceError, PostgresError
from sqlalchemy import MetaData
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable, SetColumnComment, SetTableComment

from chassis.declare.app import App
from chassis.kafka.inspection import Inspector, Offsets, partitions_of
from chassis.kafka.record_batches import Unread
from console import projection, tables
from console.domain.fold import Stated
from console.domain.listed import Elsewhere, row_of
from console.domain.people import Grant, Person
from console.domain.row import OrderRow
from console.owners import Owners
from console.settings import Settings
from contracts.envelope import Ignored, Poison
from contracts.envelope import read as message_of

log = structlog.get_logger("console.rebuild")

SCHEMA: Final = "rebuild"
PERSON: Final = Person(UUID(int=0), "rebuild", "console-rebuild", (Grant("administrator", None),))
"""For whom the owners are asked: every store, personal data included."""
ASK_SECONDS_MAX: Final = 30.0
PAGE_ITEMS: Final = 500
PAGES_AHEAD: Final = 4
"""Pages that are fetched while one is written."""
EVENTS_AT_ONCE: Final = 500
SHARE_BYTES: Final = 256 * 1024
BEHIND_MAX: Final = 1_000
"""With fewer events to fold, the old table is locked: the projection waits for as long as they take."""
LOCK_KEY: Final = 5_021_001
"""Key of the advisory lock: one rebuild runs at a time."""
LISTS: Final[Mapping[str, tuple[str, str]]] = {
    "payments": ("payments", "/v1/payments"),
    "fulfillments": ("fulfillment", "/v1/fulfillments"),
    "shipments": ("fulfillment", "/v1/shipments"),
    "documents": ("invoicing", "/v1/invoices"),
}
"""Table of this module -> the service and the list that fill it. Each list has the newest first."""
ORDERS: Final = "/v1/orders?content=true&archived=any"
STAGES: Final[Mapping[str, str]] = {
    "payments": "version int, authorized_minor bigint, captured_minor bigint, voided_minor bigint, refunded_minor bigint",
    "fulfillments": "version int, reserved int, shipped int",
    "shipments": "tracking text, at timestamptz",
    "documents": "version int, kind text, number text, total_minor bigint",
}
VALUES: Final[Mapping[str, Callable[[Mapping[str, Any]], tuple[Any, ...]]]] = {
    "payments": lambda one: (one["version"], *(one["totals"][f"{name}_minor"] for name in ("authorized", "captured", "voided", "refunded"))),
    "fulfillments": lambda one: (one["version"], one["totals"]["reserved"], one["totals"]["shipped"]),
    "shipments": lambda one: (one["tracking_number"], _time(one["shipped_at"])),
    "documents": lambda one: (one["version"], one["kind"], one["number"], one["total_minor"]),
}  # fmt: skip
ORDER_OF: Final = {"shipments": "at", "documents": "version"}


class Silent(ValueError):
    """An owner does not answer, so that the lists would lack what it has. Nothing was changed."""


async def rebuild(app: App, inspector: Inspector, stores: Sequence[str]) -> Sequence[str]:
    """Rebuilds the rows of some stores, in addition to those that the console has; returns the lines to print. Raises Silent,
    BrokerSilent, ValueError."""
    began = time.monotonic()
    owners = Owners(cast(Settings, app.settings).model_copy(update={"ask_seconds_max": ASK_SECONDS_MAX}))
    every = sorted({*stores, *(row["store_id"] for row in await app.fetch("select store_id from stores"))})
    if not every:
        raise ValueError("the console has seen no store yet: name one with --store")
    async with _connection(app) as connection, _alone(connection), owners.running():
        work = _Rebuild(app, connection, owners, inspector)
        await work.prepare()
        for store_id in every:
            await work.read_store(store_id)
        await work.index()
        listed = time.monotonic()
        events = await work.swap()
    seconds, behind = listed - began, time.monotonic() - listed
    return [
        f"{work.rows:,} orders of {', '.join(every)} in {seconds:.1f} s ({work.pages / max(seconds, 0.001):,.0f} pages per second)",
        f"{events:,} events since then, folded in {behind:.1f} s; the lists are new",
    ]


@asynccontextmanager
async def _connection(app: App) -> AsyncIterator[Connection]:
    """A connection of its own, with the time that large statements need; it is closed afterwards, and with it its locks."""
    async with cast(Any, app).database.connection() as connection:
        await connection.execute("set statement_timeout = 0")
        try:
            yield connection
        finally:
            connection.terminate()


@asynccontextmanager
async def _alone(connection: Connection) -> AsyncIterator[None]:
    """Holds the lock of rebuilds. Raises ValueError if another has it.

    The server gives it back some time after the connection has ended; the next rebuild may begin before that.
    """
    if not await connection.fetchval("select pg_try_advisory_lock($1)", LOCK_KEY):
        raise ValueError("another rebuild is running")
    try:
        yield
    finally:
        with suppress(PostgresError, InterfaceError, OSError):  # the connection is lost, and with it the lock
            await connection.execute("select pg_advisory_unlock_all()")


class _Rebuild:
    def __init__(self, app: App, connection: Connection, owners: Owners, inspector: Inspector) -> None:
        self._app, self._connection, self._owners, self._inspector = app, connection, owners, inspector
        self._parts = partitions_of(projection.EVENTS)
        self._read: Offsets = {}
        self.rows = self.pages = 0

    async def prepare(self) -> None:
        """Makes the empty tables, and notes the ends of the topics before any list is read."""
        execute = self._connection.execute
        await execute(f"drop schema if exists {SCHEMA} cascade")
        await execute(f"create schema {SCHEMA}")
        await execute(_ddl(CreateTable(_table())))
        for name, columns in STAGES.items():
            await execute(f"create unlogged table {SCHEMA}.{name} (order_id uuid, {columns})")
        self._read = await self._inspector.ends(self._parts)

    # -- lists --------------------------------------------------------------------------------------------------------

    async def read_store(self, store_id: str) -> None:
        for name, (owner, path) in LISTS.items():
            await self._connection.execute(f"truncate {SCHEMA}.{name}")
            await self._connection.execute(f"drop index if exists {SCHEMA}.{name}_order")
            async for items in self._items(owner, path, store_id):
                records = [(UUID(one["order_id"]), *VALUES[name](one)) for one in items]
                await self._connection.copy_records_to_table(name, records=records, schema_name=SCHEMA)
            await self._connection.execute(f"create index {name}_order on {SCHEMA}.{name} (order_id)")
            await self._connection.execute(f"analyze {SCHEMA}.{name}")
        await self._read_orders(store_id)

    async def _read_orders(self, store_id: str) -> None:
        written: asyncio.Task[None] | None = None
        try:
            async for items in self._items("orders", ORDERS, store_id):
                rows = await self._rows(store_id, items)  # the database writes the page before it meanwhile
                if written is not None:
                    await written
                written = asyncio.create_task(self._write(rows))
                self.rows += len(rows)
            if written is not None:
                await written
        finally:
            if written is not None:
                written.cancel()

    async def _items(self, owner: str, path: str, store_id: str) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
        """Yields the pages of a list. Raises Silent."""
        ahead: asyncio.Queue[Any] = asyncio.Queue(PAGES_AHEAD)

        async def fetch() -> None:
            cursor = ""
            separator = "&" if "?" in path else "?"
            while True:
                address = f"{path}{separator}limit={PAGE_ITEMS}{cursor and f'&cursor={cursor}'}"
                answer = await self._owners.read(owner, address, store_id, PERSON, personal=True)
                if answer.state != "answered":
                    await ahead.put(
                        Silent(f"{owner}: {answer.why or 'its address or key is not set'}; the lists are as before")
                    )
                    return
                await ahead.put(answer.body["items"])
                if (cursor := answer.body["next_cursor"] or "") == "":
                    await ahead.put(None)
                    return

        fetching = asyncio.create_task(fetch())
        try:
            while (page := await ahead.get()) is not None:
                if isinstance(page, Silent):
                    raise page
                self.pages += 1
                yield page
            await fetching
        finally:
            fetching.cancel()

    async def _rows(self, store_id: str, items: Sequence[Mapping[str, Any]]) -> Sequence[OrderRow]:
        elsewhere = await self._elsewhere([UUID(one["order_id"]) for one in items])
        return [row_of(store_id, one, elsewhere[UUID(one["order_id"])]) for one in items]

    async def _elsewhere(self, ids: Sequence[UUID]) -> Mapping[UUID, Elsewhere]:
        found: dict[str, dict[UUID, list[dict[str, Any]]]] = {}
        for name in STAGES:
            order = f" order by {ORDER_OF[name]}" if name in ORDER_OF else ""
            of_name = found[name] = {}
            for record in await self._app.fetch(f"select * from {SCHEMA}.{name} where order_id = any($1){order}", ids):
                values = dict(record)
                of_name.setdefault(UUID(int=values.pop("order_id").int), []).append(values)
        return {
            one: Elsewhere(
                next(iter(found["payments"].get(one, ())), None), next(iter(found["fulfillments"].get(one, ())), None),
                [shipment["tracking"] for shipment in found["shipments"].get(one, ()) if shipment["tracking"]],
                found["documents"].get(one, ()),
            )
            for one in ids
        }  # fmt: skip

    async def index(self) -> None:
        for index in sorted(_table().indexes, key=lambda index: str(index.name)):
            await self._connection.execute(_ddl(CreateIndex(index)))
        await self._connection.execute(_ddl(SetTableComment(_table())))
        for column in _table().columns:
            if column.comment:
                await self._connection.execute(_ddl(SetColumnComment(column)))
        await self._connection.execute(f"analyze {SCHEMA}.order_rows")

    # -- events -------------------------------------------------------------------------------------------------------

    async def swap(self) -> int:
        """Folds the events since the lists were read, and puts the new table in the place of the old one; returns how many."""
        events = 0
        while (behind := await self._behind()) > BEHIND_MAX:
            async with self._in_its_schema():
                events += await self._catch_up()
            log.info("rebuild_catches_up", events=behind)
        async with self._in_its_schema():
            await self._connection.execute("lock table public.order_rows in access exclusive mode")
            events += await self._catch_up()
            await self._connection.execute(f"""
            drop table public.order_rows;
            alter table {SCHEMA}.order_rows set schema public;
            drop schema {SCHEMA} cascade""")
        return events

    @asynccontextmanager
    async def _in_its_schema(self) -> AsyncIterator[None]:
        """A transaction in which the statements of the projection find the new table."""
        async with self._connection.transaction():
            await self._connection.execute(f"set local search_path = {SCHEMA}, public")
            yield

    async def _behind(self) -> int:
        ends = await self._inspector.ends(self._parts)
        return sum(ends[part] - self._read[part] for part in self._parts)

    async def _catch_up(self) -> int:
        """Folds what is in the topics now; returns how many events."""
        ends, events = await self._inspector.ends(self._parts), 0
        while behind := {part: self._read[part] for part in self._parts if self._read[part] < ends[part]}:
            chunks = await self._inspector.records(behind, share_bytes=SHARE_BYTES, records_max=EVENTS_AT_ONCE)
            stated = [event for chunk in chunks.values() for event in _stated(chunk.entries)]
            for start in range(0, len(stated), EVENTS_AT_ONCE):
                part = stated[start : start + EVENTS_AT_ONCE]
                await self._write(await projection.combine(self._connection, part))
            self._read |= {part: chunk.behind for part, chunk in chunks.items()}
            events += len(stated)
        return events

    async def _write(self, rows: Sequence[OrderRow]) -> None:
        async with self._connection.transaction():
            await projection.put(self._connection, rows, SCHEMA)


def _stated(entries: Iterable[Any]) -> Sequence[Stated]:
    """Returns what events state. One that cannot be read is parked by the projection, and is missing here until it is replayed."""
    found = []
    for entry in entries:
        if isinstance(entry, Unread):
            continue
        try:
            event = projection.state(message_of(entry.topic, entry.key, entry.value, entry.headers, unknown=True))
        except (Poison, Ignored):
            continue
        if event is not None:
            found.append(event)
    return found


def _time(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value) if value is not None else None


def _table() -> Any:
    return tables.order_rows.to_metadata(MetaData(), schema=SCHEMA)


def _ddl(statement: Any) -> str:
    return str(statement.compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]
