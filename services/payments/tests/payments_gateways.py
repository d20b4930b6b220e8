"""Gateways in the shapes of real ones, in the test's own event loop, and orders whose ledgers pay there.

An order is driven as the service drives it: a command's decision gives tasks, a task runs under the policy until it has an
outcome, and the outcome's report is decided on in turn. Only the database is left out.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Literal
from uuid import UUID, uuid4

import aiohttp
from payments_bank import Bank, OfBank

from chassis.declare.service import Attempt, TryAgain
from contracts.base import Command, Event
from contracts.deciding import Context, Reported, Task, Wake, Withdrawn, effects_of
from contracts.payments import (
    Authorize,
    Capture,
    CheckDispute,
    CheckRefunds,
    Force,
    MoneyLine,
    OpenSession,
    Refund,
    ReplacingLine,
    Reverse,
    ReversedLine,
    Void,
)
from gatewayservers import dintero, plain, stripe
from gatewayservers.faults import Faults, Times
from gatewayservers.serving import listening
from payments.domain import answers, commands, compaction, disputes, elsewhere, forcing, reversing, sessions, waking
from payments.domain.folds import evolve
from payments.domain.gateway import GatewayCall, GatewayOutcome
from payments.domain.ledger import Ledger
from payments.gateways.accounts import Access, Account
from payments.gateways.dintero.gateway import Dintero
from payments.gateways.policy import Policy
from payments.gateways.port import Gateway
from payments.gateways.registry import KINDS
from payments.gateways.stripe.gateway import Stripe
from payments.gateways.test import TestGateway
from payments.settings import Settings
from tests.waiting import PATIENCE_SECONDS, patience

API_KEY, SECRET = "sk_test_conformance", "whsec_conformance"
DINTERO_ACCOUNT = "T12345678"
STORE = "st_1"
RETURN_URL = "https://shop.example/orders/A-1"
FIRST = datetime(2026, 1, 2, tzinfo=UTC)
QUICK = Times(latency_ms=0, late_ms=40, hold_ms=30)
"""A held answer ends as 504 of a proxy, so that no test depends on a time limit; those are tested with real processes."""
TIMEOUT_SECONDS = PATIENCE_SECONDS

DECIDE: dict[type, Callable[..., Any]] = {
    Authorize: sessions.authorize,
    Capture: commands.capture,
    Void: commands.void,
    Refund: commands.refund,
    Reverse: reversing.reverse,
    Force: forcing.force,
    Reported: answers.reported,
    Wake: waking.wake,
    OpenSession: sessions.open_session,
    CheckDispute: disputes.check,
    CheckRefunds: elsewhere.check,
}


@cache
def settings(**more: Any) -> Settings:
    """Frozen and the same for all orders: to build it takes longer than some of their operations."""
    quick = {"gateway_retry_seconds": 0.01, "gateway_poll_seconds": 0.02}
    return Settings(database_url="postgresql://nobody@127.0.0.1/none", **quick | more)


class NoAccounts:
    """No store has an account at any gateway."""

    async def of_store(self, store_id: str, gateway: str, name: str | None) -> Account | None:
        return None


@dataclass
class Shape:
    """A gateway of a shape: its server, and the code that is tested. Null where the shape has no such thing."""

    name: str
    url: str
    gateway: Gateway
    faults: Faults
    pays: str | None = None
    """A token that pays."""
    needs_buyer: str | None = None
    """A token that needs the buyer (3-D Secure)."""
    waits_with: str | None = None
    """The token with which an authorization waits for the buyer; null: it does so without one."""
    page_of: str | None = None
    """The token with which a buyer is sent to a page of the gateway; null: without one."""
    single_capture: str | None = None
    """A token whose authorization can be captured once."""
    amount_max: int = 0
    """The most that it takes."""
    captures_at_once: bool = False
    """An authorization can be captured in the same request."""
    server: Any = None
    """The server of a shape that has a buyer."""
    notices: list[Any] = field(default_factory=list)
    """Read from the events that arrived and whose signature fits."""

    def late(self, milliseconds: float) -> None:
        """How long a late operation takes from now on."""
        self.faults.times = replace(self.faults.times, late_ms=milliseconds)
        if self.server is not None and self.name != "test":
            self.server.books.late_ms = milliseconds

    async def moved(self, order_id: UUID) -> list[tuple[str, int]]:
        """(kind, amount) of all money that moved for an order at the gateway, each time counted."""
        charges = (await self.get(f"/charges?order_id={order_id}"))["charges"]
        return [(one["kind"], one["amount_minor"]) for one in charges]

    async def get(self, path: str) -> Any:
        async with aiohttp.ClientSession() as session, session.get(self.url + path) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def post(self, path: str) -> Any:
        async with aiohttp.ClientSession() as session, session.post(self.url + path) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def trouble(self, order_id: UUID, **troubles: str | None) -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.put(f"{self.url}/trouble/{order_id}", json=troubles) as response,
        ):
            assert response.status == 200, await response.text()


@contextlib.asynccontextmanager
async def shaped(name: str, times: Times = QUICK, timeout_seconds: float = TIMEOUT_SECONDS) -> AsyncIterator[Shape]:
    faults = Faults(times)
    async with contextlib.AsyncExitStack() as stack:
        if name == "test":
            book = plain.Book(None, times.key_seconds)
            server: Any = plain.Server(book, faults)
            url = await stack.enter_async_context(listening(server.app()))
            shape = Shape(
                name, url, TestGateway(url, timeout_seconds), faults, needs_buyer=plain.NEEDS_BUYER, waits_with=plain.NEEDS_BUYER,
                server=server,
            )  # fmt: skip
        elif name == "dintero":
            server = dintero.Server(faults, DINTERO_ACCOUNT, "client", API_KEY, webhook_secret=SECRET)
            url = await stack.enter_async_context(listening(server.app()))
            access = Access(
                url,
                {"client_id": "client", "client_secret": API_KEY},
                {"account_id": DINTERO_ACCOUNT, "return_url": "https://shop.example/thanks"},
            )
            shape = Shape(
                name, url, Dintero(access, timeout_seconds), faults, pays=dintero.PAYS, needs_buyer=dintero.NEEDS_BUYER,
                page_of=None, amount_max=2**31 - 1, server=server,
            )  # fmt: skip
            server.webhooks.url = await stack.enter_async_context(_receiver(shape))
        elif name == "manual":
            bank = Bank(faults)
            url = await stack.enter_async_context(listening(bank.app()))
            shape = Shape(name, url, OfBank(bank), faults)
        else:
            server = stripe.Server(faults, API_KEY, webhook_secret=SECRET)
            url = await stack.enter_async_context(listening(server.app()))
            shape = Shape(
                name, url, Stripe(url, API_KEY, timeout_seconds), faults,
                pays="pm_card_visa", needs_buyer=stripe.NEEDS_BUYER, page_of=stripe.NEEDS_BUYER, single_capture=stripe.SINGLE,
                amount_max=99_999_999, captures_at_once=True, server=server,
            )  # fmt: skip
            server.webhooks.url = await stack.enter_async_context(_receiver(shape))
        stack.push_async_callback(shape.gateway.close)
        yield shape


@contextlib.asynccontextmanager
async def _receiver(shape: Shape) -> AsyncIterator[str]:
    """Where the gateway sends its events: verified and read by the code that is tested."""
    inbound = KINDS[shape.name].inbound

    async def receive(request: aiohttp.web.Request) -> aiohttp.web.Response:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        inbound.verify(body, headers, SECRET, datetime.now(UTC))
        shape.notices.append(inbound.read(body))
        return aiohttp.web.Response()

    app = aiohttp.web.Application()
    app.router.add_post("/events", receive)
    async with listening(app) as url:
        yield f"{url}/events"


class Paying:
    """One order, its ledger and its tasks."""

    def __init__(self, shape: Shape, currency: str = "EUR", **knobs: Any) -> None:
        self.shape, self.order_id, self.currency = shape, uuid4(), currency
        self.knobs = settings(**knobs)
        self.policy = Policy(shape.gateway, self.knobs)
        self.ledger, self.events, self.tries = Ledger(), list[Event](), 0
        self.tasks: list[Task] = []

    # -- commands -----------------------------------------------------------------------------------------------------

    async def authorize(self, amount: int, token: str | None = "", operation_id: UUID | None = None) -> Event:
        return await self.ask(self.authorizing(amount, token, operation_id))

    def authorizing(
        self, amount: int, token: str | None = "", operation_id: UUID | None = None, capture: bool = False
    ) -> Authorize:
        token = self.shape.pays if token == "" else token
        return Authorize(
            **self._to(operation_id), gateway=self.shape.name, currency=self.currency, reference="A-1",
            lines=self.lines(amount), payment_token=token, capture=capture,
        )  # fmt: skip

    def opens_session(self, amount: int, gateway: str | None = None) -> UUID:
        """gateway: the buyer pays there before the order asks."""
        to = self._to()
        self.decide(
            OpenSession(**to, currency=self.currency, amount_minor=amount, return_url=RETURN_URL, gateway=gateway)
        )
        return UUID(str(to["operation_id"]))

    async def capture(self, amount: int, operation_id: UUID | None = None) -> Event:
        [authorization_id] = self.ledger.authorizations
        return await self.ask(
            Capture(
                **self._to(operation_id),
                authorization_id=authorization_id,
                currency=self.currency,
                lines=self.lines(amount),
            )
        )

    async def void(self, amount: int | None = None) -> Event:
        [authorization_id] = self.ledger.authorizations
        lines = self.lines(amount) if amount else ()
        return await self.ask(Void(**self._to(), authorization_id=authorization_id, lines=lines))

    async def refund(self, amount: int, capture_id: UUID | None = None, line_id: str = "1") -> Event:
        capture_id = capture_id or next(iter(self.ledger.captures))
        lines = self.lines(amount, line_id)
        return await self.ask(Refund(**self._to(), capture_id=capture_id, currency=self.currency, lines=lines))

    async def replace(self, amount: int, cheaper: int) -> Event:
        """The line 1, of `amount`, is reversed, and the line 2 of `cheaper` replaces it; the rest is refunded as line 3."""
        reversed_line = ReversedLine(line_id="-1", reverses="1", quantity=1, amount_minor=amount)
        replacing = ReplacingLine(line_id="2", quantity=1, amount_minor=cheaper)
        return await self.ask(
            Reverse(
                **self._to(), currency=self.currency, reversals=(reversed_line,), lines=(replacing,), refund_line_id="3"
            )
        )

    def calling(self, kind: Literal["capture", "void"], amount: int) -> GatewayCall:
        """A call on the authorization that no command has asked for."""
        [authorization_id] = self.ledger.authorizations
        authorized = self.ledger.operations[authorization_id]
        update = {"kind": kind, "amount_minor": amount, "refers_to": authorization_id, "gateway_reference": None}
        return self.ledger.call(self.order_id, STORE, uuid4(), authorized.model_copy(update=update))

    def lines(self, amount: int, line_id: str = "1") -> tuple[MoneyLine, ...]:
        return (MoneyLine(line_id=line_id, quantity=1, amount_minor=amount),)

    def _to(self, operation_id: UUID | None = None) -> dict[str, Any]:
        return {
            "order_id": self.order_id,
            "store_id": STORE,
            "operation_id": operation_id or uuid4(),
            "actor": "orders",
        }

    # -- as the service does it ---------------------------------------------------------------------------------------

    async def ask(self, command: Command) -> Event:
        """Decides, runs all tasks to their end, and returns the last event."""
        self.decide(command)
        await self.settle()
        return self.events[-1]

    def decide(self, message: Any) -> None:
        shares = dict.fromkeys(compaction.earlier(self.ledger, message))
        now = message.due_at if isinstance(message, Wake) else FIRST
        context = Context(now=now, key=self.order_id, store_id=STORE, message_id=uuid4(), shares=shares)
        for effect in effects_of(DECIDE[type(message)](self.ledger, message, context)):
            if isinstance(effect, Event):
                self.ledger = evolve(self.ledger, effect)  # type: ignore[arg-type]
                self.events.append(effect)
            elif isinstance(effect, Task):
                self.tasks.append(effect)
            elif isinstance(effect, Withdrawn):
                self.tasks = [task for task in self.tasks if task.task_id != effect.task_id]

    async def settle(self) -> None:
        """Runs every task until it has an outcome, in order."""
        while self.tasks:
            await self.run(self.tasks.pop(0))

    async def abandon(self) -> Event:
        """The time of the authorization that is open is over."""
        self.decide(Wake(FIRST + timedelta(days=2)))
        await self.settle()
        return self.events[-1]

    async def run(self, task: Task) -> None:
        assert isinstance(task.body, GatewayCall)
        async with patience():
            outcome = await self.outcome(task.body)
        self.decide(Reported(task_id=task.task_id, kind=task.kind, asked=task.body, outcome=outcome))

    async def outcome(self, call: GatewayCall, age: timedelta = timedelta(), tries: int = 0) -> GatewayOutcome:
        """tries: made before, by a worker that has died."""
        number = tries
        while True:
            number += 1
            self.tries += 1
            try:
                return await self.policy.run(call, self.attempt(call, number, age))
            except TryAgain:
                await asyncio.sleep(
                    min(0.005 * 2**number, 0.3)
                )  # grows, so that a busy machine has fewer tries to make

    def attempt(self, call: GatewayCall, number: int = 1, age: timedelta = timedelta()) -> Attempt:
        return Attempt(call.operation_id, self.order_id, number, FIRST, FIRST + age)

    def open_operations(self) -> list[UUID]:
        return [operation_id for operation_id, one in self.ledger.operations.items() if one.is_open]
