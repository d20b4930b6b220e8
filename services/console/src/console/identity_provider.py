"""The identity provider, asked by OpenID Connect: where people sign in, who has signed in with a code, where they sign out.

The provider's description and its keys are read again after CACHED_SECONDS; the keys also once if none of them fits a token.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final, NamedTuple, Self
from urllib.parse import urlsplit

import httpx2
import structlog
from authlib.common.urls import add_params_to_uri
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.oidc.discovery import get_well_known_url
from pydantic import AfterValidator, BaseModel

from console.domain.id_tokens import Expected, KeyUnknown, Stated, TokenInvalid, stated, verified
from console.people import Identity
from console.settings import Settings, protected

log = structlog.get_logger("console.identity_provider")

CACHED_SECONDS: Final = 600.0
EXCHANGE_SECONDS_MAX: Final = 5.0
"""A code is exchanged once. An answer that is given up is a code lost: so it has longer than a question that a page asks."""
CALLBACK: Final = "/sign-in/callback"
"""Where the provider sends people back to."""
LATER: Final = frozenset({"server_error", "temporarily_unavailable"})
"""Errors that pass."""


class ProviderSilent(Exception):
    """It cannot be reached, or has no answer in time."""


class ProviderUnusable(Exception):
    """Its answer, or how the console is registered there, is wrong; the sentence states what."""


class CodeOutdated(Exception):
    """The provider does not accept the code: it was used, or is too old."""


Endpoint = Annotated[str, AfterValidator(protected)]


class Described(BaseModel):
    """OpenID Connect Discovery 1.0, section 3: what the console uses of it."""

    issuer: str
    authorization_endpoint: Endpoint
    token_endpoint: Endpoint
    jwks_uri: Endpoint
    userinfo_endpoint: Endpoint | None = None
    end_session_endpoint: Endpoint | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)


class Flow(NamedTuple):
    """One sign-in of one browser, in a cookie that only this browser has. So no other browser can bring it to its end."""

    state: str
    nonce: str
    verifier: str
    """The secret of PKCE (RFC 7636)."""

    @classmethod
    def new(cls) -> Self:
        return cls(*(secrets.token_urlsafe(32) for _ in cls._fields))

    @classmethod
    def read(cls, cookie: str) -> Self | None:
        parts = cookie.split(".")
        return cls(*parts) if len(parts) == len(cls._fields) and all(parts) else None

    def __str__(self) -> str:
        return ".".join(self)


class IdentityProvider:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._redirect_uri = f"{settings.base_url}{CALLBACK}"
        self._tls = httpx2.create_ssl_context()
        self._described: tuple[float, Described] | None = None
        self._keys: tuple[float, Mapping[str, Any]] | None = None

    @property
    def name(self) -> str:
        """As the button has it."""
        return urlsplit(self._settings.oidc_issuer).netloc

    async def begin(self, flow: Flow) -> str:
        """Returns the address where a browser begins to sign in. Raises ProviderSilent, ProviderUnusable."""
        async with self._asking(self._settings.ask_seconds_max) as client:
            described = await self._description(client)
            url: str
            url, _ = client.create_authorization_url(
                described.authorization_endpoint, state=flow.state, code_verifier=flow.verifier, nonce=flow.nonce
            )
            return url

    async def end(self, code: str, flow: Flow) -> tuple[Identity, str]:
        """Exchanges a code for the person who has signed in, and the ID token that states them.

        Raises ProviderSilent, ProviderUnusable, CodeOutdated, TokenInvalid.
        """
        async with self._asking(EXCHANGE_SECONDS_MAX) as client:
            described = await self._description(client)
            client.token_endpoint_auth_method = self._client_auth(described)
            tokens = await client.fetch_token(
                described.token_endpoint, grant_type="authorization_code", code=code, code_verifier=flow.verifier
            )
            if not isinstance(id_token := tokens.get("id_token"), str):
                raise ProviderUnusable("it answers without an ID token: the scope openid is not granted")
            claims = await self._verified(client, described, id_token, tokens.get("access_token"), flow)
            found = await self._stated(client, described, claims, tokens.get("access_token"))
        return Identity(self._settings.oidc_issuer, found.subject, found.name, groups=found.groups), id_token

    async def sign_out_url(self, id_token: str) -> str | None:
        """Returns where the person ends the session at the provider, too; None if it offers no such address, or is silent."""
        try:
            async with self._asking(self._settings.ask_seconds_max) as client:
                described = await self._description(client)
        except (ProviderSilent, ProviderUnusable):
            return None
        if described.end_session_endpoint is None:
            return None
        back = f"{self._settings.base_url}/sign-in"
        named = {
            "id_token_hint": id_token,
            "client_id": self._settings.oidc_client_id,
            "post_logout_redirect_uri": back,
        }
        url: str = add_params_to_uri(described.end_session_endpoint, named)
        return url

    # -- what is asked ------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _asking(self, seconds: float) -> AsyncIterator[AsyncOAuth2Client]:
        settings = self._settings
        client = AsyncOAuth2Client(
            settings.oidc_client_id, settings.oidc_client_secret or None, scope=settings.oidc_scopes,
            redirect_uri=self._redirect_uri, code_challenge_method="S256", timeout=seconds, verify=self._tls,
        )  # fmt: skip
        try:
            async with asyncio.timeout(seconds), client:
                yield client
        except OAuthError as error:
            log.warning("provider_refused", error=error.error, description=error.description)
            if error.error == "invalid_grant":
                raise CodeOutdated from None
            if error.error in LATER:
                raise ProviderSilent(f"it answers {error.error}") from None
            raise ProviderUnusable(f"it refuses the console: {str(error.error)[:40]}") from None
        except (TimeoutError, httpx2.TransportError) as error:
            log.warning("provider_silent", error=repr(error))
            raise ProviderSilent(f"no answer within {seconds:g} s") from None
        except httpx2.HTTPStatusError as error:
            log.warning("provider_failed", error=repr(error))
            kind = ProviderSilent if error.response.status_code >= 500 else ProviderUnusable
            raise kind(f"it answers {error.response.status_code}") from None
        except (httpx2.HTTPError, ValueError) as error:
            log.warning("provider_unusable", error=repr(error))
            raise ProviderUnusable("its answer is not what OpenID Connect describes") from None

    async def _description(self, client: AsyncOAuth2Client) -> Described:
        if self._described is None or self._described[0] < time.monotonic():
            url = get_well_known_url(self._settings.oidc_issuer, external=True)
            found = Described.model_validate(await _json(client, url))
            if found.issuer != self._settings.oidc_issuer:
                raise ProviderUnusable("it describes another issuer than CONSOLE_OIDC_ISSUER, to the letter")
            self._described = (time.monotonic() + CACHED_SECONDS, found)
        return self._described[1]

    def _client_auth(self, described: Described) -> str:
        if not self._settings.oidc_client_secret:
            return "none"
        offered = described.token_endpoint_auth_methods_supported
        return "client_secret_post" if offered and "client_secret_basic" not in offered else "client_secret_basic"

    async def _verified(
        self, client: AsyncOAuth2Client, described: Described, id_token: str, access_token: str | None, flow: Flow
    ) -> Mapping[str, Any]:
        expected = Expected(described.issuer, self._settings.oidc_client_id, flow.nonce)
        try:
            return verified(id_token, access_token, await self._key_set(client, described), expected, time.time())
        except KeyUnknown:
            self._keys = None
        try:
            return verified(id_token, access_token, await self._key_set(client, described), expected, time.time())
        except KeyUnknown as error:
            raise TokenInvalid(str(error)) from None

    async def _key_set(self, client: AsyncOAuth2Client, described: Described) -> Mapping[str, Any]:
        if self._keys is None or self._keys[0] < time.monotonic():
            self._keys = (time.monotonic() + CACHED_SECONDS, await _json(client, described.jwks_uri))
        return self._keys[1]

    async def _stated(
        self, client: AsyncOAuth2Client, described: Described, claims: Mapping[str, Any], access_token: str | None
    ) -> Stated:
        """Groups are in the ID token; some providers state them at their userinfo endpoint instead."""
        wanted = self._settings.oidc_groups_claim
        if wanted not in claims and described.userinfo_endpoint is not None and access_token:
            bearer = {"authorization": f"Bearer {access_token}"}
            more = await _json(client, described.userinfo_endpoint, headers=bearer)
            if more.get("sub") != claims["sub"]:
                raise TokenInvalid("userinfo is about another person than the ID token")
            claims = {**more, **claims}
        return stated(claims, wanted)


async def _json(client: AsyncOAuth2Client, url: str, **more: Any) -> Mapping[str, Any]:
    """Returns the JSON object at an address. Raises ValueError, httpx2.HTTPError."""
    response = await client.request("GET", url, withhold_token=True, **more)
    response.raise_for_status()
    found = response.json()
    if not isinstance(found, dict):
        raise ValueError(f"{url} is no JSON object")
    return found
