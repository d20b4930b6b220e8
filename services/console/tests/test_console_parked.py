"""Pages of parked messages: what each service has, replay, edit and discard; needs `CONSOLE_TEST_DATABASE_URL`."""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncIterator
from copy import copy
from dataclasses import replace
from html import unescape
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from console_world import NOW, Browser, Life, Publisher, emptied
from parked_world import LINE, ParkedMessages

from chassis.process.app import App
from console import itself
from console.domain.parked import CAUSES, offered, request_of
from console.group_jobs import CHUNK_MESSAGES
from console.owners import Owners
from console.working import Worker
from contracts import orders
from tests.forms import fields_of

URL = os.environ.get("CONSOLE_TEST_DATABASE_URL", "")
real = [pytest.mark.asyncio, pytest.mark.skipif(not URL, reason="CONSOLE_TEST_DATABASE_URL is not set")]
TABLES = ("order_rows", "stores", "people", "freshness", "audit", "jobs", "inbox", "parked", "parked_keys")
GROUP = f"/parked/payments/group?cause=fault&line={LINE}"
REPLAY = "/parked/payments/group/replay"


@pytest_asyncio.fixture
async def payments() -> AsyncIterator[ParkedMessages]:
    service = ParkedMessages("payments")
    async with service.running():
        yield service


@pytest_asyncio.fixture
async def fulfillment() -> AsyncIterator[ParkedMessages]:
    service = ParkedMessages("fulfillment")
    async with service.running():
        yield service


@pytest_asyncio.fixture
async def app(payments: ParkedMessages, fulfillment: ParkedMessages) -> AsyncIterator[App]:
    addresses = {f"{one.name}_url": one.url for one in (payments, fulfillment)}
    keys = {f"{one.name}_api_key": "tw_1_secret" for one in (payments, fulfillment)}
    async with emptied(TABLES, **addresses, **keys) as app:
        yield app


@pytest_asyncio.fixture
async def browser(app: App) -> AsyncIterator[Browser]:
    browser = Browser(app)
    async with browser.asgi.router.lifespan_context(browser.asgi):
        yield browser


@pytest_asyncio.fixture
async def owners(app: App) -> AsyncIterator[Owners]:
    owners = Owners(app.settings, itself.parked_messages(app))  # type: ignore[arg-type]
    async with owners.running():
        yield owners


@pytest.fixture
def worker(app: App, owners: Owners) -> Worker:
    return Worker(app, owners)


class Killed(BaseException):
    pass


async def killed(*_: object) -> None:
    raise Killed


def another(browser: Browser) -> Browser:
    """Returns the browser of another person, of the same process."""
    found = copy(browser)
    found.cookies = {}
    return found


async def begun(browser: Browser) -> str:
    """Begins the replay of the group of payments; returns the page of the job."""
    page = await browser.get(GROUP)
    answer = await browser.post(REPLAY, fields_of(page.text, REPLAY))
    assert answer.status == 303, answer.text
    return answer.location


async def work(worker: Worker) -> None:
    while await worker.step() == "worked":
        pass


async def audit_of(app: App) -> list[tuple[str, ...]]:
    rows = await app.fetch("select person, subject_kind, subject_id, action, reason, outcome from audit order by at")
    return [tuple(row) for row in rows]


