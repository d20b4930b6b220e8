"""What a client has not finished sending costs little memory, little time, and no connection for long."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from chassis.http import server
from chassis.http.bodies import BODY_BYTES_MAX
from tests.waiting import PATIENCE_SECONDS, patience

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answers the number of bytes of the body."""
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message["body"]), message["more_body"]
    names = sorted(name.decode() for name, _ in scope["headers"])
    body = json.dumps({"bytes": size, "headers": names}).encode()
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]}
    )
    await send({"type": "http.response.body", "body": body})


@pytest_asyncio.fixture
async def port() -> AsyncIterator[int]:
    listener = server.listen("127.0.0.1", 0)
    running = server.Server(server.configured(application))
    task = asyncio.create_task(running.serve(sockets=[listener]))
    while not running.started:
        await asyncio.sleep(0.01)
    yield listener.getsockname()[1]
    running.should_exit = True
    await task


async def answer(reader: asyncio.StreamReader, seconds: float = PATIENCE_SECONDS) -> tuple[int, Any]:
    """Returns status and body after the end of the connection, unless it is keep-alive. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
        )
        return int(head.split()[1]), json.loads(await reader.readexactly(length))


async def asked(port: int, *pieces: bytes) -> tuple[int, Any]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        return await answer(reader)
    finally:
        writer.close()


async def test_a_good_request_is_served_and_the_connection_is_kept(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(3):
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello" * 2)
        assert [(await answer(reader))[1]["bytes"] for _ in range(2)] == [5, 5]
    writer.close()


async def test_a_body_of_the_size_allowed_is_taken_however_it_is_cut(port: int) -> None:
    body = b"x" * BODY_BYTES_MAX
    head = b"POST / HTTP/1.1\r\nHost: x\r\n"
    whole = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    assert (await asked(port, *(whole[n : n + 50_000] for n in range(0, len(whole), 50_000))))[1]["bytes"] == len(body)
    chunks = b"".join(b"3e8\r\n" + b"y" * 1_000 + b"\r\n" for _ in range(1_000)) + b"0\r\n\r\n"
    assert (await asked(port, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks))[1]["bytes"] == 1_000_000


ENDLESS = {
    "a header's value": [HEAD + b"X: ", *[b"a" * 10_000] * 10],
    "a header's name": [HEAD, *[b"a" * 10_000] * 10],
    "headers": [HEAD, *[b"A: b\r\n" * 1_000] * 10],
    "a path": [b"GET /", *[b"a" * 10_000] * 10],
    "line ends": [b"\r\n" * 5_000] * 10,
    "a head in one piece": [HEAD + b"X: " + b"a" * 40_000 + b"\r\n\r\n"],
    "a trailer": [
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: ",
        *[b"a" * 10_000] * 10,
    ],
    "an extension of a chunk": [
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;x=",
        *[b"a" * 10_000] * 10,
    ],
}


@pytest.mark.parametrize("pieces", ENDLESS.values(), ids=ENDLESS)
async def test_what_is_no_body_and_does_not_end_is_refused(port: int, pieces: list[bytes]) -> None:
    try:
        status, body = await asked(port, *pieces)
    except (ConnectionError, asyncio.IncompleteReadError):
        return  # closed while we were still sending
    assert (status, body["type"]) in ((431, "/problems/header_too_large"), (400, "/problems/request_malformed"))


async def test_a_trailer_changes_no_header(port: int) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"
    status, body = await asked(port, head + b"Idempotency-Key: other\r\n\r\n")
    assert (status, body) == (200, {"bytes": 5, "headers": ["host", "transfer-encoding"]})


@pytest.mark.parametrize("pieces", [
    [], [b"G"], [HEAD], [HEAD + b"\r\n" + HEAD], [b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhel"],
    [b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"],
], ids=["nothing", "a letter", "half a head", "half a second head", "half a body", "no chunk"])  # fmt: skip
async def test_a_request_that_does_not_arrive_in_its_time_is_answered_408_and_closed(
    port: int, monkeypatch: pytest.MonkeyPatch, pieces: list[bytes]
) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS_MAX", 0.2)
    monkeypatch.setattr(server, "BODY_SECONDS_MAX", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.writelines(pieces)
    status, body = await answer(reader)
    if status == 200:  # the first of two
        status, body = await answer(reader)
    assert (status, body["type"]) == (408, "/problems/request_too_slow")
    assert await reader.read() == b""
    writer.close()


async def test_an_idle_connection_that_was_served_outlives_the_time_of_a_head(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS_MAX", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HEAD + b"\r\n")
    assert (await answer(reader))[0] == 200
    with pytest.raises(TimeoutError):
        await answer(reader, seconds=0.5)
    writer.write(HEAD + b"\r\n")
    assert (await answer(reader))[0] == 200
    writer.close()


@pytest.mark.parametrize("begun", [b"", HEAD, HEAD + b"Content-Length: 10\r\n\r\n{"], ids=["connected", "head", "body"])
async def test_connections_that_wait_make_room_for_new_ones(
    port: int, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    """Slow clients hold every connection; whoever sends a request is served."""
    monkeypatch.setattr(server, "CONNECTIONS_MAX", 5)
    slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
    for _, writer in slow:
        writer.write(begun)
    for _ in range(3):
        assert (await asked(port, HEAD + b"\r\n"))[0] == 200
    assert (await answer(slow[0][0]))[1]["type"] == "/problems/connections_exhausted"
    for _, writer in slow:
        writer.close()


ATTACK = """
import socket, sys
while True:
    try:
        with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as one:
            one.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\nX: ")
            while True:
                one.sendall(b"a" * 4096)
    except OSError:
        print("cut off", flush=True)
"""

ATTACKS = 300
"""Until as many connections were cut off."""


async def test_endless_headers_do_not_hold_up_the_loop_on_which_messages_are_handled(port: int) -> None:
    """One unauthenticated client that never stops sending; without a limit the parser copies more for every packet.

    Measured in processor time: the duration of a turn of the loop depends on what else the machine does. As in a service, the
    collector leaves out what was there before: in a process of many tests, a collection of all of it takes longer than any turn.
    """
    gc.freeze()
    attacker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ATTACK, str(port), stdout=asyncio.subprocess.PIPE
    )
    assert attacker.stdout is not None
    longest = 0.0
    try:
        async with patience():
            attacks = asyncio.create_task(attacker.stdout.readexactly(ATTACKS * len("cut off\n")))
            while not attacks.done():
                before = time.thread_time()
                await asyncio.sleep(0)
                longest = max(longest, time.thread_time() - before)
        assert set(attacks.result().split(b"\n")) == {b"cut off", b""}
        assert (await asked(port, HEAD + b"\r\n"))[0] == 200
    finally:
        attacker.kill()
        await attacker.communicate()
        gc.unfreeze()
    assert longest < 0.05, f"a turn of the loop took {longest * 1000:.0f} ms"
