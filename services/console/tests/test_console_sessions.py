"""Sessions, their end, forms that came too late, people, revealed data; on a real PostgreSQL: `CONSOLE_TEST_DATABASE_URL`."""

from __future__ import annotations

import os
import re
from argparse import Namespace
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from html import unescape
from uuid import uuid4

import pytest
import pytest_asyncio
from console_world import Browser, Life, Publisher, emptied

from chassis.process.app import App
from console import api, commands, sessions
from console.domain.unsent import UNSENT_CHARACTERS_MAX

URL = os.environ.get("CONSOLE_TEST_DATABASE_URL", "")
pytestmark = [pytest.mark.asyncio, pytest.mark.skipif(not URL, reason="CONSOLE_TEST_DATABASE_URL is not set")]
TABLES = ("order_rows", "stores", "people", "audit", "inbox", "parked", "parked_keys")
CANCEL = {"nonce": str(uuid4()), "reason": "The customer <b>wrote</b>\nat length."}


class Clock:
    """What the console takes for now; starts at the real time, which links and their sessions are made at."""

    def __init__(self) -> None:
        self.at = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.at

    def passes(self, **time: float) -> None:
        self.at += timedelta(**time)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(api, "now", clock)
    return clock


@pytest_asyncio.fixture
async def app(clock: Clock) -> AsyncIterator[App]:
    async with emptied(TABLES) as app:
        yield app


@pytest.fixture
def browser(app: App) -> Browser:
    return Browser(app)


@pytest_asyncio.fixture
async def order(app: App) -> str:
    life = Life()
    await Publisher(app).publish(life.received())
    return f"/orders/{life.order_id}"


async def alive(browser: Browser) -> bool:
    return (await browser.get("/orders")).status == 200


def of(page: str) -> dict[str, str]:
    """What a browser sends with a form of a page."""
    return {"referer": f"http://console.test{page}"}


# -- a session ends ---------------------------------------------------------------------------------------------------


async def test_a_session_without_a_request_is_over_after_half_an_hour(clock: Clock, browser: Browser) -> None:
    await browser.sign_in()
    for _ in range(4):
        clock.passes(minutes=29)
        assert await alive(browser), "each request begins the half hour anew"
    clock.passes(minutes=31)
    assert not await alive(browser)
    clock.passes(minutes=-5)
    assert await alive(browser), "the caller's clock decides, and nothing else"


async def test_a_session_is_over_after_twelve_hours_however_busy(clock: Clock, browser: Browser) -> None:
    await browser.sign_in()
    for _ in range(28):  # 11 h 40
        clock.passes(minutes=25)
        assert await alive(browser)
    clock.passes(minutes=21)
    assert not await alive(browser)


async def test_a_link_begins_a_new_session_and_ends_the_one_that_the_browser_had(browser: Browser) -> None:
    browser.cookies["__Host-session"] = "planted"
    await browser.sign_in()
    first = browser.cookies["__Host-session"]
    assert first != "planted" and await alive(browser)
    await browser.sign_in()
    browser.cookies["__Host-session"] = first
    assert not await alive(browser)


async def test_the_page_of_a_link_names_whom_it_signs_in(app: App, browser: Browser) -> None:
    """A person who follows the link of another sees it before working in that name."""
    token = await sessions.invite(app, "mallory", ["viewer"], None, datetime.now(UTC))
    assert "mallory" in (await browser.get("/sign-in", token=token)).text
    await browser.post("/sign-in", {"token": token})
    assert "mallory" not in (await browser.get("/sign-in", token=token)).text


# -- a form comes too late --------------------------------------------------------------------------------------------


async def test_a_form_that_comes_too_late_is_on_its_page_after_signing_in_and_is_not_sent_by_itself(
    app: App, clock: Clock, browser: Browser, order: str
) -> None:
    await browser.sign_in()
    clock.passes(minutes=31)
    answer = await browser.post(f"{order}/actions/cancel", CANCEL, **of(f"{order}?done=approve"))
    assert (answer.status, answer.location) == (303, "/sign-in")
    assert (await browser.sign_in()).location == f"{order}?done=approve"
    assert await app.fetch("select 1 from audit") == [], "nothing was requested"
    page = (await browser.get(order)).text
    assert "Not sent: Cancel" in page and f'action="{order}/actions/cancel"' in page
    [text] = re.findall(r'<textarea name="reason" rows="8">\n([^<]*)</textarea>', page)
    assert unescape(text) == CANCEL["reason"] and CANCEL["nonce"] in page
    assert "Not sent" not in (await browser.get("/orders")).text, "it is on its own page alone"
    assert "Not sent" in (await browser.get(order)).text, "and stays there until it is sent"
    sent = await browser.post(f"{order}/actions/cancel", CANCEL)
    assert sent.status == 503, "orders is not there"
    assert [str(row["nonce"]) for row in await app.fetch("select nonce from audit")] == [CANCEL["nonce"]]
    assert "Not sent" not in (await browser.get(order)).text


async def test_a_form_that_came_too_late_can_be_discarded(clock: Clock, browser: Browser, order: str) -> None:
    await browser.sign_in()
    clock.passes(hours=1)
    await browser.post(f"{order}/actions/cancel", CANCEL, **of(order))
    await browser.sign_in()
    assert "Not sent" in (await browser.get(order)).text
    assert (await browser.post("/discard-form", {}, **of(order))).location == order
    assert "Not sent" not in (await browser.get(order)).text


