"""HTTP to a gateway: no redirects, a time limit, answers of limited size. Anything but an answer is Unclear."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from payments.gateways.port import Unclear

ANSWER_BYTES_MAX: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Any
    """Parsed JSON; None if the body is not JSON, or longer than `ANSWER_BYTES_MAX`."""


class Http:
    """Connections to one gateway, opened with the first request."""

    def __init__(self, url: str, timeout_seconds: float, headers: Mapping[str, str] | None = None) -> None:
        self._url, self._timeout, self._headers = url.rstrip("/"), timeout_seconds, dict(headers or {})
        self._session: aiohttp.ClientSession | None = None

    async def request(self, method: str, path: str, **request: Any) -> Answer:
        """request: keyword arguments of aiohttp. Raises Unclear if there is no answer in time."""
        try:
            async with self._open().request(method, self._url + path, allow_redirects=False, **request) as response:
                body = b""
                while len(body) <= ANSWER_BYTES_MAX and (more := await response.content.read(ANSWER_BYTES_MAX)):
                    body += more
                return Answer(response.status, _json(body))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unclear(f"{method} {path}: {type(error).__name__} {error}".strip()) from error

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            timeout = aiohttp.ClientTimeout(total=self._timeout)
            self._session = aiohttp.ClientSession(timeout=timeout, trust_env=False, headers=self._headers)
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            await asyncio.sleep(0)  # the transports close in the next turn of the loop


def _json(body: bytes) -> Any:
    if len(body) > ANSWER_BYTES_MAX:
        return None
    try:
        return json.loads(body)
    except ValueError:
        return None
