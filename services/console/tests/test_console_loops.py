"""Errors in the loops of the console: which end the process, and which only delay a loop; needs `CONSOLE_TEST_DATABASE_URL`."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from console_owners import REAL, TABLES, URL
from console_world import emptied
from structlog.testing import capture_logs

from chassis.process.app import App
from console import freshness, jobs, recording, sessions
from console.handlers import SERVICE
from console.settings import Settings
from tests.waiting import until

pytestmark = REAL
FIRST = {"freshness": sessions.CLEAN, "operations": recording.LEASED, "jobs": jobs.CLEAN}
"""Loop -> a statement of its first round."""
LAST = (freshness.LEAVE, recording.RELEASED)
AWAY = ConnectionError("the database is away")


class Faulty(App):
    """A worker whose statements may fail; it has no broker."""

    def __init__(self) -> None:
        super().__init__(SERVICE, Settings(database_url=URL, kafka_bootstrap_servers="127.0.0.1:9"), "worker")
        self.errors: dict[str, Exception] = {}
        self.asked = Counter[str]()

    async def fetch(self, statement: str, *arguments: Any) -> Any:
        self.asked[statement] += 1
        if (error := self.errors.get(statement)) is not None:
            raise error
        return await super().fetch(statement, *arguments)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with emptied(TABLES):
            asgi = self.asgi()
            async with asgi.router.lifespan_context(asgi):
                yield


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set when a process asks itself to end."""
    event = asyncio.Event()
    monkeypatch.setattr(signal, "raise_signal", lambda number: event.set())
    return event


async def test_every_loop_has_a_case() -> None:
    assert FIRST.keys() == SERVICE.loops(Faulty()).keys()


@pytest.mark.parametrize("loop", FIRST)
async def test_a_fault_in_a_loop_ends_the_process_and_is_in_the_log(loop: str, ended: asyncio.Event) -> None:
    app = Faulty()
    app.errors[FIRST[loop]] = ValueError("a fault")
    with capture_logs() as logged:
        async with app.running():
            await until(ended.is_set, "the end of the process")
    fallen = [line for line in logged if line["event"] == "part_fell"]
    assert [(line["part"], line["error"], line["log_level"]) for line in fallen] == [
        (loop, "ValueError('a fault')", "error")
    ]


async def test_a_database_that_is_away_delays_the_loops(ended: asyncio.Event) -> None:
    app = Faulty()
    app.errors = dict.fromkeys(FIRST.values(), AWAY)
    with capture_logs() as logged:
        async with app.running():
            await until(lambda: all(app.asked[one] > 1 for one in FIRST.values()), "each loop tries again")
            app.errors.clear()
            await until(lambda: app.asked[recording.FLOWED] + app.asked[recording.UNASKED] > 0, "the recorder writes")
    assert not ended.is_set()
    assert {line["loop"] for line in logged if line["event"] == "loop_delayed"} == FIRST.keys()


async def test_a_process_ends_without_a_fault_while_its_database_is_away(ended: asyncio.Event) -> None:
    app = Faulty()
    async with app.running():
        await until(lambda: all(app.asked[one] for one in FIRST.values()), "each loop has begun")
        app.errors = dict.fromkeys(LAST, AWAY)
    assert all(app.asked[one] for one in LAST) and not ended.is_set()
