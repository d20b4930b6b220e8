"""Over many orders, no statement of a list, a search, a count or a preview reads more than LOOK_BACK rows of its tables.

Needs `CONSOLE_TEST_DATABASE_URL`. `make bench` measures the same over a million orders.
"""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator
from typing import Any, get_args

import pytest
import pytest_asyncio
from console_world import emptied

from bench.console import STORE, Probe, fill, requests
from chassis.process.app import App
from console import jobs, listing
from console.listing import Asked, Waiting

URL = os.environ.get("CONSOLE_TEST_DATABASE_URL", "")
pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not URL, reason="CONSOLE_TEST_DATABASE_URL is not set"),
]
TABLES = ("order_rows", "stores")
ROWS, LOOK_BACK = 40_000, 2_000
"""A twentieth, so that the planner chooses as for a million rows."""
PAGES = {"list": None, "preview": jobs.JOB_ORDERS_MAX}
"""What is read -> rows of a page."""
COMMON_WORDS = {
    "all_numbers": {"q": "0"},
    "every_buyer": {"q": "buyer"},
    "a_common_and_a_rare_word": {"q": "buyer sku-19999"},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app() -> AsyncIterator[App]:
    async with emptied(TABLES, database_read_seconds_max=30) as app:
        await fill(URL, ROWS)
        yield app
        async with app.database.connection() as connection:
            await connection.execute(f"truncate {', '.join(TABLES)}")


@pytest.fixture
def probe(app: App, monkeypatch: pytest.MonkeyPatch) -> Probe:
    monkeypatch.setattr(listing, "LOOK_BACK", LOOK_BACK)
    monkeypatch.setattr(listing, "COMMON", LOOK_BACK // 2)
    monkeypatch.setattr(listing, "COUNT_MAX", LOOK_BACK // 20)
    return Probe(app, explains=True)


@pytest.mark.parametrize("rows", PAGES.values(), ids=PAGES)
@pytest.mark.parametrize("name", [*requests(random.Random(1)), *COMMON_WORDS])
async def test_a_page_of_rows_and_the_next_one_read_a_bounded_number(probe: Probe, name: str, rows: int | None) -> None:
    query: dict[str, Any] = {**requests(random.Random(1)), **COMMON_WORDS}[name]
    for personal in (True, False) if "q" in query else (True,):
        page = await listing.find(probe.read, STORE, Asked(**query), personal=personal, rows=rows)
        if page.next_cursor is not None:
            again = Asked(**query, cursor=page.next_cursor)
            await listing.find(probe.read, STORE, again, personal=personal, rows=rows)
    assert probe.rows_read_max <= LOOK_BACK


async def test_the_counts_of_tabs_and_groups_read_a_bounded_number(probe: Probe) -> None:
    await listing.count_views(probe.read, STORE)
    await listing.count_waits(probe.read, STORE, get_args(Waiting))
    assert 0 < probe.rows_read_max <= LOOK_BACK


async def test_a_statement_without_a_bound_is_noticed(probe: Probe) -> None:
    await probe.read(listing.Sql(STORE).statement("select count(*) from order_rows where channel = 'none'"))
    assert probe.rows_read_max >= ROWS
