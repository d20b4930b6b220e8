"""The gateway that tests and the demo pay at: a real process, and our client's way of never charging twice against it."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest
from pydantic import ValidationError

from chassis import crash
from chassis.declare.service import Attempt, TryAgain
from gatewayservers.faults import demo_trouble
from payments.domain.gateway import GatewayCall, GatewayOutcome
from payments.gateways.accounts import Account
from payments.gateways.policy import Policy
from payments.gateways.registry import Gateways
from payments.gateways.test import TestGateway
from payments.settings import Settings

FIRST = datetime(2026, 1, 2, tzinfo=UTC)


def settings(**more: Any) -> Settings:
    quick = {"gateway_timeout_seconds": 0.4, "gateway_retry_seconds": 0.01, "gateway_poll_seconds": 0.05}
    return Settings(database_url="postgresql://nobody@127.0.0.1/none", **quick | more)


class Process:
    """A gateway process; `kill` and `start` again leave its ledger file."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.ledger, self.options, self.port = folder / "charges.jsonl", options, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "gatewayservers.plain", "--port", str(self.port), "--latency-ms", "1"]
        quick = ["--hold-ms", "1500", "--late-ms", "300", "--ledger", str(self.ledger)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self.process = subprocess.Popen([*command, *quick, *self.options], stdout=subprocess.PIPE, env=environment)
        assert self.process.stdout is not None
        assert b"test gateway on" in self.process.stdout.readline(), "it prints where it listens, then takes calls"

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(10)

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


def free_port() -> int:
    for port in random.sample(range(20_000, 32_000), 50):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no free port between 20000 and 32000")


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
        end = time.monotonic() + 8
        number = first
        while time.monotonic() < end:
            try:
                outcome = await self.once(call, number, age)
            except TryAgain as again:
                number += 1
                await asyncio.sleep(min(again.after_seconds or 0.02, 0.05))
                continue
            if outcome.state != "pending":
                return outcome
            call, number = call.model_copy(update={"ask_only": True}), 1
        raise AssertionError(f"no outcome of {call} in 8 s")

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
    asyncio.run(asyncio.wait_for(story(), 20))


def order_with(n: int) -> UUID:
    """An order id whose first 8 hex digits are `n` modulo 100."""
    return UUID(hex=f"{n + 4_200:08x}" + uuid4().hex[8:])


# ----------------------------------------------------------------------------------------------------- nothing wrong


def test_money_goes_the_whole_way(shared: Process) -> None:
    async def story() -> None:
        order = Order(shared)
        a = await order.authorized(10_00)
        c = order.call("capture", 7_00, a)
        first = await order.once(c)
        assert (first.state, first.amount_minor) == ("succeeded", 7_00)
        assert first.gateway_reference
        assert (await order.once(order.call("refund", 7_00, c))).state == "succeeded"
        assert (await order.once(order.call("void", 3_00, a))).state == "succeeded"
        assert shared.moved(order.order_id) == [
            ("authorize", 10_00),
            ("capture", 7_00),
            ("refund", 7_00),
            ("void", 3_00),
        ]
        await order.client.close()

    run(story)


def test_the_same_key_is_the_same_operation(shared: Process) -> None:
    async def story() -> None:
        order = Order(shared)
        c = order.call("capture", of=await order.authorized())
        answers = await asyncio.gather(*(order.once(c) for _ in range(5)))
        assert len({answer.gateway_reference for answer in answers}) == 1
        assert order.captures() == [10_00]
        await order.client.close()

    run(story)


def test_a_key_used_for_something_else_is_no_answer_to_either(shared: Process) -> None:
    async def story() -> None:
        order = Order(shared)
        a = await order.authorized(10_00)
        c = order.call("capture", 4_00, a)
        await order.once(c)
        outcome = await order.once(c.model_copy(update={"amount_minor": 5_00}))
        # 409: unclear, so it was asked, and returns what really happened; the ledger finds the amounts differ.
        assert outcome.amount_minor == 4_00
        assert order.captures() == [4_00]
        await order.client.close()

    run(story)


@pytest.mark.parametrize("kind", ["capture", "void"])
def test_the_gateway_does_its_own_arithmetic(shared: Process, kind: str) -> None:
    async def story() -> None:
        order = Order(shared)
        a = await order.authorized(10_00)
        assert (await order.once(order.call("capture", 7_00, a))).state == "succeeded"
        outcome = await order.once(order.call(kind, 3_01, a))
        assert (outcome.state, outcome.code) == ("refused", "amount_exceeded")
        await order.client.close()

    run(story)


def test_nothing_is_captured_of_what_the_gateway_never_authorized(shared: Process) -> None:
    async def story() -> None:
        order = Order(shared)
        outcome = await order.once(order.call("capture", 1, order.call("authorize")))
        assert (outcome.state, outcome.code) == ("refused", "unknown_reference")
        await order.client.close()

    run(story)


def test_charges_are_listed_by_order(shared: Process) -> None:
    async def story() -> None:
        order = Order(shared)
        a = await order.authorized()
        url = f"{shared.url}/charges?order_id={order.order_id}"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            charges = (await response.json())["charges"]
        assert [(c["operation"], c["kind"], c["amount_minor"]) for c in charges] == [
            (str(a.operation_id), "authorize", 10_00)
        ]
        await order.client.close()

    run(story)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"kind": "steal"}', b'{"kind":"capture","order_id":"x"}', b"\xff"])
