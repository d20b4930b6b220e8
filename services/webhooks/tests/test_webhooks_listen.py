"""`python -m webhooks listen`: its parts, and what it does against a feed that breaks off and refuses."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from tests.waiting import patience
from webhooks import listen, main
from webhooks.delivery.sender import Answer
from webhooks.domain.signing import new_secret
from webhooks.listen import Options, Refused, line_of, pause_before
from webhooks.sse import Parser, ServerSent

STREAM = (
    b': the feed follows\n\nid: c1\nevent: orders.placed\ndata: {"n": 1}\n\n: no event\n\n'
    b"id: c2\r\nevent: a.b\r\ndata: one\r\ndata: two\r\n\r\nid: c3\ndata: incomplete"
)
EVENTS = [ServerSent("c1", b'{"n": 1}'), ServerSent("c2", b"one\ntwo")]


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_events_are_the_same_however_the_stream_is_cut(cuts: list[int]) -> None:
    bounds = [0, *sorted(cuts), len(STREAM)]
    parser = Parser()
    assert [e for a, b in itertools.pairwise(bounds) for e in parser.feed(STREAM[a:b])] == EVENTS


def test_a_line_shows_what_was_sent_and_how_it_was_answered() -> None:
    now = datetime(2026, 11, 21, 9, 5, 7, tzinfo=UTC)
    event = {"type": "orders.placed", "subject": "5f1d"}
    assert line_of(event, Answer(204, "", None, 0.0123), now).split() == [
        "09:05:07", "orders.placed", "5f1d", "204", "12", "ms",
    ]  # fmt: skip
    assert "connect_failed" in line_of(event, Answer(None, "", "connect_failed", 0.1), now)


def test_pauses_grow_up_to_a_quarter_of_a_minute() -> None:
    assert [pause_before(n) for n in (0, 1, 4, 5, 5_000)] == [0.5, 1, 8, 15, 15]


@pytest.mark.parametrize(
    ("arguments", "stated"),
    [
        (["--key", "k"], "--to"),
        (["--to", "localhost:3000", "--key", "k"], "is no URL such as"),
        (["--to", "http://127.0.0.1:3000", "--key", "k", "--secret", "whsec_short"], "24 to 64 bytes"),
        (["--to", "http://127.0.0.1:3000"], "WEBHOOKS_API_KEY"),
    ],
)
def test_wrong_arguments_are_named(
    arguments: list[str], stated: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(listen.KEY, raising=False)
    monkeypatch.setattr("sys.argv", ["webhooks", "listen", *arguments])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert stated in f"{ended.value} {capsys.readouterr().err}"


class FeedOf:
    """A feed that states its cursor as the number of events, and whose streams break off after each."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.asked: list[tuple[str, list[str]]] = []
        self.answers: list[web.Response] = []
        """Answers to the next requests, instead of a stream."""

    async def cursors(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"cursor": "0"})

    async def events(self, request: web.Request) -> web.StreamResponse:
        assert request.headers["authorization"] == "Bearer a-key"
        if self.answers:
            return self.answers.pop()
        after = int(request.query["after"])
        self.asked.append((str(after), request.query.getall("types", [])))
        response = web.StreamResponse()
        await response.prepare(request)
        if after < self.count:
            event = {"id": f"e{after}", "type": "orders.placed", "subject": "5f1d", "data": {"é": "€"}}
            data = json.dumps(event, ensure_ascii=False).encode()
            await response.write(b"id: %d\nevent: orders.placed\ndata: %s\n\nid: 9\ndata: cut" % (after + 1, data))
            assert request.transport is not None
            request.transport.abort()
        else:
            await asyncio.Event().wait()
        return response


@asynccontextmanager
async def serving(**handlers: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    app = web.Application()
    for name, handler in handlers.items():
        app.router.add_route("*", f"/v1/{name}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def _listened(feed: FeedOf, until: int, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Any], list[str]]:
    """Returns (event, webhook-id) of each request, and the lines that were shown."""
    monkeypatch.setattr(listen, "RETRY_SECONDS_FIRST", 0.01)
    secret, got, lines, done = new_secret(), list[Any](), list[str](), asyncio.Event()

    async def hooks(request: web.Request) -> web.Response:
        body = await request.read()
        got.append((Webhook(secret).verify(body, dict(request.headers)), request.headers["webhook-id"]))
        if len(got) == until:
            done.set()
        return web.Response(status=500 if len(got) == 1 else 204)

    async with serving(cursors=feed.cursors, events=feed.events) as url, serving(hooks=hooks) as to:
        options = Options(f"{to}/v1/hooks", url, "a-key", ["orders.*"], None, secret)
        running = asyncio.create_task(listen.listen(options, lines.append))
        async with patience():
            finished, _ = await asyncio.wait(
                {running, asyncio.create_task(done.wait())}, return_when=asyncio.FIRST_COMPLETED
            )
        if running in finished:
            await running
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    return got, lines


@pytest.mark.asyncio
async def test_a_stream_that_breaks_off_is_resumed_behind_the_last_event(monkeypatch: pytest.MonkeyPatch) -> None:
    feed = FeedOf(3)
    feed.answers = [web.json_response({"title": "Too many streams", "detail": "wait"}, status=429)]
    got, lines = await _listened(feed, 3, monkeypatch)
    assert [event["id"] for event, _ in got] == ["e0", "e1", "e2"] and len({name for _, name in got}) == 3
    assert feed.asked[:3] == [("0", ["orders.*"]), ("1", ["orders.*"]), ("2", ["orders.*"])]
    assert "Too many streams: wait; connecting again" in lines[0]
    assert [line.split()[3] for line in lines if "orders.placed" in line][:2] == ["500", "204"]


@pytest.mark.asyncio
async def test_a_feed_that_refuses_the_key_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    feed = FeedOf(1)
    feed.answers = [web.json_response({"title": "No such key", "detail": "it was revoked"}, status=401)]
    with pytest.raises(Refused, match="401: No such key: it was revoked"):
        await _listened(feed, 1, monkeypatch)


@pytest.mark.asyncio
async def test_ctrl_c_ends_it_also_if_its_parent_ignores_that() -> None:
    """As a shell does for what it starts in the background."""
    feed = FeedOf(0)
    async with serving(cursors=feed.cursors, events=feed.events) as url:
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", "trap '' INT; exec \"$@\"", "sh", sys.executable, "-m", "webhooks", "listen", "--to", url, "--url", url,
            env=os.environ | {listen.KEY: "a-key"}, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            async with patience():
                while b"Ctrl-C" not in await process.stdout.readline():
                    assert process.returncode is None
                process.send_signal(signal.SIGINT)
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
