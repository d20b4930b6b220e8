"""An identity provider of the tests: a real HTTP server that signs ID tokens, and does wrong what a test asks for."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import uuid4

from aiohttp import BasicAuth, web
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

CLIENT, SECRET = "console", "a-secret-of-the-console"


def key(kid: str) -> ECKey:
    return ECKey.generate_key("P-256", {"kid": kid, "use": "sig", "alg": "ES256"})


@dataclass
class Provider:
    """Signs in whoever `person` is. What it does wrong is set by the test."""

    person: dict[str, Any] = field(default_factory=lambda: {"sub": "8f2c", "name": "Ann Lee", "groups": ["ops"]})
    signing: ECKey = field(default_factory=lambda: key("k1"))
    published: list[ECKey] = field(default_factory=list)
    claims: dict[str, Any] = field(default_factory=dict)
    """Replace those that the token would have; None: leaves one out."""
    encode: Callable[[dict[str, Any]], str] | None = None
    """Makes the token in place of `signed`."""
    described: dict[str, Any] = field(default_factory=dict)
    """Replaces members of the description."""
    more_tokens: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] | None = None
    error: str = ""
    """The code that the token endpoint answers."""
    hangs: bool = False
    url: str = ""
    asked: list[str] = field(default_factory=list)
    """The paths that were asked, in their order."""
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    """Code -> the parameters of its authorization request. A code is taken out when it is used."""
    _runner: web.AppRunner | None = None

    async def start(self) -> None:
        self.published.append(self.signing)
        server = web.Application(middlewares=[self._note])
        server.router.add_get("/.well-known/openid-configuration", self._description)
        server.router.add_get("/keys", self._keys)
        server.router.add_post("/token", self._token)
        server.router.add_get("/userinfo", self._userinfo)
        self._runner = web.AppRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = site.name

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def authorize(self, address: str, **more: str) -> str:
        """Signs the person in, as its page would; returns the path and query that the browser is sent back to."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert address.startswith(f"{self.url}/authorize?") and asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT and asked["code_challenge_method"] == "S256"
        code = uuid4().hex
        self.codes[code] = asked
        back = {"code": code, "state": asked["state"], "session_state": "of the provider", "iss": self.url} | more
        return f"{urlsplit(asked['redirect_uri']).path}?{urlencode(back)}"

    def signed(self, claims: dict[str, Any]) -> str:
        return jwt.encode({"alg": "ES256", "kid": self.signing.kid}, claims, self.signing)

    # -- its endpoints ------------------------------------------------------------------------------------------------

    @web.middleware
    async def _note(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.asked.append(request.path)
        if self.hangs:
            await asyncio.sleep(3600)  # until its client gives up
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _description(self, request: web.Request) -> web.Response:
        found = {
            "issuer": self.url, "authorization_endpoint": f"{self.url}/authorize", "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys", "end_session_endpoint": f"{self.url}/end", "userinfo_endpoint": f"{self.url}/userinfo",
            "id_token_signing_alg_values_supported": ["ES256", "HS256", "none"],
        }  # fmt: skip
        return web.json_response({name: value for name, value in (found | self.described).items() if value is not None})

    async def _keys(self, request: web.Request) -> web.Response:
        return web.json_response(KeySet(list(self.published)).as_dict(private=False))

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        asked = self.codes.pop(str(form.get("code")), None)
        if self.error:
            return web.json_response({"error": self.error}, status=400)
        if BasicAuth.decode(request.headers["authorization"]) != BasicAuth(CLIENT, SECRET):
            return web.json_response({"error": "invalid_client"}, status=401)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(str(form.get("code_verifier")).encode()).digest())
        if (
            asked is None
            or form.get("redirect_uri") != asked["redirect_uri"]
            or challenge.rstrip(b"=").decode() != asked["code_challenge"]
        ):
            return web.json_response({"error": "invalid_grant"}, status=400)
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
            **self.person,
            **self.claims,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        tokens = {"access_token": "at", "token_type": "Bearer", "id_token": (self.encode or self.signed)(claims)}
        return web.json_response(
            {name: value for name, value in (tokens | self.more_tokens).items() if value is not None}
        )

    async def _userinfo(self, request: web.Request) -> web.Response:
        if request.headers["authorization"] != "Bearer at":
            return web.json_response({}, status=401)
        return web.json_response(self.userinfo if self.userinfo is not None else {"sub": self.person["sub"]})
