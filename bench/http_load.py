"""Raw HTTP/1.1 on keep-alive connections: the client must be cheap, since it shares the machine with the server."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from urllib.parse import urlsplit

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
                status = await _answer(reader)
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


async def _answer(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head[9:12])
    length = next(
        int(line.partition(b":")[2]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
    )
    await reader.readexactly(length)
    return status
