"""What a decision may state of an order: public events, private ones, commands, exceptions. Each event is folded as it is stated."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final, Literal, TypeVar
from uuid import UUID

from contracts.base import Command, Event
from contracts.deciding import Context, Effect
from contracts.orders import (
    CHANGES_MAX,
    Change,
    DetailsChanged,
    Edited,
    ExceptionRaised,
    ExceptionResolved,
    FulfillmentChanged,
    FulfillmentStatus,
    MarketTerms,
    OrderEvent,
    PaymentChanged,
    Reinstated,
    Remarked,
    Resolve,
    Status,
)
from contracts.snapshot import OrderContent, Source
from orders.domain.content import methods
from orders.domain.content.amounts import grand_minor
from orders.domain.content.facts import Facts
from orders.domain.state import transitions
from orders.domain.state.folding import evolve
from orders.domain.state.order import MarketKey, Merged, Order, Stated, payment_status, sold
from orders.domain.state.run import Ask, Run

E = TypeVar("E", bound=OrderEvent)

DETAILS: Final = attrgetter("external_number", "purchase_order_number", "buyer", "ship_to", "bill_to")
"""By what people find and reach an order."""


class Statements:
    """An order, what is decided of it so far, and what a decision adds to that."""

    def __init__(self, order: Order, context: Context) -> None:
        self.order, self.context = order, context
        self.runs: dict[str, Run] = dict(order.runs)
        self.asks: dict[str, Ask] = dict(order.asks)
        self.facts: Facts = order.facts
        self.source: Source | None = None
        self._effects: list[Effect] = []
        self._commands: list[Command] = []

    @property
    def present(self) -> Order:
        """The order with the facts and the processes that are decided so far."""
        return self.order.model_copy(update={"facts": self.facts, "runs": self.runs})

    def state(self, model: type[E], *, status: Status | None = None, fulfillment: FulfillmentStatus | None = None,
              answers: UUID | None = None, selling: OrderContent | None = None, **body: Any) -> None:  # fmt: skip
        """State a public event; statuses that are not given stay. selling: what the event makes of the order, if it changes what
        is sold: a free order is free at once."""
        order = self.order
        priced = order if selling is None else order.model_copy(update=sold(selling))
        standing, fulfilled = status or order.status, fulfillment or order.fulfillment_status
        assert standing != "unreceived", f"{model.TYPE} is stated of an order that was never received"
        if standing != order.status or fulfilled != order.fulfillment_status:
            transitions.check(model.TYPE, (order.status, standing), (order.fulfillment_status, fulfilled))
        event = model(
            order_id=self.context.key,
            store_id=order.store_id,
            operation_id=answers,
            status=standing,
            payment_status=payment_status(priced, self.facts.money),
            fulfillment_status=fulfilled,
            **body,
        )
        self.record(event)

    def record(self, event: Event) -> None:
        """Journals an event of the order and folds it."""
        self._effects.append(event)
        self.order = evolve(self.order, event)

    def send(self, command: Command) -> None:
        self._commands.append(command)

    def addressed(self, operation: UUID) -> dict[str, Any]:
        """The fields that every command of orders has."""
        return {
            "order_id": self.context.key,
            "store_id": self.order.store_id,
            "operation_id": operation,
            "actor": "orders",
        }

    def note(self, **facts: Any) -> None:
        self.facts = self.facts.model_copy(update=facts)

    def set(self, run: Run, **change: Any) -> Run:
        run = run.model_copy(update=change)
        self.runs[run.id] = run
        return run

    def set_data(self, run: Run, **change: Any) -> Run:
        """Changes fields of the data of its kind."""
        return self.set(run, data=run.data.model_copy(update=change))

    def raise_exception(
        self, code: str, detail: str, difference: Sequence[Change] = (), why_not: str | None = None
    ) -> None:
        """Raises it once per code until it is resolved."""
        if code not in self.order.exceptions:
            self.state(
                ExceptionRaised, exception_id=self.context.new_id(f"exception {code}"), code=code, detail=detail[:500],
                since=self.context.now, difference=tuple(difference[:CHANGES_MAX]),
                changes_more=max(len(difference) - CHANGES_MAX, 0), why_not=why_not,
            )  # fmt: skip

    def resolve_exception(self, code: str, by: Resolve | None = None) -> None:
        """`by`: the request of the person who decided; without it, the cause is gone."""
        if (known := self.order.exceptions.get(code)) is None:
            return
        if by is None:
            self.state(ExceptionResolved, exception_id=known.exception_id, code=code)
            return
        self.state(
            ExceptionResolved, answers=by.operation_id, exception_id=known.exception_id, code=code,
            resolution=by.resolution, actor=by.actor, reason=by.reason,
        )  # fmt: skip

    def add_remark(self, code: str, detail: str) -> None:
        if code not in self.order.remarks:
            self.state(Remarked, code=code, detail=detail[:500])

    def take_over(self, content: OrderContent) -> None:
        """Content that changes neither goods nor money; published if the details of the order change."""
        before = self.order.content
        if content == before:
            return
        if before is not None and DETAILS(content) != DETAILS(before):
            self.state(DetailsChanged, source=self.source or self.order.source, order=content)
        else:
            self.record(Merged(**self._private(), order=content))
        self.source = None

    def record_stated(self, content: OrderContent | None, base: Literal["", "stated", "kept"] = "") -> None:
        """What the marketplace states and the order does not take over; null: there is no such difference."""
        if content != self.order.stated or (not base and self.order.base is not None):
            self.record(Stated(**self._private(), order=content, base=base))
            self.source = None

    def _private(self) -> dict[str, Any]:
        source = self.source or self.order.source
        return {"order_id": self.context.key, "store_id": self.order.store_id, "source": source}

    def edit(self, content: OrderContent, market: MarketTerms, *, status: Status | None = None,
             fulfillment: FulfillmentStatus | None = None, answers: UUID | None = None, **edit: Any) -> None:  # fmt: skip
        """What is sold from now on, and the terms. edit: the fields of an edit after the order was placed."""
        terms = None if market == self.order.market else market
        source = self.source or self.order.source
        self.state(
            Edited,
            status=status,
            fulfillment=fulfillment,
            answers=answers,
            source=source,
            order=content,
            market=terms,
            grand_minor=grand_minor(content),
            selling=content,
            **edit,
        )
        self.source = None

    def take_over_terms(self, starts_by: MarketTerms | None = None) -> bool:
        """The present terms of the market, as far as they still apply: until the order is placed all but the payment method,
        then only the seller. Returns whether they differ from the order's. starts_by: those of an order that starts anew."""
        order = self.order
        assert order.content is not None and order.market is not None
        terms = starts_by or methods.kept(order.market, self.terms)
        if order.status != "placing":
            terms = order.market.model_copy(update={"seller": terms.seller})
        if terms == order.market:
            return False
        self.edit(order.content, terms)
        return True

    def reinstate(self, content: OrderContent, *, status: Status, fulfillment: FulfillmentStatus) -> None:
        """Places a cancelled order anew. The undo has ended."""
        facts = self.facts.model_copy(update={"undone": self.facts.money})
        self.order = self.order.model_copy(update={"facts": facts, **sold(content)})
        self.state(
            Reinstated,
            status=status,
            fulfillment=fulfillment,
            source=self.source or self.order.source,
            order=content,
            grand_minor=self.order.grand_minor,
        )
        self.runs, self.asks, self.facts = {}, {}, self.order.facts

    def payment_changed(self) -> None:
        if self.facts.money != self.order.facts.money:
            assert self.order.content is not None
            self.state(PaymentChanged, currency=self.order.content.currency, totals=self.facts.money)

    def fulfillment_changed(self, status: FulfillmentStatus) -> None:
        shipments = self.facts.shipments.values()
        self.state(
            FulfillmentChanged,
            fulfillment=status,
            shipments_open=sum(shipment.status == "picking" for shipment in shipments),
            shipments_shipped=sum(shipment.status in ("shipped", "delivered") for shipment in shipments),
        )

    @property
    def terms(self) -> MarketTerms:
        """The present terms of the order's market, where they were loaded; else those that the order has."""
        order = self.order
        assert order.source is not None and order.market is not None
        key = MarketKey(order.store_id, order.source.channel, order.source.account)
        return self.context.shares.get(key) or order.market
