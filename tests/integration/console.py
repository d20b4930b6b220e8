"""A person in the console of a shop: signed in, by links and forms alone."""

from __future__ import annotations

import asyncio
import html
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.integration.shop import Shop


@dataclass(frozen=True)
class Page:
    status: int
    text: str


class Console:
    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self._url = session, url
        self._cookie: dict[str, str] = {}

    async def sign_in(self, token: str) -> None:
        answer = await self._sent("POST", "/sign-in", {"token": token})
        self._cookie = {"cookie": f"__Host-session={answer.cookies['__Host-session'].value}"}

    async def get(self, path: str) -> str:
        answer = await self._sent("GET", path)
        text = await answer.text()
        assert answer.status == 200, text
        return text

    async def post(self, path: str, fields: Mapping[str, str]) -> Page:
        """A redirect is not followed: 303."""
        answer = await self._sent("POST", path, fields)
        return Page(answer.status, await answer.text())

    @asynccontextmanager
    async def stream(self, page: str) -> AsyncIterator[AsyncIterator[Mapping[str, Any]]]:
        """What is sent to a page that is open, message by message."""
        channels, [position] = re.findall('data-channel="([^"]*)"', page), re.findall('data-position="([^"]*)"', page)
        query = [("channel", html.unescape(one)) for one in channels] + [("after", html.unescape(position))]
        async with self._session.get(f"{self._url}/live", params=query, headers=self._cookie) as answer:
            assert answer.status == 200, await answer.text()
            yield (json.loads(line[6:]) async for line in answer.content if line.startswith(b"data: "))

    async def _sent(self, method: str, path: str, fields: Mapping[str, str] | None = None) -> aiohttp.ClientResponse:
        named = {**self._cookie, "origin": self._url, "sec-fetch-site": "same-origin"}
        address = f"{self._url}{path}"
        async with self._session.request(method, address, data=fields, headers=named, allow_redirects=False) as answer:
            await answer.read()
            return answer


@asynccontextmanager
async def signed_in(shop: Shop, *options: str) -> AsyncIterator[Console]:
    """options: of `python -m console sign-in`. The person sees the store of the shop."""
    said = await asyncio.to_thread(shop.system.run, "console", "sign-in", "--store", shop.store, *options)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        console = Console(session, shop.system.url("console"))
        await console.sign_in(said.splitlines()[0].partition("token=")[2])
        yield console
