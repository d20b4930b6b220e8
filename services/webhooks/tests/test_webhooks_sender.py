"""What is sent meets receivers that are slow, broken, endless or hostile, on real sockets; none of it passes the gate."""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from webhooks_addresses import HOSTS, WITH_CREDENTIALS, ZONES
from webhooks_certificates import Authority, tls_of
from webhooks_delivery import serving

from tests.waiting import PATIENCE_SECONDS, patience
from webhooks.delivery.sender import MAY_SEND, READ_BYTES_MAX, NotOurs, Sender

pytestmark = pytest.mark.asyncio
LOOPBACK = ip_network("127.0.0.0/8")
Answering = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def receiver(answering: Answering) -> AsyncIterator[int]:
    """A server on 127.0.0.1; yields its port."""
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            await reader.readuntil(b"\r\n\r\n")
            await answering(reader, writer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def says(*parts: bytes) -> Answering:
    async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.writelines(parts)

    return answering


async def hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def drips(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A status line without end, a byte at a time."""
    for byte in itertools.chain(b"HTTP/1.1 200 ", itertools.repeat(ord("O"))):
        writer.write(bytes([byte]))
        await asyncio.sleep(0.05)


async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")


async def never_ends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"400\r\n" + b"a" * 1024 + b"\r\n")
        await writer.drain()


async def stops_in_the_middle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nso far")
    await writer.drain()
    await asyncio.Event().wait()


@pytest_asyncio.fixture
async def sender() -> AsyncIterator[Sender]:
    """For receivers that end a request themselves."""
    async with Sender([LOOPBACK], PATIENCE_SECONDS, PATIENCE_SECONDS) as sender:
        yield sender


@pytest_asyncio.fixture
async def hasty() -> AsyncIterator[Sender]:
    """For those that do not."""
    async with Sender([LOOPBACK], PATIENCE_SECONDS, 2) as sender:
        yield sender


@pytest_asyncio.fixture
async def hasty_to_connect() -> AsyncIterator[Sender]:
    async with Sender([LOOPBACK], 0.5, PATIENCE_SECONDS) as sender:
        yield sender


@pytest.mark.parametrize(
    ("answering", "status", "error", "body"),
    [
        (says(b"HTTP/1.1 204 No Content\r\n\r\n"), 204, None, ""),
        (says(b"HTTP/1.1 500 Oh\r\ncontent-length: 4\r\n\r\nn\x00\xff!"), 500, None, "n\ufffd\ufffd!"),
        (resets, None, "connection_lost", ""),
        (says(b"SSH-2.0-OpenSSH_9.6\r\n"), None, "answer_unreadable", ""),
        (says(b"HTTP/1.1 200 OK\r\nx: " + b"a" * 100_000), None, "answer_unreadable", ""),
        (never_ends, 200, None, "a" * (READ_BYTES_MAX + 1)),
    ],
)
async def test_the_status_of_a_receiver_counts(
    sender: Sender, answering: Answering, status: int | None, error: str | None, body: str
) -> None:
    async with receiver(answering) as port:
        answer = await sender.post(f"http://127.0.0.1:{port}/hook", {}, b"{}")
    assert (answer.status, answer.error, answer.body) == (status, error, body)
    assert answer.seconds < PATIENCE_SECONDS


@pytest.mark.parametrize(
    ("answering", "status", "error", "body"),
    [
        (hangs, None, "answer_timed_out", ""),
        (drips, None, "answer_timed_out", ""),
        (stops_in_the_middle, 200, None, "so far"),
    ],
)
async def test_a_receiver_costs_at_most_its_time(
    hasty: Sender, answering: Answering, status: int | None, error: str | None, body: str
) -> None:
    async with receiver(answering) as port, patience():
        answer = await hasty.post(f"http://127.0.0.1:{port}/hook", {}, b"{}")
    assert (answer.status, answer.error, answer.body) == (status, error, body)


async def test_a_redirect_is_not_followed(sender: Sender) -> None:
    to = b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/latest/meta-data\r\ncontent-length: 0\r\n\r\n"
    async with receiver(says(to)) as port:
        answer = await sender.post(f"http://127.0.0.1:{port}/", {}, b"{}")
    assert (answer.status, answer.succeeded) == (302, False)


async def test_a_receiver_names_when_it_wants_the_next_request(sender: Sender) -> None:
    async with receiver(says(b"HTTP/1.1 429 Slow\r\nretry-after: 30\r\ncontent-length: 0\r\n\r\n")) as port:
        assert (await sender.post(f"http://127.0.0.1:{port}/", {}, b"{}")).retry_after == "30"


async def test_what_is_no_tls_and_what_has_no_trusted_certificate_is_not_sent_to(
    hasty_to_connect: Sender,
) -> None:
    async with receiver(says(b"HTTP/1.1 200 OK\r\n\r\n")) as port:
        answer = await hasty_to_connect.post(f"https://127.0.0.1:{port}/", {}, b"{}", ssl.create_default_context())
    assert answer.error in ("tls_failed", "connect_timed_out")


async def test_a_black_hole_costs_the_time_to_connect(hasty_to_connect: Sender) -> None:
    """The queue of the listener is full, so the system drops further packets that open a connection, as a firewall does."""
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as silent,
        socket.socket() as first,
        socket.socket() as second,
    ):
        for one in (first, second):
            one.setblocking(False)
            one.connect_ex(silent.getsockname())
        async with patience():
            answer = await hasty_to_connect.post(f"http://127.0.0.1:{silent.getsockname()[1]}/", {}, b"{}")
    assert answer.error == "connect_timed_out"


async def test_a_receiver_that_accepts_and_never_agrees_on_tls_costs_the_time_to_connect(
    hasty_to_connect: Sender,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with patience():
            answer = await hasty_to_connect.post(f"https://127.0.0.1:{silent.getsockname()[1]}/", {}, b"{}")
    assert answer.error == "connect_timed_out"


async def test_nothing_listens(sender: Sender) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        answer = await sender.post(f"http://127.0.0.1:{unused.getsockname()[1]}/", {}, b"{}")
    assert answer.error == "connect_failed"


async def test_no_spelling_of_an_address_of_the_house_is_connected_to() -> None:
    """In `test_webhooks_gate.py` each of these addresses has a listener."""
    reached = False

    async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal reached
        reached = True

    async with (
        receiver(answering) as port,
        Sender(connect_seconds_max=PATIENCE_SECONDS, total_seconds_max=PATIENCE_SECONDS) as sender,
    ):
        for host in (*HOSTS, *ZONES, *WITH_CREDENTIALS):
            answer = await sender.post(f"http://{host}:{port}/", {}, b"{}")
            assert answer.error in ("address_refused", "name_unresolved", "url_invalid") and not reached, host


async def test_a_name_that_changes_its_address_is_judged_when_it_is_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its addresses are public when the endpoint is created, and those of the house when the delivery comes."""

    def rebound(*_: Any, **__: Any) -> list[Any]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 0)),
            (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("::1", 0, 0, 0)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", rebound)
    sender = Sender()
    answer = await sender.post("http://rebinding.example/", {}, b"{}")
    await sender.close()
    assert answer.error == "address_refused"


async def test_names_that_do_not_resolve_hold_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes a thread for as long as the name server is silent; the loop's own threads would be used up by a few."""
    asked, real = asyncio.Event(), socket.getaddrinfo
    loop = asyncio.get_running_loop()
    silent = 0

    def resolve(host: str, *more: Any, **named: Any) -> Any:
        nonlocal silent
        if host != "good.example":
            silent += 1
            if silent == 40:
                loop.call_soon_threadsafe(asked.set)
            released.acquire()
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return real("127.0.0.1", *more, **named)

    released = threading.Semaphore(0)
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    sender = Sender([LOOPBACK], PATIENCE_SECONDS, PATIENCE_SECONDS)
    async with receiver(says(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")) as port:
        dead = [asyncio.create_task(sender.post(f"http://dead{n}.example/", {}, b"{}")) for n in range(40)]
        async with patience():
            await asked.wait()
            answer = await sender.post(f"http://good.example:{port}/", {}, b"{}")
        assert answer.status == 200 and not any(task.done() for task in dead)
        released.release(40)
        assert {(await task).error for task in dead} == {"name_unresolved"}
    await sender.close()


async def test_who_may_no_longer_send_writes_nothing(sender: Sender) -> None:
    reached = False

    async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal reached
        reached = True

    MAY_SEND.set(lambda: False)
    async with receiver(answering) as port:
        with pytest.raises(NotOurs):
            await sender.post(f"http://127.0.0.1:{port}/", {}, b"{}")
    assert not reached


@pytest.mark.parametrize(("which", "error"), [
    ("expired", "certificate_expired"), ("of tomorrow", "certificate_not_yet_valid"), ("of another host", "certificate_host_differs"),
    ("of a stranger", "certificate_untrusted"), ("signed by itself", "certificate_untrusted"),
])  # fmt: skip
async def test_a_receiver_whose_certificate_is_wrong_gets_nothing_and_the_answer_says_what_is_wrong(
    sender: Sender, which: str, error: str, tmp_path: Path
) -> None:
    authority, stranger = Authority(), Authority()
    issued = {
        "expired": authority.issue("receiver", days=-1),
        "of tomorrow": authority.issue("receiver", days=2, begins_days=1),
        "of another host": authority.issue("receiver", host="127.0.0.2"),
        "of a stranger": stranger.issue("receiver"),
        "signed by itself": (stranger.pem, stranger.key),
    }
    trusting = ssl.create_default_context(cadata=authority.pem)
    assert await reached_over_tls(sender, authority.issue("receiver"), tmp_path, trusting) == (200, None, True)
    assert await reached_over_tls(sender, issued[which], tmp_path, trusting) == (None, error, False)


async def reached_over_tls(
    sender: Sender, issued: tuple[str, str], folder: Path, tls: ssl.SSLContext
) -> tuple[int | None, str | None, bool]:
    """Returns status and error of a request, and whether a receiver with a certificate got anything of it."""
    reached = False

    async def handler(request: web.Request) -> web.Response:
        nonlocal reached
        reached = True
        return web.Response()

    async with serving(handler, tls_of(*issued, folder)) as url:
        answer = await sender.post(url, {}, b"{}", tls)
    return answer.status, answer.error, reached


async def test_only_the_authorities_of_the_system_are_trusted(sender: Sender, tmp_path: Path) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response()

    async with serving(handler, tls_of(*Authority().issue("receiver"), tmp_path)) as url:
        assert (await sender.post(url, {}, b"{}")).error == "certificate_untrusted"
