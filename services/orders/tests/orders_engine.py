"""What a play is run by: one message after the other, and what the order states and asks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self, TypeVar

from orders_words import NOW, ORDER, STORE, uid

from contracts.base import Command, Event, PrivateEvent
from contracts.deciding import Context, Folded, Refusal, Unasked, effects_of
from contracts.orders import MarketTerms
from contracts.snapshot import OrderContent
from orders.domain.state.folding import evolve
from orders.domain.state.order import Order, initial
from orders.handlers import ORDERS

DECIDE = {handler.message: handler.decide for handler in ORDERS.handlers}
C = TypeVar("C", bound=Command)


class Engine:
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

    def when(self, message: Any, actor: str = "person:ann") -> Self:
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

    def then(self, *stated: type[Event], asks: Iterable[type[Command]] = ()) -> Self:
        """Exactly these, in this order."""
        assert [type(event).__name__ for event in self.stated] == [model.__name__ for model in stated]
        assert [type(command).__name__ for command in self.sent] == [model.__name__ for model in asks]
        return self

    def nothing(self) -> Self:
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
