"""A database that has lost what was committed is noticed on the next connection; api processes wait for a worker to recover it."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import cast
from unittest.mock import Mock

import pytest
from chassis_counter import SERVICE, World
from sqlalchemy.engine import AdaptedConnection

from chassis.batch.database import Database
from chassis.batch.errors import CatchingUp
from chassis.batch.history import History
from chassis.kafka import recovery
from chassis.process.app import App
from chassis.settings import ServiceSettings
from tests.waiting import patience

BEFORE = History("cluster/1/database/table", "monday", 1_000)


@pytest.mark.parametrize(
    ("after", "continues"),
    [
        (BEFORE._replace(position=1_001), True),
        (BEFORE._replace(started_at="tuesday"), True),  # restarted, and nothing is lost
        (BEFORE._replace(line="cluster/2/database/table", position=2_000), False),  # a promoted standby
        (BEFORE._replace(position=999), False),  # a disk snapshot
    ],
)
def test_a_history_continues_where_nothing_was_lost(after: History, continues: bool) -> None:
    assert after.continues(BEFORE) is continues


class Connecting:
    """A connection whose answer is read after others have been: they have set `history` to something later."""

    driver_connection = Mock()

    def __init__(self, database: Database, answer: History, meanwhile: History | None) -> None:
        self.database, self.answer, self.meanwhile = database, answer, meanwhile

    def run_async(self, _: object) -> History:
        self.database.history = self.meanwhile
        return self.answer


@pytest.mark.parametrize("meanwhile", [BEFORE._replace(position=1_500), None])
async def test_an_answer_that_is_read_late_is_no_loss(meanwhile: History | None) -> None:
    database = Database(
        ServiceSettings(database_url="postgresql://localhost/none", kafka_bootstrap_servers="none"), "test"
    )
    database.history, answer = BEFORE, BEFORE._replace(position=1_200)
    database._compare(cast(AdaptedConnection, Connecting(database, answer, meanwhile)), None)
    assert not database.moved.is_set() and database.history == (meanwhile or answer)
    lost = BEFORE._replace(position=999)
    with pytest.raises(CatchingUp):
        database._compare(cast(AdaptedConnection, Connecting(database, lost, database.history)), None)
    assert database.moved.is_set()
    await database.close()


@pytest.mark.parametrize(
    ("meanwhile", "after"),
    [(None, None), (BEFORE._replace(position=2_000), 2_000), (BEFORE, 1_500), (BEFORE._replace(line="other", position=9), 9)],
)  # fmt: skip
async def test_a_clock_that_is_read_meanwhile_takes_no_position_back_and_none_to_other_data(
    monkeypatch: pytest.MonkeyPatch, meanwhile: History | None, after: int | None
) -> None:
    database = Database(
        ServiceSettings(database_url="postgresql://localhost/none", kafka_bootstrap_servers="none"), "test"
    )
    database.history = BEFORE

    async def fetchrow(_: str) -> dict[str, object]:
        database.history = meanwhile
        return {"now": datetime.now(UTC), "position": 1_500}

    @asynccontextmanager
    async def connection() -> AsyncIterator[Mock]:
        yield Mock(fetchrow=fetchrow)

    monkeypatch.setattr(database, "connection", connection)
    await database.read_clock()
    assert (database.history and database.history.position) == after
    await database.close()


@pytest.mark.real
async def test_no_connection_to_other_data_is_made_until_they_are_accepted(world: World) -> None:
    database = world.database
    clock = await database.read_clock()
    assert clock.was_read and database.history is not None
    first = database.history
    database.history = first._replace(position=first.position + 2**40)
    async with database.connection():
        for _ in range(2):
            with pytest.raises(CatchingUp):
                async with database.connection():  # a second one is made beside the first
                    pytest.fail("a connection to other data was made")
    assert database.moved.is_set()
    await database.accept()
    assert (await database.read_clock()).was_read and not database.moved.is_set()


@pytest.mark.real
async def test_an_api_waits_until_a_worker_has_certified_the_database(world: World) -> None:
    """And again after each restart of the server, until a worker has seen that nothing was lost."""
    app = App(SERVICE, world.settings, "api")
    async with app._lifespan(app.asgi()):
        async with patience():
            while app.database.history is None:
                await asyncio.sleep(0.01)
        assert not app.shell.ready.is_set()
        await recovery.certify(world.database)
        async with patience():
            await app.shell.ready.wait()
    await world.do("update leases set holder = holder || ' before a restore'")
    again = App(SERVICE, world.settings, "api")
    async with again._lifespan(again.asgi()):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(again.shell.ready.wait(), 1)


@pytest.mark.real
async def test_an_api_of_a_service_that_adopts_nothing_does_not_wait(world: World) -> None:
    app = App(dataclasses.replace(SERVICE, adopts=False), world.settings, "api")
    async with app._lifespan(app.asgi()):
        assert app.shell.ready.is_set()


@pytest.mark.real
async def test_a_process_begins_anew_when_the_database_has_lost_something(world: World) -> None:
    """Waiting requests are refused and may be repeated, caches are dropped; then everything works."""
    app = App(SERVICE, world.settings, "api")
    await recovery.certify(world.database)
    async with app._lifespan(app.asgi()):
        async with patience():
            await app.shell.ready.wait()
        parts = app._running
        assert app.database.history is not None
        app.database.history = app.database.history._replace(position=2**60)
        await world.do(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'tradewind-counter-api'"
        )
        async with patience():
            while app._running is parts or not app.shell.ready.is_set():
                await asyncio.sleep(0.01)
        assert app.database.history.position < 2**60
