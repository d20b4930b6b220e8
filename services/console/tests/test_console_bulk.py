"""Jobs for many orders: what is frozen, that each order is requested once, who may go on; needs `CONSOLE_TEST_DATABASE_URL`."""

from __future__ import annotations

import asyncio
import os
import re
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from aiohttp import web
from console_world import NOW, Browser, Life, Publisher, emptied

from chassis.process.app import App
from console import jobs
from console.domain.acting import ACTIONS
from console.domain.bulk import BULK, requests_of, still
from console.domain.people import Grant, Person
from console.owners import Owners
from console.working import CHUNK_ORDERS, Worker
from contracts import orders

URL = os.environ.get("CONSOLE_TEST_DATABASE_URL", "")
real = [pytest.mark.asyncio, pytest.mark.skipif(not URL, reason="CONSOLE_TEST_DATABASE_URL is not set")]
TABLES = ("order_rows", "stores", "people", "freshness", "audit", "jobs", "inbox", "parked", "parked_keys")


def test_a_repeated_request_of_an_order_has_the_same_nonce_and_others_have_others() -> None:
    job, order, other = uuid4(), uuid4(), uuid4()
    fields = {"reason": "Stolen card.", "code": "fraud"}
    first, again = (requests_of(job, "cancel", order, fields, ()) for _ in range(2))
    assert first == again and first[0].wanted.path == f"/v1/orders/{order}/cancel"
    assert first[0].wanted.body == {"reason": "Stolen card."}
    nonces = {first[0].nonce, requests_of(job, "cancel", other, fields, ())[0].nonce}
    assert len(nonces | {requests_of(uuid4(), "cancel", order, fields, ())[0].nonce}) == 3


def test_a_release_ends_each_open_hold_of_an_order() -> None:
    order, holds = uuid4(), [str(uuid4()), str(uuid4())]
    found = requests_of(uuid4(), "release", order, {}, holds)
    assert [one.wanted.path for one in found] == [f"/v1/orders/{order}/holds/{hold}/release" for hold in holds]
    assert len({one.nonce for one in found}) == 2
    assert requests_of(uuid4(), "release", order, {}, ()) == []


def test_an_action_that_needs_a_value_of_each_order_is_in_no_job() -> None:
    assert set(ACTIONS) - set(BULK) == {"refund", "force"}


def test_a_job_has_the_roles_of_its_beginning_that_the_person_still_has() -> None:
    ann = Person(uuid4(), "ann", "ann", (Grant("finance", None), Grant("operator", None)))
    assert still(ann, ["viewer", "operator"]).roles == ("operator",)
    assert not still(ann, ["viewer"]).scopes


@dataclass
class Orders:
    """Answers as orders does: a key that is repeated has one effect. It can be silent, and it can do what it does not answer."""

    effects: Counter[str] = field(default_factory=Counter)
    """By path."""
    keys: dict[str, str] = field(default_factory=dict)
    actors: set[str] = field(default_factory=set)
    refuses: set[str] = field(default_factory=set)
    """Ids of orders."""
    moved_on: set[str] = field(default_factory=set)
    """Ids of orders that have another version than the lists."""
    versions: Counter[str | None] = field(default_factory=Counter)
    """By the `If-Match` of requests."""
    silent: bool = False
    gate_after: int = 10**9
    """Requests from this number on are done, and not answered."""
    url: str = ""
    stuck: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def act(self, request: web.Request) -> web.Response:
        if self.silent:
            return web.json_response({"type": "/problems/database_unavailable", "detail": "later"}, status=503)
        key = request.headers["idempotency-key"]
        self.actors.add(request.headers["x-act-as"])
        order_id = request.match_info["order_id"]
        if order_id in self.refuses:
            return web.json_response({"type": "/problems/order_cancelled", "detail": "it is cancelled"}, status=409)
        self.versions[version := request.headers.get("if-match")] += 1
        if version is not None and order_id in self.moved_on:
            return web.json_response({"type": "/problems/version_outdated", "detail": "now 9"}, status=412)
        if key not in self.keys:
            self.keys[key] = request.path
            self.effects[request.path] += 1
        if len(self.keys) > self.gate_after:
            self.stuck.set()
            await self.over.wait()
        return web.json_response({})


