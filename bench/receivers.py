"""Receivers of webhooks in a process of their own, one per loopback address: a dispatcher limits what it sends to one host.

    python -m bench.receivers --count 20 --answer-ms 20 [--dead 1]

It prints the port, then answers each line of its input with one line of JSON: `report` with what has arrived since the last
one. The first `--dead` receivers accept connections and never answer. They are cheap, since they share the machine with what
is measured: of a request they read its length, and the id of its event.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import orjson

ANSWER: Final = b"HTTP/1.1 204 No Content\r\n\r\n"
VERIFICATION: Final = "webhooks.verify"
LENGTH: Final = b"content-length: "


@dataclass
class Arrivals:
    """What has arrived at one receiver: event id -> seconds since the epoch, of the first time."""

    at: dict[str, float]
    repeated: int = 0


class _Receiver(asyncio.Protocol):
    def __init__(self, arrivals: Arrivals, answer_seconds: float, dead: bool) -> None:
        self._arrivals, self._answer_seconds, self._dead = arrivals, answer_seconds, dead
        self._read = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        while (head := self._read.find(b"\r\n\r\n") + 4) > 3:
            begin = self._read.lower().find(LENGTH, 0, head) + len(LENGTH)
            end = head + int(self._read[begin : self._read.index(b"\r", begin)])
            if len(self._read) < end:
                return
            self._arrived(orjson.loads(self._read[head:end]))
            del self._read[:end]

    def _arrived(self, event: Any) -> None:
        if event["type"] != VERIFICATION:
            if self._dead:
                return
            if event["id"] in self._arrivals.at:
                self._arrivals.repeated += 1
            else:
                self._arrivals.at[event["id"]] = time.time()
        asyncio.get_running_loop().call_later(self._answer_seconds, self._answer)

    def _answer(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(ANSWER)


async def _serve(count: int, answer_seconds: float, dead: int) -> None:
    loop = asyncio.get_running_loop()
    arrivals = [Arrivals({}) for _ in range(count)]
    port = 0
    for n, one in enumerate(arrivals):

        def made(one: Arrivals = one, is_dead: bool = n < dead) -> _Receiver:
            return _Receiver(one, answer_seconds, is_dead)

        server = await loop.create_server(made, address(n), port, backlog=1_000)
        port = server.sockets[0].getsockname()[1]
    print(port, flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps([{"at": one.at, "repeated": one.repeated} for one in arrivals]), flush=True)
        for one in arrivals:
            one.at, one.repeated = {}, 0


def address(n: int) -> str:
    """The address of the n-th receiver."""
    return f"127.0.1.{n + 1}"


@dataclass
class Receivers:
    """The process, as a measurement uses it."""

    process: subprocess.Popen[str]
    port: int
    count: int

    def urls(self) -> list[str]:
        return [f"http://{address(n)}:{self.port}/" for n in range(self.count)]

    def report(self) -> list[Arrivals]:
        """Returns what has arrived at each receiver since the last report."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write("report\n")
        self.process.stdin.flush()
        return [Arrivals(**one) for one in json.loads(self.process.stdout.readline())]


@contextmanager
def receiving(count: int, answer_ms: float, dead: int = 0) -> Iterator[Receivers]:
    """Runs the receivers until the block ends."""
    command = [
        sys.executable,
        "-m",
        "bench.receivers",
        "--count",
        str(count),
        "--answer-ms",
        str(answer_ms),
        "--dead",
        str(dead),
    ]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    try:
        yield Receivers(process, int(process.stdout.readline()), count)
    finally:
        process.stdin.close()
        process.wait(10)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.receivers")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--answer-ms", type=float, required=True)
    parser.add_argument("--dead", type=int, default=0)
    given = parser.parse_args()
    asyncio.run(_serve(given.count, given.answer_ms / 1000, given.dead))
