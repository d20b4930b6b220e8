"""The window on the feed, against a feed in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from chassis.declare.app import App
from tests.waiting import PATIENCE_SECONDS, patience
from webhooks.window import HEAD, READ_MAX, Window

pytestmark = pytest.mark.asyncio


@dataclass
class Feed:
    """Answers the queries of a window as the database does."""

    epoch: int = 1
    rows: list[dict[str, Any]] = field(default_factory=list)
    ending: bool = False
    error: Exception | None = None
    before_rows: Any = None
    """Called between the read of the head and that of the rows."""

    def write(self, *stores: str) -> None:
        for store in stores:
            self.rows.append({"position": len(self.rows) + 1, "epoch": self.epoch, "store_id": store, "type": "t"})

    def restore(self, position: int) -> None:
        del self.rows[position:]
        self.epoch += 1

    async def fetch(self, statement: str, *arguments: Any) -> list[dict[str, Any]]:
        if self.error is not None:
            raise self.error
        if statement == HEAD:
            return [{"epoch": self.epoch, "position": len(self.rows)}]
        if self.before_rows is not None:
            self.before_rows()
        after, limit = arguments
        return self.rows[after : after + limit]


@dataclass
class Follower:
    seen: list[Collection[str] | None] = field(default_factory=list)

    def __call__(self, stores: Collection[str] | None) -> None:
        self.seen.append(stores)


def following(feed: Feed, events_max: int = 20_000) -> tuple[Window, Follower]:
    """A window whose polls the test makes itself."""
    window, follower = Window(cast(App, feed), events_max), Follower()
    window._reading = cast(Any, SimpleNamespace(done=lambda: False))
    window.follow(follower)
    return window, follower


def positions(window: Window, store: str, after: int = 0, limit: int = 100) -> list[int]:
    return [event.position for event in window.after(store, after, limit)]


async def test_it_begins_at_the_head_and_has_what_comes_by_store() -> None:
    feed = Feed()
    feed.write("a", "b")
    window, follower = following(feed)
    assert not window.is_current
    assert await window.poll() == 0
    assert (window.is_current, window.begin, window.head, follower.seen) == (True, 2, 2, [None])
    feed.write("a", "b", "a")
    assert await window.poll() == 3
    assert (positions(window, "a"), positions(window, "b"), positions(window, "c")) == ([3, 5], [4], [])
    assert (positions(window, "a", after=3), positions(window, "a", limit=1)) == ([5], [3])
    assert (window.covers(1), window.covers(2), follower.seen[1:]) == (False, True, [{"a", "b"}])


async def test_it_keeps_the_newest_events_alone() -> None:
    feed = Feed()
    window, _ = following(feed, events_max=3)
    await window.poll()
    feed.write(*"abab", "a")
    await window.poll()
    assert (window.begin, positions(window, "a"), positions(window, "b")) == (2, [3, 5], [4])


async def test_a_poll_reads_so_many_events_and_the_next_one_goes_on() -> None:
    feed = Feed()
    window, _ = following(feed)
    await window.poll()
    feed.write(*["a"] * (READ_MAX + 1))
    assert [await window.poll() for _ in range(3)] == [READ_MAX, 1, 0]
    assert window.head == READ_MAX + 1


@pytest.mark.parametrize("written", [0, 1, 5])
async def test_a_restored_feed_begins_anew_however_far_it_has_come_since(written: int) -> None:
    feed = Feed()
    window, follower = following(feed)
    await window.poll()
    feed.write("a", "a", "a")
    await window.poll()
    feed.restore(1)
    feed.write(*["a"] * written)
    await window.poll()
    assert (window.place, positions(window, "a"), follower.seen[-1]) == ((2, 1 + written), [], None)


async def test_a_feed_that_is_restored_between_the_head_and_the_rows_leaves_nothing_in_memory() -> None:
    feed = Feed()
    window, _ = following(feed)
    await window.poll()
    feed.write("a", "a")

    def restored() -> None:
        feed.restore(0)
        feed.write("a", "a", "a")

    feed.before_rows = restored
    assert await window.poll() == 0
    assert (window.is_current, positions(window, "a")) == (False, [])


async def test_rows_that_come_after_the_last_follower_has_left_are_not_kept() -> None:
    feed = Feed()
    window = Window(cast(App, feed))
    leave = window.follow(lambda stores: None)
    async with patience():
        while not window.is_current:
            await asyncio.sleep(0)
        feed.before_rows = leave
        feed.write("a")
        while window.is_current:
            await asyncio.sleep(0.001)
    assert (positions(window, "a"), window.begin, window.head) == ([], 0, 0)


async def test_a_reader_waits_for_events_of_its_store_behind_its_place() -> None:
    feed = Feed()
    window = Window(cast(App, feed))
    with window.arrivals("a") as arrivals:
        assert await arrivals.wait(0, PATIENCE_SECONDS)  # the window has begun: there may be events before it
        assert not await arrivals.wait(0, 0.01)
        feed.write("b")
        waiting = asyncio.create_task(arrivals.wait(0, PATIENCE_SECONDS))
        while window.head < 1:
            await asyncio.sleep(0.001)
        assert not waiting.done()
        feed.write("a")
        assert await waiting
        assert await arrivals.wait(1, PATIENCE_SECONDS)  # it is there already
        feed.error = OSError("the database is away")
        waiting = asyncio.create_task(arrivals.wait(2, PATIENCE_SECONDS))
        await asyncio.sleep(0)
        feed.error = None
        feed.write("a")
        assert await waiting


async def test_a_reader_is_woken_when_the_process_ends() -> None:
    feed = Feed(ending=True)
    window = Window(cast(App, feed))
    with window.arrivals("a") as arrivals:
        await arrivals.wait(0, PATIENCE_SECONDS)
        assert await arrivals.wait(0, PATIENCE_SECONDS)
