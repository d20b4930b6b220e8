"""The HTTP server, with limits: an unfinished request takes little memory, little time and holds its connection briefly.

The server runs in the event loop of the process, beside the consumer. So a request without a valid API key may block the
loop for a few milliseconds at most.
"""

from __future__ import annotations

import contextlib
import http
import signal
import socket
import time
from asyncio import TimerHandle, Transport, get_running_loop
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from chassis.http.bodies import BODY_BYTES_MAX
from chassis.http.problems import Problem, known

log = structlog.get_logger("chassis.http.server")

HEAD_BYTES_MAX: Final = 32 * 1024
"""Limit of request line and headers, and of any other bytes outside of a body: the parser copies them as they grow."""
HEAD_SECONDS_MAX: Final = 10.0
"""Time from the connection, or from the first byte of the next request, to the end of the headers."""
BODY_SECONDS_MAX: Final = 30.0
"""Time from the end of the headers to the end of the body."""
DRAINED_BYTES_MAX: Final = 2 * BODY_BYTES_MAX
"""Bytes of a body that is too large which are read and dropped, so that the client reads the answer."""
CONNECTIONS_MAX: Final = 500
"""Connections of a process. At this number a new one replaces the one that has waited longest for its request."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits on bytes and time. A request that exceeds one is answered 431, 408 or 503, and closed."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.waits_since: float | None = None
        """Monotonic time since which the server waits for a request or its end; None while it owes an answer."""
        self._in_head = False
        self._barren_bytes = 0
        """Bytes received since the last head or piece of a body was complete."""
        self._body_bytes = 0
        self._deadline: TimerHandle | None = None
        self._refusal: Problem | None = None

    # -- connections --------------------------------------------------------------------------------------------------

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # uvicorn types it wider
        super().connection_made(transport)
        self.waits_since = time.monotonic()
        self._arm(HEAD_SECONDS_MAX)
        if len(self.connections) > CONNECTIONS_MAX:
            self._longest_waiting()._give_way()

    def _longest_waiting(self) -> BoundedProtocol:
        """Returns the connection that has waited longest for a request; the new one if no other waits."""
        waiting = [one for one in self.connections if isinstance(one, BoundedProtocol) and one.waits_since is not None]
        return min(waiting, key=lambda one: one.waits_since or 0.0, default=self)

    def _give_way(self) -> None:
        log.warning("connections_exhausted", connections=len(self.connections))
        self._refuse(known("connections_exhausted", f"the process serves {CONNECTIONS_MAX} connections at a time"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    # -- bytes --------------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._deadline is None and self.waits_since is not None:
            self._arm(HEAD_SECONDS_MAX)  # on a keep-alive connection line ends may precede a request
        self._barren_bytes += len(data)
        super().data_received(data)
        if self._barren_bytes > HEAD_BYTES_MAX:
            self._refuse(_head_too_large())

    def on_message_begin(self) -> None:
        self._in_head = True
        self._arm(HEAD_SECONDS_MAX)
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # not in a trailer: a request is not changed after it was accepted
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > HEAD_BYTES_MAX:
            self._refusal = _head_too_large()
            raise ValueError("head too large")  # uvicorn answers a parser that fails by `send_400_response`
        self._in_head, self._barren_bytes, self._body_bytes = False, 0, 0
        self._arm(BODY_SECONDS_MAX)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._barren_bytes = 0
        self._body_bytes += len(body)
        super().on_body(body)
        if self._body_bytes > DRAINED_BYTES_MAX and self.cycle.response_complete:
            self.transport.close()

    def on_message_complete(self) -> None:
        self._disarm()
        self._barren_bytes = 0
        if self.cycle is not None and not self.cycle.response_complete:  # else it was answered before it was complete
            self.waits_since = None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if not self.pipeline:
            self.waits_since = time.monotonic()
        super().on_response_complete()

    # -- time ---------------------------------------------------------------------------------------------------------

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._deadline = self.loop.call_later(seconds, self._too_slow)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if self.flow.read_paused:  # the server does not read: the request waits for one before it, or for its handler
            return self._arm(BODY_SECONDS_MAX)
        self._refuse(known("request_too_slow", "the request did not arrive within its time"))

    # -- refusals -----------------------------------------------------------------------------------------------------

    def send_400_response(self, msg: str) -> None:
        """Called by uvicorn if its parser fails."""
        self._refuse(self._refusal or known("request_malformed", "the bytes on the connection are not HTTP/1.1"))

    def _refuse(self, problem: Problem) -> None:
        """Answers, unless an answer has begun, and closes. For a request that is being handled, its client has disconnected."""
        self._disarm()
        if self.transport.is_closing():
            return
        cycle = self.cycle
        under_way = cycle is not None and not cycle.response_complete
        if under_way:
            cycle.disconnected = True
            cycle.message_event.set()
        if not (under_way and cycle.response_started) and not self._is_idle:
            self._answer(problem)
        self.transport.close()

    @property
    def _is_idle(self) -> bool:
        """Whether no byte of a next request has arrived: an answer now would be taken for the answer to that request."""
        return self.cycle is not None and self.cycle.response_complete and not self._in_head

    def _answer(self, problem: Problem) -> None:
        answer = problem.rendered()
        named = {**answer.headers, "connection": "close", "content-length": str(len(answer.body))}
        head = [f"HTTP/1.1 {answer.status} {http.HTTPStatus(answer.status).phrase}"]
        head += [f"{name}: {value}" for name, value in named.items()]
        self.transport.write("\r\n".join(head).encode("ascii") + b"\r\n\r\n" + answer.body)


def _head_too_large() -> Problem:
    return known("header_too_large", f"request line and headers have at most {HEAD_BYTES_MAX} bytes")


class Server(uvicorn.Server):
    """Ends with exit status 0 on SIGTERM: uvicorn would raise the signal again after its shutdown."""

    def __init__(self, config: uvicorn.Config, on_exit: Callable[[], None] = lambda: None) -> None:
        """on_exit: called when the process is asked to end, before the server waits for the requests that it handles."""
        super().__init__(config)
        self._on_exit = on_exit

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._on_exit()
        super().handle_exit(sig, frame)

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        loop = get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


def listen(host: str, port: int) -> socket.socket:
    """Returns a bound socket. Port 0: one below the ephemeral range, which no outgoing connection can take."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in [port] if port else range(20_000, 32_000, 7):
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, candidate))
            listener.listen(2048)
            listener.setblocking(False)
            return listener
        except OSError as error:
            listener.close()
            if port:
                raise SystemExit(
                    f"port {port} on {host} cannot be taken ({error.strerror}); choose another HTTP_PORT"
                ) from None
    raise SystemExit("no free port below 32000")


def configured(app: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app, loop="uvloop", http=BoundedProtocol, log_config=None, access_log=False, timeout_graceful_shutdown=10,
        lifespan="on", backlog=2048, timeout_keep_alive=75,
    )  # fmt: skip
