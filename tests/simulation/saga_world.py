"""The four services' pure domains in one memory: what the chassis, Kafka and a gateway do, without any of them.

Records keep their order per topic and key; across topics and keys anything may come first, and anything may come twice.
A service declares itself (`handlers.SERVICE`); the host does what the chassis does with it: inbox, operations that are
answered again, shares, tasks, timers, a journal with versions. Nothing here decides anything.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from saga_gateway import Gateway
from saga_orders import STORE

from chassis.declare.service import Aggregate, Service
from contracts import envelope
from contracts.base import Command, Event, PrivateEvent
from contracts.deciding import Context, Folded, Refusal, Reported, Task, Wake, Withdrawn, effects_of
from contracts.ids import derived
from contracts.invoicing import Credited, Issued
from contracts.limits import JOURNAL_BYTES_MAX
from contracts.orders import MarketTerms
from contracts.payments import Reversed
from contracts.registry import MESSAGES, is_published, topic_of
from contracts.snapshot import Address
from fulfillment.domain.decisions import Ship
from fulfillment.domain.fulfillment import Fulfillment
from fulfillment.domain.stock import Stock, StockKey
from fulfillment.handlers import SERVICE as FULFILLMENT
from invoicing.domain.billing import Billings, DocumentKey
from invoicing.domain.sellers import SellerTerms
from invoicing.domain.series import Numbering
from invoicing.handlers import SERVICE as INVOICING
from orders.domain.state.order import Order
from orders.handlers import SERVICE as ORDERS
from payments.domain.ledger import Ledger
from payments.handlers import SERVICE as PAYMENTS

BEGIN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ROOT = UUID("0f4b2a3c-0000-4000-8000-000000000001")
COMPLETE_SELLER = SellerTerms(
    code="acme", name="Acme", address=Address(line1="1 Way", country="LU"), vat_number="LU12345678"
)
BARE_SELLER = SellerTerms(code="acme", name="Acme")


@dataclass(frozen=True, slots=True)
class Record:
    id: UUID
    type: str
    key: UUID
    value: str


@dataclass(slots=True)
class Row:
    """An aggregate, and the same folded again from its journal as it was written."""

    aggregate: Aggregate[Any]
    state: Any
    replayed: Any
    revision: int = 0
    version: int = 0
    answered: dict[UUID, Record] = field(default_factory=dict)


class Host:
    """One service."""

    def __init__(self, world: World, service: Service) -> None:
        self.world, self.service = world, service
        self.rows: dict[tuple[str, UUID], Row] = {}
        self.shares: dict[Any, Any] = {}
        self.inbox: set[UUID] = set()
        self.tasks: dict[UUID, Task] = {}
        """By task id, in the order they were made; a task is gone when it has reported."""
        self.journal: list[Event] = []

    def states(self) -> dict[UUID, Any]:
        """The rows of the first aggregate."""
        return {key: row.state for (table, key), row in self.rows.items() if table == self.service.aggregates[0].table}

    def handle(
        self, body: Any, key: UUID, message_id: UUID, *, kind: str = "", actor: str = "", table: str | None = None
    ) -> Refusal | None:
        """table: the aggregate of a timer or a report, where it is not the first."""
        table = table or (self.service.aggregates[0].table if isinstance(body, (Wake, Reported)) else None)
        found = self.service.handler_of(type(body), table)
        assert found is not None, f"{self.service.name} does not handle {type(body).__name__}"
        aggregate, handler = found
        row = self.rows.get((aggregate.table, key))
        if row is None:
            row = Row(aggregate, aggregate.initial(key, STORE), aggregate.initial(key, STORE))
        if isinstance(body, Command) and (known := row.answered.get(body.operation_id)) is not None:
            self.world.publish(known)
            return None
        needed = [key for share in self.service.shares for key in share.needs(row.state, body)]
        shares = {key: self.world.share(self, key) for key in needed}
        context = Context(self.world.now, key, STORE, message_id, actor, kind, shares)
        refusal = None
        decision = handler.decide(row.state, body, context)
        for n, effect in enumerate(effects_of(decision)):
            if isinstance(effect, Event):
                event = self._journal(row, effect, key, derived(message_id, n))
                if not isinstance(decision, Folded):
                    row.state = aggregate.evolve(row.state, event)
            elif isinstance(effect, Command):
                record = Record(derived(message_id, n), effect.TYPE, key, effect.model_dump_json())
                assert_readable(effect, record, self.world.now)
                self.world.publish(record)
            elif isinstance(effect, Task):
                self.tasks.setdefault(effect.task_id, effect)
            elif isinstance(effect, Withdrawn):
                self.tasks.pop(effect.task_id, None)
            elif isinstance(effect, Refusal):
                refusal = effect
        if isinstance(decision, Folded):
            row.state = decision.state
        if row.revision:
            self.rows[aggregate.table, key] = row
        self.world.check(self, row, key)
        return refusal

    def _journal(self, row: Row, event: Event, key: UUID, record_id: UUID) -> Event:
        row.revision += 1
        if published := is_published(type(event)):
            row.version += 1
            event = event.numbered(row.version)
        written = event.model_dump_json()
        assert_readable(event, Record(record_id, event.TYPE, key, written), self.world.now)
        read = type(event).model_validate_json(written)
        row.replayed = row.aggregate.evolve(row.replayed, read)
        for share in self.service.shares:
            for touched in share.touched(event):
                self.shares[touched] = share.evolve(self.shares.get(touched), touched, event)
        self.journal.append(read)
        if published:
            record = Record(record_id, event.TYPE, key, written)
            if event.operation_id is not None:
                row.answered[event.operation_id] = record
            self.world.publish(record)
        return event


def document_id(document: Issued | Credited) -> UUID:
    return document.invoice_id if isinstance(document, Issued) else document.credit_note_id


def assert_readable(message: Event | Command, record: Record, now: datetime) -> None:
    """A reader takes what a writer publishes: its size, its envelope and every bound of its body."""
    value = record.value.encode()
    assert len(value) <= JOURNAL_BYTES_MAX, f"{record.type} has {len(value)} bytes"
    if isinstance(message, PrivateEvent):
        return
    named = envelope.headers(
        ce_id=str(record.id), source=message.owner(), type=record.type, time=now, subject=str(record.key),
        store_id=STORE, correlation_id=str(record.id),
    )  # fmt: skip
    assert envelope.read(topic_of(type(message)), str(record.key).encode(), value, named).body == message


class World:
    def __init__(self) -> None:
        self.now = BEGIN
        self.n = 0
        self.orders, self.payments, self.fulfillment, self.invoicing = (
            Host(self, service) for service in (ORDERS, PAYMENTS, FULFILLMENT, INVOICING)
        )
        self.hosts = {
            host.service.name: host for host in (self.orders, self.payments, self.fulfillment, self.invoicing)
        }
        self.queues: dict[tuple[str, UUID], deque[Record]] = defaultdict(deque)
        self.delivered: list[tuple[str, Record]] = []
        self.told: dict[UUID, Record] = {}
        self.versions: dict[tuple[str, UUID], int] = defaultdict(int)
        self.seller: SellerTerms | None = COMPLETE_SELLER
        self.markets: dict[str, MarketTerms] = {}
        """By account."""
        self.gateway = Gateway(self)

    def name(self) -> UUID:
        self.n += 1
        return derived(ROOT, self.n)

    # -- topics -------------------------------------------------------------------------------------------------------

    def publish(self, record: Record) -> None:
        topic = topic_of(MESSAGES[record.type])
        if topic.endswith(".events.v1") and record.id not in self.told:
            service = topic.partition(".")[0]
            self.versions[service, record.key] += 1
            version = MESSAGES[record.type].model_validate_json(record.value).version  # type: ignore[attr-defined]
            assert version == self.versions[service, record.key], f"{record.type} has version {version}: a gap"
        self.told[record.id] = record
        if topic != "orders.events.v1":  # no service reads the events of orders
            self.queues[topic, record.key].append(record)

    def waiting_queues(self) -> list[tuple[str, UUID]]:
        return sorted(name for name, queue in self.queues.items() if queue)

    def deliver(self, name: tuple[str, UUID]) -> None:
        record = self.queues[name].popleft()
        self.delivered.append((name[0], record))
        self._consume(name[0], record)

    def deliver_again(self, n: int) -> None:
        if self.delivered:
            self._consume(*self.delivered[n % len(self.delivered)])

    def _consume(self, topic: str, record: Record) -> None:
        service, _, kind = topic.removesuffix(".v1").partition(".")
        host = self.hosts[service] if kind == "commands" else self.orders
        if record.id in host.inbox:
            return
        host.inbox.add(record.id)
        body = MESSAGES[record.type].model_validate_json(record.value)
        if host.service.handler_of(type(body), None) is None:
            return  # no service reads it
        host.handle(body, record.key, record.id, kind=record.type, actor=getattr(body, "actor", service))

    # -- what services share ------------------------------------------------------------------------------------------

    def share(self, host: Host, key: Any) -> Any:
        if host is self.orders:
            return self.markets.get(key.account)
        if isinstance(key, DocumentKey):
            return self.document(key.document_id)
        if host is self.invoicing:
            numbering = host.shares.get(key) or Numbering()
            return replace(numbering, seller=self.seller, locked_at=self.now)
        return host.shares.get(key)

    def documents(self, kind: type[Issued] | type[Credited]) -> list[Any]:
        """Each once: stated again, a document answers another operation than the one whose id it has."""
        return [one for one in self.invoicing.journal if isinstance(one, kind) and one.operation_id == document_id(one)]

    def invoiced_minor(self, ledger: Ledger, capture_id: UUID) -> int:
        """What belongs on the invoice of a capture: what it took, from all tenders; of a reversal, which moves no money, the lines
        that it pays instead."""
        if capture_id not in ledger.captures:
            reversals = [one for one in self.payments.journal if isinstance(one, Reversed)]
            return next(
                sum(line.amount_minor for line in one.lines) for one in reversals if one.operation_id == capture_id
            )
        capture = ledger.captures[capture_id]
        parts = [capture, *(ledger.captures[card] for card in capture.cards)]
        return sum(line.captured_minor - line.reversed_minor for part in parts for line in part.lines.values())

    def document(self, wanted: UUID) -> Issued | Credited:
        found: list[Issued | Credited] = [*self.documents(Issued), *self.documents(Credited)]
        return next(one for one in found if document_id(one) == wanted)

    def count_stock(self, location: str, sku: str, on_hand: int) -> None:
        key = StockKey(STORE, location, sku)
        held = self.fulfillment.shares.get(key, Stock()).reserved
        self.fulfillment.shares[key] = Stock(max(on_hand, held), held)

    # -- time, people, the warehouse -------------------------------------------------------------------------------------

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        for host in (self.orders, self.payments):
            for (table, key), row in [*host.rows.items()]:
                wake_at = row.aggregate.wake_at
                due = wake_at(row.state)
                if due is not None and due <= self.now:
                    host.handle(Wake(due), key, self.name(), kind="timer", actor="timer", table=table)
                    after = wake_at(host.rows[table, key].state)
                    assert after is None or after > self.now, (
                        "a timer that fired must not be due at once: it would spin"
                    )

    def request(self, command: Command) -> Refusal | None:
        host = self.hosts[command.owner()]
        return host.handle(command, command.key, self.name(), kind=command.TYPE, actor="person:ann")

    def picking(self) -> list[tuple[UUID, UUID]]:
        return [
            (key, shipment.shipment_id)
            for key, state in self.fulfillment.states().items()
            for shipment in state.shipments
            if shipment.status == "picking"
        ]

    def ship(self, key: UUID, shipment_id: UUID) -> None:
        command = Ship(
            order_id=key, store_id=STORE, operation_id=self.name(), actor="person:ann", shipment_id=shipment_id
        )
        self.request(command)

    # -- what must hold at any moment -----------------------------------------------------------------------------------

    def check(self, host: Host, row: Row, key: UUID) -> None:
        """After every message, of the row that it touched: the promises, and that the journal gives the row again."""
        assert row.replayed == row.state, f"{host.service.name}: the journal does not give the row again"
        assert type(row.state).model_validate_json(row.state.model_dump_json()) == row.state
        match row.state:
            case Ledger():
                self._check_money(row.state)
            case Fulfillment():
                self._check_stock()
            case Billings():
                self._check_invoices(key)
            case Order():
                pass

    def _check_money(self, ledger: Ledger) -> None:
        for line in [ledger, *ledger.lines.values()]:
            assert 0 <= line.refunded_minor <= line.captured_minor
            assert line.captured_minor + line.voided_minor <= line.authorized_minor
        for name in ("authorized_minor", "captured_minor", "voided_minor", "refunded_minor"):
            assert getattr(ledger, name) == sum(line.direction * getattr(line, name) for line in ledger.lines.values())

    def _check_stock(self) -> None:
        held: dict[StockKey, int] = defaultdict(int)
        for state in self.fulfillment.states().values():
            for line in state.held:
                held[StockKey(STORE, line.location, line.sku)] += line.quantity
        for key, stock in self.fulfillment.shares.items():
            assert 0 <= stock.reserved <= stock.on_hand
            assert stock.reserved == held[key], f"{key}: {stock.reserved} reserved, orders hold {held[key]}"

    def _check_invoices(self, key: UUID) -> None:
        for kind in (Issued, Credited):
            documents = self.documents(kind)
            assert sorted(one.sequence for one in documents) == list(range(1, len(documents) + 1))
        ledger, billing = self.payments.states().get(key), self.invoicing.states()[key]
        for invoice in billing.invoices.values():
            taken = self.invoiced_minor(ledger, invoice.capture_id)
            assert invoice.total_minor == taken, "an invoice of exactly what was captured"
            notes = [one for one in self.documents(Credited) if one.invoice_id == invoice.invoice_id]
            assert invoice.credited_minor == sum(note.total_minor for note in notes) <= invoice.total_minor
