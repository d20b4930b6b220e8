"""Waits of tests. A wait ends as soon as its condition holds; its limit is for what never comes."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, Final

PATIENCE_SECONDS: Final = 120.0
"""On a machine that is busy with other work, a second of a quiet one can take a minute. Shorter than the time limit of a whole
test (`timeout` in `pyproject.toml`), so that a failure names what was awaited. Where speed is the subject, a test measures it."""
POLL_SECONDS: Final = 0.01


def patience() -> asyncio.Timeout:
    """The time limit of a block that waits for one thing."""
    return asyncio.timeout(PATIENCE_SECONDS)


async def until(condition: Callable[[], Any], awaited: str) -> Any:
    """Polls a condition, which may be asynchronous. Returns its first true value; raises AssertionError with what was awaited."""
    try:
        async with patience():
            while True:
                found = condition()
                if inspect.isawaitable(found):
                    found = await found
                if found:
                    return found
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise AssertionError(f"waited {PATIENCE_SECONDS:.0f} s for: {awaited}") from None
