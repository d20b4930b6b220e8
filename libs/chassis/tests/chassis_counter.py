"""The smallest service that uses every part of the batch path, and a world to run it in: a real PostgreSQL, no Kafka.

It counts. `play` of an `Add` selects what happens; a `Fill` adds to the pot that an earlier message named.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID, uuid4

from asyncpg import Connection
from pydantic_settings import SettingsConfigDict
from sqlalchemy import BigInteger, Column, Identity, MetaData, Table, Text, Uuid

from chassis.batch.database import Database
from chassis.batch.inbound import Idempotency, Inbound
from chassis.batch.intake import Intake
from chassis.batch.parking import Rejected
from chassis.batch.record import Record
from chassis.batch.shell import Shell
from chassis.declare.app import Outcome, Rendered
from chassis.declare.service import Aggregate, Service, Share, on
from chassis.declare.sql import Piece, Rows
from chassis.declare.tables import aggregate_columns, chassis_tables
from chassis.settings import ServiceSettings
from chassis.telemetry import Metrics
from chassis.work.replay import Replays
from contracts.base import Addressed, Command, Document, Event, Frozen, Message, OrderKeyed, Personal, PrivateEvent
from contracts.deciding import Context, Effect, Refusal, Reported, Task, Unasked, Wake, Withdrawn
from contracts.envelope import headers
from contracts.ids import message_id
from contracts.registry import Topic
from tests.databases import empty

STORE = "st_1"
COMMANDS, EVENTS = "counter.commands.v1", "counter.events.v1"


class Add(OrderKeyed, Command, type="counter.add"):
    amount: int = 1
    play: str = ""
    """boom: decide raises; half: after an event it raises; no: a refusal; ask, ask beside: a task; withdraw: the task that `pot` names is not run any more; if present: nothing for an order without events; quiet: a private event; unasked: an answer to no question; calm: no timer any more; page, sheet, large, huge."""
    pot: str = ""
    """The pot that later `Fill`s go to."""
    wake_at: datetime | None = None


class Fill(OrderKeyed, Command, type="counter.fill"):
    amount: int = 1


class Added(OrderKeyed, Event, type="counter.added"):
    amount: int
    total: int
    pot: str = ""
    filled: str = ""
    wake_at: datetime | None = None
    padding: str = ""


class Noticed(OrderKeyed, PrivateEvent, type="counter.noticed"):
    amount: int = 0
    woken: bool = False
    calm: bool = False


class LabelKeyed(Addressed, key="label_id"):
    label_id: UUID


class Stick(LabelKeyed, Command, type="counter.stick"):
    text: str
    sender: Annotated[str, Personal()] = ""


class Stuck(LabelKeyed, Event, type="counter.stuck"):
    text: str
    sender: Annotated[str, Personal()] = ""


MODELS: dict[str, type[Message]] = {model.TYPE: model for model in (Add, Fill, Added, Stick, Stuck)}
TOPICS = {
    COMMANDS: Topic(COMMANDS, True, "What the counter is asked."),
    EVENTS: Topic(EVENTS, False, "What it counted."),
}


class Ask(Frozen):
    question: str = ""


class Told(Frozen):
    answer: int = 0


class Counter(Document):
    schema_version: int = 1
    total: int = 0
    pot: str = ""
    wake: datetime | None = None
    woken: int = 0
    told: Mapping[str, int] = {}


class Label(Document):
    """An aggregate beside the counter, with a key field of its own."""

    schema_version: int = 1
    text: str = ""


def stick(state: Label, command: Stick, context: Context) -> list[Effect]:
    return [
        Stuck(
            label_id=context.key,
            store_id=context.store_id,
            operation_id=command.operation_id,
            text=command.text,
            sender=command.sender,
        )
    ]


def add(state: Counter, command: Add, context: Context) -> list[Effect]:
    match command.play:
        case "boom":
            raise ValueError("no decision for this")
        case "no":
            return [Refusal("no", "not today")]
        case "ask":
            return [Task(command.operation_id, "ask", Ask(question=f"how much for {command.amount}?"))]
        case "ask beside":
            return [Task(command.operation_id, "ask", Ask(question="how much beside?"), beside=True)]
        case "withdraw":
            return [Withdrawn(UUID(command.pot))]
        case "if present" if state.total == 0:
            return []
        case "quiet":
            return [Noticed(order_id=context.key, store_id=context.store_id, amount=command.amount)]
        case "calm":
            return [Noticed(order_id=context.key, store_id=context.store_id, calm=True)]
    event = Added(
        order_id=context.key, store_id=context.store_id, operation_id=command.operation_id, amount=command.amount,
        total=state.total + command.amount, pot=command.pot, wake_at=command.wake_at,
        padding="x" * {"huge": 1_000_000, "large": 100_000, "sheet": 40_000, "page": 10_000}.get(command.play, 0),
    )  # fmt: skip
    if command.play == "unasked":
        return [event, Unasked()]
    if command.play == "half":
        wrong: Any = Added.model_construct(order_id=context.key)  # evolve falls over it
        return [event, wrong]
    return [event]


def fill(state: Counter, command: Fill, context: Context) -> list[Effect]:
    level = context.shares.get(state.pot) or 0
    assert level >= 0
    return [Added(order_id=context.key, store_id=context.store_id, operation_id=command.operation_id,
                  amount=command.amount, total=state.total + command.amount, filled=state.pot)]  # fmt: skip


def wake(state: Counter, message: Wake, context: Context) -> list[Effect]:
    if state.total == 13:
        raise ValueError("an unlucky number")
    if state.wake is None or state.wake > context.now:
        return []
    return [Noticed(order_id=context.key, store_id=context.store_id, woken=True)]


def reported(state: Counter, message: Reported, context: Context) -> list[Effect]:
    first = state.told.get(str(message.task_id))
    if first == message.outcome.answer:
        return []
    if first is not None:
        raise ValueError(f"reported {first} before, now {message.outcome.answer}")
    amount = message.outcome.answer
    return [Added(order_id=context.key, store_id=context.store_id, operation_id=message.task_id, amount=amount,
                  total=state.total + amount)]  # fmt: skip


def evolve(state: Counter, event: Event) -> Counter:
    match event:
        case Added():
            told = {**state.told, str(event.operation_id): event.amount}
            return state.model_copy(update={"total": state.total + event.amount, "pot": event.pot or state.pot,
                                            "wake": event.wake_at or state.wake, "told": told})  # fmt: skip
        case Noticed(woken=True):
            return state.model_copy(update={"woken": state.woken + 1, "wake": None})
        case Noticed(calm=True):
            return state.model_copy(update={"wake": None})
        case Noticed():
            return state.model_copy(update={"total": state.total + event.amount})
        case _:
            raise AssertionError(event)


async def load_pots(tx: Connection, names: Sequence[str]) -> Mapping[str, int]:
    rows = await tx.fetch("select name, filled from pots where name = any($1) order by name for update", names)
    return {row["name"]: row["filled"] for row in rows}


POTS = Piece(
    "filled as (insert into pots select * from unnest({0}::text[], {1}::bigint[])"
    " on conflict (name) do update set filled = excluded.filled)",
    2,
)


def pot_rows(pots: Mapping[str, int]) -> Rows:
    return Rows(POTS, [list(pots), list(pots.values())])


def needs(state: Counter, message: Any) -> Iterable[str]:
    return (state.pot,) if isinstance(message, Fill) and state.pot else ()


class Settings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="COUNTER_", frozen=True, extra="ignore")


metadata = MetaData()
chassis_tables(metadata)
Table("counters", metadata, *aggregate_columns(), Column("total", BigInteger, nullable=False))
Table("labels", metadata, *aggregate_columns())
Table("pots", metadata, Column("name", Text, primary_key=True), Column("filled", BigInteger, nullable=False))
Table(
    "received",
    metadata,
    Column("n", BigInteger, Identity(), primary_key=True),
    Column("key", Uuid, nullable=False),
    Column("type", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
)

SERVICE = Service(
    name="counter",
    aggregates=(
        Aggregate(
            table="counters",
            key="order_id",
            state=Counter,
            initial=lambda key, store_id: Counter(),
            evolve=evolve,
            handlers=(on(Add, add), on(Fill, fill), on(Wake, wake), on(Reported, reported)),
            columns={"total": ("bigint", lambda state: state.total)},
            wake_at=lambda state: state.wake,
        ),
        Aggregate(
            table="labels",
            key="label_id",
            state=Label,
            initial=lambda key, store_id: Label(),
            evolve=lambda label, event: label.model_copy(update={"text": event.text}),
            handlers=(on(Stick, stick),),
        ),
    ),
    shares=(
        Share(
            name="pots",
            needs=needs,
            load=load_pots,
            touched=lambda event: (event.filled,) if isinstance(event, Added) and event.filled else (),
            evolve=lambda state, key, event: (state or 0) + event.amount,
            rows=pot_rows,
        ),
    ),
    settings=Settings,
    metadata=metadata,
    migrations=Path(__file__).parent / "chassis_counter_migrations",
)


def settings(url: str, **more: Any) -> Settings:
    return Settings(database_url=url, **more)


def plus(key: UUID, amount: int = 1, **more: Any) -> Add:
    return Add(order_id=key, store_id=more.pop("store_id", STORE), operation_id=more.pop("operation_id", uuid4()),
               actor="test", amount=amount, **more)  # fmt: skip


def filling(key: UUID, amount: int = 1) -> Fill:
    return Fill(order_id=key, store_id=STORE, operation_id=uuid4(), actor="test", amount=amount)


class World:
    """A shell on the counter's database, and helpers for the tests."""

    def __init__(self, wishes: Settings, service: Service = SERVICE) -> None:
        self.settings = wishes
        self.database = Database(wishes, "chassis-tests")
        self.metrics = Metrics("counter")
        self.shell = Shell(service, self.database, self.metrics)
        self.replays = Replays(service, self.database, wishes)
        self._offset = 0
        self._serving: list[asyncio.Task[None]] = []

    async def close(self) -> None:
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await self.database.close()

    def serve(self) -> None:
        """Start two loops for `submit`, as a process does."""
        self._serving += [asyncio.create_task(self.shell.run()) for _ in range(2)]

    async def empty(self) -> None:
        async with self.database.connection() as connection:
            await empty(connection, [table.name for table in metadata.sorted_tables])

    async def rows(self, sql: str, *values: Any) -> list[Any]:
        async with self.database.connection() as connection:
            return list(await connection.fetch(sql, *values))

    async def one(self, sql: str, *values: Any) -> Any:
        async with self.database.connection() as connection:
            return await connection.fetchval(sql, *values)

    async def do(self, sql: str, *values: Any) -> None:
        async with self.database.connection() as connection:
            await connection.execute(sql, *values)

    async def total(self, key: UUID) -> int | None:
        found: int | None = await self.one("select total from counters where key = $1", key)
        return found

    # -- messages -----------------------------------------------------------------------------------------------------

    def record(self, message: Command, ce_id: str | None = None) -> Record:
        """The Kafka record of a message, as its sender would write it."""
        self._offset += 1
        named = headers(ce_id=ce_id or str(uuid4()), source="test", type=message.TYPE, time=datetime.now(UTC),
                        subject=str(message.key), store_id=message.store_id, correlation_id="c")  # fmt: skip
        return Record(COMMANDS, 0, self._offset, str(message.key).encode(), message.model_dump_json().encode(), named)

    def from_topic(self, message: Command, ce_id: str | None = None) -> Inbound:
        record = self.record(message, ce_id)
        identity = dict(record.headers)["ce_id"]
        assert identity is not None
        at = datetime.now(UTC) if ce_id is None else datetime(2026, 11, 21, tzinfo=UTC)
        claim = message_id(at, "test", message.store_id, message.key, identity.decode())
        return Inbound("topic", message.key, message.store_id, claim, message.TYPE, message, "c", actor="test",
                       ce_id=identity.decode(), claim=claim, record=record)  # fmt: skip

    def request(self, message: Command, key: str | None = None, fingerprint: bytes = b"body") -> Inbound:
        def render(outcome: Outcome) -> Rendered:
            total = outcome.state.total if outcome.refusal is None else -1
            return Rendered(200, {"content-type": "text/plain"}, f"total {total} {uuid4()}".encode())

        asked = Idempotency(message.store_id, key, fingerprint) if key else None
        return Inbound("http", message.key, message.store_id, uuid4(), message.TYPE, message, "c", actor="test",
                       idempotency=asked, render=render)  # fmt: skip

    async def take(self, *entries: Inbound | Rejected) -> None:
        """Handle one poll: one transaction if the database accepts it."""
        offsets = {(e.record.topic, e.record.partition): e.record.offset + 1 for e in entries if e.record is not None}
        await self.shell.take(Intake(list(entries), offsets))

    async def tell(self, *messages: Command) -> list[Outcome]:
        """Handle one poll of valid records; returns their outcomes."""
        return await self.shell.handle([self.from_topic(message) for message in messages])
