"""How requests identify themselves besides their signature: by a certificate of the client, or by a token that a server issues."""

from __future__ import annotations

import asyncio
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Annotated, Final, NamedTuple, Protocol
from urllib.parse import quote_plus, urlencode

from pydantic import BaseModel, Field, StringConstraints, ValidationError

from webhooks import certificates
from webhooks.delivery.masking import masked, spellings
from webhooks.delivery.sender import Answer, Sender
from webhooks.domain.config import Auth, MtlsAuth, OAuth2Auth

EARLY_SECONDS: Final = 30
"""How long before its end a token is replaced: it may have to last for a slow request."""
EXPIRES_SECONDS: Final = 300
"""How long a token is used whose server does not state it."""
UNAUTHORIZED: Final = 401


class Credentials(Protocol):
    async def post(self, sender: Sender, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send a request that identifies itself; that it cannot is an Answer without a status. Raises `sender.NotOurs`."""


def credentials_of(auth: Auth, opened: Callable[[str], str]) -> Credentials:
    """opened: decrypts a secret value. Raises what it raises."""
    match auth:
        case MtlsAuth(certificate=certificate, private_key=str(key)):
            return Certificate(certificate, opened(key))
        case OAuth2Auth(client_secret=str(secret)):
            return Tokens(auth, opened(secret))
        case _:
            return Headers()


class Headers:
    """The headers of the request are all there is."""

    async def post(self, sender: Sender, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        return await sender.post(url, headers, body)


class Certificate:
    """Mutual TLS. The context is made once, by the first request."""

    def __init__(self, certificate: str, private_key: str) -> None:
        self._certificate, self._private_key = certificate, private_key
        self._loading: asyncio.Task[ssl.SSLContext] | None = None

    async def post(self, sender: Sender, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        if self._loading is None:  # in a thread: reading the authorities of the system takes some 10 ms
            load = asyncio.to_thread(certificates.client_context, self._certificate, self._private_key)
            self._loading = asyncio.create_task(load)
        try:
            context = await self._loading
        except certificates.BadCertificate:
            return Answer(None, "", "certificate_unusable", 0)
        return await sender.post(url, headers, body, context)


class Token(NamedTuple):
    value: str
    until: float
    """By the monotonic clock."""
    hidden: tuple[str, ...]
    """What is masked in answers."""


class Issued(BaseModel):
    """The answer of a token server (RFC 6749, 5.1)."""

    access_token: Annotated[str, StringConstraints(pattern=r"^[!-~]+$")]
    token_type: Annotated[str, StringConstraints(pattern=r"^[Bb][Ee][Aa][Rr][Ee][Rr]$")]
    expires_in: Annotated[int, Field(ge=0, le=10**10)] = EXPIRES_SECONDS


class Tokens:
    """Client credentials (RFC 6749, 4.4). A token is asked for once, however many requests wait for it."""

    def __init__(self, auth: OAuth2Auth, client_secret: str) -> None:
        self._url = auth.token_url
        # RFC 6749, 2.3.1: both are encoded as in a form before they are joined, so that a colon in the id is none between them
        basic = f"{quote_plus(auth.client_id)}:{quote_plus(client_secret)}"
        self._headers = {
            "authorization": f"Basic {b64encode(basic.encode()).decode()}",
            "content-type": "application/x-www-form-urlencoded",
            "accept": "application/json",
        }
        scope = {"scope": auth.scope} if auth.scope else {}
        self._body = urlencode({"grant_type": "client_credentials", **scope}).encode()
        self._token: Token | None = None
        self._asking: asyncio.Task[Token | Answer] | None = None

    async def post(self, sender: Sender, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        for tokens_left in (1, 0):
            token = await self._valid(sender)
            if isinstance(token, Answer):
                return token
            bearer = {**headers, "authorization": f"Bearer {token.value}"}
            answer = await sender.post(url, bearer, body)
            answer = answer._replace(body=masked(answer.body, token.hidden))
            if answer.status != UNAUTHORIZED:
                break
            if tokens_left and self._token is token:  # else another request has replaced it
                self._token = None
        return answer

    async def _valid(self, sender: Sender) -> Token | Answer:
        """Returns a token, or how its server failed."""
        if self._token is not None and time.monotonic() < self._token.until:
            return self._token
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(sender))
        # Not shielded: who waits is cancelled only when the process ends, and the others with it
        return await self._asking

    async def _ask(self, sender: Sender) -> Token | Answer:
        try:
            asked_at = time.monotonic()
            answer = await sender.post(self._url, self._headers, self._body)
            if answer.status is None:
                return _failed(f"token_{answer.error}", answer)
            if not answer.succeeded:
                return _failed("token_refused", answer)
            try:
                issued = Issued.model_validate_json(answer.body)
            except ValidationError:
                return _failed("token_unreadable", answer)
            until = asked_at + issued.expires_in - EARLY_SECONDS
            self._token = Token(issued.access_token, until, spellings([issued.access_token]))
            return self._token
        finally:
            self._asking = None


def _failed(error: str, answer: Answer) -> Answer:
    """Without what the token server answered: its text may state the client's secret."""
    return Answer(None, "", error, answer.seconds)
