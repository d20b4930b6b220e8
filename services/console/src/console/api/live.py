"""The stream of a browser: what happens on the channels that its pages watch, as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from console.api.refusals import refusal
from console.api.serving import SESSION, Pages
from console.live.watcher import Watcher, framed

HEARTBEAT_SECONDS: Final = 15.0
"""Proxies close connections that are silent; and the session is checked."""
PACE_SECONDS: Final = 0.25
"""A page changes at most four times a second: what comes meanwhile is sent together."""
CHANNELS_MAX: Final = 500
"""Eight tabs with a list of 50 rows each."""

AFTER_CHARACTERS_MAX: Final = 8_000
"""Positions of some pages: that of a tail has a thousand."""


def add_routes(router: APIRouter, pages: Pages) -> None:
    hub = pages.hub

    @router.get("/live")
    async def live(
        request: Request,
        channel: Annotated[list[str], Query(min_length=1, max_length=CHANNELS_MAX)],
        after: Annotated[str, Query(max_length=AFTER_CHARACTERS_MAX)] = "",
        last_event_id: Annotated[str, Header(max_length=AFTER_CHARACTERS_MAX)] = "",
    ) -> Response:
        token = request.cookies.get(SESSION, "")
        session = await pages.session(token, seen=False)
        if session is None:  # not a page: there is nothing to come back to
            return Response(status_code=401)
        channels = await hub.admitted(session.person, frozenset(channel))
        if not channels:
            raise refusal("channel_unknown", f"{channel[0][:100]} is nothing that you may watch")
        if hub.is_full:
            raise refusal("too_many_streams", "the process serves as many as it may")
        watcher = Watcher(session.person, channels, last_event_id or after)
        events = _events(pages, watcher, token)
        return StreamingResponse(events, headers={"cache-control": "no-store"}, media_type="text/event-stream")


async def _events(pages: Pages, watcher: Watcher, token: str) -> AsyncIterator[bytes]:
    """Yields until the browser leaves, the session is over or has other rights, or the process ends."""
    leave = pages.hub.join(watcher)
    try:
        yield b"retry: 1000\n\n"
        checked_at = asyncio.get_running_loop().time()
        while True:
            due = checked_at + HEARTBEAT_SECONDS - asyncio.get_running_loop().time()
            if due > 0 and await watcher.wait(due):
                if watcher.closed:
                    return
                yield watcher.take()
                await asyncio.sleep(PACE_SECONDS)
                continue
            session = await pages.session(token, seen=False)
            if session is None or session.person != watcher.person:
                if session is None:
                    yield framed("", {"signed_out": True}).frame
                return
            checked_at = asyncio.get_running_loop().time()
            yield watcher.with_id(framed("", {"beat": True}).frame)
    finally:
        leave()
