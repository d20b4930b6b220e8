"""The journal: one reader, of only the day partitions that a query needs; over HTTP with personal values masked."""

from __future__ import annotations

import ast
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import pytest
from asyncpg import Connection
from chassis_client import Client
from chassis_counter import SERVICE, STORE, Stick, World, plus

from chassis import journal
from chassis.batch import statements
from chassis.batch.adoption import Adopted, adopt
from chassis.batch.inbound import Inbound
from chassis.batch.unit_of_work import Batch
from chassis.kafka import outbox_table
from chassis.work.partitions import ensure
from contracts.base import Event
from contracts.registry import MESSAGES

ROOT: Final = Path(__file__).parents[3]
TODAY = datetime.now(UTC).date()


def day(ago: int) -> date:
    return TODAY - timedelta(days=ago)


# -- one reader -------------------------------------------------------------------------------------------------------

READS_WHOLE_TABLES: Final = {"services/orders/src/orders/invariants.py"}
"""`check` compares all rows, once, on an operator's command."""


def texts(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield " ".join(node.value.lower().split())


def test_no_other_module_reads_the_journal() -> None:
    sources = [path for top in ("libs/chassis/src", "services") for path in (ROOT / top).rglob("*.py")]
    reading = {
        str(path.relative_to(ROOT))
        for path in sources
        if "tests" not in path.parts and any(re.search(r"\b(from|join) journal\b", text) for text in texts(path))
    }
    assert reading - READS_WHOLE_TABLES == {"libs/chassis/src/chassis/journal.py"}


# -- day partitions ---------------------------------------------------------------------------------------------------


async def journaled(world: World, *, from_: int, to: int) -> UUID:
    """A counter whose first event is `from_` days old and whose last one is `to` days old."""
    key = uuid4()
    await world.tell(plus(key, 1), plus(key, 2))
    move = "update journal set day = $2::date where key = $1 and revision = $3"
    await world.do(move, key, day(from_), 1)
    await world.do(move, key, day(to), 2)
    await world.do("update outbox o set day = j.day from journal j where j.id = o.journal_id")
    await world.do("update counters set journal_from = $2, journal_to = $3 where key = $1", key, day(from_), day(to))
    return key


@asynccontextmanager
async def days(world: World) -> AsyncIterator[None]:
    """The last ten days have partitions, and each holds an event of an aggregate of its own."""
    async with world.database.transaction() as tx:
        await ensure(tx, day(9), day(0))
    for ago in range(10):
        await journaled(world, from_=ago, to=ago)
    await world.do("delete from outbox")
    await world.do("analyze journal")
    yield


def literal(value: Any) -> str:
    if isinstance(value, list):
        return f"'{{{','.join(map(str, value))}}}'"
    return "null" if value is None else f"'{value}'"


EXPLAIN: Final = "explain (analyze, format json)"


async def scanned(tx: Connection, sql: str, *values: Any) -> list[int]:
    """Returns the age in days of each partition that a statement scans by a generic plan; -1 for the default partition."""
    await tx.execute(f"prepare asked as {sql}")
    arguments = f"({', '.join(map(literal, values))})" if values else ""
    plan = await tx.fetchval(f"{EXPLAIN} execute asked{arguments}")
    await tx.execute("deallocate asked")
    return ages(plan)


async def scanned_by_key(world: World, key: UUID, store_id: str = STORE, **asked: Any) -> list[int]:
    """The same of what `journal.entries` reads, with the types and the settings of its connection."""
    query = journal.by_key("counters", store_id, key, **asked)
    query.text = f"{EXPLAIN} {query.text}"
    [row] = await world.database.queries.read(query)
    return ages(row["QUERY PLAN"])


def ages(plan: list[Any]) -> list[int]:
    found: set[int] = set()

    def walk(node: dict[str, Any]) -> None:
        name = node.get("Relation Name", "")
        if name.startswith("journal_") and node["Actual Loops"]:
            found.add(-1 if name == "journal_default" else (TODAY - date.fromisoformat(name[8:])).days)
        for inner in node.get("Plans", ()):
            walk(inner)

    walk(plan[0]["Plan"])
    return sorted(found)


@pytest.mark.real
async def test_each_query_of_the_journal_scans_only_the_days_that_it_needs(world: World) -> None:
    async with days(world):
        key = await journaled(world, from_=6, to=4)
        await world.do("insert into unfolded values ($1, 0), ($2, 0)", day(7), day(2))
        position = await world.one("select id from journal where key = $1 and revision = 1", key)
        assert await scanned_by_key(world, key) == [4, 5, 6]
        more = {"after": position, "limit": 1, "operation_id": uuid4(), "without": ["counter.added"]}
        assert await scanned_by_key(world, key, **more) == [4, 5, 6]
        assert await scanned_by_key(world, key, before=position + 9, latest=True, limit=9) == [4, 5, 6]
        assert await scanned_by_key(world, uuid4()) == await scanned_by_key(world, key, "st_2") == []
        async with world.database.transaction() as tx:
            assert await scanned(tx, journal.ADOPTED) == [2, 7]
            await tx.execute("delete from outbox where journal_id <> $1", position)
            assert await scanned(tx, journal.OUTBOX_AGE) == [6]
            assert await scanned(tx, outbox_table.NEXT, 0, 100, [], [], [], [], False) == [6]
            again = await scanned(tx, journal.answers_again("counters"), [key], [2])
            assert set(again) <= {4, 5, 6} and 4 in again
            assert await tx.fetchval("select count(*) from outbox") == 2


@pytest.mark.real
async def test_the_days_of_an_aggregate_are_those_of_its_journal(world: World) -> None:
    """Written by the database's clock, widened by later events and by adopted ones; never narrowed."""
    key = uuid4()
    row = "select journal_from, journal_to from counters where key = $1"
    await world.tell(plus(key, 1))
    today = await world.one("select day from journal where key = $1", key)
    assert [tuple(one) for one in await world.rows(row, key)] == [(today, today)]
    await world.do(
        "update counters set journal_from = $2, journal_to = $2 where key = $1", key, today - timedelta(days=3)
    )
    await world.tell(plus(key, 1))
    assert [tuple(one) for one in await world.rows(row, key)] == [(today - timedelta(days=3), today)]
    stated = await world.rows("select message_id, type, payload from journal where key = $1 order by id", key)
    await world.empty()
    long_ago = [datetime.now(UTC) - timedelta(days=ago) for ago in (20, 10)]
    own = [
        Adopted(
            Inbound("topic", key, STORE, uuid4(), one["type"], body, "c", actor="recovery"), str(one["message_id"]), at
        )
        for one, at in zip(stated, long_ago, strict=True)
        if isinstance(body := MESSAGES[one["type"]].model_validate_json(one["payload"]), Event)
    ]
    async with world.database.transaction() as tx:
        assert await adopt(Batch(SERVICE, tx, datetime.now(UTC)), own) == 2
        assert await journal.check(tx, SERVICE) == [("counter.journal_is_found_by_key", 2, 0)]
    found = await journal.entries(world.database.queries.read, "counters", STORE, key)
    assert [entry.day for entry in found] == [at.date() for at in long_ago]
    assert (await world.rows(row, key))[0]["journal_from"] == long_ago[0].date()


@pytest.mark.real
async def test_the_check_counts_entries_outside_of_the_days_of_their_aggregate(world: World) -> None:
    key = uuid4()
    await world.tell(plus(key, 1), Stick(label_id=uuid4(), store_id=STORE, operation_id=uuid4(), actor="t", text="x"))
    await world.do("update counters set journal_to = journal_to - 1")
    async with world.database.connection() as connection:
        assert await journal.check(connection, SERVICE) == [("counter.journal_is_found_by_key", 2, 1)]


@pytest.mark.real
async def test_entries_are_of_one_aggregate_one_store_and_one_operation_newest_last(world: World) -> None:
    key, operation = uuid4(), uuid4()
    await world.tell(plus(key, 1), plus(key, 2, operation_id=operation), plus(key, 3, play="quiet"), plus(uuid4(), 9))
    read = partial(journal.entries, world.database.queries.read)
    found = await read("counters", STORE, key)
    assert [(one.revision, one.version, one.topic is None) for one in found] == [
        (1, 1, False),
        (2, 2, False),
        (3, None, True),
    ]
    assert await read("counters", STORE, key, operation_id=operation) == [found[1]]
    assert await read("counters", STORE, key, after=found[0].id, limit=1) == [found[1]]
    assert await read("counters", STORE, key, before=found[2].id) == found[:2]
    assert await read("counters", STORE, key, latest=True, limit=2) == found[1:]
    assert await read("counters", STORE, key, before=found[2].id, latest=True, limit=1) == [found[1]]
    assert await read("counters", STORE, key, without=["counter.added"]) == [found[2]]
    assert await read("counters", "st_2", key) == await read("labels", STORE, key) == []


@pytest.mark.real
async def test_an_answer_of_an_earlier_day_is_published_again(world: World) -> None:
    async with world.database.transaction() as tx:
        await ensure(tx, day(9), day(0))
    key = await journaled(world, from_=6, to=4)
    await world.do("delete from outbox")
    async with world.database.transaction() as tx:
        await statements.publish_again(tx, [("counters", key, 2), ("counters", key, 1)])
    pointed = await world.rows("select day from outbox order by id")
    assert [row["day"] for row in pointed] == [day(4), day(6)]


@pytest.mark.real
async def test_the_journal_of_an_aggregate_is_paged_newest_last_and_names_causes(client: Client, world: World) -> None:
    key, counter = await client.app.keys.create(STORE, "till", ["journal.view"]), uuid4()
    messages = [world.from_topic(plus(counter, amount)) for amount in (1, 2, 3)]
    await world.take(*messages)
    path = f"/v1/journal?order_id={counter}&limit=2"
    first = (await client("GET", path, key=key)).json
    rest = (await client("GET", f"{path}&cursor={first['next_cursor']}", key=key)).json
    entries = [*first["items"], *rest["items"]]
    assert [(one["kind"], one["type"], one["revision"], one["version"]) for one in entries] == [
        ("event", "counter.added", n, n) for n in (1, 2, 3)
    ]
    assert [one["cause_id"] for one in entries] == [message.ce_id for message in messages]
    assert {(one["cause_type"], one["actor"], one["published"]) for one in entries} == {("counter.add", "test", True)}
    assert [one["body"]["total"] for one in entries] == [1, 3, 6]
    assert rest["next_cursor"] is None
    operation = entries[1]["operation_id"]
    [found] = (await client("GET", f"{path}&operation_id={operation}", key=key)).json["items"]
    assert found == entries[1]


@pytest.mark.real
async def test_the_journal_shows_a_key_of_this_store_and_needs_its_scope(client: Client, world: World) -> None:
    counter, label = uuid4(), uuid4()
    await world.tell(plus(counter, 1), Stick(label_id=label, store_id=STORE, operation_id=uuid4(), actor="t", text="x"))
    mine, other, blind = [
        await client.app.keys.create(store, "till", [scope])
        for store, scope in ((STORE, "journal.view"), ("st_2", "journal.view"), (STORE, "parked.view"))
    ]
    assert len((await client("GET", f"/v1/journal?order_id={counter}", key=mine)).json["items"]) == 1
    assert len((await client("GET", f"/v1/journal?label_id={label}", key=mine)).json["items"]) == 1
    for query in (f"order_id={counter}", f"order_id={uuid4()}", f"label_id={counter}"):
        whose = other if query == f"order_id={counter}" else mine
        assert (await client("GET", f"/v1/journal?{query}", key=whose)).json["items"] == [], query
    assert (await client("GET", f"/v1/journal?order_id={counter}", key=blind)).status == 403
    for query in ("", f"?order_id={counter}&label_id={label}", "?order_id=x"):
        wrong = await client("GET", f"/v1/journal{query}", key=mine)
        assert (wrong.status, wrong.json["type"]) == (422, "/problems/request_invalid"), query
    for query, code in (
        (f"key={counter}", "query_parameter_unknown"),
        (f"order_id={counter}&cursor=x", "cursor_invalid"),
    ):
        assert (await client("GET", f"/v1/journal?{query}", key=mine)).json["type"] == f"/problems/{code}"


@pytest.mark.real
async def test_personal_values_of_the_journal_need_a_scope(client: Client, world: World) -> None:
    """A type or a field of another release is not shown without it: whether it is personal is not stated."""
    label = uuid4()
    await world.tell(Stick(label_id=label, store_id=STORE, operation_id=uuid4(), actor="t", text="x", sender="Ann"))
    scopes = (["journal.view"], ["journal.view", "personal.view"], ["*"])
    path = f"/v1/journal?label_id={label}"

    async def bodies() -> list[Any]:
        keys = [await client.app.keys.create(STORE, "till", one) for one in scopes]
        return [(await client("GET", path, key=key)).json["items"][0]["body"] for key in keys]

    masked, *whole = await bodies()
    assert (masked["text"], masked["sender"], masked["store_id"]) == ("x", "***", STORE)
    assert [body["sender"] for body in whole] == ["Ann", "Ann"]
    await world.do("update journal set payload = jsonb_set(payload::jsonb, '{later}', '\"Ann\"')::text")
    masked, *whole = await bodies()
    assert "later" not in masked
    assert [body["later"] for body in whole] == ["Ann", "Ann"]
    await world.do("update journal set type = 'counter.later'")
    masked, *whole = await bodies()
    assert masked is None
    assert [body["later"] for body in whole] == ["Ann", "Ann"]
