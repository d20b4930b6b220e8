"""Pages of parked messages: what each service has, replay, edit and discard; needs `CONSOLE_TEST_DATABASE_URL`."""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncIterator
from html import unescape
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from console_world import NOW, Browser, Life, Publisher, emptied
from parked_world import LINE, ParkedMessages

from chassis.process.app import App
from console.domain.parked import CAUSES, offered, request_of
from contracts import orders
from tests.forms import fields_of

URL = os.environ.get("CONSOLE_TEST_DATABASE_URL", "")
real = [pytest.mark.asyncio, pytest.mark.skipif(not URL, reason="CONSOLE_TEST_DATABASE_URL is not set")]
TABLES = ("order_rows", "stores", "people", "freshness", "audit", "inbox", "parked", "parked_keys")


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
        self, app: App, browser: Browser, payments: ParkedMessages, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Task 7: Parked, Replay, Replay 45 messages."""
        ids = [payments.park() for _ in range(44)] + [payments.park({"works": False})]
        await browser.sign_in("operator", name="ann")
        await browser.get("/parked")
        preview = await browser.get(f"/parked/payments/group?cause=fault&line={LINE}")
        assert "45 messages wait" in preview.text and "Replay 45 messages" in preview.text
        late = payments.park()
        fields = fields_of(preview.text, "/parked/payments/group/replay") | {"reason": "the fix is out"}
        done = await browser.post("/parked/payments/group/replay", fields)
        assert done.status == 200 and "44 of 45 replayed, 1 stopped again." in done.text
        assert f'href="/parked/payments/{ids[-1]}"' in done.text and "Go on" not in done.text
        assert {row["id"] for row in payments.rows.values() if row["state"] == "waiting"} == {ids[-1], late}
        sizes = [len(body["ids"]) for path, _, body in payments.requests if path == "POST /v1/parked-replays"]
        assert sizes == [20, 20, 5]
        assert await audit_of(app) == [
            ("ann", "parked", f"payments/fault/{LINE}", "replay_group", "the fix is out", "done")
        ]
        again = await browser.post("/parked/payments/group/replay", fields)
        assert "0 of 45 replayed, 1 stopped again" in again.text and len(await audit_of(app)) == 1

    async def test_a_replay_that_takes_long_or_loses_its_service_goes_on_where_it_was(
        self, browser: Browser, payments: ParkedMessages, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("console.api.parked_group.REPLAY_SECONDS_MAX", 0.0)
        for _ in range(45):
            payments.park()
        await browser.sign_in("operator")
        here = "/parked/payments/group/replay"
        page = await browser.get(f"/parked/payments/group?cause=fault&line={LINE}")
        page = await browser.post(here, fields_of(page.text, here))
        assert "20 of 45 replayed" in page.text
        payments.away = True
        page = await browser.post(here, fields_of(page.text, here))
        assert page.status == 503 and "20 of 45 replayed, then no answer" in page.text
        payments.away = False
        page = await browser.post(here, fields_of(page.text, here))
        page = await browser.post(here, fields_of(page.text, here))
        assert "45 of 45 replayed." in page.text and "Go on" not in page.text
        assert (await browser.post(here, {"id_max": "many"})).status == 400
        gone = await browser.get(f"/parked/payments/group?cause=fault&line={LINE}")
        assert gone.status == 200 and "Nothing of this group waits" in gone.text

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
        assert {sent.get("x-store-id") for _, sent, _ in payments.requests} == {"st_1"}
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