def test_what_does_not_read_is_refused_without_harm(shared: Process, body: bytes) -> None:
    async def story() -> None:
        headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
        async with aiohttp.ClientSession(headers=headers) as session:
            async with session.post(f"{shared.url}/operations", data=body) as response:
                assert response.status == 400
            async with session.get(f"{shared.url}/operations/k") as response:
                assert response.status == 404

    run(story)


# ---------------------------------------------------------------------------------------------------------- trouble


def test_a_declined_authorization_is_a_no(shared: Process) -> None:
    async def story() -> None:
        order = Order(shared)
        await order.trouble(authorize="declined")
        outcome = await order.once(order.call("authorize"))
        assert (outcome.state, outcome.code, outcome.reason) == ("refused", "card_declined", "the test gateway refuses")
        assert shared.moved(order.order_id) == []
        await order.client.close()

    run(story)


def test_a_late_capture_is_pending_first_and_then_charged_once(shared: Process) -> None:
    async def story() -> None:
        order = Order(shared)
        c = order.call("capture", of=await order.authorized())
        await order.trouble(capture="late")
        assert (await order.once(c)).state == "pending"
        later = c.model_copy(update={"ask_only": True})
        with pytest.raises(TryAgain, match="still pending"):
            await order.once(later)
        assert (await order.until_known(later)).state == "succeeded"
        assert order.captures() == [10_00]
        await order.client.close()

    run(story)


@pytest.mark.parametrize("trouble", ["timed_out", "broken"])
def test_a_capture_that_succeeded_unheard_is_charged_exactly_once(shared: Process, trouble: str) -> None:
    async def story() -> None:
        order = Order(shared)
        c = order.call("capture", of=await order.authorized())
        await order.trouble(capture=trouble)
        outcome = await order.once(c)  # the call is unclear; the same attempt asks and receives the outcome
        assert (outcome.state, outcome.amount_minor) == ("succeeded", 10_00)
        assert order.captures() == [10_00]
        await order.client.close()

    run(story)


@pytest.mark.parametrize("trouble", ["lost", "down"])
def test_a_call_that_was_never_carried_out_is_made_again(shared: Process, trouble: str) -> None:
    async def story() -> None:
        order = Order(shared)
        c = order.call("capture", of=await order.authorized())
        await order.trouble(capture=trouble)
        with pytest.raises(TryAgain, match="has no record"):
            await order.once(c)
        assert order.captures() == []
        assert (await order.once(c, number=2)).state == "succeeded"
        assert order.captures() == [10_00]
        await order.client.close()

    run(story)