@pytest_asyncio.fixture
async def owner() -> AsyncIterator[Orders]:
    owner = Orders()
    server = web.Application()
    server.router.add_post("/v1/orders/{order_id}/{action:.*}", owner.act)
    runner = web.AppRunner(server)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    owner.url = site.name
    yield owner
    owner.over.set()
    await runner.cleanup()


@pytest_asyncio.fixture
async def app(owner: Orders) -> AsyncIterator[App]:
    async with emptied(TABLES, orders_url=owner.url, orders_api_key="tw_1_secret") as app:
        yield app


@pytest_asyncio.fixture
async def browser(app: App) -> Browser:
    return Browser(app)


@pytest_asyncio.fixture
async def owners(app: App) -> AsyncIterator[Owners]:
    owners = Owners(app.settings)  # type: ignore[arg-type]
    async with owners.running():
        yield owners


async def waiting(app: App, number: int, first: int = 0) -> list[UUID]:
    """Makes orders that wait for approval, the first the longest."""
    lives = [Life(number=f"A-{n:04}") for n in range(first, first + number)]
    placed = (
        (life.received(), life.next(orders.Placed, status="placed", payment_status="authorized", placed_at=NOW)) for life in lives
    )  # fmt: skip
    await Publisher(app).publish(*(event for events in placed for event in events))
    return [life.order_id for life in lives]


async def begun(browser: Browser, action: str = "approve", filters: str = "view=approval", **fields: str) -> UUID:
    page = await browser.get(f"/jobs/new?{filters}&action={action}")
    assert page.status == 200, page.text
    [(job_id)] = re.findall(r'action="/jobs/([0-9a-f-]{36})/start"', page.text)
    answer = await browser.post(f"/jobs/{job_id}/start", {"action": action, "nonce": str(uuid4()), **fields})
    assert (answer.status, answer.location) == (303, f"/jobs/{job_id}")
    return UUID(job_id)


async def work(worker: Worker) -> None:
    while await worker.step() == "worked":
        pass


async def job_of(app: App, job_id: UUID) -> jobs.Job:
    job = await jobs.one(app, job_id)
    assert job is not None
    return job


