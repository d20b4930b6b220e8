"""Pages of webhooks against a service that answers as webhooks does; needs `CONSOLE_TEST_DATABASE_URL`."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from html import unescape
from uuid import UUID, uuid4

from console_forms import Parsed
from console_owners import ENDPOINT, REAL, Owner, attempt, endpoint, made, page, replay, resumed, tested
from console_world import NOW, STORE, Browser

from chassis.process.app import App
from tests.waiting import patience

pytestmark = REAL
HERE = f"/webhooks/{STORE}/{ENDPOINT}"
OWN = f"/v1/endpoints/{ENDPOINT}"


async def trail(app: App) -> list[tuple[str, ...]]:
    rows = await app.fetch("select person, subject_kind, action, reason, outcome from audit order by at, nonce")
    return [tuple(row) for row in rows]


# -- endpoints --------------------------------------------------------------------------------------------------------


async def test_the_list_states_what_is_wrong_with_each_endpoint_and_the_bar_how_many_need_a_person(
    hooks: Owner, browser: Browser, order: UUID
) -> None:
    down = endpoint(
        endpoint_id=uuid4(), url="https://down.example.com/", breaker={"because": "failures", "since": NOW}, failing_since=NOW,
        backlog={"retries": 1_000, "or_more": True, "since": NOW}, last_success_at=None,
    )  # fmt: skip
    off = endpoint(endpoint_id=uuid4(), url="https://off.example.com/", status="disabled", disabled_because="request")
    listed = {"needs_attention": page(down, off), "": page(endpoint(), down, off)}
    hooks.answers["GET", "/v1/endpoints"] = lambda request: listed[
        "needs_attention" if "needs_attention" in request.query else ""
    ]
    await browser.sign_in("viewer")
    first = await browser.get("/webhooks")
    for part in ("erp.example.com/hooks", "down.example.com", "failing", "1,000+ to retry", "paused", "enabled"):
        assert part in first.text, part
    assert "Replay" not in first.text, "a viewer changes nothing"
    assert hooks.asked("/v1/endpoints").headers["x-store-id"] == STORE
    async with patience():
        while not re.search(r'class="count bad">2<', (await browser.get("/orders")).text):
            await asyncio.sleep(0.01)


async def test_a_page_does_not_wait_for_the_number_in_the_bar(hooks: Owner, browser: Browser, order: UUID) -> None:
    released = asyncio.Event()
    hooks.holds = lambda request: released.wait() if "needs_attention" in request.query else None
    await browser.sign_in()
    found = await browser.get("/orders")
    assert found.status == 200 and "count bad" not in found.text and not released.is_set()
    released.set()


async def test_an_endpoint_has_its_settings_and_what_was_sent(hooks: Owner, browser: Browser, order: UUID) -> None:
    refused = attempt(subject=order, outcome="failed", http_status=503, number=3, type="orders.placed")
    other = attempt(event_id="event-2", type="webhooks.endpoint_failing", error="connect_failed", http_status=None)
    hooks.answers["GET", "/v1/attempts"] = page(refused, other, next_cursor="next-page")
    hooks.answers["GET", "/v1/replays"] = page(replay())
    await browser.sign_in("operator")
    found = await browser.get(HERE)
    for part in (
        "orders.*",
        "one after the other",
        "503",
        "connect_failed",
        f'href="/orders/{order}">A-7<',
        "7 delivered, 1 failed",
    ):
        assert part in found.text, part
    assert Parsed(found.text).links["Next page"].endswith("cursor=next-page")


async def test_what_was_sent_is_filtered_by_its_owner(hooks: Owner, browser: Browser, order: UUID) -> None:
    await browser.sign_in()
    wanted = {"status": "failed", "type": "orders.placed", "order": "a-7", "since": "2026-11-28T14:00", "until": ""}
    assert (await browser.get(HERE, **wanted)).status == 200
    assert hooks.asked("/v1/attempts").query == {
        "endpoint": str(ENDPOINT), "status": "failed", "type": "orders.placed", "order_id": str(order),
        "since": "2026-11-28T14:00:00+00:00", "limit": "50",
    }  # fmt: skip
    assert "Nothing fits these filters" in (await browser.get(HERE, order="no-such-number")).text
    assert hooks.asked("/v1/attempts").query["order_id"] == str(UUID(int=0))
    for query, named in (("status=nonsense", "status"), ("since=yesterday", "since"), ("colour=red", "colour")):
        answer = await browser.get(f"{HERE}?{query}")
        assert answer.status == 400 and named in answer.text
    hooks.answers["GET", "/v1/attempts"] = (400, {"type": "/problems/cursor_invalid"})
    assert (await browser.get(HERE, cursor="nonsense")).status == 400


async def test_an_endpoint_of_nobody_and_one_of_a_foreign_store_are_the_same_404(
    hooks: Owner, browser: Browser, order: UUID
) -> None:
    await browser.sign_in("operator", stores=[STORE])
    unknown, foreign = (
        (await browser.get(f"/webhooks/{STORE}/{uuid4()}")),
        await browser.get(f"/webhooks/st_2/{ENDPOINT}"),
    )
    assert (unknown.status, foreign.status) == (404, 404)
    assert "No such endpoint" in unknown.text and "No such endpoint" in foreign.text
    assert not any(one.headers.get("x-store-id") == "st_2" for one in hooks.requests)
    assert (await browser.post(f"/webhooks/st_2/{ENDPOINT}/actions/pause", {"reason": "x"})).status == 404


async def test_a_service_that_does_not_answer_is_a_503(hooks: Owner, browser: Browser, order: UUID) -> None:
    hooks.answers["GET", OWN] = (500, {})
    await browser.sign_in()
    answer = await browser.get(HERE)
    assert answer.status == 503 and "does not answer" in answer.text


async def test_no_text_of_a_receiver_becomes_markup(hooks: Owner, browser: Browser, order: UUID) -> None:
    evil = '<script>alert("1")</script>'
    hooks.answers["GET", OWN] = (200, endpoint(url=f"https://x.example.com/{evil}"))
    hooks.answers["GET", "/v1/attempts"] = page(attempt(type=evil, response=evil, error=evil, event_id=evil))
    hooks.answers["POST", f"{OWN}/test"] = (200, tested(response=evil, headers={"webhook-id": evil}))
    await browser.sign_in()
    shown = [
        await browser.get(HERE),
        await browser.get(f"{HERE}/delivery", event=evil),
        await browser.get(f"{HERE}/replay"),
    ]
    shown.append(await browser.post(f"{HERE}/actions/test", {"type": "orders.placed"}))
    assert [one.status for one in shown] == [200] * 4
    assert all("<script>" not in one.text and "&lt;script&gt;" in one.text for one in shown)


# -- actions ----------------------------------------------------------------------------------------------------------


async def test_a_pause_is_requested_for_the_person_with_its_reason_and_is_in_the_audit(
    app: App, hooks: Owner, browser: Browser, order: UUID
) -> None:
    hooks.answers["POST", f"{OWN}/disable"] = (200, endpoint())
    await browser.sign_in("operator", name="ann")
    form = Parsed((await browser.get(HERE)).text).form("Pause")
    incomplete = await browser.post(form.action, form.fields | {"reason": " "})
    assert incomplete.status == 422 and "give a reason" in incomplete.text and hooks.writes == []
    answer = await browser.post(form.action, form.fields | {"reason": "their deploy"})
    assert (answer.status, answer.location) == (303, f"{HERE}?done=pause")
    assert "Pause: done." in (await browser.get(answer.location)).text
    [sent] = hooks.writes
    assert (sent.headers["x-act-as"], sent.headers["idempotency-key"]) == ("ann", form.fields["nonce"])
    assert await trail(app) == [("ann", "endpoint", "pause", "their deploy", "done")]


async def test_who_may_not_change_endpoints_has_no_form_and_is_refused(
    app: App, hooks: Owner, browser: Browser, order: UUID
) -> None:
    await browser.sign_in("viewer")
    assert "/actions/" not in (await browser.get(HERE)).text
    for path in (f"{HERE}/actions/pause", f"{HERE}/replay", f"{HERE}/delivery?event=e", f"/orders/{order}/resend"):
        assert (await browser.post(path, {"reason": "x"})).status == 403, path
    assert hooks.writes == [] and await trail(app) == []


async def test_a_new_secret_is_shown_once_and_is_nowhere_else(
    app: App, hooks: Owner, browser: Browser, order: UUID
) -> None:
    hooks.answers["POST", f"{OWN}/rotate"] = (200, made("whsec_c2VjcmV0"))
    await browser.sign_in()
    form = Parsed((await browser.get(HERE)).text).form("Rotate the secret")
    answer = await browser.post(
        form.action, form.fields | {"reason": "a former colleague has it", "overlap_hours": "72"}
    )
    assert answer.status == 200 and "whsec_c2VjcmV0" in answer.text and answer.headers["cache-control"] == "no-store"
    assert hooks.writes[-1].body == {"overlap_hours": 72}
    assert "whsec_" not in (await browser.get(HERE)).text
    assert "whsec_" not in str([dict(row) for row in await app.fetch("select * from audit")])


async def test_a_test_shows_the_request_and_the_answer(hooks: Owner, browser: Browser, order: UUID) -> None:
    hooks.answers["POST", f"{OWN}/test"] = (200, tested(http_status=500, response="no such route"))
    await browser.sign_in()
    form = Parsed((await browser.get(HERE)).text).form("Test")
    answer = await browser.post(form.action, form.fields)
    for part in ("webhook-id: msg_1", "no such route", "500", "12 ms"):
        assert part in answer.text, part
    assert hooks.writes[-1].body == {"type": "orders.placed"}


async def test_a_disabled_endpoint_is_resumed_from_a_place_after_a_count(
    app: App, hooks: Owner, browser: Browser, order: UUID
) -> None:
    hooks.answers["GET", OWN] = (200, endpoint(status="disabled", disabled_because="failing"))
    hooks.answers["POST", f"{OWN}/enable"] = lambda request: (200, resumed(1_234, or_more=True))
    await browser.sign_in()
    form = Parsed((await browser.get(HERE)).text).form("Count first")
    place = {"from": "time", "time": "2026-11-28T14:00", "step": "count"}
    counted = await browser.post(form.action, form.fields | place)
    assert counted.status == 200 and "1,234+ events would be sent" in counted.text
    assert hooks.writes[-1].body == {"from": "2026-11-28T14:00:00+00:00", "dry_run": True} and await trail(app) == []
    form = Parsed(counted.text).form("Resume")
    assert (form.fields["from"], form.fields["time"]) == ("time", "2026-11-28T14:00"), "the form keeps what was counted"
    assert (await browser.post(form.action, form.fields)).status == 303
    assert hooks.writes[-1].body == {"from": "2026-11-28T14:00:00+00:00"}
    assert [row[2] for row in await trail(app)] == ["resume"]


async def test_what_webhooks_refuses_is_the_page_anew_with_its_reason(
    app: App, hooks: Owner, browser: Browser, order: UUID
) -> None:
    hooks.answers["POST", f"{OWN}/disable"] = (
        409,
        {"type": "/problems/version_stale", "title": "Changed meanwhile", "detail": "read it"},
    )
    await browser.sign_in()
    nonce = str(uuid4())
    answer = await browser.post(f"{HERE}/actions/pause", {"nonce": nonce, "reason": "x"})
    assert answer.status == 409 and "Changed meanwhile" in answer.text and nonce not in answer.text
    hooks.answers["POST", f"{OWN}/disable"] = (503, {})
    answer = await browser.post(f"{HERE}/actions/pause", {"nonce": nonce, "reason": "<kept>"})
    assert answer.status == 503 and nonce in answer.text and "&lt;kept&gt;" in answer.text


# -- send again -------------------------------------------------------------------------------------------------------


async def test_a_replay_since_a_time_takes_four_clicks_and_sends_exactly_what_was_counted(
    app: App, hooks: Owner, browser: Browser, order: UUID
) -> None:
    """Task 10, without JavaScript: Webhooks, Replay, Count, Send."""
    dry, begun = replay(replay_id=None, status=None, count=1_042), replay()
    hooks.answers["POST", f"{OWN}/replay"] = lambda request: (200, dry) if request.body.get("dry_run") else (202, begun)
    hooks.answers["GET", f"/v1/replays/{begun['replay_id']}"] = (200, begun)
    await browser.sign_in("operator", name="ann")
    bar = Parsed((await browser.get("/orders")).text)
    listed = Parsed((await browser.get(bar.links["Webhooks"])).text)
    replay_link = next(address for text, address in listed.links.items() if text.startswith("Replay"))
    form = Parsed((await browser.get(replay_link)).text).form("Count")
    counted = await browser.get(form.action, **form.fields | {"from": "2026-11-28T14:00", "only": "missing"})
    assert hooks.writes[-1].body == {
        "from": "2026-11-28T14:00:00+00:00", "to": None, "types": [], "only": "missing", "as_new": False, "dry_run": True,
    }  # fmt: skip
    assert "1,042" in counted.text and await trail(app) == []
    form = Parsed(counted.text).form("Send 1,042 events again")
    answer = await browser.post(form.action, form.fields)
    assert (answer.status, answer.location) == (303, f"{HERE}/replays/{begun['replay_id']}")
    assert hooks.writes[-1].body == {
        "from": "from-cursor",
        "to": "to-cursor",
        "types": [],
        "only": "all",
        "as_new": False,
    }
    assert hooks.writes[-1].headers["idempotency-key"] == form.fields["nonce"]
    assert await trail(app) == [("ann", "endpoint", "replay", "", "done")]
    assert "running" in (await browser.get(answer.location)).text


async def test_a_replay_that_is_refused_offers_the_same_set_again(hooks: Owner, browser: Browser, order: UUID) -> None:
    hooks.answers["POST", f"{OWN}/replay"] = (409, {"type": "/problems/disabled", "title": "The endpoint is disabled"})
    await browser.sign_in()
    set_of = {"from": "a", "to": "b", "only": "failed", "types": "orders.placed", "count": "5", "nonce": str(uuid4())}
    answer = await browser.post(f"{HERE}/replay", set_of)
    assert answer.status == 409 and "The endpoint is disabled" in answer.text
    assert (
        Parsed(answer.text).form("Send 5 events again").fields.items()
        >= {"from": "a", "to": "b", "only": "failed"}.items()
    )
    assert (await browser.post(f"{HERE}/replay", {})).status == 422


async def test_a_replay_is_paused_goes_on_and_is_cancelled(
    app: App, hooks: Owner, browser: Browser, order: UUID
) -> None:
    key = uuid4()
    here = f"{HERE}/replays/{key}"
    hooks.answers["GET", f"/v1/replays/{key}"] = (200, replay(replay_id=key))
    for name in ("pause", "cancel"):
        hooks.answers["POST", f"/v1/replays/{key}/{name}"] = (200, replay(replay_id=key))
    await browser.sign_in()
    shown = Parsed((await browser.get(here)).text)
    assert [one.buttons for one in shown.forms if "/actions/" in one.action] == [["Pause"], ["Cancel"]]
    form = shown.form("Pause")
    assert (await browser.post(form.action, form.fields)).location == f"{here}?done=pause"
    assert (await browser.post(f"{here}/actions/cancel", {})).status == 303
    assert [row[1:3] for row in await trail(app)] == [("replay", "pause"), ("replay", "cancel")]
    assert (await browser.get(f"/webhooks/{STORE}/{uuid4()}/replays/{key}")).status == 404, "it is another endpoint's"


async def test_a_delivery_has_its_request_each_answer_and_is_sent_once_more(
    app: App, hooks: Owner, browser: Browser, order: UUID
) -> None:
    latest = attempt(outcome="exhausted", http_status=500, response="boom", number=2, subject=order)
    first = attempt(
        outcome="failed",
        http_status=None,
        error="connect_failed",
        response="",
        at=NOW - timedelta(minutes=5),
        subject=order,
    )
    hooks.answers["GET", "/v1/attempts"] = page(latest, first)
    hooks.answers["GET", "/v1/events/event-1"] = (200, {"id": "event-1", "data": {"number": "A-7"}})
    hooks.answers["POST", f"/v1/attempts/{latest['id']}/resend"] = (202, replay())
    await browser.sign_in()
    there = f"{HERE}/delivery?event=event-1"
    shown = await browser.get(there)
    for part in (
        "exhausted",
        "boom",
        "connect_failed",
        "webhook-id: msg_1",
        '"number": "A-7"',
        f"webhook-timestamp: {int(NOW.timestamp())}",
    ):
        assert part in unescape(shown.text), part
    form = Parsed(shown.text).form("Resend")
    answer = await browser.post(form.action, form.fields)
    assert (answer.status, answer.location) == (303, f"{there}&done=resend")
    assert [row[2] for row in await trail(app)] == ["resend"]
    hooks.answers["GET", "/v1/attempts"] = page()
    assert (await browser.get(there)).status == 404


async def test_what_an_integrator_missed_of_an_order_is_sent_again_in_two_clicks(
    app: App, hooks: Owner, browser: Browser, order: UUID
) -> None:
    """Task 9, without JavaScript: the first click opens the form, in which what was missed is ticked; the second sends it."""
    missed = [
        attempt(
            event_id=f"event-{n}", outcome="exhausted", http_status=500, subject=order, at=NOW - timedelta(minutes=n)
        )
        for n in (1, 2)
    ]
    arrived = attempt(event_id="event-3", subject=order, at=NOW - timedelta(minutes=3))
    hooks.answers["GET", "/v1/attempts"] = page(*missed, arrived)
    for one in (*missed, arrived):
        hooks.answers["POST", f"/v1/attempts/{one['id']}/resend"] = (202, replay())
    await browser.sign_in("operator", name="ann")
    shown = await browser.get(f"/orders/{order}")
    assert re.search(r"<details[^>]*>\s*<summary[^>]*>Resend 2 missed</summary>\s*<form", shown.text)
    form = Parsed(shown.text).form("Send again")
    for _ in range(2):  # sent twice, done once: the owner gets the same keys
        answer = await browser.post(form.action, form.fields)
        assert (answer.status, answer.location) == (303, f"/orders/{order}?done=resend")
    sent = [(one.path, one.headers["idempotency-key"]) for one in hooks.writes]
    assert [path.split("/")[3] for path, _ in sent[:2]] == [missed[1]["id"], missed[0]["id"]], "oldest first"
    assert sent[:2] == sent[2:] and len({key for _, key in sent}) == 2
    assert [row[:3] for row in await trail(app)] == [("ann", "endpoint", "resend")] * 2
    assert "Resend: done." in (await browser.get(answer.location)).text


async def test_a_resend_that_fails_half_way_keeps_the_form_and_its_nonce(
    app: App, hooks: Owner, browser: Browser, order: UUID
) -> None:
    first, second = [attempt(event_id=f"event-{n}", outcome="exhausted", subject=order) for n in (1, 2)]
    hooks.answers["GET", "/v1/attempts"] = page(first, second)
    hooks.answers["POST", f"/v1/attempts/{second['id']}/resend"] = (202, replay())
    hooks.answers["POST", f"/v1/attempts/{first['id']}/resend"] = (503, {})
    await browser.sign_in()
    form = Parsed((await browser.get(f"/orders/{order}")).text).form("Send again")
    failed = await browser.post(form.action, form.fields)
    assert failed.status == 503 and form.fields["nonce"] in failed.text
    assert sorted(row[4] for row in await trail(app)) == ["done", "silent"]
    assert (await browser.post(f"/orders/{order}/resend", {"nonce": str(uuid4())})).status == 422
