"""A browser without a window: requests to the console as a person's browser sends them."""

from __future__ import annotations

import html
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from uuid import uuid4

import aiohttp

from bench.projecting import signed_in
from bench.shop import Shop


class Browser:
    """Sends requests as a browser does, and follows what they are answered with."""

    def __init__(self, session: aiohttp.ClientSession, cookie: Mapping[str, str]) -> None:
        self.session, self._headers = session, {**cookie, "sec-fetch-site": "same-origin"}

    async def get(self, path: str, **query: str) -> str:
        async with self.session.get(path, params=query, headers=self._headers) as answer:
            return await _page(answer)

    async def post(self, path: str, **fields: str) -> str:
        async with self.session.post(path, data={**fields, "nonce": str(uuid4())}, headers=self._headers) as answer:
            return await _page(answer)

    async def first_event(self, page: str) -> float:
        """Watches what a page watches. Returns when its first event has come, as the clock of `time.perf_counter`."""
        query = {"channel": _attribute(page, "data-channel"), "after": _attribute(page, "data-position")}
        async with self.session.get("/live", params=query, headers=self._headers) as stream:
            assert stream.status == 200, await stream.text()
            async for line in stream.content:
                if line.startswith(b"data:"):
                    return time.perf_counter()
        raise AssertionError("the stream ended without an event")


@asynccontextmanager
async def browsing(shop: Shop, dsn: str, url: str) -> AsyncIterator[Browser]:
    """Signs a person in at the console at `url`. dsn: its database."""
    async with aiohttp.ClientSession(url, cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield Browser(session, await signed_in(shop, session, CONSOLE_DATABASE_URL=dsn))


def fields_of(page: str, *names: str) -> dict[str, str]:
    """Returns the values that the first fields of these names have on a page."""
    return {name: _attribute(page.split(f'name="{name}"', 1)[1], "value") for name in names}


def _attribute(page: str, name: str) -> str:
    return html.unescape(page.split(f'{name}="', 1)[1].split('"', 1)[0])


async def _page(answer: aiohttp.ClientResponse) -> str:
    text = await answer.text()
    assert answer.status == 200, f"{answer.url} is answered {answer.status}: {text[:500]}"
    return text
