"""Sends requests to addresses that others chose: webhooks, verifications, notices.

The address is judged where the socket is made, so a name, a literal, a mapped form and a name whose address changes all pass
the same gate. No redirect is followed and no proxy of the environment is used: either would connect past the gate.
"""

from __future__ import annotations

import asyncio
import functools
import re
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from ssl import SSLCertVerificationError, SSLContext
from typing import Any, Final, NamedTuple, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from webhooks.domain.addresses import Network, is_allowed

CONNECT_SECONDS_MAX: Final = 3.0
"""To resolve the name, connect and agree on TLS."""
TOTAL_SECONDS_MAX: Final = 15.0
READ_BYTES_MAX: Final = 20_000
"""An answer that is longer ends with its connection."""
RESOLVER_THREADS: Final = 64
"""`getaddrinfo` blocks for seconds on a name whose server is silent. The loop's few threads would hold up every other name."""
RESOLVED_SECONDS: Final = 60
CONNECTIONS_IDLE_SECONDS: Final = 4.0
"""Below the 5 s after which common servers close an idle connection: a request that crosses with the close fails."""
UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
"""Control characters of an answer: PostgreSQL stores no NUL, and a terminal acts on the others."""
CERTIFICATE_ERRORS: Final = {
    9: "certificate_not_yet_valid",
    10: "certificate_expired",
    62: "certificate_host_differs",
    64: "certificate_host_differs",  # the host is an address
}
"""By the codes of OpenSSL (x509_vfy.h, X509_V_ERR_...)."""


class AddressRefused(OSError):
    """An address is neither public nor of an allowed network."""


class NotOurs(Exception):
    """The right to send ended between the decision to send and the connection: nothing was sent."""


MAY_SEND: Final[ContextVar[Callable[[], bool] | None]] = ContextVar("may_send", default=None)
"""Asked once the connection is open, right before the request is written."""


class Answer(NamedTuple):
    """How a receiver answered."""

    status: int | None
    """Null: there was no answer."""
    body: str
    """The beginning of it. It may repeat secrets, which `outgoing` masks."""
    error: str | None
    """What went wrong, as a code, if there was no answer."""
    seconds: float
    retry_after: str | None = None

    @property
    def succeeded(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class Sender:
    """The client of one process. Made inside its event loop; `close` ends its connections and threads."""

    def __init__(
        self,
        allowed: Iterable[Network] = (),
        connect_seconds_max: float = CONNECT_SECONDS_MAX,
        total_seconds_max: float = TOTAL_SECONDS_MAX,
    ) -> None:
        """allowed: networks that are not public and may be connected to."""
        self._resolver = _Resolver()
        connector = _Connector(
            resolver=self._resolver,
            ttl_dns_cache=RESOLVED_SECONDS,
            socket_factory=functools.partial(_gated, tuple(allowed)),
            limit=0,  # the dispatcher bounds what is in flight
            keepalive_timeout=CONNECTIONS_IDLE_SECONDS,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=total_seconds_max, connect=connect_seconds_max),
            auto_decompress=False,  # a small answer may decompress to gigabytes
            trust_env=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
        )

    async def post(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        tls: SSLContext | bool = True,
    ) -> Answer:
        """Returns how the receiver answered; a failure to connect or to answer in time is an Answer too.

        tls: with the client's certificate of an endpoint that requires one. Raises NotOurs.
        """
        began = time.monotonic()
        try:
            async with self._session.post(url, headers=headers, data=body, allow_redirects=False, ssl=tls) as response:
                beginning = await _beginning(response)
                return Answer(
                    response.status, beginning, None, time.monotonic() - began, response.headers.get("Retry-After")
                )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return Answer(None, "", error_code(error), time.monotonic() - began)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._session.close()
        await self._resolver.close()


async def _beginning(response: aiohttp.ClientResponse) -> str:
    """Returns the beginning of an answer. The status counts also if the rest is late, broken or endless."""
    read = bytearray()
    try:
        while len(read) <= READ_BYTES_MAX and (chunk := await response.content.read(READ_BYTES_MAX + 1 - len(read))):
            read += chunk
    except (aiohttp.ClientError, TimeoutError, OSError):
        response.close()
    if len(read) > READ_BYTES_MAX:
        response.close()
    return UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", read.decode(errors="replace"))


def error_code(error: BaseException) -> str:
    """Returns what prevented an answer, as a code that the log of attempts shows."""
    cause: BaseException | None = error
    while cause is not None:  # aiohttp wraps what the gate raised
        if isinstance(cause, AddressRefused):
            return "address_refused"
        cause = cause.__cause__ or cause.__context__
    match error:
        case aiohttp.ConnectionTimeoutError():
            return "connect_timed_out"
        case TimeoutError():
            return "answer_timed_out"
        case aiohttp.ClientConnectorDNSError():
            return "name_unresolved"
        case aiohttp.ClientConnectorCertificateError(certificate_error=SSLCertVerificationError(verify_code=code)):
            return CERTIFICATE_ERRORS.get(code, "certificate_untrusted")
        case aiohttp.ClientSSLError():
            return "tls_failed"
        case aiohttp.ClientConnectorError():
            return "connect_failed"
        case aiohttp.InvalidURL() | ValueError():
            return "url_invalid"
        case aiohttp.ClientResponseError():
            return "answer_unreadable"
        case _:
            return "connection_lost"


def _gated(allowed: tuple[Network, ...], info: Any) -> socket.socket:
    """Returns a socket for an address that a delivery may connect to. Raises AddressRefused."""
    family, kind, protocol, _, address = info
    if not is_allowed(address[0], allowed):
        # The same text for each address of a name: aiohttp raises the error itself then, not one that lists them all
        raise AddressRefused("the address is not public")
    return socket.socket(family, kind, protocol)


class _Connector(aiohttp.TCPConnector):
    async def connect(self, req: ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout) -> Connection:
        connection = await super().connect(req, traces, timeout)
        if (may_send := MAY_SEND.get()) is not None and not may_send():
            connection.close()
            raise NotOurs
        return connection


class _Resolver(AbstractResolver):
    """`getaddrinfo` in threads of its own."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(RESOLVER_THREADS, thread_name_prefix="resolver")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        asked = functools.partial(
            socket.getaddrinfo, host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
        )
        found = await asyncio.get_running_loop().run_in_executor(self._threads, asked)
        return [
            ResolveResult(
                hostname=host, host=_numeric(address), port=port, family=family, proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for family, _, protocol, _, address in found
        ]  # fmt: skip

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _numeric(address: Any) -> str:
    """With the zone of a link-local IPv6 address, as `getnameinfo` would name it."""
    host: str = address[0]
    return f"{host}%{address[3]}" if len(address) > 3 and address[3] and "%" not in host else host
