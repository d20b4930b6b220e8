"""The console on a real PostgreSQL for tests: events as the services publish them, a browser that speaks ASGI."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import UUID, uuid4

from aiokafka import ConsumerRecord

from chassis.kafka.attempts import Attempts
from chassis.kafka.decoding import Decoder
from chassis.process.app import App
from console import api, sessions
from console.handlers import SERVICE
from console.settings import Settings
from contracts import fulfillment, invoicing, orders, payments
from contracts.base import Event
from contracts.envelope import headers
from contracts.orders import MarketTerms
from contracts.payments import MoneyTotals
from contracts.snapshot import Address, Buyer, Line, OrderContent, Source
from contracts.snapshot.lines import Quantities
from contracts.snapshot.totals import Totals
from tests.asgi import asgi_of
from tests.databases import empty, migrated
from tests.waiting import PATIENCE_SECONDS, patience

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
STORE = "st_1"
SOURCE = Source(channel="amazon", account="eu", updated_at=NOW, content_hash="h")


@asynccontextmanager
async def emptied(tables: Iterable[str], **settings: Any) -> AsyncIterator[App]:
    """The console on its database of the tests, of which these tables are empty. Its time limits are for what never comes."""
    url = os.environ["CONSOLE_TEST_DATABASE_URL"]
    await migrated(SERVICE, url)
    patient = {"ask_seconds_max": PATIENCE_SECONDS, "database_read_seconds_max": PATIENCE_SECONDS}
    app = App(SERVICE, Settings(database_url=url, **patient | settings), "api")
    async with app.database.connection() as connection:
        await empty(connection, tables)
    yield app
    await app.database.close()


def content(number: str = "A-1", **more: Any) -> OrderContent:
    lines = (
        Line(
            external_line_id="1", sku="MUG-RED", title="Red mug", quantity=Quantities(ordered=2), line_total_minor=20_00
        ),
    )
    fields: dict[str, Any] = {
        "external_order_id": number, "placed_at": NOW, "currency": "EUR", "lines": lines,
        "totals": Totals(grand_minor=20_00),
        "buyer": Buyer(name="Ánna O'Brien", email="Anna@example.com"),
        "ship_to": Address(name="Anna O'Brien", city="Wien", country="AT"),
    }  # fmt: skip
    return OrderContent(**fields | more)


@dataclass
class Life:
    """The events of one order, each with the next version of its service."""

    order_id: UUID = field(default_factory=uuid4)
    store_id: str = STORE
    number: str = "A-1"
    versions: dict[str, int] = field(default_factory=dict)
    statuses: dict[str, Any] = field(
        default_factory=lambda: {"status": "placing", "payment_status": "unpaid", "fulfillment_status": "unfulfilled"}
    )

    def next(self, model: type[Event], **fields: Any) -> Any:
        owner = model.owner()
        self.versions[owner] = self.versions.get(owner, 0) + 1
        if owner == "orders":
            self.statuses |= {name: fields.pop(name) for name in list(fields) if name in self.statuses}
            fields |= self.statuses
        return model(order_id=self.order_id, store_id=self.store_id, version=self.versions[owner], **fields)

    def received(self, *, capture: str = "on_approval", status: str = "placing", **more: Any) -> Any:
        sold = content(self.number, **more)
        return self.next(
            orders.Received, status=status, number=self.number, grand_minor=sold.totals.grand_minor, order=sold,
            source=SOURCE,
            market=MarketTerms(code="de", capture=capture),
        )  # fmt: skip

    def paid(self, **totals: int) -> Any:
        return self.next(
            payments.Captured, currency="EUR", totals=MoneyTotals(**totals), capture_id=uuid4(), authorization_id=uuid4(),
            lines=(), amount_minor=0,
        )  # fmt: skip

    def shipped(self, tracking: str) -> Any:
        return self.next(
            fulfillment.Shipped, totals=fulfillment.StockTotals(shipped=2), shipment_id=uuid4(), location="main",
            lines=(), tracking_number=tracking,
        )  # fmt: skip

    def credited(self, number: str, total_minor: int) -> Any:
        seller = invoicing.Seller(
            code="shop", name="Shop", address=Address(), vat_number="X", time_zone="Europe/Vienna"
        )
        return self.next(
            invoicing.Credited, credit_note_id=uuid4(), invoice_id=uuid4(), invoice_number="R1", invoice_issued_on=NOW.date(),
            series="C", number=number, sequence=1, issued_at=NOW, issued_on=NOW.date(), currency="EUR", net_minor=total_minor,
            vat_minor=0, total_minor=total_minor, vat=(), lines=(), seller=seller,
        )  # fmt: skip


class Publisher:
    """Hands records to the service as its consumer does."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.decoder = Decoder(SERVICE, app.settings, app.database, app.metrics, Attempts())
        self._offset = 0
        self.at = datetime.now(UTC) - timedelta(hours=1)  # a much older event is parked

    def record(self, event: Event) -> ConsumerRecord:
        self._offset += 1
        self.at += timedelta(seconds=1)
        owner = event.owner()
        sent = headers(ce_id=str(uuid4()), source=owner, type=event.TYPE, time=self.at, subject=str(event.key),
                       store_id=event.store_id, correlation_id="c")  # fmt: skip
        value = event.model_dump_json().encode()
        return ConsumerRecord(
            f"{owner}.events.v1", 0, self._offset, 0, 0, str(event.key).encode(), value, None, 0, 0, sent
        )

    async def take(self, *records: ConsumerRecord) -> None:
        await self.app.shell.take(await self.decoder.decode(records))

    async def publish(self, *events: Event) -> None:
        await self.take(*(self.record(event) for event in events))


