"""The bytes that an operation writes do not grow with the operations before it: 2,000 on one order, in each service.

What the statement of a batch is given is counted: the aggregate's row, the service's own rows, journal, outbox pointers and closed operations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import UUID

import pytest

from chassis.batch import statements
from chassis.batch.aggregates import Locked, StateCache
from chassis.batch.inbound import Inbound
from chassis.batch.unit_of_work import Batch
from chassis.declare.service import Service
from chassis.declare.sql import Rows
from contracts import fulfillment, invoicing, payments
from contracts.base import Event
from contracts.ids import derived
from contracts.orders import AddAttachment, AddNote, ChangeTags, MarketTerms, Place, SetMetadata
from contracts.snapshot import Address, Buyer, Line, OrderContent, Quantities, Tax, Totals
from fulfillment.domain.stock import Stock
from fulfillment.handlers import SERVICE as FULFILLMENT
from invoicing.domain.billing import DocumentKey
from invoicing.domain.sellers import SellerTerms
from invoicing.domain.series import Numbering, SeriesKey
from invoicing.handlers import SERVICE as INVOICING
from orders.domain.state.order import MarketKey
from orders.handlers import SERVICE as ORDERS
from payments.handlers import SERVICE as PAYMENTS

KEY, STORE, NOW = UUID("0f4b2a3c-0000-4000-8000-000000000007"), "st_1", datetime(2026, 1, 2, tzinfo=UTC)
OPERATIONS, GROWTH_MAX = 2_000, 1.2
A_LOT = 100_000
TOPIC = statements.JournalRow._fields.index("topic")


class Writer:
    """A service that handles the messages of one order, each in a batch of its own, without a database."""

    def __init__(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        self.service, self.aggregate = service, service.aggregates[0]
        self.cache, self.locked = StateCache(), list[Locked]()
        self.shares: dict[Any, Any] = {}
        self.stated: list[Event] = []
        self.n = 0
        self.written = 0
        monkeypatch.setattr(statements, "write_rows", self.write_rows)

    async def write_rows(self, tx: Any, rows: list[Rows], select: str = "null") -> Any:
        columns = [column for one in rows for column in one.arguments if not isinstance(column, datetime)]
        self.written = sum(len(str(value)) for column in columns for value in column)
        [journal] = [one.arguments for one in rows if one.piece is statements.JOURNALED]
        published = [n for n, topic in enumerate(journal[TOPIC]) if topic is not None]
        return [], published, published

    async def handle(self, body: Any) -> list[Event]:
        """Returns what was stated."""
        self.n += 1
        batch = Batch(self.service, self, NOW, self.cache)  # type: ignore[arg-type]
        batch._shares = self.shares
        await batch.load_aggregates(self.aggregate, {KEY: STORE}, self.locked)
        for share in self.service.shares:
            for key in share.needs(batch.slots[self.aggregate.table, KEY].state, body):
                self.shares.setdefault(key, None)
        outcome = batch.decide(Inbound("topic", KEY, STORE, derived(KEY, self.n), body.TYPE, body, "c"), 0)
        await batch.save()
        slot = batch.slots[self.aggregate.table, KEY]
        self.cache.store([slot])
        self.locked = [Locked(KEY, STORE, slot.revision, slot.version, slot.armed_at)]
        self.stated = [*outcome.events]
        return self.stated


def addressed(n: int) -> dict[str, Any]:
    return {"order_id": KEY, "store_id": STORE, "operation_id": derived(KEY, f"operation {n}"), "actor": "orders"}


def refunds(writer: Writer) -> Iterator[Any]:
    """Each refunds one cent."""
    line = {"line_id": "1", "quantity": 1}
    whole = (payments.MoneyLine(**line, amount_minor=A_LOT),)
    authorize, capture = addressed(-2), addressed(-1)
    yield payments.Authorize(**authorize, gateway="marketplace", currency="EUR", lines=whole, reference="A-1")
    yield payments.Capture(**capture, authorization_id=authorize["operation_id"], currency="EUR", lines=whole)
    cent = (payments.MoneyLine(line_id="1", quantity=0, amount_minor=1),)
    for n in count():
        yield payments.Refund(**addressed(n), capture_id=capture["operation_id"], currency="EUR", lines=cent)


def refused_captures(writer: Writer) -> Iterator[Any]:
    for n in count():
        line = (payments.MoneyLine(line_id="1", quantity=1, amount_minor=1),)
        yield payments.Capture(**addressed(n), authorization_id=KEY, currency="EUR", lines=line)


def credit_notes(writer: Writer) -> Iterator[Any]:
    """Each credits one cent."""
    seller = SellerTerms(code="acme", name="Acme", address=Address(line1="1 Way", country="LU"), vat_number="LU1")
    for kind in ("invoice", "credit"):
        writer.shares[SeriesKey(STORE, "acme", kind)] = Numbering(seller=seller, locked_at=NOW)  # type: ignore[arg-type]
    wanted = invoicing.InvoiceLineWanted(line_id="1", title="A mug", quantity=1, amount_minor=A_LOT, rate="17")
    issue = addressed(-1)
    yield invoicing.Issue(
        **issue, capture_id=KEY, seller="acme", order_number="A-1", order_placed_at=NOW, currency="EUR", price_basis="gross",
        buyer=Buyer(), lines=(wanted,),
    )  # fmt: skip
    [writer.shares[DocumentKey(issue["operation_id"])]] = writer.stated
    for n in count():
        line = invoicing.CreditLine(line_id="1", quantity=0, amount_minor=1)
        yield invoicing.Credit(**addressed(n), invoice_id=issue["operation_id"], lines=(line,))


def attempts(writer: Writer) -> Iterator[Any]:
    """Reserved, handed to the warehouse, cancelled, and so on."""
    wanted = (fulfillment.WantedLine(line_id="1", sku="A", quantity=1),)
    for n in count(0, 3):
        for key in [*writer.shares]:
            writer.shares[key] = Stock(10, writer.shares[key].reserved if writer.shares[key] else 0)
        yield fulfillment.Reserve(**addressed(n), locations=("main",), lines=wanted)
        yield fulfillment.Start(**addressed(n + 1))
        yield fulfillment.CancelShipments(**addressed(n + 2))


def content(n: int) -> OrderContent:
    line = Line(
        external_line_id="1", quantity=Quantities(ordered=1), line_total_minor=1_000 + n, sku="A", tax=(Tax(rate="17"),)
    )
    return OrderContent(
        external_order_id="A-1", placed_at=NOW, currency="EUR", lines=(line,), totals=Totals(grand_minor=1_000 + n),
        payment_state="pending",
    )  # fmt: skip


def corrected_requests(writer: Writer) -> Iterator[Any]:
    """The order is not paid, so each request replaces it."""
    writer.shares[MarketKey(STORE, "api", "shop")] = MarketTerms(code="m", seller="acme")
    for n in count():
        yield Place(**addressed(n), channel="api", account="shop", order=content(n))


def annotations(writer: Writer) -> Iterator[Any]:
    """Each adds a note, adds an attachment, or changes tags and metadata."""
    writer.shares[MarketKey(STORE, "api", "shop")] = MarketTerms(code="m", seller="acme")
    yield Place(**addressed(-1), channel="api", account="shop", order=content(0))
    for n in count(0, 4):
        yield AddNote(**addressed(n), text="call back")
        yield AddAttachment(**addressed(n + 1), name="Claim", url="https://files.example.com/1.pdf")
        yield ChangeTags(**addressed(n + 2), add=(f"t{n}",), remove=(f"t{n - 4}",))
        yield SetMetadata(**addressed(n + 3), metadata=f'{{"m{n}":{n},"m{n - 4}":null}}')


STORIES: list[tuple[Service, Callable[[Writer], Iterator[Any]]]] = [
    (PAYMENTS, refunds),
    (PAYMENTS, refused_captures),
    (INVOICING, credit_notes),
    (FULFILLMENT, attempts),
    (ORDERS, corrected_requests),
    (ORDERS, annotations),
]


@pytest.mark.parametrize(("service", "story"), STORIES, ids=lambda one: getattr(one, "__name__", ""))
async def test_the_last_of_2000_operations_writes_as_much_as_the_tenth(
    service: Service, story: Callable[[Writer], Iterator[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(service, monkeypatch)
    messages, bytes_of = story(writer), [0]
    for _ in range(OPERATIONS):
        assert await writer.handle(next(messages)), "nothing happened"
        bytes_of.append(writer.written)
    # Four in a row: a story of several steps writes a different amount in each.
    tenth, last = max(bytes_of[9:13]), max(bytes_of[-4:])
    assert last <= GROWTH_MAX * tenth, f"{last} bytes after {tenth}"
