"""A play: an order, the messages that come to it, and what it states and asks. And the words of its stories.

    play.receives(content(), market(capture="on_placement"))
    play.then(Received, asks=[Reserve])
    play.reserved()

Answers answer the last command of their kind that the order sent. After every message the state is written and read again,
and folded once more from the journal: both must be the state of the decision.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import NAMESPACE_OID, UUID, uuid5

from contracts import fulfillment, invoicing, payments
from contracts.base import Command, Event, PrivateEvent
from contracts.deciding import Context, Folded, Refusal, Unasked, Wake, effects_of
from contracts.differences import DifferencesChanged, OpenDifference
from contracts.orders import (
    Approve,
    ApproveAndCapture,
    AskAgain,
    Cancel,
    CaptureLine,
    CaptureOrder,
    ConfirmEdit,
    DiscardEdit,
    EditChanges,
    Force,
    GiveUp,
    GiveUpRefund,
    Hold,
    LineEdit,
    MarketTerms,
    OpenEdit,
    Place,
    Refund,
    RefundLine,
    Release,
    Resolution,
    Resolve,
    Retry,
    RetryRefund,
)
from contracts.snapshot import Address, Buyer, Line, OrderContent, Quantities, Snapshot, Source, Tax, Totals
from orders.domain.content.amounts import payable
from orders.domain.processes.kinds import wake_at
from orders.domain.state.folding import evolve
from orders.domain.state.order import MarketKey, Order, initial
from orders.handlers import ORDERS

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ORDER = UUID("00000032-0000-4000-8000-000000000001")
STORE = "st_1"
DECIDE = {handler.message: handler.decide for handler in ORDERS.handlers}
C = TypeVar("C", bound=Command)


def uid(name: str) -> UUID:
    return uuid5(NAMESPACE_OID, name)


def market(**terms: Any) -> MarketTerms:
    return MarketTerms(**{"code": "m", "approval": "automatic", "seller": "acme", **terms})


def line(line_id: str = "1", total: int | None = 10_00, **more: Any) -> Line:
    told = {"sku": f"SKU-{line_id}", "tax": (Tax(rate="17"),), "quantity": Quantities(ordered=more.pop("quantity", 1))}
    return Line(**{"external_line_id": line_id, "line_total_minor": total, **told, **more})


def content(*lines: Line, grand: int | None = None, shipping: int = 0, discount: int = 0, **more: Any) -> OrderContent:
    lines = lines or (line(),)
    tax = more.pop("tax_minor", None)
    if grand is None and all(one.line_total_minor is not None for one in lines):
        grand = sum(one.line_total_minor or 0 for one in lines) + shipping - discount + (tax or 0)
    totals = Totals(shipping_minor=shipping, discount_minor=discount, tax_minor=tax, grand_minor=grand)
    people: dict[str, Any] = {
        "buyer": Buyer(name="Ann", email="ann@example.com"),
        "ship_to": Address(name="Ann", line1="1 Way", city="Paris", country="FR"),
    }
    told = {"external_order_id": "A-1", "placed_at": NOW, "currency": "EUR", **people, **more}
    return OrderContent(lines=lines, totals=totals, **told)


def costs(sold: OrderContent) -> dict[str, tuple[int, int]]:
    """line id -> (pieces, minor units)."""
    return {row.line_id: (row.quantity, row.amount_minor) for row in payable(sold)}


class Play:
    def __init__(self) -> None:
        self.order: Order = initial(ORDER, STORE)
        self.now = NOW
        self.stated: list[Event] = []
        """Public events of the last message."""
        self.sent: list[Command] = []
        """Commands of the last message."""
        self.refusal: Refusal | None = None
        self.unasked = False
        """The last message answered what was not asked."""
        self.received: list[tuple[Any, Context]] = []
        """Every message, as it was decided on."""
        self.commands: list[Command] = []
        self.events: list[Event] = []
        self.heard: dict[str, Event] = {}
        self.markets: dict[Any, MarketTerms] = {}
        self.money = {"authorized": 0, "captured": 0, "voided": 0, "refunded": 0}
        self.payments_version = self.invoicing_version = 0
        self._n = self._version = 0
        self._replayed = self.order

    # -- the engine of the play -----------------------------------------------------------------------------------------

    def when(self, message: Any, actor: str = "person:ann") -> Play:
        self._n += 1
        if isinstance(message, Event):
            self.heard[message.TYPE.partition(".")[2]] = message
        context = Context(self.now, ORDER, STORE, uid(f"m{self._n}"), actor, getattr(message, "TYPE", ""), self.markets)
        self.received.append((message, context))
        decision = DECIDE[type(message)](self.order, message, context)
        assert isinstance(decision, Folded) or not any(isinstance(effect, Event) for effect in decision)
        self.stated, self.sent, self.refusal, self.unasked = [], [], None, False
        for effect in effects_of(decision):
            if isinstance(effect, Event):
                self._journal(effect)
            elif isinstance(effect, Command):
                self.sent.append(type(effect).model_validate_json(effect.model_dump_json()))
            elif isinstance(effect, Unasked):
                self.unasked = True
            else:
                assert isinstance(effect, Refusal)
                self.refusal = effect
        self.order = decision.state if isinstance(decision, Folded) else self.order
        self.commands += self.sent
        assert Order.model_validate_json(self.order.model_dump_json()) == self.order, "does not survive its row"
        assert self._replayed == self.order, "the journal does not give the order again"
        return self

    def _journal(self, event: Event) -> None:
        if not isinstance(event, PrivateEvent):
            self._version += 1
            event = event.model_copy(update={"version": self._version})
            self.stated.append(event)
        self.events.append(event)
        self._replayed = evolve(self._replayed, type(event).model_validate_json(event.model_dump_json()))

    def then(self, *stated: type[Event], asks: Iterable[type[Command]] = ()) -> Play:
        """Exactly these, in this order."""
        assert [type(event).__name__ for event in self.stated] == [model.__name__ for model in stated]
        assert [type(command).__name__ for command in self.sent] == [model.__name__ for model in asks]
        return self

    def nothing(self) -> Play:
        return self.then()

    @property
    def sold(self) -> OrderContent:
        assert self.order.content is not None
        return self.order.content

    @property
    def status(self) -> str:
        return f"{self.order.status}/{self.order.payment_status}/{self.order.fulfillment_status}"

    def last(self, model: type[C]) -> C:
        return next(command for command in reversed(self.commands) if isinstance(command, model))

    def event(self, model: type[Any]) -> Any:
        return next(event for event in reversed(self.events) if isinstance(event, model))

    def event_told(self, word: str) -> Event:
        """The last one of that word that another service stated."""
        return self.heard[word]

    # -- marketplaces and people ----------------------------------------------------------------------------------------

    def receives(
        self,
        told: OrderContent,
        terms: MarketTerms | None = None,
        *,
        seconds: float = 0,
        digest: str = "",
        sequence: int = 0,
    ) -> Play:
        """A snapshot, `seconds` after the first one by the marketplace's clock."""
        if terms is not None:
            self.markets = {MarketKey(STORE, "bol", "a1"): terms}
        source = Source(
            channel="bol", account="a1", updated_at=NOW + timedelta(seconds=seconds), content_hash=digest or str(uid(told.model_dump_json())),
            sequence=sequence,
        )  # fmt: skip
        return self.when(Snapshot(source=source, order=told), actor="bol/a1")

    def placed_over_http(self, told: OrderContent, terms: MarketTerms, op: str = "place") -> Play:
        self.markets = {MarketKey(STORE, "api", "shop"): terms}
        return self.when(Place(**self._person(op), channel="api", account="shop", order=told))

    def approves(self, op: str = "approve") -> Play:
        return self.when(Approve(**self._person(op)))

    def cancels(self, op: str = "cancel") -> Play:
        return self.when(Cancel(**self._person(op)))

    def opens_an_edit(self, *lines: LineEdit, op: str = "edit", **more: Any) -> Play:
        return self.when(OpenEdit(**self._person(op), changes=EditChanges(lines=lines, **more)))

    def confirms(self, op: str = "confirm", edit: str = "edit", preview: str | None = None) -> Play:
        return self.when(ConfirmEdit(**self._person(op), edit_id=uid(edit), preview=preview))

    def discards(self, op: str = "discard", edit: str = "edit") -> Play:
        return self.when(DiscardEdit(**self._person(op), edit_id=uid(edit)))

    def retries(self, op: str = "retry") -> Play:
        return self.when(Retry(**self._person(op)))

    def asks_again(self, op: str = "ask") -> Play:
        return self.when(AskAgain(**self._person(op)))

    def gives_up_waiting(self, op: str = "give up") -> Play:
        return self.when(GiveUp(**self._person(op), reason="silent since yesterday"))

    def forces(self, target: UUID, outcome: Any, op: str = "force", reference: str | None = None) -> Play:
        body = {"target_operation_id": target, "outcome": outcome, "reference": reference, "reason": "seen"}
        return self.when(Force(**self._person(op), **body))

    def resolves(self, code: str, resolution: Resolution, op: str = "resolve") -> Play:
        """The open exception of that code."""
        exception_id = self.order.exceptions[code].exception_id
        body = {"exception_id": exception_id, "resolution": resolution, "reason": "seen"}
        return self.when(Resolve(**self._person(f"{op} {exception_id}"), **body))

    def captures(self, *lines: CaptureLine, op: str = "capture") -> Play:
        """By hand; without lines, all that is left."""
        return self.when(CaptureOrder(**self._person(op), lines=lines))

    def approves_and_captures(self, op: str = "approve and capture") -> Play:
        return self.when(ApproveAndCapture(**self._person(op)))

    def holds(self, reason: str = "manual", op: str = "hold", until: datetime | None = None) -> Play:
        return self.when(Hold(**self._person(op), reason=reason, note="seen", until=until))

    def releases(self, reason: str | None = None, op: str = "release") -> Play:
        """The hold with that reason, or the only one."""
        hold = next(one for one in self.order.holds.values() if reason in (None, one.reason))
        return self.releases_id(hold.hold_id, op)

    def releases_id(self, hold_id: UUID, op: str = "release") -> Play:
        return self.when(Release(**self._person(op), hold_id=hold_id))

    def refunds(self, *lines: tuple[str, int], op: str = "refund", **wanted: Any) -> Play:
        """Lines as (id, pieces); `wanted`: the other fields of the request."""
        pieces = tuple(RefundLine(line_id=line_id, quantity=quantity) for line_id, quantity in lines)
        return self.when(Refund(**self._person(op), **{"lines": pieces, **wanted}))

    def retries_refund(self, refund: str = "refund", op: str = "retry refund") -> Play:
        return self.when(RetryRefund(**self._person(op), refund_id=uid(refund)))

    def gives_up(self, refund: str = "refund", op: str = "give up") -> Play:
        return self.when(GiveUpRefund(**self._person(op), refund_id=uid(refund), reason="paid by hand"))

    def _person(self, op: str) -> dict[str, Any]:
        return {"order_id": ORDER, "store_id": STORE, "operation_id": uid(op), "actor": "person:ann"}

    def wakes(self, after_seconds: float | None = None) -> Play:
        """Time passes until the next timer, or for the given time."""
        due = wake_at(self.order)
        if after_seconds is not None:
            self.now += timedelta(seconds=after_seconds)
        else:
            assert due is not None, "no timer is armed"
            self.now = due
        return self.when(Wake(due or self.now), actor="timer")

    @property
    def wakes_in(self) -> float | None:
        due = wake_at(self.order)
        return None if due is None else (due - self.now).total_seconds()

    # -- payments -------------------------------------------------------------------------------------------------------

    def authorized(self, command: payments.Authorize | None = None, capture_id: UUID | None = None) -> Play:
        """capture_id: the gateway has captured it in the same call."""
        asked = command or self.last(payments.Authorize)
        amount = self._add("authorized", asked.lines)
        if capture_id is not None:
            self._add("captured", asked.lines)
        return self.when(payments.Authorized(
            **self._paid(asked), authorization_id=asked.operation_id, capture_id=capture_id, gateway=asked.gateway,
            lines=asked.lines, amount_minor=amount,
        ))  # fmt: skip

    def pending(self) -> Play:
        asked = self.last(payments.Authorize)
        return self.when(payments.Pending(**self._paid(asked), command="authorize", since=self.now))

    def declined(self, code: str = "no_funds") -> Play:
        return self.when(payments.Declined(**self._paid(self.last(payments.Authorize)), amount_minor=1, code=code))

    def captured(self, command: payments.Capture | None = None, capture_id: UUID | None = None) -> Play:
        asked = command or self.last(payments.Capture)
        amount = self._add("captured", asked.lines)
        return self.when(payments.Captured(
            **self._paid(asked), capture_id=capture_id or asked.operation_id, authorization_id=asked.authorization_id,
            lines=asked.lines, amount_minor=amount,
        ))  # fmt: skip

    def voided(self, amount_minor: int = 0) -> Play:
        """What was asked for; without lines, this amount or all that is left of all authorizations."""
        asked = self.last(payments.Void)
        left = self.money["authorized"] - self.money["captured"] - self.money["voided"]
        left = sum(one.amount_minor for one in asked.lines) or amount_minor or left
        self.money["voided"] += left
        return self.when(payments.Voided(
            **self._paid(asked), authorization_id=asked.authorization_id, lines=asked.lines, amount_minor=left
        ))  # fmt: skip

    def refunded(self) -> Play:
        asked = self.last(payments.Refund)
        return self.when(self.refund(asked.capture_id, asked.lines, asked))

    def refund(
        self, capture: UUID, lines: Iterable[payments.MoneyLine], asked: Command | None = None
    ) -> payments.Refunded:
        """The answer to a command; without one, a refund that no order asked for."""
        asked = asked or self.last(payments.Capture).model_copy(update={"operation_id": uid("refund elsewhere")})
        lines = tuple(lines)
        amount = self._add("refunded", lines)
        return payments.Refunded(
            **self._paid(asked), refund_id=asked.operation_id, capture_id=capture, lines=lines, amount_minor=amount
        )

    def failed(self, model: type[Command], code: Any = "gateway_refused") -> Play:
        body = self._paid(self.last(model))
        return self.when(payments.Failed(**body, command=model.TYPE.partition(".")[2], code=code))

    def contradicted(self, target: UUID, recorded: Any = "succeeded", reported: Any = "failed") -> Play:
        """The gateway reports another outcome than a person stated."""
        return self.when(payments.Contradicted(
            order_id=ORDER, store_id=STORE, currency="EUR", target_operation_id=target, command="capture",
            recorded_outcome=recorded, reported_outcome=reported, amount_minor=10_00, gateway="test", gateway_reference="tg_1",
        ))  # fmt: skip

    def expiring(self, authorization_id: UUID, amount_minor: int = 10_00) -> Play:
        """The issuer holds what is left of an authorization for one more day."""
        body = {
            "order_id": ORDER,
            "store_id": STORE,
            "currency": "EUR",
            "gateway": "stripe",
            "held_until": NOW + timedelta(days=1),
        }
        return self.when(payments.ExpiryAnnounced(**body, authorization_id=authorization_id, amount_minor=amount_minor))

    def disputed(self, reference: str = "dp_1", **more: Any) -> Play:
        """The buyer disputes a payment."""
        body = {
            "order_id": ORDER,
            "store_id": STORE,
            "currency": "EUR",
            "dispute_id": uid(reference),
            "gateway": "stripe",
        }
        return self.when(payments.DisputeOpened(**body, reference=reference, amount_minor=10_00, **more))

    def books_differ(self, *amounts: int) -> Play:
        """The differences of the order that are open at payments."""
        given: dict[str, Any] = {"gateway": "stripe", "kind": "not_booked", "proposal": "book", "currency": "EUR"}
        found = tuple(
            OpenDifference(**given, difference_id=uid(f"difference {amount}"), amount_minor=amount)
            for amount in amounts
        )
        return self.when(DifferencesChanged(order_id=ORDER, store_id=STORE, open=found))

    def dispute_ends(self, outcome: Any, reference: str = "dp_1") -> Play:
        body = {
            "order_id": ORDER,
            "store_id": STORE,
            "currency": "EUR",
            "dispute_id": uid(reference),
            "gateway": "stripe",
        }
        return self.when(payments.DisputeClosed(**body, reference=reference, amount_minor=10_00, outcome=outcome))

    def _add(self, what: str, lines: Iterable[payments.MoneyLine]) -> int:
        amount = sum(one.amount_minor for one in lines)
        self.money[what] += amount
        return amount

    def _paid(self, asked: Command) -> dict[str, Any]:
        self.payments_version += 1
        totals = payments.MoneyTotals(**{f"{name}_minor": amount for name, amount in self.money.items()})
        return {**_answer(asked), "version": self.payments_version, "currency": "EUR", "totals": totals}

    # -- fulfillment ----------------------------------------------------------------------------------------------------

    def reserved(self) -> Play:
        asked = self.last(fulfillment.Reserve)
        return self.when(fulfillment.Reserved(**_answer(asked), lines=self._goods(asked)))

    def short(self) -> Play:
        return self.when(fulfillment.OutOfStock(**_answer(self.last(fulfillment.Reserve)), short=()))

    def released(self) -> Play:
        return self.when(fulfillment.Released(**_answer(self.last(fulfillment.Release)), lines=()))

    def started(self, at: Mapping[str, str] | None = None) -> Play:
        """`at`: line id -> location; else all at main."""
        self.parcels: dict[str, tuple[fulfillment.PlacedLine, ...]] = {}
        for one in self._goods(self.last(fulfillment.Reserve), at or {}):
            self.parcels[one.location] = (*self.parcels.get(one.location, ()), one)
        plans = tuple(
            fulfillment.ShipmentPlan(shipment_id=uid(location), location=location, lines=lines)
            for location, lines in self.parcels.items()
        )
        return self.when(fulfillment.Started(**_answer(self.last(fulfillment.Start)), shipments=plans))

    def shipped(self, location: str = "main") -> Play:
        body = {"order_id": ORDER, "store_id": STORE, "operation_id": uid(f"ship {location}")}
        lines = self.parcels[location]
        return self.when(fulfillment.Shipped(**body, shipment_id=uid(location), location=location, lines=lines))

    def delivered(self, location: str = "main") -> Play:
        return self.when(fulfillment.Delivered(order_id=ORDER, store_id=STORE, shipment_id=uid(location)))

    def fulfilled(self) -> Play:
        return self.when(fulfillment.Fulfilled(**_answer(self.last(fulfillment.Start))))

    def shipments_cancelled(self, asked: Command | None = None) -> Play:
        asked = asked or self.last(fulfillment.CancelShipments)
        return self.when(fulfillment.ShipmentsCancelled(**_answer(asked), lines=()))

    def suspended(self, asked: Command | None = None) -> Play:
        asked = asked or self.last(fulfillment.Suspend)
        return self.when(fulfillment.Suspended(**_answer(asked), since=self.now, shipped=()))

    def resumed(self) -> Play:
        asked = self.last(fulfillment.Resume)
        return self.when(fulfillment.Resumed(**_answer(asked), suspension_id=asked.suspension_id))

    def too_late(self) -> Play:
        return self.when(fulfillment.TooLate(**_answer(self.last(fulfillment.CancelShipments)), shipped=(uid("main"),)))

    def reduced(self) -> Play:
        """The warehouse gives back all that is asked for: the open shipments have nothing left."""
        asked = self.last(fulfillment.Reduce)
        open_ = [one for one in self.order.facts.shipments.values() if one.status == "picking"]
        plans = tuple(
            fulfillment.ShipmentPlan(shipment_id=one.shipment_id, location=one.location, lines=()) for one in open_
        )
        return self.when(fulfillment.Reduced(**_answer(asked), lines=(), shipments=plans))

    def extended(self) -> Play:
        """More pieces, at main; once the order is started they join its shipment."""
        asked = self.last(fulfillment.Extend)
        return self.when(
            fulfillment.Extended(**_answer(asked), lines=self._goods(asked), shipments=self._replanned(asked, 1))
        )

    def partly_reduced(self) -> Play:
        """Fewer pieces, of the shipment at main."""
        asked = self.last(fulfillment.Reduce)
        return self.when(fulfillment.Reduced(**_answer(asked), lines=(), shipments=self._replanned(asked, -1)))

    def _replanned(
        self, asked: fulfillment.Extend | fulfillment.Reduce, sign: int
    ) -> tuple[fulfillment.ShipmentPlan, ...]:
        if "main" not in getattr(self, "parcels", {}):
            return ()
        pieces = {one.line_id: one.quantity for one in self.parcels["main"]}
        for one in asked.lines:
            pieces[one.line_id] = pieces.get(one.line_id, 0) + sign * one.quantity
        self.parcels["main"] = tuple(
            fulfillment.PlacedLine(line_id=name, sku=f"SKU-{name}", location="main", quantity=quantity)
            for name, quantity in pieces.items()
            if quantity
        )
        return (fulfillment.ShipmentPlan(shipment_id=uid("main"), location="main", lines=self.parcels["main"]),)

    def out_of_stock(self) -> Play:
        return self.when(fulfillment.OutOfStock(**_answer(self.last(fulfillment.Extend)), short=()))

    def restocked(self) -> Play:
        return self.when(fulfillment.Restocked(**_answer(self.last(fulfillment.Restock)), lines=()))

    def too_late_to_reduce(self) -> Play:
        return self.when(fulfillment.TooLate(**_answer(self.last(fulfillment.Reduce)), shipped=(uid("main"),)))

    def _goods(
        self, asked: fulfillment.Reserve | fulfillment.Extend, at: Mapping[str, str] | None = None
    ) -> tuple[fulfillment.PlacedLine, ...]:
        return tuple(
            fulfillment.PlacedLine(
                line_id=one.line_id, sku=one.sku, location=(at or {}).get(one.line_id, "main"), quantity=one.quantity
            )
            for one in asked.lines
        )

    # -- invoicing ------------------------------------------------------------------------------------------------------

    def issued(self, command: invoicing.Issue | None = None) -> Play:
        asked = command or self.last(invoicing.Issue)
        return self.when(invoicing.Issued(
            **_answer(asked), **_document(asked.lines), invoice_id=asked.operation_id, capture_id=asked.capture_id,
            order_number=asked.order_number, order_placed_at=asked.order_placed_at, price_basis=asked.price_basis, buyer=asked.buyer,
        ))  # fmt: skip

    def credited(self, lines: Iterable[payments.MoneyLine] = ()) -> Play:
        """What is asked for, or these lines of the invoice; without either, what is left of it."""
        asked = self.last(invoicing.Credit)
        wanted = [payments.MoneyLine(**one.model_dump()) for one in asked.lines]
        return self.when(self.credit_note(asked.operation_id, asked.invoice_id, lines or wanted))

    def credit_note(
        self, operation: UUID, invoice: UUID, lines: Iterable[payments.MoneyLine] = (), note: str = ""
    ) -> invoicing.Credited:
        capture = next(one for one in self.order.facts.captures.values() if one.invoice_id == invoice)
        left = [payments.MoneyLine(line_id=one.line_id, quantity=one.quantity, amount_minor=one.amount_minor - one.credited_minor)
                for one in capture.lines]  # fmt: skip
        wanted = [
            invoicing.InvoiceLineWanted(line_id=one.line_id, title="", quantity=one.quantity, amount_minor=one.amount_minor, rate="0")
            for one in lines or left
        ]  # fmt: skip
        self.invoicing_version += 1
        return invoicing.Credited(
            order_id=ORDER, store_id=STORE, operation_id=operation, version=self.invoicing_version, **_document(wanted), credit_note_id=uid(note) if note else operation,
            invoice_id=invoice, invoice_number="INV-000001", invoice_issued_on=NOW.date(),
        )  # fmt: skip

    def rejected(self, model: type[Command] = invoicing.Issue) -> Play:
        asked = self.last(model)
        return self.when(invoicing.Failed(
            **_answer(asked), command=asked.TYPE, code="seller_incomplete", reason="seller acme lacks vat_number"
        ))  # fmt: skip

    # -- as far as ------------------------------------------------------------------------------------------------------

    def in_the_warehouse(self, told: OrderContent | None = None, **terms: Any) -> Play:
        """Reserved, authorized, approved by rule, started."""
        self.receives(told or content(), market(**terms)).reserved().authorized()
        return self.started()

    def in_the_warehouse_at(self, told: OrderContent, at: Mapping[str, str], **terms: Any) -> Play:
        """`at`: line id -> location."""
        self.receives(told, market(**terms)).reserved().authorized()
        return self.started(at)

    def paid_and_in_the_warehouse(self) -> Play:
        return self.in_the_warehouse().captured().issued()


def _answer(asked: Command) -> dict[str, Any]:
    return {"order_id": ORDER, "store_id": STORE, "operation_id": asked.operation_id}


def _document(lines: Iterable[invoicing.InvoiceLineWanted]) -> dict[str, Any]:
    lines = tuple(lines)
    total = sum(one.amount_minor for one in lines)
    seller = invoicing.Seller(code="acme", name="Acme", address=Address(), vat_number="LU1", time_zone="UTC")
    return {
        "series": "INV-", "number": "INV-000001", "sequence": 1, "issued_at": NOW, "issued_on": NOW.date(), "currency": "EUR",
        "net_minor": total, "vat_minor": 0, "total_minor": total, "vat": (), "seller": seller,
        "lines": tuple(
            invoicing.InvoiceLine(line_id=one.line_id, title=one.title, quantity=one.quantity, rate=one.rate,
                                  net_minor=one.amount_minor, vat_minor=0, gross_minor=one.amount_minor)
            for one in lines
        ),
    }  # fmt: skip