def test_a_gateway_that_stays_silent_is_asked_until_it_answers_and_charges_once(shared: Process) -> None:
    async def story() -> None:
        order = Order(shared, gateway_timeout_seconds=0.1)
        c = order.call("capture", of=await order.authorized())
        await order.trouble(capture="silent")
        for number in (1, 2, 3):
            with pytest.raises(TryAgain):
                await order.once(c, number)
        with pytest.raises(TryAgain):
            await order.check(c)
        await order.trouble(capture=None)
        assert (await order.check(c)).state == "succeeded"
        assert order.captures() == [10_00]
        await order.client.close()

    run(story)


def test_a_check_moves_nothing_and_believes_unknown_once_no_call_can_be_under_way(shared: Process) -> None:
    async def story() -> None:
        order = Order(shared)
        c = order.call("capture", of=await order.authorized())
        lease = timedelta(seconds=order.knobs.gateway_lease_seconds)
        with pytest.raises(TryAgain, match="may still arrive"):
            await order.check(c, age=lease - timedelta(seconds=1))
        assert (await order.check(c, age=lease)).state == "unknown"
        assert order.captures() == []
        await order.trouble(capture="late")
        assert (await order.once(c)).state == "pending"
        with pytest.raises(TryAgain, match="still pending"):
            await order.check(c, age=lease)
        await order.client.close()

    run(story)


def test_a_partial_void_releases_its_amount_at_the_gateway_and_the_rest_can_be_captured(shared: Process) -> None:
    async def story() -> None:
        order = Order(shared)
        authorization = await order.authorized()
        part = order.call("void", of=authorization).model_copy(update={"amount_minor": 4_00})
        assert (await order.once(part)).amount_minor == 4_00
        whole = order.call("capture", of=authorization)
        assert whole.amount_minor == 10_00 and (await order.once(whole)).code == "amount_exceeded"
        rest = order.call("capture", of=authorization).model_copy(
            update={"amount_minor": 6_00, "operation_id": uuid4()}
        )
        assert (await order.once(rest)).state == "succeeded"
        await order.client.close()

    run(story)


def test_a_gateway_that_is_not_there_is_not_a_no(start: Callable[..., Process]) -> None:
    async def story() -> None:
        process = start()
        order = Order(process)
        c = order.call("capture", of=await order.authorized())
        process.kill()
        for number in (1, 2):
            with pytest.raises(TryAgain):
                await order.once(c, number)
        process.start()
        assert (await order.until_known(c, first=3)).state == "succeeded"
        assert order.captures() == [10_00]
        await order.client.close()

    run(story)


def test_a_worker_that_died_after_the_call_does_not_call_again(shared: Process) -> None:
    """Its successor has attempt 2 and asks first: here the gateway would refuse any second call."""

    async def story() -> None:
        order = Order(shared)
        c = order.call("capture", of=await order.authorized())
        first = await order.once(c)
        posted: list[str] = []
        request = order.gateway._http.request

        async def watched(method: str, *args: Any, **more: Any) -> Any:
            posted.append(method)
            return await request(method, *args, **more)

        order.gateway._http.request = watched  # type: ignore[method-assign]
        assert await order.once(c, number=2) == first
        assert posted == ["GET"]
        await order.client.close()

    run(story)


# ---------------------------------------------------------------------------------------------- killed and restarted


@pytest.mark.parametrize("trouble", ["timed_out", "late"])
def test_a_gateway_killed_in_between_knows_what_it_charged(start: Callable[..., Process], trouble: str) -> None:
    async def story() -> None:
        process = start()
        order = Order(process)
        c = order.call("capture", of=await order.authorized())
        await order.trouble(capture=trouble)
        calling = asyncio.create_task(order.once(c))
        while not order.captures():
            await asyncio.sleep(0.005)
        process.kill()  # it has charged; its answer is lost
        await asyncio.gather(calling, return_exceptions=True)
        process.start()
        assert (await order.until_known(c, first=2)).state == "succeeded"
        assert order.captures() == [10_00]
        await order.client.close()

    run(story)


