"""A small office for plays: orders and series in memory, messages one after the other, as the shell would hand them over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from contracts.base import Command, Event
from contracts.deciding import Context
from contracts.invoicing import Credit, Credited, CreditLine, Failed, Issue, Issued
from contracts.snapshot import Address
from invoicing import store
from invoicing.domain import billing, series
from invoicing.domain.billing import Billings
from invoicing.domain.sellers import SellerTerms
from invoicing.domain.series import Numbering, SeriesKey

NAMES = UUID("00000000-0000-0000-0000-00000000feed")
NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
STORE = "st_1"
DECIDE: dict[type[Any], Any] = {Issue: billing.issue, Credit: billing.credit}


def uid(name: str) -> UUID:
    return uuid5(NAMES, name)


def seller(code: str = "acme", **change: Any) -> SellerTerms:
    terms: dict[str, Any] = {
        "code": code,
        "name": "Acme Ltd",
        "address": Address(line1="1 Quay", city="London", country="GB"),
        "vat_number": "GB999999973",
        "time_zone": "Europe/London",
    }
    return SellerTerms.model_validate(terms | change)


def line(
    amount: int, rate: str = "20", *, net: int | None = None, line_id: str = "1", quantity: int = 1
) -> dict[str, Any]:
    return {
        "line_id": line_id,
        "sku": "MUG",
        "title": "A mug",
        "quantity": quantity,
        "amount_minor": amount,
        "net_minor": net,
        "rate": rate,
    }


def issue(
    *lines: dict[str, Any],
    order: str = "o1",
    capture: str | None = None,
    operation: str | None = None,
    seller: str = "acme",
    price_basis: str = "gross",
    store: str = STORE,
) -> Issue:
    """Invoice a capture; by default the order's only one, under the operation of the same name."""
    capture = capture or f"capture of {order}"
    return Issue.model_validate(
        {
            "order_id": uid(order),
            "store_id": store,
            "operation_id": uid(operation or f"invoice {capture}"),
            "actor": "orders",
            "capture_id": uid(capture),
            "seller": seller,
            "order_number": order,
            "order_placed_at": NOON - timedelta(days=1),
            "currency": "GBP",
            "price_basis": price_basis,
            "buyer": {"name": "Ann Buyer"},
            "bill_to": {"name": "Ann Buyer", "line1": "2 Lane", "country": "GB"},
            "lines": lines,
        }
    )


def credit(
    *lines: tuple[str, int, int],
    order: str = "o1",
    invoice: str | None = None,
    operation: str | None = None,
    reason: str = "",
    store: str = STORE,
) -> Credit:
    """`lines`: (line id, quantity, amount); none: everything that is left."""
    invoice = invoice or f"invoice capture of {order}"
    return Credit(
        order_id=uid(order),
        store_id=store,
        operation_id=uid(operation or f"credit {invoice}"),
        actor="orders",
        invoice_id=uid(invoice),
        reason=reason,
        lines=tuple(CreditLine(line_id=name, quantity=n, amount_minor=amount) for name, n, amount in lines),
    )


class Office:
    """Invoicing without a database. `clock` may be set back: a real one sometimes is."""

    def __init__(self, *sellers: SellerTerms, store: str = STORE) -> None:
        self.sellers = {(store, terms.code): terms for terms in sellers}
        self.clock = NOON
        self.orders: dict[UUID, Billings] = {}
        self.series: dict[SeriesKey, Numbering] = {}
        self.journal: list[Event] = []
        self.answers: dict[UUID, list[Event]] = {}

    def tell(self, command: Command) -> list[Event]:
        """One message through needs, decide and evolve; an operation that has its answer is answered by the same rows."""
        if command.operation_id in self.answers:
            return self.answers[command.operation_id]
        state = self.orders.get(command.order_id) or billing.initial(command.order_id, command.store_id)
        locked = {key: self._lock(key) for key in billing.needs(state, command)}
        read = {key: self.document(key.document_id) for key in billing.needs_documents(state, command)}
        context = Context(
            now=self.clock,
            key=command.order_id,
            store_id=command.store_id,
            message_id=command.operation_id,
            shares={**locked, **read},
        )
        effects = DECIDE[type(command)](state, command, context)
        events = []
        for effect in effects:
            assert isinstance(effect, Event)
            version = 1 + sum(event.order_id == command.order_id for event in self.journal)
            event = effect.model_copy(update={"version": version})
            events.append(event)
            self.journal.append(event)
        self.answers[command.operation_id] = events
        self.orders, self.series = fold(events, locked.keys(), self.orders, self.series)
        return events

    def issued(self, command: Command) -> Issued:
        (event,) = self.tell(command)
        assert isinstance(event, Issued), event
        return event

    def credited(self, command: Command) -> Credited:
        (event,) = self.tell(command)
        assert isinstance(event, Credited), event
        return event

    def failed(self, command: Command) -> Failed:
        (event,) = self.tell(command)
        assert isinstance(event, Failed), event
        return event

    def documents(self, kind: type[Event]) -> list[Any]:
        """What was issued, each once, in the order of issue."""
        issued = [event for event in self.journal if isinstance(event, (Issued, Credited))]
        return [event for event in issued if isinstance(event, kind) and event.operation_id == store._id(event)]

    def document(self, document_id: UUID) -> Any:
        return next(one for one in self.documents(Event) if store._id(one) == document_id)

    def _lock(self, key: SeriesKey) -> Numbering:
        known = self.series.get(key) or Numbering()
        return Numbering(self.sellers.get((key.store_id, key.seller)), known.last, self.clock)


def fold(
    events: Sequence[Event],
    named: Iterable[SeriesKey] | None,
    orders: dict[UUID, Billings],
    all_series: dict[SeriesKey, Numbering],
) -> tuple[dict[UUID, Billings], dict[SeriesKey, Numbering]]:
    """What a journal makes of orders and series; `named` are the only series that may change (null: any)."""
    orders, all_series = dict(orders), dict(all_series)
    for event in events:
        state = orders.get(event.order_id) or billing.initial(event.order_id, event.store_id)
        orders[event.order_id] = billing.evolve(state, event)  # type: ignore[arg-type]
        for key in series.touched(event):
            assert named is None or key in named, f"{key} changed without a lock"
            all_series[key] = series.evolve(all_series.get(key), key, event)
    return orders, all_series


def counters(all_series: dict[SeriesKey, Numbering]) -> dict[SeriesKey, Any]:
    return {key: dict(numbering.last) for key, numbering in all_series.items()}
