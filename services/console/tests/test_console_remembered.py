"""What is asked beside the pages is not given up because a page no longer waits for it."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import cast

import pytest

from chassis.declare.app import App
from console.api.bar import Bar
from console.owners import Answer, Owners
from console.remembered import Remembered
from tests.waiting import PATIENCE_SECONDS, patience


@pytest.mark.asyncio
async def test_what_is_not_learned_while_a_page_waits_is_learned_later() -> None:
    released = asyncio.Event()

    async def ask(key: str) -> int:
        await released.wait()
        return 1

    remembered = Remembered(ask, 60)
    assert remembered.get("routes") is None
    assert await remembered.within("routes", 0.01) is None
    released.set()
    await remembered.settled()
    assert remembered.get("routes") == 1


@pytest.mark.asyncio
async def test_a_page_does_not_wait_for_what_was_asked_long_before() -> None:
    never = asyncio.Event()

    async def ask(key: str) -> int:
        await never.wait()
        return 1

    remembered = Remembered(ask, 60)
    assert await remembered.within("routes", 0.5) is None
    async with patience():  # by now it was asked for as long as any page waits: the next ones do not
        pages = int(2 * PATIENCE_SECONDS / 0.5)
        assert [await remembered.within("routes", 0.5) for _ in range(pages)] == [None] * pages
    await remembered.close()


@pytest.mark.asyncio
async def test_the_routes_of_a_service_that_comes_later_are_learned_without_a_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("console.api.bar.LEARN_AGAIN_SECONDS", 0.01)
    asked: Counter[str] = Counter()

    class Starting:
        ask_seconds_max = 0.8

        async def read(self, name: str, path: str, *_: object, **__: object) -> Answer:
            asked[name] += 1
            if asked[name] < 3:
                return Answer("silent", why="it cannot be reached")
            return Answer("answered", {"paths": {"/v1/accounts": {}, "/v1/markets": {}}})

    bar = Bar(cast(App, None), cast(Owners, Starting()))
    await asyncio.wait_for(bar.learn(), PATIENCE_SECONDS)
    assert asked == {"orders": 3, "payments": 3}
    assert bar.offers("payments", "/v1/accounts") and not bar.offers("payments", "/v1/none")
