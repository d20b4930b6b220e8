"""What is asked beside the pages is not given up because a page no longer waits for it."""

from __future__ import annotations

import asyncio

import pytest

from console.remembered import Remembered


@pytest.mark.asyncio
async def test_what_is_not_learned_while_a_page_waits_is_learned_later() -> None:
    released = asyncio.Event()

    async def ask(key: str) -> int:
        await released.wait()
        return 1

    remembered = Remembered(ask, 60)
    assert remembered.get("routes") is None
    await remembered.settled(0.01)
    assert remembered.get("routes") is None
    released.set()
    await remembered.settled()
    assert remembered.get("routes") == 1