def test_a_line_that_was_cut_off_is_forgotten(start: Callable[..., Process]) -> None:
    """It was never answered, so nothing is lost; and the lines after it must read."""

    async def story() -> None:
        process = start()
        order = Order(process)
        a = await order.authorized()
        process.kill()
        with process.ledger.open("ab") as file:
            file.write(b'{"key": "half')
        process.start()
        assert (await order.until_known(order.call("capture", 5_00, a))).state == "succeeded"
        process.kill()
        process.start()
        assert (await order.until_known(order.call("capture", 5_00, a))).state == "succeeded"
        assert order.captures() == [5_00, 5_00]
        await order.client.close()

    run(story)


# ------------------------------------------------------------------------------------------------- a key's lifetime


def test_past_the_keys_lifetime_it_is_asked_by_reference_and_never_called(start: Callable[..., Process]) -> None:
    """The gateway deleted the key: a second call with it would charge again. Seen here first, then avoided."""

    async def story() -> None:
        process = start("--key-seconds", "0.2")
        order = Order(process)
        a = await order.authorized(30_00)
        c = order.call("capture", 10_00, a)
        assert (await order.once(c)).state == "succeeded"
        await asyncio.sleep(0.25)
        assert (await order.once(c)).state == "succeeded"
        assert order.captures() == [10_00, 10_00], "the danger is real: this gateway charges again"
        assert (await order.once(c, number=5, age=timedelta(hours=24))).state == "succeeded"
        assert order.captures() == [10_00, 10_00]
        await order.client.close()

    run(story)


def test_past_the_keys_lifetime_an_unknown_operation_waits_for_a_person(shared: Process) -> None:
    async def story() -> None:
        order = Order(shared)
        c = order.call("capture", of=await order.authorized())
        for number in (1, 2, 50):
            with pytest.raises(TryAgain, match="a person compares both sides"):
                await order.once(c, number, timedelta(hours=23))
        assert order.captures() == []
        assert (await order.once(c, 2, timedelta(hours=22))).state == "succeeded"
        await order.client.close()

    run(story)


def test_a_pending_operation_is_followed_past_the_keys_lifetime(start: Callable[..., Process]) -> None:
    async def story() -> None:
        process = start("--key-seconds", "0.1")
        order = Order(process)
        c = order.call("capture", of=await order.authorized())
        await order.trouble(capture="late")
        assert (await order.until_known(c)).state == "succeeded"
        assert order.captures() == [10_00]
        await order.client.close()

    run(story)


# ------------------------------------------------------------------------------------- answers that cannot be trusted


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>maintenance</html>"),
        (201, b'{"state": "succeeded"}'),
        (201, b'{"operation": "00000000-0000-0000-0000-000000000000", "state": "succeeded"}'),
        (201, b'{"operation": "{id}", "state": "maybe"}'),
        (201, b'{"operation": "{id}", "state": "succeeded", "amount_minor": 10.5}'),
        (301, b""),
        (400, b"{}"),
        (401, b"{}"),
        (404, b"{}"),
        (429, b"{}"),
        (500, b"{}"),
        (503, b"\xff\xfe"),
    ],
)
def test_what_does_not_say_yes_or_no_is_neither(status: int, body: bytes) -> None:
    """Also when asking: a 404 that the gateway did not write itself must not cause a second call."""

    async def story() -> None:
        asked: list[str] = []

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            asked.append(head.split(b" ", 1)[0].decode())
            text = body.replace(b"{id}", str(c.operation_id).encode())
            writer.write(
                b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (status, len(text), text)
            )
            await writer.drain()
            writer.close()

        port = free_port()
        server = await asyncio.start_server(answer, "127.0.0.1", port)
        client = Policy(TestGateway(f"http://127.0.0.1:{port}", 0.4), settings())
        c = GatewayCall(
            operation_id=uuid4(), gateway="test", kind="capture", order_id=uuid4(), store_id="st_1",
            currency="EUR", amount_minor=1, refers_to=uuid4(),
        )  # fmt: skip
        for number, methods in ((1, ["POST", "GET"]), (2, ["GET"])):
            asked.clear()
            with pytest.raises(TryAgain):
                await client.run(c, Attempt(c.operation_id, c.order_id, number, FIRST, FIRST))
            assert asked == methods
        await client.close()
        server.close()

    run(story)


