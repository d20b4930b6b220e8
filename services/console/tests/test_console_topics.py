"""Pages of topics and their stream, over topics in memory; `tests/integration/test_feed.py` reads a broker.

Needs `CONSOLE_TEST_DATABASE_URL`.
"""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator, Callable
from itertools import product
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import pytest_asyncio
from console_owners import REAL, TABLES
from console_world import STORE, Browser, Life, Publisher, emptied
from fake_topics import FakeTopics
from hypothesis import given
from hypothesis import strategies as st

from chassis.kafka.inspection import TopicPartition
from chassis.process.app import App
from console.domain.people import ROLES
from console.live import tails
from console.live.tails import begin, channel_of, sought_of
from console.sought import Sought
from console.tailing import Place, cursor_of
from contracts.registry import TOPICS

PAGE = "/topics/tail"


class TestOnARealPostgres:
    pytestmark = REAL

    @pytest.fixture
    def topics(self) -> FakeTopics:
        return FakeTopics()

    @pytest_asyncio.fixture
    async def app(self, topics: FakeTopics) -> AsyncIterator[App]:
        async with topics.shown(), emptied(TABLES) as app:
            yield app

    @pytest.fixture
    def publisher(self, app: App) -> Publisher:
        return Publisher(app)

    @pytest.fixture
    def browser(self, app: App) -> Browser:
        return Browser(app)

    async def test_a_page_and_its_stream_have_every_message_that_fits_once(
        self, topics: FakeTopics, publisher: Publisher, browser: Browser
    ) -> None:
        await browser.sign_in("viewer")
        life, other = Life(), Life(number="A-2")
        topics.append(publisher.record(life.received()))
        address = f"{PAGE}?order={life.order_id}&type=orders.&text=buyer"
        shown = (await browser.get(address)).text
        assert listed(shown) == ["orders.received"]
        topics.append(publisher.record(life.paid(captured_minor=1)), publisher.record(other.received()))
        topics.append(publisher.record(life.received()))
        async with browser.stream(channel(shown), after=position(shown)) as stream:
            rows = (await stream.until(has("rows")))["rows"]
            assert listed(rows) == ["orders.received"] and set(ids(rows)).isdisjoint(ids(shown))
            assert "Brien" not in rows and "***" in rows
            topics.append(publisher.record(life.received()))
            assert len(ids((await stream.until(has("rows")))["rows"])) == 1
        assert len(ids((await browser.get(address)).text)) == 3

    async def test_a_tail_goes_on_after_a_broker_that_was_away_and_after_retention(
        self, topics: FakeTopics, publisher: Publisher, browser: Browser, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await browser.sign_in("viewer")
        shown = (await browser.get(PAGE)).text
        topics.append(publisher.record(Life().received()))
        topics.delete_all()
        topics.is_silent = True
        assert (await browser.get(PAGE)).status == 503
        async with browser.stream(channel(shown), after=position(shown)) as stream:
            topics.append(publisher.record(Life().received()))
            topics.is_silent = False
            assert len(ids((await stream.until(has("rows")))["rows"])) == 1

    async def test_a_tail_that_is_far_behind_skips_and_is_loaded_again(
        self, topics: FakeTopics, publisher: Publisher, browser: Browser, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tails, "BEHIND_MAX", 4)
        monkeypatch.setattr(tails, "ROWS_MAX", 3)
        await browser.sign_in("viewer")
        shown = (await browser.get(PAGE)).text
        lives = [Life() for _ in range(5)]
        topics.append(*(publisher.record(life.received()) for life in lives))
        async with browser.stream(channel(shown), after=position(shown)) as stream:
            far = await stream.until(has("cells"))
            assert far["refresh"] and "5 messages" in far["cells"]["skipped"]
            topics.append(*(publisher.record(life.received()) for life in lives[:4]))
            many = await stream.until(has("rows"))
            assert len(ids(many["rows"])) == 3 and "1 messages" in many["cells"]["skipped"]

    async def test_a_person_watches_the_stores_in_which_a_role_reads_events(
        self, topics: FakeTopics, publisher: Publisher, browser: Browser
    ) -> None:
        await browser.sign_in("viewer", stores=[STORE])
        shown = (await browser.get(PAGE)).text
        for stores in (None, frozenset({"st_2"}), frozenset({STORE, "st_2"})):
            assert (await browser.get("/live", channel=channel_of(Sought(stores)))).status == 404
        for nonsense in ("tail:colour=red", "tail:topic=none", "tail:order=x", "tail:type=a&type=b"):
            assert (await browser.get("/live", channel=f"{nonsense}&store={STORE}")).status == 404
        topics.append(*(publisher.record(Life(store_id=store).received()) for store in ("st_2", STORE)))
        async with browser.stream(channel(shown), after=position(shown)) as stream:
            rows = (await stream.until(has("rows")))["rows"]
            assert len(ids(rows)) == 1 and "st_2" not in rows

    async def test_a_record_is_shown_and_revealed_by_the_scopes_of_its_store(
        self, app: App, topics: FakeTopics, publisher: Publisher, browser: Browser
    ) -> None:
        mine, theirs = (publisher.record(Life(store_id=store).received()) for store in (STORE, "st_2"))
        topics.append(mine, theirs)
        await browser.sign_in("viewer")
        both = (await browser.get(PAGE)).text
        for role, scope in product(ROLES, ("view", "reveal")):
            await browser.sign_in(role, stores=[STORE], name=role)
            [own] = ids((await browser.get(PAGE)).text)
            [foreign] = set(ids(both)) - {own}
            for one, may in ((own, True), (foreign, False)):
                path = f"/topics/{one}"
                if scope == "view":
                    answer, allowed = await browser.get(path), 200
                    assert "Brien" not in answer.text
                else:
                    answer = await browser.post(f"{path}/reveal", {})
                    allowed = 200 if "personal.view" in ROLES[role] else 403
                assert answer.status == (allowed if may else 404), (role, scope, answer.text)
        revealed = await app.fetch("select subject_id from audit where action = 'reveal'")
        assert {row["subject_id"] for row in revealed} == {own} and len(revealed) == len(ROLES) - 1


def channel(page: str) -> str:
    [found] = re.findall('data-channel="(tail:[^"]*)"', page)
    return html.unescape(found)


def position(page: str) -> str:
    [found] = re.findall('data-position="([^"]*)"', page)
    return html.unescape(found)


def ids(rows: str) -> list[str]:
    return re.findall('<tr id="([^"]+)"', rows)


def listed(rows: str) -> list[str]:
    """The type of each message."""
    return re.findall(r'<th scope="row"><a [^>]*><code>([\w.]+)<', rows)


def has(key: str) -> Callable[[dict[str, Any]], bool]:
    return lambda body: key in body


# -- channels and positions -------------------------------------------------------------------------------------------


@given(
    st.builds(
        Sought, st.none() | st.frozensets(st.text(min_size=1), min_size=1), st.sampled_from(["", *TOPICS]),
        st.none() | st.uuids(), st.text(), st.text(),
    )
)  # fmt: skip
def test_a_channel_names_everything_that_is_sought(sought: Sought) -> None:
    channel = channel_of(sought)
    assert sought_of(channel) == sought
    assert parse_qs(urlsplit(channel).path, keep_blank_values=True) is not None and channel.isprintable()


def test_a_tail_begins_at_the_oldest_of_its_positions_in_each_partition_and_now_where_none_has_one() -> None:
    one, two, three = (TopicPartition("orders.events.v1", number) for number in range(3))
    now = {one: 9, two: 9, three: 9}
    positions = [cursor_of(Place("on", found)) for found in ({one: 5, two: 8}, {one: 4}, {two: 7})]
    assert begin([*positions, "nonsense"], now) == {one: 4, two: 7, three: 9}
    assert begin([], now) == now