class TestOnARealPostgres:
    pytestmark = real

    async def test_the_groups_of_all_services_are_listed_and_a_silent_service_leaves_a_panel(
        self, browser: Browser, payments: ParkedMessages, fulfillment: ParkedMessages
    ) -> None:
        for _ in range(3):
            payments.park()
        example = fulfillment.park(cause="bad_body", raised_at=None, detail="<b>lines</b>: missing")
        await browser.sign_in("operator")
        text = (await browser.get("/parked")).text
        assert re.findall(r'<strong>(\d+)</strong> <span class="muted">of (\d+) keys?', text) == [
            ("3", "3"),
            ("1", "1"),
        ]
        assert LINE in text and f'href="/parked/fulfillment/{example}"' in text and "<b>lines" not in text
        assert "orders is silent: its address is not set" in text
        payments.away = True
        text = (await browser.get("/parked")).text
        assert "payments is silent: it answered 503" in text and "fulfillment/group?cause=bad_body" in text
        assert "payments/group" not in text

    async def test_groups_are_filtered_and_settled_messages_are_listed_by_state_and_order(
        self, app: App, browser: Browser, payments: ParkedMessages, fulfillment: ParkedMessages
    ) -> None:
        life = Life(number="A-77")
        await Publisher(app).publish(life.received())
        mine, other = payments.park(key=life.order_id), payments.park()
        fulfillment.park(key=life.order_id, cause="bad_json", raised_at=None)
        await browser.sign_in("viewer")

        async def listed(**query: Any) -> set[str]:
            text = (await browser.get("/parked", **query)).text
            return set(re.findall(r'href="(/parked/\w+/(?:\d+|group))', text))

        assert await listed(cause="bad_json") == {"/parked/fulfillment/1", "/parked/fulfillment/group"}
        assert await listed(line="ledger:71") == {f"/parked/payments/{other}", "/parked/payments/group"}
        assert await listed(service="fulfillment", line="ledger") == set()
        assert await listed(order="a-77") == {f"/parked/payments/{mine}", "/parked/fulfillment/1"}
        assert await listed(order=str(life.order_id), service="payments") == {f"/parked/payments/{mine}"}
        assert await listed(order="A-7") == set()
        payments.settle(mine, "discarded", "person:ben")
        assert await listed(state="discarded") == {f"/parked/payments/{mine}"}
        assert "person:ben" in (await browser.get("/parked", state="discarded")).text
        assert (await browser.get("/parked", state="gone")).status == 400
        assert ">Replay<" not in (await browser.get("/parked")).text, "a viewer has no such scope"

    async def test_a_group_is_replayed_with_three_clicks_as_it_was_when_its_preview_was_made(
        self, app: App, browser: Browser, payments: ParkedMessages, worker: Worker
    ) -> None:
        """Task 7: Parked, Replay, Replay 45 messages."""
        ids = [payments.park() for _ in range(44)] + [payments.park({"works": False})]
        await browser.sign_in("operator", name="ann")
        await browser.get("/parked")
        preview = await browser.get(f"/parked/payments/group?cause=fault&line={LINE}")
        assert "45 messages wait" in preview.text and "Replay 45 messages" in preview.text
        late = payments.park()
        fields = fields_of(preview.text, REPLAY) | {"reason": "the fix is out"}
        begun = await browser.post(REPLAY, fields)
        assert begun.status == 303 and begun.location.startswith("/jobs/")
        assert (await browser.post(REPLAY, fields)).location == begun.location, "sent twice, it is one job"
        assert "are being listed" in (await browser.get(begun.location)).text
        await work(worker)
        page = (await browser.get(begun.location)).text
        assert "45 of 45" in page and "replay_stopped" in page and "the fix is out" in page
        assert f'href="/parked/payments/{ids[-1]}"' in page and f'href="/parked/payments/{late}"' not in page
        assert {row["id"] for row in payments.rows.values() if row["state"] == "waiting"} == {ids[-1], late}
        sent = [body["ids"] for path, _, body in payments.requests if path == "POST /v1/parked-replays"]
        assert sent == [ids[:20], ids[20:40], ids[40:]], "the oldest first"
        assert [(job["size"], job["done"], job["refused"]) for job in await app.fetch("select * from jobs")] == [
            (45, 44, 1)
        ]
        assert await audit_of(app) == [
            ("ann", "parked", f"payments/fault/{LINE}", "replay_group", "the fix is out", "done")
        ]
        refused = (await browser.get(f"{begun.location}?show=refused")).text
        assert f'href="/parked/payments/{ids[-1]}"' in refused and f'href="/parked/payments/{ids[0]}"' not in refused
        assert "parked in payments" in (await browser.get("/jobs")).text

    async def test_a_group_longer_than_a_job_is_replayed_from_the_newest_on_and_its_page_leads_to_the_rest(
        self, browser: Browser, payments: ParkedMessages, worker: Worker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("console.group_jobs.PAGE_ROWS", 10)
        monkeypatch.setattr("console.group_jobs.JOB_MESSAGES_MAX", 25)
        ids = [payments.park() for _ in range(32)]
        await browser.sign_in("operator", name="ann")
        here = await begun(browser)
        payments.park()  # later than the preview: in no count
        await work(worker)
        page = (await browser.get(here)).text
        assert "25 of 25" in page and "Older messages of the group are not in this job" in page
        sent = [one for path, _, body in payments.requests if path == "POST /v1/parked-replays" for one in body["ids"]]
        assert sent == ids[7:], "the newest, and of these the oldest first"
        [rest] = re.findall(r'href="([^"]+)">Go on with the rest', page)
        preview = (await browser.get(unescape(rest))).text
        assert "Replay 8 messages" in preview
        begun_again = await browser.post(REPLAY, fields_of(preview, REPLAY))
        await work(worker)
        assert {row["state"] for row in payments.rows.values()} == {"replayed"}
        assert "Go on with the rest" not in (await browser.get(begun_again.location)).text

    async def test_a_replay_goes_on_when_its_service_answers_again_and_a_person_stops_it(
        self, app: App, browser: Browser, payments: ParkedMessages, worker: Worker
    ) -> None:
        for _ in range(CHUNK_MESSAGES + 5):
            payments.park()
        await browser.sign_in("operator", name="ann")
        here = await begun(browser)
        payments.away = True
        assert await worker.step() == "silence"
        assert "payments: it answered 503" in (await browser.get(here)).text
        payments.away = False
        assert await worker.step() == "worked", "its messages are listed"
        payments.changes_nothing = True
        assert await worker.step() == "silence"
        payments.changes_nothing = False
        assert await worker.step() == "worked"
        assert f"{CHUNK_MESSAGES} of {CHUNK_MESSAGES + 5}" in (await browser.get(here)).text
        for move, did in (("pause", "nothing"), ("resume", "worked")):
            assert (await browser.post(f"{here}/{move}", {})).status == 303
            assert await worker.step() == did
        await work(worker)
        assert {row["state"] for row in payments.rows.values()} == {"replayed"}
        for _ in range(3):
            payments.park()
        here = await begun(browser)
        await worker.step()
        assert (await browser.post(f"{here}/cancel", {})).status == 303
        assert await worker.step() == "nothing"
        assert sum(row["state"] == "waiting" for row in payments.rows.values()) == 3
        assert (await browser.post(REPLAY, {"id_max": "many"})).status == 400
        payments.rows.clear()
        gone = await browser.get(GROUP)
        assert gone.status == 200 and "Nothing of this group waits" in gone.text

    async def test_a_replay_goes_on_where_it_was_when_its_process_has_died(
        self, app: App, browser: Browser, payments: ParkedMessages, owners: Owners, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It dies while the group is listed, and when messages were replayed and their results are not noted."""
        monkeypatch.setattr("console.group_jobs.PAGE_ROWS", 10)
        ids = [payments.park() for _ in range(25)]
        await browser.sign_in("operator", name="ann")
        here = await begun(browser)
        first = Worker(app, owners, "first")
        assert await first.step() == "worked"
        await app.fetch("update jobs set leased_until = now() - interval '1 second'")
        second = Worker(app, owners, "second")
        for _ in range(2):
            assert await second.step() == "worked"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(second, "_note", killed)
            with pytest.raises(Killed):
                await second.step()
        assert {row["state"] for row in payments.rows.values()} == {"replayed"}
        await app.fetch("update jobs set leased_until = now() - interval '1 second'")
        await work(Worker(app, owners, "third"))
        assert {row["version"] for row in payments.rows.values()} == {2}, "each was replayed once"
        rows = await app.fetch("select parked_id, state from job_items order by position")
        assert [tuple(row) for row in rows] == [(one, "done") for one in ids]
        keys = [sent["idempotency-key"] for path, sent, _ in payments.requests if path == "POST /v1/parked-replays"]
        assert len(keys) == 4 and len(set(keys)) == 2, "the same request has the same key"
        assert "25 of 25" in (await browser.get(here)).text

    async def test_a_replay_of_all_stores_is_seen_by_who_sees_all(
        self, app: App, browser: Browser, payments: ParkedMessages, worker: Worker
    ) -> None:
        payments.park(), payments.park(store_id="st_2"), payments.park(store_id=None, key=None)
        await browser.sign_in("operator", name="ann")
        here = await begun(browser)
        await work(worker)
        assert "3 of 3" in (await browser.get(here)).text and here in (await browser.get("/jobs")).text
        other = another(browser)
        await other.sign_in("administrator", stores=["st_1"], name="eve")
        assert (await other.get(here)).status == 404 and here not in (await other.get("/jobs")).text
        payments.park(), payments.park(store_id="st_2")
        theirs = await begun(other)
        await work(worker)
        assert "1 of 1" in (await other.get(theirs)).text and theirs in (await other.get("/jobs")).text
        assert [row["store_id"] for row in payments.rows.values() if row["state"] == "waiting"] == ["st_2"]

    async def test_the_console_lists_and_replays_what_it_has_parked_itself(
        self, app: App, browser: Browser, worker: Worker
    ) -> None:
        life, publisher = Life(number="A-9"), Publisher(app)
        await publisher.take(replace(publisher.record(life.received()), value=b"{}"))
        await browser.sign_in("operator", name="ann")
        text = (await browser.get("/parked")).text
        assert "/parked/console/group?cause=bad_body" in text and "console is silent" not in text
        [address] = re.findall(r'href="(/parked/console/\d+)"', text)
        page = await browser.get(address)
        assert "orders.received" in page.text and page.status == 200
        preview = await browser.get("/parked/console/group?cause=bad_body")
        fields = fields_of(preview.text, "/parked/console/group/replay")
        here = (await browser.post("/parked/console/group/replay", fields)).location
        await work(worker)
        assert "replay_stopped" in (await browser.get(here)).text, "its body is still no order"
        fields = fields_of(page.text, f"{address}/discard") | {"reason": "a test"}
        fields["version"] = str((await app.fetch("select version from parked"))[0]["version"])
        assert (await browser.post(f"{address}/discard", fields)).status == 303
        [row] = await app.fetch("select state, settled_by, reason from parked")
        assert tuple(row) == ("discarded", "person:ann", "a test")
        foreign = another(browser)
        await foreign.sign_in("operator", stores=["st_2"], name="eve")
        assert (await foreign.get(address)).status == 404

    async def test_a_message_is_shown_with_its_headers_stack_and_what_waits_behind_it(
        self, app: App, browser: Browser, payments: ParkedMessages
    ) -> None:
        life = Life(number="A-5")
        await Publisher(app).publish(life.received())
        first = payments.park({"a": 1, "text": "<script>alert(1)</script>"}, key=life.order_id, behind=1)
        second = payments.park(key=life.order_id, cause="waits")
        await browser.sign_in("viewer")
        text = (await browser.get(f"/parked/payments/{first}")).text
        for shown in (
            "payments.capture",
            "ce_type",
            f"{LINE} capture",
            f"/parked/payments/{second}",
            f'/orders/{life.order_id}">A-5<',
            CAUSES["fault"].do,
        ):
            assert shown in text, shown
        assert "&lt;script&gt;" in text and "<script>" not in text
        assert "/replay" not in text and "/discard" not in text, "a viewer changes nothing"
        assert f"/parked/payments/{first}" in (await browser.get(f"/parked/payments/{second}")).text
        assert (await browser.get("/parked/payments/999")).status == 404
        payments.away = True
        assert (await browser.get(f"/parked/payments/{first}")).status == 503

    async def test_personal_values_are_masked_until_they_are_revealed_which_the_audit_states(
        self, app: App, browser: Browser, payments: ParkedMessages
    ) -> None:
        parked_id = payments.park({"name": "Ann"})
        here = f"/parked/payments/{parked_id}"
        await browser.sign_in("operator", name="ann")
        page = await browser.get(here)
        assert "***" in page.text and "Ann" not in page.text
        page = await browser.post(f"{here}/reveal", {})
        assert page.status == 200 and "Ann" in page.text
        assert await audit_of(app) == [("ann", "parked", f"payments/{parked_id}", "reveal", "", "done")]
        await browser.sign_in("viewer", name="ben")
        assert "/reveal" not in (await browser.get(here)).text
        assert (await browser.post(f"{here}/reveal", {})).status == 403
        edit = {"value": "{}", "version": "1"}
        assert (await browser.post(f"{here}/preview", edit)).status == 403
        assert (await browser.post(f"{here}/edit", edit)).status == 403
        assert all(
            "personal.view" not in sent["x-act-as-scopes"]
            for _, sent, _ in payments.requests
            if sent["x-act-as"] == "ben"
        )

    async def test_a_message_is_edited_with_a_preview_of_the_lines_that_change(
        self, app: App, browser: Browser, payments: ParkedMessages
    ) -> None:
        """Task 8: Reveal and edit, text, Preview the edit, Store and replay."""
        parked_id = payments.park({"amount_minor": 5, "works": False, "note": "a"})
        here = f"/parked/payments/{parked_id}"
        await browser.sign_in("operator", name="ann")
        await browser.get(here)
        page = await browser.post(f"{here}/reveal", {})
        fields = fields_of(page.text, f"{here}/preview")
        assert json.loads(fields["value"]) == {"amount_minor": 5, "works": False, "note": "a"}
        fields["value"] = fields["value"].replace("false", "true").replace("\n", "\r\n")
        preview = await browser.post(f"{here}/preview", fields)
        assert preview.status == 200 and payments.rows[parked_id]["state"] == "waiting"
        changed = re.findall(r'<tr class="(added|removed)">.*?<code>(.*?)</code>', preview.text)
        assert [(kind, unescape(line)) for kind, line in changed] == [
            ("removed", '  "works": false,'),
            ("added", '  "works": true,'),
        ]
        confirm = fields_of(preview.text, f"{here}/edit") | {"reason": "the sender's fault"}
        for _ in range(2):
            answer = await browser.post(f"{here}/edit", confirm)
            assert (answer.status, answer.location) == (303, f"{here}?done=edit"), "sent twice, it is done once"
        assert json.loads(payments.rows[parked_id]["value"])["works"] is True
        [sent] = [
            headers for path, headers, body in payments.requests if path.endswith("/edit") and not body.get("dry_run")
        ]
        assert (sent["if-match"], sent["x-act-as"], sent["x-store-id"]) == ('"1"', "ann", "st_1")
        page = await browser.get(answer.location)
        assert "Edit: done." in page.text and "Replayed by person:ann" in page.text
        assert ("ann", "parked", f"payments/{parked_id}", "edit", "the sender's fault", "done") in await audit_of(app)

    @pytest.mark.parametrize(("value", "why"), [
        ('{"a": 1,\n "b" 2}', "line 2, column 6"), ('{"fits": false}', "value /amount_minor: Input should be a valid integer"),
    ])  # fmt: skip
    async def test_an_edit_that_is_not_json_or_not_of_its_schema_is_refused_with_the_place_and_the_text_stays(
        self, app: App, browser: Browser, payments: ParkedMessages, value: str, why: str
    ) -> None:
        parked_id = payments.park({"a": 1})
        await browser.sign_in("operator")
        here = f"/parked/payments/{parked_id}"
        page = await browser.post(f"{here}/preview", {"value": value, "version": "1", "nonce": str(uuid4())})
        assert page.status == 422 and why in unescape(page.text) and "nothing was stored" in page.text
        assert fields_of(page.text, f"{here}/preview")["value"] == value
        assert payments.rows[parked_id]["version"] == 1 and await audit_of(app) == []

    async def test_an_edit_of_what_another_person_has_edited_meanwhile_is_refused_and_shows_the_new_text(
        self, browser: Browser, payments: ParkedMessages
    ) -> None:
        parked_id = payments.park({"a": 1})
        await browser.sign_in("operator")
        here = f"/parked/payments/{parked_id}"
        preview = await browser.post(f"{here}/preview", {"value": '{"a": 2}', "version": "1"})
        payments.rows[parked_id] |= {"value": '{"a": 3}', "version": 2}
        confirm = fields_of(preview.text, f"{here}/edit")
        page = await browser.post(f"{here}/edit", confirm)
        assert page.status == 412 and "It has changed since you read it" in page.text
        changed = re.findall(r'<tr class="(added|removed)">.*?<code>(.*?)</code>', page.text)
        assert [(kind, unescape(line)) for kind, line in changed] == [
            ("removed", '  "a": 3'),
            ("added", '{"a": 2}'),
        ] or changed
        again = fields_of(page.text, f"{here}/preview")
        assert (again["value"], again["version"]) == ('{"a": 2}', "2")
        payments.settle(parked_id, "replayed", "person:ben")
        page = await browser.post(f"{here}/edit", confirm | {"nonce": str(uuid4())})
        assert page.status == 412 and "Your text, not stored" in page.text and "Replayed by person:ben" in page.text

    async def test_an_edit_without_an_answer_leaves_the_text_with_its_nonce(
        self, app: App, browser: Browser, payments: ParkedMessages
    ) -> None:
        parked_id = payments.park({"a": 1})
        await browser.sign_in("operator")
        here = f"/parked/payments/{parked_id}"
        typed = {"value": '{"a": 2}', "version": "1", "nonce": str(uuid4())}
        payments.away = True
        page = await browser.post(f"{here}/preview", typed)
        assert page.status == 503 and fields_of(page.text, f"{here}/preview") == typed
        payments.away = False
        confirm = fields_of((await browser.post(f"{here}/preview", typed)).text, f"{here}/edit")
        payments.away = True
        page = await browser.post(f"{here}/edit", confirm)
        assert page.status == 503 and fields_of(page.text, f"{here}/edit") == confirm
        payments.away, payments.changes_nothing = False, True
        page = await browser.post(f"{here}/edit", confirm)
        assert page.status == 503 and fields_of(page.text, f"{here}/edit") == confirm
        assert payments.rows[parked_id]["state"] == "waiting" and [one[5] for one in await audit_of(app)] == [
            "database_unavailable"
        ]
        payments.changes_nothing = False
        assert (await browser.post(f"{here}/edit", confirm)).status == 303
        assert [one[5] for one in await audit_of(app)] == ["done"]

    async def test_a_message_is_replayed_and_one_that_fails_again_shows_why(
        self, app: App, browser: Browser, payments: ParkedMessages
    ) -> None:
        good, bad = payments.park(), payments.park({"works": False})
        await browser.sign_in("operator", name="ann")
        page = await browser.get(f"/parked/payments/{good}")
        fields = fields_of(page.text, f"/parked/payments/{good}/replay")
        assert (await browser.post(f"/parked/payments/{good}/replay", fields)).status == 303
        page = await browser.post(f"/parked/payments/{bad}/replay", {"nonce": str(uuid4())})
        assert page.status == 409 and "The replay stopped" in page.text
        assert [one[2:] for one in await audit_of(app)] == [
            (f"payments/{good}", "replay", "", "done"), (f"payments/{bad}", "replay", "", "replay_stopped"),
        ]  # fmt: skip

    async def test_a_discard_has_a_reason_that_is_stored_and_names_the_version_that_was_read(
        self, app: App, browser: Browser, payments: ParkedMessages
    ) -> None:
        parked_id = payments.park()
        await browser.sign_in("operator", name="ann")
        here = f"/parked/payments/{parked_id}"
        fields = fields_of((await browser.get(here)).text, f"{here}/discard")
        refused = await browser.post(f"{here}/discard", fields | {"reason": "  "})
        assert refused.status == 422 and payments.rows[parked_id]["state"] == "waiting"
        payments.rows[parked_id]["version"] = 2
        outdated = await browser.post(f"{here}/discard", fields | {"reason": "test data"})
        assert outdated.status == 412 and payments.rows[parked_id]["state"] == "waiting"
        fields = fields_of(outdated.text, f"{here}/discard")
        assert (await browser.post(f"{here}/discard", fields | {"reason": "test data"})).status == 303
        assert payments.rows[parked_id]["reason"] == "test data"
        assert [one[3:] for one in await audit_of(app)] == [
            ("discard", "test data", "version_outdated"), ("discard", "test data", "done"),
        ]  # fmt: skip

    async def test_a_person_of_some_stores_sees_and_changes_only_their_messages(
        self, browser: Browser, payments: ParkedMessages
    ) -> None:
        mine, other, unreadable = payments.park(), payments.park(store_id="st_2"), payments.park(store_id=None)
        await browser.sign_in("operator", stores=["st_1"])
        assert "<strong>1</strong>" in (await browser.get("/parked")).text
        assert (await browser.get(f"/parked/payments/{mine}")).status == 200
        for hidden in (other, unreadable):
            assert (await browser.get(f"/parked/payments/{hidden}")).status == 404
            for action in ("replay", "discard", "edit", "reveal", "preview"):
                fields = {"reason": "no", "version": "1", "value": "{}"}
                assert (await browser.post(f"/parked/payments/{hidden}/{action}", fields)).status == 404, action
        assert (await browser.get("/parked", store="st_2")).status == 404
        replay = {"cause": "fault", "line": LINE, "id_max": "9", "count": "1", "store": "st_2"}
        assert (await browser.post("/parked/payments/group/replay", replay)).status == 404
        assert {row["version"] for row in payments.rows.values()} == {1}
        asked = [sent for path, sent, _ in payments.requests if not path.endswith("/openapi.json")]
        assert {sent.get("x-store-id") for sent in asked} == {"st_1"}
        await browser.sign_in("administrator")
        assert "<strong>3</strong>" in (await browser.get("/parked")).text
        assert (await browser.get(f"/parked/payments/{unreadable}")).status == 200

    async def test_the_page_of_an_order_has_its_parked_messages(
        self, app: App, browser: Browser, payments: ParkedMessages
    ) -> None:
        life = Life()
        placed = life.next(orders.Placed, status="placed", payment_status="authorized", placed_at=NOW)
        await Publisher(app).publish(life.received(), placed)
        parked_id = payments.park(key=life.order_id)
        await browser.sign_in("viewer")
        assert f'href="/parked/payments/{parked_id}"' in (await browser.get(f"/orders/{life.order_id}")).text
        payments.settle(parked_id, "replayed", "person:ann")
        assert "/parked/payments" not in (await browser.get(f"/orders/{life.order_id}")).text


def test_what_is_no_message_is_only_discarded_and_what_is_settled_not_at_all() -> None:
    def of(**more: str) -> tuple[str, ...]:
        return offered({"state": "waiting", "cause": "fault", "topic": "payments.commands.v1", **more})

    assert of() == ("replay", "edit", "discard")
    assert of(cause="batch_unreadable") == of(topic="task") == ("discard",)
    assert of(state="replayed") == of(state="edited") == of(state="discarded") == ()
    assert of(cause="of a later release") == ("replay", "edit", "discard")


def test_an_edit_without_the_version_that_was_read_is_refused() -> None:
    for version in ("", "-1", "1.0", "²", "9" * 11):
        with pytest.raises(ValueError, match="version"):
            request_of("edit", "orders", 1, {"value": "{}", "version": version})
