"""`python -m webhooks listen`: sends the events of a feed to a developer's machine, signed as a delivery is.

No endpoint is needed, and the machine need not be reachable from outside. It reads the feed as any client does.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, uuid5

import aiohttp
import orjson

from chassis.process.cli import Command
from webhooks.delivery.render import MEDIA_TYPE, USER_AGENT
from webhooks.delivery.sender import Answer, Sender
from webhooks.domain.signing import SECRET_PREFIX, BadSecret, new_secret, signed_headers, signer_of, webhook_id
from webhooks.sse import Parser, ServerSent

URL: Final = "http://127.0.0.1:8005"
KEY: Final = "WEBHOOKS_API_KEY"
"""The variable of the environment that has the API key."""
SILENCE_SECONDS_MAX: Final = 45.0
"""Three heartbeats of a stream: after this time without a byte the connection is broken."""
ANSWER_SECONDS_MAX: Final = 20.0
RETRY_SECONDS_FIRST, RETRY_SECONDS_MAX = 0.5, 15.0
EVERYWHERE: Final = (ip_network("0.0.0.0/0"), ip_network("::/0"))
"""A developer chooses where the events go."""


class Refused(Exception):
    """The feed refuses the request for good: the key, a type or the cursor."""


class Unavailable(Exception):
    """The feed cannot answer now."""


@dataclass(frozen=True)
class Options:
    to: str
    url: str
    key: str
    types: Sequence[str]
    after: str | None
    """A cursor; null: events from now on."""
    secret: str


class Feed:
    """The feed over HTTP. Raises Refused, Unavailable, aiohttp.ClientError or TimeoutError."""

    def __init__(self, session: aiohttp.ClientSession, options: Options) -> None:
        self._session, self._url, self._types = session, options.url.rstrip("/"), options.types
        self._headers = {"authorization": f"Bearer {options.key}"}

    async def now(self) -> str:
        """Returns the cursor of the newest event."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS_MAX)
        async with self._session.get(f"{self._url}/v1/cursors", headers=self._headers, timeout=timeout) as answer:
            await _accepted(answer)
            cursor: str = orjson.loads(await answer.read())["cursor"]
            return cursor

    async def behind(self, cursor: str) -> AsyncIterator[ServerSent]:
        """Yields the events behind a cursor until the connection ends."""
        asked = [("after", cursor), *(("types", name) for name in self._types)]
        headers = {**self._headers, "accept": "text/event-stream"}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=ANSWER_SECONDS_MAX, sock_read=SILENCE_SECONDS_MAX)
        url = f"{self._url}/v1/events"
        async with self._session.get(url, params=asked, headers=headers, timeout=timeout) as answer:
            await _accepted(answer)
            parser = Parser()
            async for piece in answer.content.iter_any():
                for event in parser.feed(piece):
                    yield event


async def _accepted(answer: aiohttp.ClientResponse) -> None:
    if answer.status == 200:
        return
    text = f"{answer.status}: {_detail(await answer.read())}"
    raise (Unavailable if answer.status == 429 or answer.status >= 500 else Refused)(text)


def _detail(body: bytes) -> str:
    """Returns what a problem document states, or the beginning of another answer."""
    try:
        problem = orjson.loads(body)
        return f"{problem['title']}: {problem['detail']}"
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")[:200]


class Forwarder:
    """Sends events to one URL, one after the other. An event that the receiver refuses is not repeated."""

    def __init__(self, sender: Sender, options: Options) -> None:
        self._sender, self._to = sender, options.to
        self._signer = signer_of(options.secret)
        self._endpoint_id = uuid5(NAMESPACE_URL, options.to)

    async def send(self, body: bytes, event_id: str) -> Answer:
        return await self._sender.post(self._to, self.headers(body, event_id, datetime.now(UTC)), body)

    def headers(self, body: bytes, event_id: str, now: datetime) -> Mapping[str, str]:
        delivery_id = webhook_id(self._endpoint_id, [event_id])
        signed = signed_headers([self._signer], delivery_id, now, body)
        return {"content-type": MEDIA_TYPE, "user-agent": USER_AGENT, **signed}


