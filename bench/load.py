"""The load, in a process of its own: publishes snapshots, or posts orders over HTTP. Prints one JSON object at its end.

    python -m bench.load snapshots --bootstrap HOST:PORT --series NAME --count 20000 [--rate 100]
    python -m bench.load http --url http://HOST:PORT --series NAME --seconds 15 --connections 64     (key in BENCH_API_KEY)
    python -m bench.load http --url http://HOST:PORT --series NAME --count 1500 --rate 50

Records are encoded before the first one is sent, so that the measurement includes little of the load's own work.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import murmur2

from bench import http_load
from bench.workload import Series, utc_now
from contracts.registry import PARTITIONS, SNAPSHOTS

CHUNK = 600
"""Snapshots per round of one batch per partition."""


def main() -> int:
    arguments = _arguments().parse_args()
    series = Series(arguments.series, hot=arguments.hot)
    if arguments.what == "http" and arguments.rate:
        report = asyncio.run(
            http_load.on_schedule(arguments.url, os.environ["BENCH_API_KEY"], series, arguments.rate, arguments.count)
        )
    elif arguments.what == "http":
        report = asyncio.run(
            http_load.closed_loop(
                arguments.url, os.environ["BENCH_API_KEY"], series, arguments.seconds, arguments.connections
            )
        )
    else:
        report = asyncio.run(_snapshots(arguments, series))
    json.dump(report, sys.stdout)
    return 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=("snapshots", "http"))
    parser.add_argument("--series", required=True)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--hot", action="store_true", help="use one SKU for every line")
    parser.add_argument("--bootstrap", default="")
    parser.add_argument(
        "--rate",
        type=float,
        default=0,
        help="snapshots or requests per second, sent on schedule; 0: as fast as possible",
    )
    parser.add_argument("--url", default="")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--connections", type=int, default=64)
    return parser


async def _snapshots(arguments: argparse.Namespace, series: Series) -> dict[str, Any]:
    producer = AIOKafkaProducer(bootstrap_servers=arguments.bootstrap, acks="all", linger_ms=0, max_batch_size=4 << 20)
    await producer.start()
    try:
        if arguments.rate:
            return await _on_schedule(producer, series, arguments.first, arguments.count, arguments.rate)
        return await _at_once(producer, series, arguments.first, arguments.count)
    finally:
        await producer.stop()


async def _at_once(producer: AIOKafkaProducer, series: Series, first: int, count: int) -> dict[str, Any]:
    """Sends as fast as the broker accepts, one batch per partition in flight. Long series are encoded in pieces."""
    started = 0.0
    last_ms = 0
    for piece in range(first, first + count, 20_000):
        encoded = list(series.snapshots(piece, min(20_000, first + count - piece)))
        started = started or time.time()
        for at in range(0, len(encoded), CHUNK):
            now = utc_now()
            last_ms = int(now.timestamp() * 1000)
            builders: dict[int, Any] = {}
            for n, key, value in encoded[at : at + CHUNK]:
                partition = (murmur2(key) & 0x7FFFFFFF) % PARTITIONS
                builder = builders.setdefault(partition, producer.create_batch())
                taken = builder.append(
                    key=key, value=value, timestamp=last_ms, headers=series.snapshot_headers(n, key, now)
                )
                assert taken is not None, "a chunk is far below a batch's size"
            sent = []
            for partition, builder in builders.items():
                builder.close()
                sent.append(await producer.send_batch(builder, SNAPSHOTS, partition=partition))
            await asyncio.gather(*sent)
    return {"first_received": started, "last_received": last_ms / 1000, "sent": count}


async def _on_schedule(
    producer: AIOKafkaProducer, series: Series, first: int, count: int, rate: float
) -> dict[str, Any]:
    """Sends each record at its scheduled time, acknowledged or not the earlier ones (open loop)."""
    encoded = list(series.snapshots(first, count))
    started = time.time() + 0.1
    late_ms_max = 0.0
    sent = []
    for position, (n, key, value) in enumerate(encoded):
        due = started + position / rate
        if (wait := due - time.time()) > 0:
            await asyncio.sleep(wait)
        late_ms_max = max(late_ms_max, (time.time() - due) * 1000)
        sent.append(
            await producer.send(
                SNAPSHOTS, value, key, (murmur2(key) & 0x7FFFFFFF) % PARTITIONS, int(due * 1000),
                series.snapshot_headers(n, key, utc_now()),
            )
        )  # fmt: skip
    await asyncio.gather(*sent)
    return {
        "first_received": started,
        "last_received": started + (count - 1) / rate,
        "sent": count,
        "late_ms_max": late_ms_max,
    }


if __name__ == "__main__":
    sys.exit(main())
