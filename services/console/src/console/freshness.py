"""How current the lists are: every process that reads topics notes how far it has come."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

from chassis.declare.app import App
from chassis.work.loops import delayed
from console import sessions

PAUSE_SECONDS: Final = 1.0
STALE_AFTER: Final = timedelta(seconds=5)
"""Older lists are marked."""
PROCESS: Final = f"{socket.gethostname()}:{os.getpid()}"
NOTE: Final = """
insert into freshness (process, current_to, written_at) values ($1, now() - make_interval(secs => $2), now())
on conflict (process) do update set current_to = excluded.current_to, written_at = excluded.written_at"""
LEAVE: Final = "delete from freshness where process = $1 or written_at < now() - interval '1 day'"
CURRENT: Final = """
select coalesce(min(current_to) filter (where written_at > now() - interval '5 seconds'), max(current_to)) as current_to,
  now() as now from freshness"""
CLEAN_EVERY: Final = 600
"""Rounds of the loop between two deletions of old links and sessions."""


async def current_to(app: App) -> tuple[datetime | None, bool]:
    """Returns the time before which every event is in the lists, and whether that is long ago. None: no process ever ran."""
    [row] = await app.fetch(CURRENT)
    at: datetime | None = row["current_to"]
    return at, at is None or row["now"] - at > STALE_AFTER


def loops(app: App) -> Mapping[str, Callable[[], Awaitable[None]]]:
    async def note() -> None:
        rounds = 0
        try:
            while True:
                with delayed("freshness"):
                    if (behind := app.behind_seconds()) is not None:
                        await app.fetch(NOTE, PROCESS, behind)
                    if rounds % CLEAN_EVERY == 0:
                        await app.fetch(sessions.CLEAN)
                    rounds += 1
                await asyncio.sleep(PAUSE_SECONDS)
        finally:
            with delayed("freshness"):
                await app.fetch(LEAVE, PROCESS)

    return {"freshness": note}