class TestOnARealPostgres:
    pytestmark = real

    async def test_a_job_does_exactly_the_orders_of_its_preview_for_the_person(
        self, app: App, owner: Orders, owners: Owners, browser: Browser
    ) -> None:
        await browser.sign_in("operator", name="ann")
        ids = await waiting(app, 3)
        page = await browser.get("/jobs/new?view=approval&action=approve")
        assert "3 orders at once" in page.text and "A-0002" in page.text
        [job_id] = re.findall(r'action="/jobs/([0-9a-f-]{36})/start"', page.text)
        later = await waiting(app, 2, first=3)
        sent = {"action": "approve", "nonce": str(uuid4())}
        assert (await browser.post(f"/jobs/{job_id}/start", sent)).status == 303
        assert (await browser.post(f"/jobs/{job_id}/start", sent)).status == 303, "started twice, it is started once"
        await work(Worker(app, owners))
        assert owner.effects == {f"/v1/orders/{one}/approve": 1 for one in ids} and later
        assert owner.actors == {"ann"}
        shown = await browser.get(f"/jobs/{job_id}")
        assert "3 of 3" in shown.text and "done" in shown.text
        assert "Approve" in (await browser.get("/jobs")).text
        [row] = await app.fetch("select subject_kind, subject_id, action, person, outcome from audit")
        assert tuple(row) == ("job", job_id, "start_approve", "ann", "done")

    async def test_a_refusal_is_the_result_of_its_order_and_the_others_go_on(
        self, app: App, owner: Orders, owners: Owners, browser: Browser
    ) -> None:
        await browser.sign_in("operator")
        ids = await waiting(app, 3)
        owner.refuses = {str(ids[1])}
        job_id = await begun(browser, "cancel", reason="Sold out.")
        await work(Worker(app, owners))
        job = await job_of(app, job_id)
        assert (job.state, job.done, job.refused, job.reason) == ("done", 2, 1, "Sold out.")
        page = (await browser.get(f"/jobs/{job_id}?show=refused")).text
        assert "order_cancelled" in page and "A-0001" in page and "A-0002" not in page

    async def test_a_wait_is_given_up_as_the_preview_had_it_and_an_order_that_has_moved_on_is_left(
        self, app: App, owner: Orders, owners: Owners, browser: Browser
    ) -> None:
        await browser.sign_in("operator")
        ids = await waiting(app, 3)
        page = await browser.get("/jobs/new?view=approval&action=give_up")
        [job_id] = re.findall(r'action="/jobs/([0-9a-f-]{36})/start"', page.text)
        # Moves on after the preview, before the job has begun: the lists have a newer version by then.
        await app.fetch("update order_rows set versions = versions || '{\"orders\": 9}' where order_id = $1", ids[1])
        owner.moved_on = {str(ids[1])}
        fields = {"action": "give_up", "nonce": str(uuid4()), "reason": "The gateway is gone."}
        assert (await browser.post(f"/jobs/{job_id}/start", fields)).status == 303
        await work(Worker(app, owners))
        assert owner.versions == {'"2"': 3}, "the version of the preview, of each"
        assert owner.effects == {f"/v1/orders/{one}/give_up": 1 for one in (ids[0], ids[2])}
        job = await job_of(app, UUID(job_id))
        assert (job.state, job.done, job.refused) == ("done", 2, 1)
        page = await browser.get(f"/jobs/{job_id}?show=refused")
        assert "A-0001" in page.text and "version_outdated" in page.text and "nothing was done" in page.text

    async def test_an_action_that_is_about_no_wait_is_done_at_any_version(
        self, app: App, owner: Orders, owners: Owners, browser: Browser
    ) -> None:
        await browser.sign_in("operator")
        owner.moved_on = {str(one) for one in await waiting(app, 2)}
        job_id = await begun(browser)
        await work(Worker(app, owners))
        assert (await job_of(app, job_id)).done == 2 and owner.versions == {None: 2}

    async def test_each_order_is_done_once_when_a_worker_dies_in_the_middle(
        self, app: App, owner: Orders, owners: Owners, browser: Browser
    ) -> None:
        await browser.sign_in("operator")
        ids = await waiting(app, 40)
        job_id = await begun(browser)
        owner.gate_after = 20  # from then on orders does it, and the answer is lost
        dies = asyncio.create_task(work(Worker(app, owners, "first")))
        await owner.stuck.wait()
        assert await Worker(app, owners, "second").step() == "nothing", "the first holds the lease"
        dies.cancel()
        await asyncio.gather(dies, return_exceptions=True)
        assert (await job_of(app, job_id)).done == 0, "no result of the chunk was noted"
        await app.fetch("update jobs set leased_until = now() - interval '1 second'")
        owner.gate_after = 10**9
        await work(Worker(app, owners, "second"))
        assert owner.effects == {f"/v1/orders/{one}/approve": 1 for one in ids}
        assert (await job_of(app, job_id)).done == 40

    async def test_an_order_that_has_no_answer_stays_in_the_job_which_states_why(
        self, app: App, owner: Orders, owners: Owners, browser: Browser
    ) -> None:
        await browser.sign_in("operator")
        await waiting(app, 2)
        job_id = await begun(browser)
        owner.silent = True
        worker = Worker(app, owners)
        assert await worker.step() == "silence"
        job = await job_of(app, job_id)
        assert (job.state, job.left, job.why) == ("running", 2, "later")
        assert "later" in (await browser.get(f"/jobs/{job_id}")).text
        owner.silent = False
        await work(worker)
        job = await job_of(app, job_id)
        assert (job.state, job.done, job.why) == ("done", 2, "")

    async def test_a_job_is_paused_resumed_and_cancelled_between_two_chunks(
        self, app: App, owner: Orders, owners: Owners, browser: Browser
    ) -> None:
        await browser.sign_in("operator")
        await waiting(app, CHUNK_ORDERS + 5)
        job_id, worker = await begun(browser), Worker(app, owners)
        assert await worker.step() == "worked"
        assert (await browser.post(f"/jobs/{job_id}/pause", {})).status == 303
        assert await worker.step() == "nothing"
        assert (await browser.post(f"/jobs/{job_id}/resume", {})).status == 303
        assert (await browser.post(f"/jobs/{job_id}/cancel", {})).status == 303
        assert await worker.step() == "nothing"
        job = await job_of(app, job_id)
        assert (job.state, job.done, job.left) == ("cancelled", CHUNK_ORDERS, 5)
        assert (await browser.post(f"/jobs/{job_id}/resume", {})).status == 409
        assert sum(owner.effects.values()) == CHUNK_ORDERS

    async def test_a_short_job_does_not_wait_for_the_end_of_a_long_one(
        self, app: App, owners: Owners, browser: Browser
    ) -> None:
        await browser.sign_in("operator")
        await waiting(app, 2 * CHUNK_ORDERS + 5)
        long = await begun(browser)
        short = await begun(browser, filters="q=A-0001")
        worker = Worker(app, owners)
        for done in ((CHUNK_ORDERS, 0), (CHUNK_ORDERS, 1), (2 * CHUNK_ORDERS, 1)):
            await worker.step()
            assert ((await job_of(app, long)).done, (await job_of(app, short)).done) == done

    async def test_a_job_stops_when_the_person_may_no_longer_do_it(
        self, app: App, owner: Orders, owners: Owners, browser: Browser
    ) -> None:
        await browser.sign_in("operator", name="ann")
        await waiting(app, 2)
        job_id, worker = await begun(browser), Worker(app, owners)
        await Browser(app).sign_in("viewer", name="ann")
        await worker.step()
        job = await job_of(app, job_id)
        assert job.state == "stopped" and "orders.edit" in job.why and not owner.effects
        await Browser(app).sign_in("administrator", name="ann")
        await browser.post(f"/jobs/{job_id}/resume", {})
        await worker.step()
        assert (await job_of(app, job_id)).state == "stopped", "a role that was given later is none of the job's"
        await Browser(app).sign_in("operator", name="ann")
        await browser.post(f"/jobs/{job_id}/resume", {})
        await work(worker)
        assert (await job_of(app, job_id)).state == "done"

    async def test_a_job_stops_when_no_session_of_the_person_is_left(
        self, app: App, owner: Orders, owners: Owners, browser: Browser
    ) -> None:
        await browser.sign_in("operator", name="ann")
        await waiting(app, 2)
        job_id = await begun(browser)
        await browser.post("/sign-out", {})
        await work(Worker(app, owners))
        job = await job_of(app, job_id)
        assert job.state == "stopped" and "signed out" in job.why and not owner.effects

    async def test_a_job_belongs_to_its_store_and_acts_for_the_person_who_began_it(
        self, app: App, browser: Browser, owners: Owners
    ) -> None:
        await browser.sign_in("operator", name="ann")
        await waiting(app, 1)
        job_id = await begun(browser)
        await browser.post(f"/jobs/{job_id}/pause", {})
        other, foreign, viewer = Browser(app), Browser(app), Browser(app)
        await other.sign_in("operator", name="bob")
        assert (await other.post(f"/jobs/{job_id}/resume", {})).status == 403
        await foreign.sign_in("administrator", stores=["st_2"], name="eve")
        assert (await foreign.get(f"/jobs/{job_id}")).status == 404
        assert (await foreign.post(f"/jobs/{job_id}/cancel", {})).status == 404
        await viewer.sign_in("viewer", name="vic")
        assert (await viewer.get(f"/jobs/{job_id}")).status == 200
        assert (await viewer.get("/jobs/new")).status == 403
        assert (await viewer.post(f"/jobs/{job_id}/cancel", {})).status == 403
        assert (await browser.get(f"/jobs/{uuid4()}")).status == 404

    async def test_a_form_that_lacks_a_reason_is_shown_again_and_starts_nothing(
        self, app: App, browser: Browser
    ) -> None:
        await browser.sign_in("operator")
        await waiting(app, 1)
        page = await browser.get("/jobs/new?view=approval&action=cancel")
        [job_id] = re.findall(r'action="/jobs/([0-9a-f-]{36})/start"', page.text)
        answer = await browser.post(f"/jobs/{job_id}/start", {"action": "cancel", "nonce": str(uuid4())})
        assert answer.status == 422 and "give a reason" in answer.text
        assert (await job_of(app, UUID(job_id))).state == "preview"
        assert (await browser.post(f"/jobs/{job_id}/start", {"action": "explode"})).status == 404

    async def test_old_previews_are_deleted_and_jobs_are_not(self, app: App, browser: Browser) -> None:
        await browser.sign_in("operator")
        await waiting(app, 1)
        await browser.get("/jobs/new?view=approval")
        job_id = await begun(browser)
        await app.fetch("update jobs set created_at = created_at - interval '2 hours'")
        await jobs.clean(app)
        assert [row["id"] for row in await app.fetch("select id from jobs")] == [job_id]
