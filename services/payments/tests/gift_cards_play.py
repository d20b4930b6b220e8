"""Plays orders and gift cards of one store, as the chassis does: a decision finds the balances that it needs, and its events
move them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from payments_play import DECIDE, STORE, lines, uid

from contracts.base import Event
from contracts.deciding import Context, Decision, Effect, Refusal, Reported, Task, Wake, effects_of
from contracts.gift_cards import GiftCardTender
from contracts.payments import Authorize
from payments.domain import balances, books, compaction, folds, forcing, gift_cards
from payments.domain.balances import Balance
from payments.domain.books import Posting
from payments.domain.forcing import Asking
from payments.domain.gateway import GatewayCall, GatewayOutcome
from payments.domain.gift_cards import CardKey, GiftCard
from payments.domain.ledger import Ledger
from payments.gift_card_store import posting_of

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CARDS: Mapping[type, Callable[..., Decision]] = {
    gift_cards.Issue: gift_cards.issue,
    gift_cards.Activate: gift_cards.activate,
    gift_cards.Deactivate: gift_cards.deactivate,
    gift_cards.Adjust: gift_cards.adjust,
    gift_cards.Extend: gift_cards.extend,
    gift_cards.ReplaceCode: gift_cards.replace_code,
    Wake: gift_cards.woken,
}


class Shop:
    def __init__(self) -> None:
        self.ledgers: dict[UUID, Ledger] = defaultdict(Ledger)
        self.cards: dict[UUID, GiftCard] = {}
        self.balances: dict[CardKey, Balance] = {}
        self.accounts: dict[str, int] = defaultdict(int)
        self.published: list[Event] = []
        self.posted: list[Posting] = []
        """What orders have booked."""
        self.now = NOW
        self.n = 0

    # -- cards --------------------------------------------------------------------------------------------------------

    def card(self, name: str, what: type, **more: Any) -> list[Effect]:
        key = uid(name)
        message = (
            Wake(self.now)
            if what is Wake
            else what(gift_card_id=key, store_id=STORE, operation_id=self._id(), actor="api-key:desk", **more)
        )
        card = self.cards.setdefault(key, gift_cards.new_gift_card(key, STORE))
        effects = effects_of(CARDS[what](card, message, self._context(key, balances.needs(card, message))))
        for event in effects:
            if isinstance(event, Event):
                liable = self.cards[key].activated or isinstance(event, balances.GiftCardActivated)
                self.cards[key] = gift_cards.evolve(self.cards[key], event)
                self._absorb(event)
                if liable and (posting := posting_of(event)) is not None:
                    self._book(posting.debit, posting.credit, posting.amount_minor)
        return [*effects]

    def issue(self, name: str, amount: int, activate: bool = True, **more: Any) -> None:
        stated = {"currency": "EUR", "amount_minor": amount, "code_sha256": f"{uid(name).hex * 2}", "code_end": "ABCD"}
        self.card(name, gift_cards.Issue, activate=activate, **(stated | more))

    def has(self, name: str) -> int:
        return self.balances[CardKey(STORE, uid(name))].balance_minor

    # -- orders -------------------------------------------------------------------------------------------------------

    def pay(
        self,
        op: str,
        amounts: Any,
        *cards: str | tuple[str, int],
        order: str = "o1",
        gateway: str = "test",
        **more: Any,
    ) -> list[Effect]:
        named = (one if isinstance(one, tuple) else (one, None) for one in cards)
        return self.order(
            order,
            Authorize(
                order_id=uid(order), store_id=STORE, operation_id=uid(op), actor="orders", gateway=gateway,
                currency=more.pop("currency", "EUR"), reference="A-1",
                lines=amounts if isinstance(amounts, tuple) else lines(amounts),
                gift_cards=tuple(GiftCardTender(gift_card_id=uid(name), amount_minor=minor) for name, minor in named),
                **more,
            ),
        )  # fmt: skip

    def order(self, order: str, message: Any, **asking: Asking) -> list[Effect]:
        key = uid(order)
        if not isinstance(message, (Reported, Wake)):
            message = message.model_copy(update={"order_id": key})
        before = self.ledgers[key]
        context = self._context(key, balances.needs(before, message))
        tries = {one: Asking(forcing.UNANSWERED_MIN, NOW) for one in forcing.asking(before, message)}
        context = context._replace(shares={**context.shares, **tries})
        effects = [*effects_of(DECIDE[type(message)](before, message, context))]
        events = [effect for effect in effects if isinstance(effect, Event)]
        for event in events:
            self.ledgers[key] = folds.evolve(self.ledgers[key], event)  # type: ignore[arg-type]
            self._absorb(event)
        for posting in books.postings(before, self.ledgers[key], events):
            self.posted.append(posting)
            self._book(posting.debit, posting.credit, sum(line.amount_minor for line in posting.lines))
        self.ledgers[key] = compaction.compact(self.ledgers[key])
        assert Ledger.model_validate_json(self.ledgers[key].model_dump_json()) == self.ledgers[key]
        return effects

    def answer(self, effects: list[Effect], state: Any, order: str = "o1", **more: Any) -> list[Effect]:
        """The gateway answers the only call among the effects."""
        [call] = [one.body for one in effects if isinstance(one, Task) and isinstance(one.body, GatewayCall)]
        outcome = GatewayOutcome(state=state, gateway_reference="tg_1", **more)
        return self.order(order, Reported(task_id=call.operation_id, kind="gateway", asked=call, outcome=outcome))

    def later(self, **more: float) -> None:
        self.now += timedelta(**more)

    def _context(self, key: UUID, needed: Any) -> Context:
        shares = {one: self.balances.get(one) for one in needed}
        return Context(now=self.now, key=key, store_id=STORE, message_id=self._id(), shares=shares)

    def _id(self) -> UUID:
        self.n += 1
        return uid(f"message {self.n}")

    def _absorb(self, event: Event) -> None:
        self.published.append(event)
        for key in balances.touched(event):
            self.balances[key] = balances.evolve(self.balances.get(key), key, event)

    def _book(self, debit: str, credit: str, amount: int) -> None:
        self.accounts[debit] += amount
        self.accounts[credit] -= amount

    # -- what always holds ----------------------------------------------------------------------------------------------

    def check(self) -> None:
        assert sum(self.accounts.values()) == 0
        held = 0
        for key, balance in self.balances.items():
            moved = sum(move.amount_minor for move in balance.moves)
            assert balance.balance_minor == moved >= 0
            assert [move.number for move in balance.moves] == [*range(1, len(balance.moves) + 1)]
            by_orders = -sum(move.amount_minor for move in balance.moves if move.order_id is not None)
            assert balance.used_minor == by_orders >= 0
            if balance.activated:
                held += balance.balance_minor
            lost = [one for one in reversed(self.published) if key in [*balances.touched(one)]]
            adopted = balances.adopt(None, key, lost)
            assert (adopted.balance_minor, adopted.used_minor) == (balance.balance_minor, balance.used_minor)
        for one in self.ledgers.values():
            promised = [a for a in one.authorizations.values() if a.gift_card_id is not None]
            held += sum(line.left_minor for a in promised for line in a.lines.values())
            waiting = [o for o in one.operations.values() if o.gateway == "gift_card" and o.is_open]
            held += sum(o.amount_minor for o in waiting)
        assert -self.accounts["gift_card_liability"] == held


def refusals(effects: list[Effect]) -> list[str]:
    return [effect.code for effect in effects if isinstance(effect, Refusal)]