# ------------------------------------------------------------------------------------- which gateway, and crash points


class NoAccounts:
    async def of_store(self, store_id: str, gateway: str, name: str | None) -> Account | None:
        return None


def test_a_gateway_that_is_not_set_up_says_no_before_anything_was_tried() -> None:
    async def story() -> None:
        call = GatewayCall(
            operation_id=uuid4(), gateway="paypal", kind="authorize", order_id=uuid4(), store_id="st_1",
            currency="EUR", amount_minor=1,
        )  # fmt: skip
        gateways = Gateways({}, NoAccounts(), settings())
        outcome = await gateways.run(call, Attempt(call.operation_id, call.order_id, 1, FIRST, FIRST))
        assert (outcome.state, outcome.code) == ("not_set_up", "gateway_unknown")
        with pytest.raises(TryAgain, match="gateway_unknown: .* it was, before"):
            await gateways.run(call, Attempt(call.operation_id, call.order_id, 2, FIRST, FIRST))

    run(story)


@pytest.mark.parametrize("trouble", [None, "timed_out"])
def test_every_call_passes_both_crash_points(
    shared: Process, monkeypatch: pytest.MonkeyPatch, trouble: str | None
) -> None:
    async def story() -> None:
        order = Order(shared)
        c = order.call("capture", of=await order.authorized())
        if trouble:
            await order.trouble(capture=trouble)
        passed: list[tuple[str, int]] = []
        monkeypatch.setattr(crash, "point", lambda name: passed.append((name, len(order.captures()))))
        await order.once(c)
        assert passed == [("before_gateway_call", 0), ("after_gateway_call", 1)]
        await order.client.close()

    run(story)


# ------------------------------------------------------------------------------------------------- the demo's trouble


@pytest.mark.parametrize(
    ("n", "kind", "expected"),
    [
        (0, "authorize", "declined"), (3, "authorize", "declined"), (4, "authorize", None), (3, "capture", None),
        (4, "capture", "late"), (7, "capture", "late"), (8, "capture", "timed_out"), (11, "capture", "timed_out"),
        (12, "capture", None), (99, "capture", None), (5, "refund", None), (9, "void", None),
    ],
)  # fmt: skip
def test_the_demos_trouble_follows_from_the_order_id(n: int, kind: str, expected: str | None) -> None:
    assert demo_trouble(str(order_with(n)), kind) == expected


def test_the_demos_orders_end_as_the_rule_says(start: Callable[..., Process]) -> None:
    async def story() -> None:
        process = start("--trouble", "demo")
        declined = Order(process, order_with(2))
        assert (await declined.once(declined.call("authorize"))).state == "refused"
        for n in (5, 9, 50):
            order = Order(process, order_with(n))
            c = order.call("capture", of=await order.authorized())
            assert (await order.until_known(c)).state == "succeeded"
            assert order.captures() == [10_00]
            await order.client.close()
        await declined.client.close()

    run(story)


# ---------------------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    "wrong", [{"gateway_lease_seconds": 20}, {"gateway_timeout_seconds": 10}, {"gateway_key_hours": 0.01}]
)
def test_knobs_that_do_not_fit_together_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        settings(**{"gateway_timeout_seconds": 8} | wrong)
