"""Raw HTTP/1.1 on keep-alive connections: the client must be cheap, since it shares the machine with the server."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import orjson

from bench.workload import ACCOUNT, CHANNEL, Series

PREPARED_MAX = 60_000


async def closed_loop(url: str, api_key: str, series: Series, seconds: float, connections: int) -> dict[str, Any]:
    """Each connection posts its next order after the response to the last one; each order has its own idempotency key.

    Returns the number accepted (201), the count of every other status, the duration, the rate, and latencies in ms.
    """
    where = urlsplit(url)
    assert where.hostname is not None and where.port is not None
    limit = min(int(seconds * 4_000), PREPARED_MAX)
    requests = [_request(where.netloc, api_key, series, n) for n in range(limit)]
    position = 0
    answered: list[float] = []
    refused: dict[int, int] = {}
    started = time.perf_counter()
    until = started + seconds

    async def connection() -> None:
        nonlocal position
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        try:
            while (asked := time.perf_counter()) < until and position < limit:
                request = requests[position]
                position += 1
                writer.write(request)
                status, _ = await _answer(reader)
                if status == 201:
                    answered.append(time.perf_counter() - asked)
                else:
                    refused[status] = refused.get(status, 0) + 1
        finally:
            writer.close()

    await asyncio.gather(*(connection() for _ in range(connections)))
    took = time.perf_counter() - started
    answered.sort()
    return {
        "accepted": len(answered),
        "refused": refused,
        "seconds": took,
        "per_second": len(answered) / took,
        "p50_ms": 1000 * answered[len(answered) // 2] if answered else None,
        "p99_ms": 1000 * answered[int(len(answered) * 0.99)] if answered else None,
    }


def _request(host: str, api_key: str, series: Series, n: int) -> bytes:
    body = orjson.dumps({"channel": CHANNEL, "account": ACCOUNT, **series.order(n)})
    head = (
        f"POST /v1/orders HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {api_key}\r\n"
        f"content-type: application/json\r\nidempotency-key: {series.external_id(n)}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def on_schedule(url: str, api_key: str, series: Series, rate: float, count: int) -> dict[str, Any]:
    """Posts each order at its scheduled time, answered or not the earlier ones (open loop).

    Returns when the first one was due (epoch seconds), the count of every status but 201, and the maximum delay in ms.
    """
    client = Client(url, api_key)
    requests = [_request(client.host, api_key, series, n) for n in range(count)]
    started = time.time() + 0.1
    late_ms_max = 0.0
    refused: dict[int, int] = {}

    async def post(n: int) -> None:
        nonlocal late_ms_max
        status, _ = await client.exchange(requests[n])
        if status != 201:
            refused[status] = refused.get(status, 0) + 1

    posts = []
    for n in range(count):
        due = started + n / rate
        if (wait := due - time.time()) > 0:
            await asyncio.sleep(wait)
        late_ms_max = max(late_ms_max, (time.time() - due) * 1000)
        posts.append(asyncio.create_task(post(n)))
    await asyncio.gather(*posts)
    client.close()
    return {"first_sent": started, "sent": count, "refused": refused, "late_ms_max": late_ms_max}


class Client:
    """Requests of one API key. A connection is used again once its request is answered."""

    def __init__(self, url: str, api_key: str) -> None:
        where = urlsplit(url)
        assert where.hostname is not None and where.port is not None
        self.host, self._address, self._key = where.netloc, (where.hostname, where.port), api_key
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def request(self, method: str, path: str, expected: int, body: Any = None) -> Any:
        """Returns the body of the answer. Raises RuntimeError for another status than the expected one."""
        sent = orjson.dumps(body) if body is not None else b""
        head = (
            f"{method} {path} HTTP/1.1\r\nhost: {self.host}\r\nauthorization: Bearer {self._key}\r\n"
            f"content-type: application/json\r\nidempotency-key: {uuid4()}\r\ncontent-length: {len(sent)}\r\n\r\n"
        )
        status, answer = await self.exchange(head.encode() + sent)
        if status != expected:
            raise RuntimeError(f"{method} {path}: {status} {answer.decode()}")
        return orjson.loads(answer)

    async def exchange(self, request: bytes) -> tuple[int, bytes]:
        """Returns status and body."""
        reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection(*self._address)
        writer.write(request)
        answer = await _answer(reader)
        self._idle.append((reader, writer))
        return answer

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head[9:12])
    length = next(
        int(line.partition(b":")[2]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
    )
    return status, await reader.readexactly(length)
