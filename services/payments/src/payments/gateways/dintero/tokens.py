"""The access token of Dintero's API: OAuth 2.0 client credentials, fetched once and used until shortly before it expires."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

import aiohttp
from pydantic import Field, ValidationError

from contracts.base import Frozen
from payments.gateways.http import Answer, Http
from payments.gateways.port import Unclear

AUDIENCE: Final = "https://api.dintero.com/v1/accounts/"
"""Followed by the account's id. A name in the token, not an address that is called."""
EARLY_SECONDS_MAX: Final = 300.0


class _Token(Frozen):
    access_token: str = Field(min_length=1, repr=False)
    expires_in: float = Field(gt=0)


class Authorized:
    """Requests of one account, each with a valid token."""

    def __init__(self, http: Http, account_id: str, client_id: str, client_secret: str) -> None:
        self._http, self._account_id = http, account_id
        self._basic = aiohttp.BasicAuth(client_id, client_secret)
        self._token, self._expires_at = "", 0.0
        self._fetching = asyncio.Lock()

    async def request(self, method: str, path: str, **request: Any) -> Answer:
        """Raises Unclear if there is no answer. A token that is rejected is replaced once: with 401 nothing was done."""
        headers = request.pop("headers", {})
        for is_last in (False, True):
            token = await self._valid_token()
            bearer = {"Authorization": f"Bearer {token}", **headers}
            answer = await self._http.request(method, path, headers=bearer, **request)
            if answer.status != 401 or is_last:
                break
            if token == self._token:
                self._expires_at = 0.0
        return answer

    async def _valid_token(self) -> str:
        async with self._fetching:
            if time.monotonic() >= self._expires_at:
                await self._fetch()
            return self._token

    async def _fetch(self) -> None:
        asked_at = time.monotonic()
        wanted = {"grant_type": "client_credentials", "audience": AUDIENCE + self._account_id}
        path = f"/v1/accounts/{self._account_id}/auth/token"
        answer = await self._http.request("POST", path, json=wanted, auth=self._basic)
        try:
            token = _Token.model_validate(answer.body if answer.status == 200 else None)
        except ValidationError:
            raise Unclear(f"Dintero gave no access token: status {answer.status}") from None
        early = min(EARLY_SECONDS_MAX, token.expires_in / 10)
        self._token, self._expires_at = token.access_token, asked_at + token.expires_in - early