def line_of(event: Mapping[str, Any], answer: Answer, now: datetime) -> str:
    """Returns what is printed of an event."""
    status = str(answer.status) if answer.status is not None else answer.error
    return f"{now:%H:%M:%S}  {event['type']:<32} {event['subject']}  {status}  {answer.seconds * 1000:.0f} ms"


def pause_before(attempt: int) -> float:
    """Returns the seconds before the feed is asked again. attempt: counts from 0."""
    seconds: float = min(RETRY_SECONDS_FIRST * 2 ** min(attempt, 10), RETRY_SECONDS_MAX)
    return seconds


async def listen(options: Options, show: Callable[[str], None]) -> None:
    """Forward events until cancelled. Raises Refused."""
    async with aiohttp.ClientSession() as session, Sender(EVERYWHERE) as sender:
        feed, forwarder = Feed(session, options), Forwarder(sender, options)
        cursor, attempt = options.after, 0
        while True:
            try:
                cursor = cursor or await feed.now()
                async for sent in feed.behind(cursor):
                    event = orjson.loads(sent.data)
                    answer = await forwarder.send(sent.data, event["id"])
                    show(line_of(event, answer, datetime.now().astimezone()))
                    cursor, attempt = sent.id, 0
                cause = "the stream has ended"
            except (Unavailable, aiohttp.ClientError, TimeoutError) as error:
                cause = str(error) or type(error).__name__
            pause = pause_before(attempt)
            show(f"{cause}; connecting again in {pause:g} s")
            await asyncio.sleep(pause)
            attempt += 1


# -- the command ------------------------------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--to", required=True, metavar="URL", type=_url,
                        help="where each event is sent, e.g. http://127.0.0.1:3000/hooks")  # fmt: skip
    parser.add_argument("--url", default=URL, type=_url, help=f"address of the service webhooks (default: {URL})")
    parser.add_argument("--key", default=os.environ.get(KEY),
                        help=f"API key with the scope events.view; without it, the variable {KEY}")  # fmt: skip
    parser.add_argument("--types", nargs="+", default=[], metavar="TYPE",
                        help="types of events, or all of a service as 'orders.*' (default: every type)")  # fmt: skip
    parser.add_argument(
        "--after", metavar="CURSOR", help="send the events behind this cursor first (default: from now on)"
    )
    parser.add_argument("--secret", type=_secret,
                        help="the secret that signs, as an earlier run printed it (default: a new one)")  # fmt: skip


def run(arguments: argparse.Namespace) -> None:
    if not arguments.key:
        raise SystemExit(f"webhooks listen: an API key is missing: state --key, or set {KEY}")
    options = Options(
        arguments.to, arguments.url, arguments.key, arguments.types, arguments.after, arguments.secret or new_secret()
    )

    async def work() -> None:
        show(f"WEBHOOK_SECRET={options.secret}\nevents of {options.url} go to {options.to}; Ctrl-C ends this")
        await listen(options, show)

    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has what runs in its background ignore it
        asyncio.run(work())
    except Refused as error:
        raise SystemExit(f"webhooks listen: {error}") from None
    except KeyboardInterrupt:
        return


def show(text: str) -> None:
    print(text, flush=True)


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise argparse.ArgumentTypeError(f"{value} is no URL such as http://127.0.0.1:3000/hooks")
    return value


def _secret(value: str) -> str:
    try:
        signer_of(value)
    except BadSecret:
        raise argparse.ArgumentTypeError(f"a secret is {SECRET_PREFIX} and the base64 of 24 to 64 bytes") from None
    return value


LISTEN: Final = Command(
    "listen",
    "send the events of the feed to a program on this machine, signed as a delivery is",
    "Reads the feed of a service webhooks and sends each event to a URL, signed as a delivery is: one after the other, a line"
    " printed for each with the status of the answer. It needs an API key, neither an endpoint nor the service's settings. A"
    " broken connection is resumed behind the last event; an event that the program refuses is not repeated.",
    add_arguments,
    run,
)
