"""The console on a real PostgreSQL: rows from events, lists, search, pages, sign-in; needs `CONSOLE_TEST_DATABASE_URL`."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from console_world import NOW, STORE, Browser, Life, Publisher, emptied, foreign

from chassis.process.app import App
from console import invariants, listing, sessions
from console.tables import metadata
from contracts import orders
from contracts.snapshot import Buyer
from contracts.snapshot.totals import Totals
from tests.databases import undeclared

URL = os.environ.get("CONSOLE_TEST_DATABASE_URL", "")
pytestmark = [pytest.mark.asyncio, pytest.mark.skipif(not URL, reason="CONSOLE_TEST_DATABASE_URL is not set")]
TABLES = ("order_rows", "stores", "people", "freshness", "audit", "inbox", "parked", "parked_keys", "job_items", "jobs")


@pytest_asyncio.fixture
async def app() -> AsyncIterator[App]:
    async with emptied(TABLES) as app:
        yield app


@pytest.fixture
def publisher(app: App) -> Publisher:
    return Publisher(app)


@pytest.fixture
def browser(app: App) -> Browser:
    return Browser(app)


def numbers(text: str) -> list[str]:
    return re.findall(r'<th scope="row"><a href="/orders/[^"]+">([^<]+)</a>', text)


def placed(life: Life) -> list[Any]:
    return [life.received(), life.next(orders.Placed, status="placed", payment_status="authorized", placed_at=NOW)]


# -- rows -------------------------------------------------------------------------------------------------------------


async def test_a_row_follows_its_events_in_whatever_batches_they_come(app: App, publisher: Publisher) -> None:
    lives = [Life(number=f"A-{n}") for n in range(6)]
    for life in lives[:3]:
        await publisher.publish(*placed(life), life.paid(authorized_minor=20_00, captured_minor=20_00))
    await publisher.publish(*(event for life in lives[3:] for event in (life.shipped("1Z9"), *placed(life))))
    records = [publisher.record(event) for life in lives for event in placed(life)]  # versions 3 and 4: received again
    await publisher.take(*records, *records)
    found = await app.fetch("select * from order_rows order by number")
    assert [(row["number"], row["status"], row["waiting"]) for row in found] == [
        (f"A-{n}", "placed", "approval") for n in range(6)
    ]
    assert [row["captured_minor"] for row in found] == [20_00] * 3 + [0] * 3
    assert [row["shipped"] for row in found] == [0] * 3 + [2] * 3
    async with app.database.connection() as connection:
        assert [name for name, _, violated in await invariants.check(connection) if violated] == []


async def test_an_event_of_an_order_of_another_store_is_parked_and_changes_nothing(
    app: App, publisher: Publisher
) -> None:
    life = Life()
    await publisher.publish(*placed(life))
    stranger = Life(order_id=life.order_id, store_id="st_2", versions={"payments": 1})
    await publisher.publish(stranger.paid(captured_minor=1))
    [row] = await app.fetch("select store_id, captured_minor from order_rows")
    assert tuple(row) == (STORE, 0)
    assert [row["cause"] for row in await app.fetch("select cause from parked")] == ["fault"]


async def test_events_about_something_else_than_an_order_make_no_row(app: App, publisher: Publisher) -> None:
    from contracts import webhooks
    from contracts.examples import example

    body = example("webhooks.endpoint_disabled")
    assert body is not None
    await publisher.publish(webhooks.EndpointDisabled.model_validate_json(body))
    assert await app.fetch("select 1 from order_rows") == [] and await app.fetch("select 1 from parked") == []


async def test_the_tables_page_is_what_the_migration_makes(app: App) -> None:
    assert await undeclared(app.database.queries.engine, metadata) == []


# -- lists ------------------------------------------------------------------------------------------------------------


async def test_a_list_has_every_order_once_over_its_pages_newest_first(
    monkeypatch: pytest.MonkeyPatch, publisher: Publisher, browser: Browser
) -> None:
    monkeypatch.setattr(listing, "PAGE_ROWS", 3)
    lives = [Life(number=f"A-{n}") for n in range(8)]
    await publisher.publish(*(event for life in lives for event in placed(life)))
    await browser.sign_in()
    shown: list[str] = []
    address = "/orders"
    while address:
        page = await browser.get(address)
        shown += numbers(page.text)
        found = re.search(r'rel="next" href="([^"]+)"', page.text)
        address = found[1].replace("&amp;", "&") if found else ""
    assert len(shown) == 8 and set(shown) == {life.number for life in lives}


async def test_what_waits_for_a_person_is_listed_longest_first_and_counted(
    publisher: Publisher, browser: Browser
) -> None:
    held, waiting, running = Life(number="HELD"), Life(number="WAITS"), Life(number="RUNS")
    await publisher.publish(*placed(waiting))
    await publisher.publish(
        *placed(held), held.next(orders.Held, hold_id=uuid4(), reason="fraud", placed_by="x", since=NOW)
    )
    await publisher.publish(running.received())
    await browser.sign_in()
    page = await browser.get("/orders?view=attention")
    assert numbers(page.text) == ["WAITS", "HELD"]
    counts = dict(re.findall(r">([A-Z][a-z ]+)\s+<span class=\"count\">(\d+)</span>", page.text))
    assert counts["Needs a person"] == "2" and counts["On hold"] == "1" and counts["All"] == "3"
    assert numbers((await browser.get("/orders?view=hold")).text) == ["HELD"]


async def test_filters_have_to_fit_and_values_of_one_are_alternatives(publisher: Publisher, browser: Browser) -> None:
    one, other = Life(number="ONE"), Life(number="OTHER")
    await publisher.publish(*placed(one), other.received())
    await browser.sign_in()
    for query, found in (
        ("status=placed", ["ONE"]),
        ("status=placed&status=", ["ONE"]),
        ("country=AT&currency=EUR&channel=amazon&market=de", ["ONE", "OTHER"]),
        ("country=DE", []),
        ("since=2026-11-21&until=2026-11-21", ["ONE", "OTHER"]),
        ("until=2026-11-20", []),
        ("archived=true", []),
        ("waiting=approval&payment=authorized", ["ONE"]),
        ("view=approval&sort=newest", ["ONE"]),
        ("view=cancelled&sort=waiting", []),
        ("step=place.approve", ["ONE"]),
    ):
        assert sorted(numbers((await browser.get(f"/orders?{query}")).text)) == found, query


async def test_a_rare_combination_is_searched_for_so_far_and_goes_on_from_there(
    monkeypatch: pytest.MonkeyPatch, app: App, publisher: Publisher, browser: Browser
) -> None:
    monkeypatch.setattr(listing, "LOOK_BACK", 5)
    lives = [Life(number=f"A-{n}") for n in range(12)]
    await publisher.publish(*(life.received() for life in lives))
    await app.fetch("update order_rows set ordered_at = ordered_at - make_interval(mins => substr(number, 3)::int)")
    await app.fetch("update order_rows set country = 'DE' where number in ('A-1', 'A-11')")
    await browser.sign_in()
    assert await through(browser, "/orders?country=DE") == (["A-1", "A-11"], 3)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("status=nonsense", "status"),
        ("colour=red", "colour"),
        ("cursor=nonsense", "cursor"),
        ("country=Austria", "country"),
        ("since=yesterday", "since"),
        ("view=mine", "view"),
    ],
)
async def test_a_filter_that_cannot_be_used_is_a_page_that_names_it(browser: Browser, query: str, named: str) -> None:
    await browser.sign_in()
    page = await browser.get(f"/orders?{query}")
    assert page.status == 400 and named in page.text and page.headers["content-type"].startswith("text/html")


async def test_a_cursor_of_other_filters_is_refused(
    monkeypatch: pytest.MonkeyPatch, publisher: Publisher, browser: Browser
) -> None:
    monkeypatch.setattr(listing, "PAGE_ROWS", 1)
    await publisher.publish(*(event for n in range(3) for event in placed(Life(number=f"A-{n}"))))
    await browser.sign_in()
    found = re.search(r"cursor=([\w-]+)", (await browser.get("/orders")).text)
    assert found is not None
    assert (await browser.get(f"/orders?status=placed&cursor={found[1]}")).status == 400


# -- search -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["A-1", "a-1", "536", "anna", "ANNA O'Brien", "o'brien", "anna@example.com", "mug-red", "1Z9", "C-7", "ánna"],
)
async def test_an_order_is_found_by_its_number_and_by_every_word(
    publisher: Publisher, browser: Browser, text: str
) -> None:
    wanted = Life(number="536365" if text == "536" else "A-1")
    other = Life(number="B-2")
    await publisher.publish(
        wanted.received(), wanted.shipped("1Z999"), wanted.credited("C-7", 1),
        other.received(buyer=Buyer(name="Zoe"), ship_to=None, lines=(), totals=Totals(grand_minor=0)),
    )  # fmt: skip
    await browser.sign_in()
    assert numbers((await browser.get("/orders", q=text)).text) == [wanted.number]


async def test_who_may_not_see_personal_data_does_not_find_by_it_nor_read_it(
    publisher: Publisher, browser: Browser
) -> None:
    life = Life()
    await publisher.publish(life.received(), life.shipped("1Z999"))
    await browser.sign_in("viewer")
    for text in ("anna", "anna@example.com", "1Z999"):
        assert numbers((await browser.get("/orders", q=text)).text) == [], text
    assert numbers((await browser.get("/orders", q="mug-red")).text) == ["A-1"]


async def through(browser: Browser, address: str) -> tuple[list[str], int]:
    """Returns the numbers of a list over all its pages, and how many pages it has."""
    shown, pages = [], 0
    while address:
        page = await browser.get(address)
        shown += numbers(page.text)
        pages += 1
        found = re.search(r'rel="next" href="([^"]+)">Go on', page.text)
        assert ("Searched back to" in page.text) == bool(found)
        address = found[1].replace("&amp;", "&") if found else ""
    return shown, pages


@pytest.mark.parametrize(
    ("text", "found", "pages"),
    [
        ("mug-red", 12, 3),  # a word that is common
        ("mug-red anna", 11, 3),
        ("zoe", 2, 1),
        ("zoe mug-red", 1, 1),  # looked up by the rare word
        ("zoe mug-red anna", 0, 1),
        ("A-", 13, 3),  # numbers with a common beginning
        ("mug-red A-12", 1, 1),
    ],
)
async def test_a_word_that_very_many_orders_have_is_a_filter_and_finds_the_same(
    monkeypatch: pytest.MonkeyPatch, app: App, publisher: Publisher, browser: Browser, text: str, found: int, pages: int
) -> None:
    zoe = {"buyer": Buyer(name="Zoe"), "ship_to": None}
    lives = [Life(number=f"A-{n}") for n in range(13)]
    await publisher.publish(
        *(life.received() for life in lives[2:]), lives[0].received(**zoe),
        lives[1].received(**zoe, lines=(), totals=Totals(grand_minor=0)),
    )  # fmt: skip
    await app.fetch("update order_rows set ordered_at = ordered_at - make_interval(mins => substr(number, 3)::int)")
    await browser.sign_in()
    looked_up = numbers((await browser.get("/orders", q=text)).text)
    monkeypatch.setattr(listing, "COMMON", 3)
    monkeypatch.setattr(listing, "LOOK_BACK", 5)
    assert await through(browser, f"/orders?q={text.replace(' ', '+')}") == (looked_up, pages)
    assert len(looked_up) == found


@pytest.mark.parametrize(
    "text", ["'", "\\", "a & b", ":*", "((", "!", "x:A", "<script>alert(1)</script>", "%", "'; drop table x"]
)
async def test_no_search_breaks_the_page_or_becomes_a_part_of_it(
    publisher: Publisher, browser: Browser, text: str
) -> None:
    await publisher.publish(*placed(Life()))
    await browser.sign_in()
    page = await browser.get("/orders", q=text)
    assert page.status == 200 and "<script" not in foreign(page.text)


# -- stores and people ------------------------------------------------------------------------------------------------


async def test_a_person_sees_the_stores_that_are_theirs_and_no_other(publisher: Publisher, browser: Browser) -> None:
    mine, foreign = Life(number="MINE"), Life(number="FOREIGN", store_id="st_2")
    await publisher.publish(*placed(mine), *placed(foreign))
    await browser.sign_in("operator", stores=["st_1"])
    page = await browser.get("/orders")
    assert numbers(page.text) == ["MINE"] and "st_2" not in page.text
    assert (await browser.get("/orders?store=st_2")).status == 404
    known = await browser.get(f"/orders/{mine.order_id}")
    hidden, unknown = await browser.get(f"/orders/{foreign.order_id}"), await browser.get(f"/orders/{uuid4()}")
    assert known.status == 200
    assert hidden.status == unknown.status == 404
    assert hidden.text.replace(str(foreign.order_id), "") == re.sub(r"[0-9a-f-]{36}", "", unknown.text)


async def test_the_page_of_an_order_shows_what_the_lists_have_while_its_owners_are_silent(
    publisher: Publisher, browser: Browser
) -> None:
    life = Life(number="A-7")
    await publisher.publish(*placed(life), life.paid(authorized_minor=20_00, captured_minor=1_50))
    await browser.sign_in()
    page = await browser.get(f"/orders/{life.order_id}")
    assert page.status == 200
    assert page.text.count("is silent") == 5
    for part in ("A-7", "It waits for an approval", "orders.edit", "20.00", "1.50", "place.approve"):
        assert part in page.text, part


async def test_no_text_of_an_order_becomes_markup(publisher: Publisher, browser: Browser) -> None:
    life = Life(number='<script>alert("1")</script>')
    await publisher.publish(life.received(), life.next(orders.TagsChanged, actor="x", tags=("a",)))
    await browser.sign_in()
    for address in ("/orders", f"/orders/{life.order_id}"):
        text = (await browser.get(address)).text
        assert "<script" not in foreign(text) and "&lt;script&gt;" in text


# -- signing in -------------------------------------------------------------------------------------------------------


async def test_every_page_needs_a_session_and_leads_back_after_signing_in(
    publisher: Publisher, browser: Browser
) -> None:
    life = Life()
    await publisher.publish(*placed(life))
    for address in ("/orders", f"/orders/{life.order_id}", "/orders?status=placed&view=approval"):
        page = await browser.get(address)
        assert (page.status, page.location) == (303, "/sign-in")
    assert (await browser.get("/sign-in")).status == 200
    assert (await browser.sign_in()).location == "/orders?status=placed&view=approval"


async def test_a_link_signs_in_once(app: App, browser: Browser) -> None:
    token = await sessions.invite(app, "ann", ["viewer"], None, datetime.now(UTC))
    shown = await browser.get("/sign-in", token=token)
    assert shown.status == 200 and token in shown.text and "__Host-session" not in browser.cookies
    signed = await browser.post("/sign-in", {"token": token})
    assert (signed.status, signed.location) == (303, "/orders")
    cookie = signed.headers["set-cookie"] if "__Host-session" in signed.headers["set-cookie"] else ""
    again = await Browser(app).post("/sign-in", {"token": token})
    assert again.status == 410 and "does not work any more" in again.text
    assert (await browser.get("/orders")).status == 200
    assert cookie == "" or {"HttpOnly", "Secure"} <= {part.strip() for part in cookie.split(";")}


async def test_a_link_that_is_older_than_ten_minutes_signs_nobody_in(app: App, browser: Browser) -> None:
    token = await sessions.invite(app, "ann", ["viewer"], None, datetime.now(UTC))
    await app.fetch("update sign_in_links set expires_at = now() - interval '1 second'")
    assert (await browser.post("/sign-in", {"token": token})).status == 410
    assert (await browser.post("/sign-in", {"token": "nonsense"})).status == 410


@pytest.mark.parametrize(
    "change",
    ["seen_at = now() - interval '31 minutes'", "created_at = now() - interval '13 hours'", "ended_at = now()"],
)
async def test_a_session_ends(app: App, browser: Browser, change: str) -> None:
    await browser.sign_in()
    assert (await browser.get("/orders")).status == 200
    await app.fetch(f"update sessions set {change}")
    assert (await browser.get("/orders")).status == 303


async def test_who_signs_out_is_out_with_the_old_cookie_too(browser: Browser) -> None:
    await browser.sign_in()
    kept = dict(browser.cookies)
    assert (await browser.post("/sign-out", {})).status == 303
    browser.cookies = kept
    assert (await browser.get("/orders")).status == 303


@pytest.mark.parametrize(
    "sent",
    [
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": "", "origin": "http://evil.test"},
        {"sec-fetch-site": "", "origin": "http://console.test:81"},
        {"sec-fetch-site": "", "origin": ""},
        {"sec-fetch-site": "", "origin": "null"},
        {"sec-fetch-site": "same-site", "origin": "http://console.test"},
    ],
)
async def test_a_request_of_another_origin_changes_nothing(app: App, browser: Browser, sent: dict[str, str]) -> None:
    await browser.sign_in()
    answer = await browser.post("/sign-out", {}, **sent)
    assert answer.status == 403
    assert (await browser.get("/orders")).status == 200


async def test_without_fetch_metadata_the_own_origin_is_enough(browser: Browser) -> None:
    await browser.sign_in()
    answer = await browser.post("/sign-out", {}, **{"sec-fetch-site": "", "origin": "http://console.test"})
    assert answer.status == 303


@pytest.mark.parametrize("wanted", ["//evil.test", "/\\evil.test", "https://evil.test", "javascript:alert(1)", "/a\nb"])
async def test_signing_in_leads_to_no_other_site(browser: Browser, wanted: str) -> None:
    from urllib.parse import quote

    browser.cookies["__Host-next"] = quote(wanted, safe="")
    assert (await browser.sign_in()).location == "/orders"


# -- what every page has ----------------------------------------------------------------------------------------------


async def test_every_page_has_the_headers_that_keep_others_out(publisher: Publisher, browser: Browser) -> None:
    life = Life()
    await publisher.publish(*placed(life))
    answers = [await browser.get(address) for address in ("/orders", "/sign-in", "/nothing/here")]
    await browser.sign_in()
    answers += [await browser.get(address) for address in ("/orders", f"/orders/{life.order_id}", "/nothing/here", "/")]
    assert [one.status for one in answers] == [303, 200, 404, 200, 200, 404, 200]
    for one in answers:
        policy = one.headers["content-security-policy"]
        assert policy.startswith("default-src 'self'") and "unsafe" not in policy
        assert one.headers["x-content-type-options"] == "nosniff"
        assert not re.search(r"<[^>]+\sstyle=|<style|<script|\son\w+=", foreign(one.text))
        if one.status == 200:
            assert one.headers["cache-control"] == "no-store"


async def test_files_have_a_name_that_changes_with_their_content_and_are_kept(browser: Browser) -> None:
    page = await browser.get("/sign-in")
    names = re.findall(r"/assets/[\w.]+", page.text)
    assert len(set(names)) == 2
    for name in names:
        answer = await browser.get(name)
        assert answer.status == 200 and "immutable" in answer.headers["cache-control"]
    assert (await browser.get("/assets/console.css")).status == 404