@pytest.mark.parametrize(
    "what",
    ["another person", "another browser", "signed out", "signed out elsewhere", "too late", "too large", "no session"],
)
async def test_a_form_is_shown_to_nobody_else_and_not_for_long(
    app: App, clock: Clock, browser: Browser, order: str, what: str
) -> None:
    fields, name, other = dict(CANCEL), "ann", browser
    if what == "no session":
        browser.cookies["__Host-session"] = "made up"
    else:
        await browser.sign_in(name="ann")
    match what:
        case "signed out":
            unsent = dict(browser.cookies)
            await browser.post("/sign-out", {})
            browser.cookies = unsent
        case "signed out elsewhere":
            await commands.SIGN_OUT.run(app, Namespace(name="ann"))
        case "too large":
            fields["reason"] = "x" * UNSENT_CHARACTERS_MAX
        case "another person":
            name = "bob"
        case "another browser":
            other = Browser(app)
    clock.passes(minutes=31)
    assert (await browser.post(f"{order}/actions/cancel", fields, **of(order))).status == 303
    if what == "too late":
        clock.passes(minutes=61)
    await other.sign_in(name=name)
    assert "Not sent" not in (await other.get(order)).text
    if what in ("another person", "too late"):
        assert [row["unsent"] for row in await app.fetch("select unsent from sessions")] == [None, None]


async def test_a_form_of_another_site_is_not_stored(app: App, clock: Clock, browser: Browser, order: str) -> None:
    await browser.sign_in()
    clock.passes(minutes=31)
    forged = {"sec-fetch-site": "cross-site", "referer": "http://evil.test/"}
    assert (await browser.post(f"{order}/actions/cancel", CANCEL, **forged)).status == 403
    await browser.sign_in()
    assert "Not sent" not in (await browser.get(order)).text


@pytest.mark.parametrize("referer", ["http://evil.test/orders", "http://console.test//evil.test", "", "nonsense"])
async def test_a_form_leads_back_to_no_other_site(clock: Clock, browser: Browser, order: str, referer: str) -> None:
    await browser.sign_in()
    clock.passes(minutes=31)
    await browser.post(f"{order}/actions/cancel", CANCEL, referer=referer)
    assert (await browser.sign_in()).location == "/orders"
    assert (await browser.post("/discard-form", {}, referer=referer)).location == "/orders"


# -- people -----------------------------------------------------------------------------------------------------------


async def test_an_administrator_of_all_stores_signs_a_person_out(app: App, browser: Browser) -> None:
    ann = Browser(app)
    await ann.sign_in("operator", stores=["st_1"], name="ann")
    await browser.sign_in(name="root")
    page = (await browser.get("/people")).text
    assert "operator, st_1" in page and "administrator, all stores" in page
    [row] = await app.fetch("select id from people where name = 'ann'")
    path = f"/people/{row['id']}/sign-out"
    assert path in page
    answer = await browser.post(path, {"nonce": str(uuid4())})
    assert (answer.status, answer.location) == (303, f"/people?done={row['id']}")
    assert "ann is signed out." in (await browser.get(answer.location)).text
    assert not await alive(ann) and await alive(browser)
    [audited] = await app.fetch("select person, subject_kind, subject_id, action, outcome from audit")
    assert tuple(audited) == ("root", "person", str(row["id"]), "sign_out", "done")
    assert (await browser.post(f"/people/{uuid4()}/sign-out", {})).status == 404
    assert (await browser.post("/people/nonsense/sign-out", {})).status == 404


@pytest.mark.parametrize(
    ("role", "stores"), [("operator", None), ("finance", None), ("viewer", None), ("administrator", ["st_1"])]
)
async def test_nobody_else_sees_or_ends_sessions(
    app: App, browser: Browser, role: str, stores: list[str] | None
) -> None:
    await browser.sign_in(role, stores=stores)
    [row] = await app.fetch("select id from people")
    assert (await browser.get("/people")).status == 403
    assert (await browser.post(f"/people/{row['id']}/sign-out", {})).status == 403
    assert await alive(browser) and 'href="/people"' not in (await browser.get("/orders")).text


async def test_the_command_sign_out_ends_sessions_and_links(app: App, browser: Browser) -> None:
    unused = await sessions.invite(app, "ann", ["viewer"], None, datetime.now(UTC))
    await browser.sign_in(name="ann")
    assert await commands.SIGN_OUT.run(app, Namespace(name="ann")) == ["1 sessions ended, and every unused link"]
    assert not await alive(browser)
    assert (await browser.post("/sign-in", {"token": unused})).status == 410
    with pytest.raises(ValueError, match="no person"):
        await commands.SIGN_OUT.run(app, Namespace(name="bob"))


# -- personal data ----------------------------------------------------------------------------------------------------


async def test_revealing_needs_the_scope_in_the_store_and_is_audited_each_time(
    app: App, browser: Browser, order: str
) -> None:
    await browser.sign_in("operator", name="ann")
    assert "Reveal personal data" in (await browser.get(order)).text
    assert await app.fetch("select 1 from audit") == []
    for _ in range(2):
        page = await browser.post(f"{order}/reveal", {})
        assert page.status == 200 and "Personal data is shown" in page.text
        assert page.headers["cache-control"] == "no-store"
    rows = await app.fetch("select person, subject_kind, order_id::text, action, outcome from audit")
    assert {tuple(row) for row in rows} == {("ann", "order", order.rpartition("/")[2], "reveal", "done")}
    assert len(rows) == 2
    assert (await browser.get(f"{order}/reveal")).status == 404, "no address shows it"
    await browser.sign_in("viewer", name="bob")
    assert "Reveal" not in (await browser.get(order)).text
    assert (await browser.post(f"{order}/reveal", {})).status == 403
    await browser.sign_in("operator", stores=["st_2"], name="eve")
    assert (await browser.post(f"{order}/reveal", {})).status == 404
    assert len(await app.fetch("select 1 from audit")) == 2
