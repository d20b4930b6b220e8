"""What is asked of other services beside the pages, so that no page waits for it: a value that is a little old."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

import structlog

from chassis.batch.errors import is_transient

log = structlog.get_logger("console.remembered")

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")
REMEMBERED_MAX: Final = 1_000
"""Keys that a process remembers; behind that the one that was read longest ago goes."""


class Remembered(Generic[Key, Value]):
    def __init__(self, ask: Callable[[Key], Awaitable[Value | None]], seconds: float) -> None:
        """ask: returns None if it has learned nothing; then the value before stays. seconds: the age at which it is asked again."""
        self._ask, self._seconds = ask, seconds
        self._values: dict[Key, Value] = {}
        self._asked_at: dict[Key, float] = {}
        self._asking: dict[Key, asyncio.Task[None]] = {}

    def get(self, key: Key) -> Value | None:
        """Returns what was learned last, at once; None: nothing yet. Has it asked anew if it is old."""
        if time.monotonic() - self._asked_at.get(key, -self._seconds) >= self._seconds:
            self._begin(key)
        return self._values.get(key)

    async def within(self, key: Key, seconds: float) -> Value | None:
        """As `get`, but if nothing was ever learned, waits for an answer until it was asked for `seconds`: then the asking goes on."""
        value = self.get(key)
        if value is None and (task := self._asking.get(key)) is not None:
            left = self._asked_at[key] + seconds - time.monotonic()
            await asyncio.wait([task], timeout=max(0.0, left))
        return self._values.get(key)

    async def asked(self, key: Key) -> Value | None:
        """Has it asked now, however old the value is, and waits for the answer."""
        self._begin(key)
        await asyncio.wait([self._asking[key]])
        return self._values.get(key)

    async def settled(self) -> None:
        """Waits until nothing is being asked."""
        if self._asking:
            await asyncio.wait(self._asking.values())

    def _begin(self, key: Key) -> None:
        if key in self._asking:
            return
        self._asked_at.pop(key, None)
        self._asked_at[key] = time.monotonic()
        self._asking[key] = asyncio.create_task(self._learn(key))

    async def close(self) -> None:
        for task in self._asking.values():
            task.cancel()
        await self.settled()

    async def _learn(self, key: Key) -> None:
        try:
            if (value := await self._ask(key)) is not None:
                self._values[key] = value
            while len(self._asked_at) > REMEMBERED_MAX:
                oldest = next(iter(self._asked_at))
                del self._asked_at[oldest]
                self._values.pop(oldest, None)
        except Exception as error:  # the value before stays, and it is asked again when that is old
            log.warning("not_learned", key=str(key), error=repr(error), exc_info=not is_transient(error))
        finally:
            del self._asking[key]