@dataclass
class Answered:
    status: int
    text: str
    headers: Mapping[str, str]
    cookies: Sequence[str] = ()
    """Each `Set-Cookie`, as it was sent."""

    @property
    def location(self) -> str:
        return self.headers["location"]


def foreign(page: str) -> str:
    """Returns a page without the element of the console's own script."""
    return re.sub(r'<script src="/assets/console\.[0-9a-f]+\.js"[^>]*></script>', "", page)


@dataclass
class Stream:
    """An open stream of a browser."""

    status: int
    _came: asyncio.Queue[Any]
    event_id: str = ""
    """That with which a browser connects again."""
    is_over: bool = False
    _unread: list[dict[str, Any]] = field(default_factory=list)

    async def until(self, found: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Returns the first message that fits; those before it are dropped."""
        async with patience():
            while True:
                while not self._unread:
                    self._unread += await self.read()
                if found(body := self._unread.pop(0)):
                    return body

    async def read(self) -> list[dict[str, Any]]:
        """Returns the messages of the next piece."""
        message = await self._came.get()
        self.is_over = not message.get("more_body")
        piece = message.get("body", b"").decode()
        if ids := re.findall("^id: (.*)$", piece, re.M):
            self.event_id = ids[-1]
        return [json.loads(line) for line in re.findall("^data: (.*)$", piece, re.M)]


class Browser:
    """Has cookies, follows nothing by itself, and sends what browsers send with a form of the page that it shows."""

    def __init__(self, app: App) -> None:
        self.app, self.asgi = app, asgi_of(app)
        self.cookies: dict[str, str] = {}

    async def sign_in(self, *roles: str, stores: list[str] | None = None, name: str = "ann") -> Answered:
        token = await sessions.invite(self.app, name, roles or ("administrator",), stores, api.now())
        return await self.post("/sign-in", {"token": token})

    async def get(self, address: str, **query: Any) -> Answered:
        path, _, given = address.partition("?")
        return await self.call("GET", path, [*parse_qsl(given, keep_blank_values=True), *query.items()])

    async def post(self, path: str, fields: Mapping[str, str], **sent: str) -> Answered:
        named = {"content-type": "application/x-www-form-urlencoded", "sec-fetch-site": "same-origin", **sent}
        path, _, query = path.partition("?")
        return await self.call("POST", path, parse_qsl(query), named, urlencode(fields).encode())

    @asynccontextmanager
    async def stream(self, *channels: str, after: str = "") -> AsyncIterator[Stream]:
        """What comes on channels until the block is left."""
        left, came = asyncio.Event(), asyncio.Queue[Any]()
        query = urlencode([*(("channel", one) for one in channels), ("after", after)])
        scope = self._scope("GET", "/live", query, {})
        asked = [{"type": "http.request", "body": b""}]

        async def receive() -> Any:
            if asked:
                return asked.pop()
            await left.wait()
            return {"type": "http.disconnect"}

        running = asyncio.create_task(self.asgi(scope, receive, came.put))
        try:
            start = await came.get()
            yield Stream(start["status"], came)
        finally:
            left.set()
            await running

    async def call(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, Any]],
        sent: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answered:
        scope = self._scope(method, path, urlencode(query), sent or {})
        messages: list[Any] = []
        asked = [{"type": "http.request", "body": body}]

        async def receive() -> Any:
            return asked.pop() if asked else await asyncio.Event().wait()

        async def send(message: Any) -> None:
            messages.append(message)

        await self.asgi(scope, receive, send)
        text = b"".join(message.get("body", b"") for message in messages[1:]).decode()
        pairs = [(name.decode(), value.decode()) for name, value in messages[0]["headers"]]
        cookies = [value for name, value in pairs if name == "set-cookie"]
        for cookie in cookies:
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value.strip('"')
            if "Max-Age=0" in cookie:
                del self.cookies[name]
        return Answered(messages[0]["status"], text, dict(pairs), cookies)

    def _scope(self, method: str, path: str, query: str, sent: Mapping[str, str]) -> dict[str, Any]:
        named = {"host": "console.test", **sent}
        if self.cookies:
            named["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": urlsplit(path).path, "raw_path": path.encode(), "root_path": "", "server": ("console.test", 80),
            "query_string": query.encode(), "client": ("test", 1),
            "headers": [(name.encode(), value.encode()) for name, value in named.items() if value],
        }  # fmt: skip
