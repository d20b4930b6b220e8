"""The gateway `test` as a real process, and an order that pays there as the chassis drives its tasks."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest

from chassis.declare.service import Attempt, TryAgain
from devservices.ports import choose_port
from payments.domain.gateway import GatewayCall, GatewayOutcome
from payments.gateways.policy import Policy
from payments.gateways.test import TestGateway
from payments.settings import Settings
from tests.waiting import PATIENCE_SECONDS, patience

FIRST = datetime(2026, 1, 2, tzinfo=UTC)


def settings(**more: Any) -> Settings:
    """A time limit for what never comes; where giving up is the subject, a test states a short one."""
    quick = {"gateway_retry_seconds": 0.01, "gateway_poll_seconds": 0.05}
    if "gateway_timeout_seconds" not in more:
        quick |= {"gateway_timeout_seconds": PATIENCE_SECONDS, "gateway_lease_seconds": 4 * PATIENCE_SECONDS}
    return Settings(database_url="postgresql://nobody@127.0.0.1/none", **quick | more)


class Process:
    """A gateway process; `kill` and `start` again leave its ledger file."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.ledger, self.options, self.port = folder / "charges.jsonl", options, choose_port("port", None)
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "gatewayservers.plain", "--port", str(self.port), "--latency-ms", "1"]
        quick = ["--hold-ms", "500", "--late-ms", "300", "--ledger", str(self.ledger)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self.process = subprocess.Popen([*command, *quick, *self.options], stdout=subprocess.PIPE, env=environment)
        assert self.process.stdout is not None
        assert b"test gateway on" in self.process.stdout.readline(), "it prints where it listens, then takes calls"

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)

    def kill(self) -> None:
        self.end(signal.SIGKILL)

    def moved(self, order_id: UUID) -> list[tuple[str, int]]:
        """(kind, amount) of everything on disk that happened to this order's money, each time counted."""
        entries = map(json.loads, self.ledger.read_text().splitlines()) if self.ledger.exists() else ()
        return [
            (e["kind"], e["amount_minor"])
            for e in entries
            if e["order_id"] == str(order_id) and e["state"] != "refused"
        ]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def one(*options: str) -> Process:
        started.append(Process(tmp_path, *options))
        return started[-1]

    yield one
    for process in started:
        if process.process.poll() is None:
            process.kill()
        assert process.process.stdout is not None
        process.process.stdout.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One gateway for the tests that leave it running."""
    process = Process(tmp_path_factory.mktemp("gateway"))
    yield process
    assert process.end() == 0
    assert process.process.stdout is not None
    process.process.stdout.close()


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One at which `late` is an hour."""
    process = Process(tmp_path_factory.mktemp("slow"), "--late-ms", "3600000")
    yield process
    assert process.end() == 0
    assert process.process.stdout is not None
    process.process.stdout.close()


class Order:
    """An order at the gateway, driven as the chassis drives tasks: again until there is an outcome."""

    def __init__(self, process: Process, order_id: UUID | None = None, **knobs: Any) -> None:
        self.process, self.order_id = process, order_id or uuid4()
        self.knobs = settings(**knobs)
        self.gateway = TestGateway(process.url, self.knobs.gateway_timeout_seconds)
        self.client = Policy(self.gateway, self.knobs)

    async def trouble(self, **by_kind: str | None) -> None:
        url = f"{self.process.url}/trouble/{self.order_id}"
        async with aiohttp.ClientSession() as session, session.put(url, json=by_kind) as response:
            assert response.status == 200

    async def once(self, call: GatewayCall, number: int = 1, age: timedelta = timedelta()) -> GatewayOutcome:
        attempt = Attempt(call.operation_id, self.order_id, number, FIRST, FIRST + age)
        return await self.client.run(call, attempt)

    async def check(self, call: GatewayCall, age: timedelta = timedelta()) -> GatewayOutcome:
        attempt = Attempt(call.operation_id, self.order_id, 1, FIRST, FIRST + age)
        return await self.client.check(call.model_copy(update={"ask_only": True}), attempt)

    async def until_known(self, call: GatewayCall, first: int = 1, age: timedelta = timedelta()) -> GatewayOutcome:
        """As the chassis: `pending` goes on as a task that only asks."""
        number = first
        async with patience():
            while True:
                try:
                    outcome = await self.once(call, number, age)
                except TryAgain as again:
                    number += 1
                    await asyncio.sleep(min(again.after_seconds or 0.02, 0.05))
                    continue
                if outcome.state != "pending":
                    return outcome
                call, number = call.model_copy(update={"ask_only": True}), 1

    def call(self, kind: Any, amount: int = 10_00, of: GatewayCall | None = None) -> GatewayCall:
        return GatewayCall(
            operation_id=uuid4(),
            gateway="test",
            kind=kind,
            order_id=self.order_id,
            store_id="st_1",
            currency="EUR",
            amount_minor=amount,
            refers_to=of.operation_id if of else None,
            reference="A-1" if kind == "authorize" else None,
        )

    async def authorized(self, amount: int = 10_00) -> GatewayCall:
        call = self.call("authorize", amount)
        assert (await self.until_known(call)).state == "succeeded"
        return call

    def captures(self) -> list[int]:
        return [amount for kind, amount in self.process.moved(self.order_id) if kind == "capture"]


def run(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), PATIENCE_SECONDS))


def order_with(n: int) -> UUID:
    """An order id whose first 8 hex digits are `n` modulo 100."""
    return UUID(hex=f"{n + 4_200:08x}" + uuid4().hex[8:])
