"""A gateway as a process, or inside a test's own event loop."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import AsyncIterator

from aiohttp import web

from gatewayservers.faults import Faults, Times

log = logging.getLogger(__name__)
log.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], ConnectionResetError)))
"""A client that does not wait for a held answer is no error."""


@contextlib.asynccontextmanager
async def listening(app: web.Application, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serves an application; yields its URL. port: 0 for any free one."""
    runner = web.AppRunner(app, access_log=None, logger=log, shutdown_timeout=0.2)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, reuse_address=True).start()
        yield f"http://{host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def serve(app: web.Application, options: argparse.Namespace) -> None:
    """Serves until SIGTERM or SIGINT, and prints where."""
    async with listening(app, options.host, options.port) as url:
        sys.stdout.write(f"test gateway on {url}\n")
        sys.stdout.flush()
        stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        await stopped.wait()


def parser(prog: str, description: str) -> argparse.ArgumentParser:
    """The options of every gateway."""
    usual = Times()
    arguments = argparse.ArgumentParser(prog=prog, description=description)
    arguments.add_argument("--host", default="127.0.0.1", help="0.0.0.0 in a container")
    arguments.add_argument("--port", type=int, required=True, help="0: any free one")
    arguments.add_argument("--seed", type=int, default=1, help="of the latencies")
    arguments.add_argument("--trouble", choices=("none", "demo"), default="none")
    arguments.add_argument(
        "--latency-ms",
        type=float,
        default=usual.latency_ms,
        help="mean; each answer takes half to one and a half of it",
    )
    arguments.add_argument("--late-ms", type=float, default=usual.late_ms, help="until a late operation succeeds")
    arguments.add_argument(
        "--hold-ms",
        type=float,
        default=usual.hold_ms,
        help="how long a held answer is held; above the client's timeout",
    )
    arguments.add_argument(
        "--key-seconds", type=float, default=usual.key_seconds, help="how long an idempotency key is honoured"
    )
    return arguments


def faults(options: argparse.Namespace) -> Faults:
    times = Times(options.latency_ms, options.late_ms, options.hold_ms, options.key_seconds)
    return Faults(times, options.trouble, options.seed)
