"""Over many orders, jobs and actions, no statement of a list, a search, a count, a preview or a stream reads more than LOOK_BACK rows
of its tables.

Needs `CONSOLE_TEST_DATABASE_URL`. `make bench` measures the same over a million orders.
"""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator
from typing import Any, get_args
from uuid import UUID

import pytest
import pytest_asyncio
from console_world import emptied

from bench.console import STORE, Probe, fill, requests, rows_read
from chassis.process.app import App
from console import audit, jobs, listing, parked_orders, trail
from console.listing import Asked, Waiting
from console.live import rows as live_rows
from console.trail import Filters

URL = os.environ.get("CONSOLE_TEST_DATABASE_URL", "")
pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not URL, reason="CONSOLE_TEST_DATABASE_URL is not set"),
]
TABLES = ("order_rows", "stores", "jobs", "job_items", "audit")
ROWS, LOOK_BACK = 40_000, 2_000
"""A twentieth, so that the planner chooses as for a million rows."""
PAGES = {"list": None, "preview": jobs.JOB_ORDERS_MAX}
"""What is read -> rows of a page."""
COMMON_WORDS = {
    "all_numbers": {"q": "0"},
    "every_buyer": {"q": "buyer"},
    "a_common_and_a_rare_word": {"q": "buyer sku-19999"},
}


JOB = UUID(int=7)
OTHER_ROWS = (
    f"""insert into jobs (id, store_id, person_id, person, roles, filters, state, action, order_ids, whole, created_at, started_at)
    select gen_random_uuid(), case when n % 100 = 0 then 'rare' else '{STORE}' end, gen_random_uuid(), 'ann', '{{}}', '',
      case when n % 2 = 0 then 'done' else 'preview' end, 'approve', '{{}}', true, now() - make_interval(mins => n), now()
    from generate_series(1, {ROWS}) as n""",
    f"""insert into jobs (id, store_id, person_id, person, roles, filters, state, action, order_ids, whole, created_at, size)
    values ('{JOB}', '{STORE}', '{JOB}', 'ann', '{{}}', '', 'done', 'approve', '{{}}', true, now() - interval '1 year', {ROWS})""",
    f"""insert into job_items (job_id, position, order_id, state, code, detail)
    select '{JOB}', row_number() over (), order_id, 'done', '', '' from order_rows""",
    f"""insert into audit (nonce, at, person_id, person, store_id, subject_kind, subject_id, order_id, action, reason, outcome, version)
    select gen_random_uuid(), now() - make_interval(mins => n::int), '{JOB}', case when n = {ROWS} then 'rare' else 'ann' end,
      case when n = {ROWS} then 'rare' else '{STORE}' end, 'order', order_id::text, order_id, 'approve', '', 'done', 1
    from (select order_id, row_number() over () as n from order_rows) as o""",
    "analyze jobs, job_items, audit",
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app() -> AsyncIterator[App]:
    async with emptied(TABLES, database_read_seconds_max=30) as app:
        await fill(URL, ROWS)
        for statement in OTHER_ROWS:
            await app.fetch(statement)
        yield app
        async with app.database.connection() as connection:
            await connection.execute(f"truncate {', '.join(TABLES)}")


@pytest.fixture
def probe(app: App, monkeypatch: pytest.MonkeyPatch) -> Probe:
    monkeypatch.setattr(listing, "LOOK_BACK", LOOK_BACK)
    monkeypatch.setattr(listing, "COMMON", LOOK_BACK // 2)
    monkeypatch.setattr(listing, "COUNT_MAX", LOOK_BACK // 20)
    monkeypatch.setattr(trail, "LOOK_BACK", LOOK_BACK)
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


async def test_a_list_of_jobs_and_one_of_their_results_read_a_bounded_number(probe: Probe) -> None:
    app: Any = probe
    for stores in (None, [STORE], ["rare"], [STORE, "rare", *(f"st_{n}" for n in range(20))]):
        page = await jobs.newest(app, stores, None)
        assert len(page["items"]) == jobs.PAGE_ROWS and page["next_cursor"]
        await jobs.newest(app, stores, page["next_cursor"])
    job = await jobs.one(app, JOB)
    assert job is not None
    for states in (jobs.STATES, ("done",), ("refused",)):
        page = await jobs.results(app, job, states, None)
        if page["next_cursor"]:
            await jobs.results(app, job, states, page["next_cursor"])
    assert 0 < probe.rows_read_max <= LOOK_BACK


@pytest.mark.parametrize("stores", [None, [STORE], ["rare"]])
@pytest.mark.parametrize("wanted", [{}, {"person": "rare"}, {"action": "approve"}, {"outcome": "silent"}])
async def test_the_audit_looks_at_a_bounded_number_and_states_how_far_it_has_looked(
    probe: Probe, stores: list[str] | None, wanted: dict[str, str]
) -> None:
    app: Any = probe
    filters = Filters(**{**dict.fromkeys(Filters._fields), **wanted})
    found, cursor, pages = [], None, 0
    while pages == 0 or (cursor is not None and pages <= ROWS // LOOK_BACK and not found):
        page = await trail.page(app, stores, filters, cursor)
        found, cursor, pages = [*found, *page.rows], page.next_cursor, pages + 1
    rare = stores == ["rare"] or wanted.get("person") == "rare"
    if wanted.get("outcome") == "silent" or (stores == [STORE] and wanted.get("person") == "rare"):
        assert not found and cursor is None
    elif rare:
        assert [row["person"] for row in found] == ["rare"] and pages == ROWS // LOOK_BACK
    else:
        assert len(found) == trail.ROWS
    assert 0 < probe.rows_read_max <= LOOK_BACK + 2 * trail.ROWS, (
        "the number of each order that is shown is a read, too"
    )


async def test_the_audit_of_an_order_is_found_by_its_index(probe: Probe) -> None:
    app: Any = probe
    [row] = await probe.read(listing.Sql(STORE).statement("select order_id from order_rows limit 1"))
    filters = Filters(**{**dict.fromkeys(Filters._fields), "orders": [row["order_id"]]})
    assert len((await trail.page(app, None, filters, None)).rows) == 1
    assert probe.rows_read_max <= 10


async def test_what_a_stream_reads_every_250_ms_is_bounded(
    app: App, probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, now = "1:2:", await live_rows.position(app)
    for position, expected in ((begin, live_rows.READ_MAX + 1), (now, 0)):
        assert await read_by(app, live_rows.CHANGED, position, [STORE], []) <= expected
    keys = [row["order_id"] for row in await app.fetch("select order_id from order_rows limit 50")]
    assert 0 < await read_by(app, live_rows.STORES, keys) <= 50
    assert await read_by(app, audit.AWAITED, keys) <= 100
    assert await read_by(app, parked_orders.MARKED) <= LOOK_BACK


async def read_by(app: App, statement: str, *arguments: Any) -> int:
    """Returns how many rows of its tables a statement has read."""
    [row] = await app.fetch(f"explain (analyze, format json) {statement}", *arguments)
    return rows_read(row[0][0]["Plan"])


async def test_a_statement_without_a_bound_is_noticed(probe: Probe) -> None:
    await probe.read(listing.Sql(STORE).statement("select count(*) from order_rows where channel = 'none'"))
    assert probe.rows_read_max >= ROWS
