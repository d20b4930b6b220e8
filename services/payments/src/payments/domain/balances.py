"""The balance of a gift card: a row that all orders share which are paid with it.

A decision on an order finds the cards that it names locked, so no two orders spend the same amount; rows are locked in the
order of their keys, so they wait for each other in no circle. Only events move a balance: those of the card, and those of
the payments of orders. It is never negative: asserted here, and by the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

from contracts.base import Event
from contracts.deciding import Reported, Wake
from contracts.gift_cards import (
    GiftCardActivated,
    GiftCardAdjusted,
    GiftCardDeactivated,
    GiftCardEvent,
    GiftCardExpired,
    GiftCardExtended,
    GiftCardIssued,
)
from contracts.payments import Authorize, Capture, Declined, GiftCardsRedeemed, Refunded, Voided
from payments.domain.gift_cards import CardKey, GiftCard, GiftCardCommand
from payments.domain.ledger import Ledger

MoveKind = Literal["issued", "adjusted", "redeemed", "restored", "expired"]


class Move(NamedTuple):
    number: int
    """Counts the movements of the card from 1."""
    kind: MoveKind
    amount_minor: int
    """Negative: taken off."""
    balance_minor: int
    """After it. In a restored database it may be negative: its movements are those of several orders, in any sequence."""
    order_id: UUID | None
    operation_id: UUID | None


class Balance(NamedTuple):
    """Amounts are minor units of the card's currency."""

    currency: str = ""
    """Empty: there is no such card."""
    active: bool = False
    expired: bool = False
    activated: bool = False
    """It has ever been active: its balance is a liability."""
    balance_minor: int = 0
    used_minor: int = 0
    """What orders have redeemed, and not got back."""
    expires_at: datetime | None = None
    single_use: bool = False
    moved: int = 0
    """How many movements there are."""
    moves: tuple[Move, ...] = ()
    """Those of the batch."""


_BY_ORDERS: Final = (GiftCardsRedeemed, Declined, Voided, Refunded)


def needs(state: Any, message: Any) -> Iterable[CardKey]:
    """The cards that a decision may move: those that an authorization names; those of the order, for what gives back to them.

    state: of any aggregate of payments; what is neither a ledger nor a gift card moves none.
    """
    if isinstance(state, GiftCard):
        gift_card_id = message.gift_card_id if isinstance(message, GiftCardCommand) else state.gift_card_id
        return () if gift_card_id is None else (CardKey(state.store_id, gift_card_id),)
    if not isinstance(state, Ledger):
        return ()
    if isinstance(message, Authorize):
        return [CardKey(message.store_id, one.gift_card_id) for one in message.gift_cards]
    if isinstance(message, (Capture, Wake)) or not (cards := state.cards):
        return ()
    store_id = message.asked.store_id if isinstance(message, Reported) else message.store_id
    return [CardKey(store_id, gift_card_id) for gift_card_id in cards]


def touched(event: Event) -> Iterable[CardKey]:
    if isinstance(event, _BY_ORDERS):
        return sorted({CardKey(event.store_id, part.gift_card_id) for part in event.gift_cards})
    return (CardKey(event.store_id, event.gift_card_id),) if isinstance(event, GiftCardEvent) else ()


def evolve(balance: Balance | None, key: CardKey, event: Event) -> Balance:
    after = _after(balance or Balance(), key, event)
    assert after.balance_minor >= 0, f"{event.TYPE} would overdraw gift card {key.gift_card_id}"
    return after


def adopt(balance: Balance | None, key: CardKey, events: Sequence[Event]) -> Balance:
    """After a restore: what all lost events did together, those of orders and of the card in any sequence."""
    after = balance or Balance()
    for event in events:
        after = _after(after, key, event)
    assert after.balance_minor >= 0, f"gift card {key.gift_card_id} would be overdrawn"
    return after


def _after(balance: Balance, key: CardKey, event: Event) -> Balance:
    match event:
        case GiftCardIssued():
            known = balance._replace(currency=event.currency, expires_at=event.expires_at, single_use=event.single_use)
            return _moved(known, event, "issued", event.amount_minor)
        case GiftCardActivated():
            return balance._replace(active=True, activated=True)
        case GiftCardDeactivated():
            return balance._replace(active=False)
        case GiftCardExtended():
            return balance._replace(expires_at=event.expires_at, expired=False)
        case GiftCardAdjusted():
            return _moved(balance, event, "adjusted", event.amount_minor)
        case GiftCardExpired():
            return _moved(balance._replace(expired=True), event, "expired", -event.amount_minor)
        case GiftCardsRedeemed() | Declined() | Voided() | Refunded():
            amount = sum(part.amount_minor for part in event.gift_cards if part.gift_card_id == key.gift_card_id)
            kind: MoveKind = "restored"
            if isinstance(event, GiftCardsRedeemed):
                kind, amount = "redeemed", -amount
            used = balance._replace(used_minor=balance.used_minor - amount)
            return _moved(used, event, kind, amount, event.order_id)
        case _:
            raise AssertionError(f"{event.TYPE} does not move a gift card")


def _moved(balance: Balance, event: Event, kind: MoveKind, amount: int, order_id: UUID | None = None) -> Balance:
    if not amount:
        return balance
    after, number = balance.balance_minor + amount, balance.moved + 1
    move = Move(number, kind, amount, after, order_id, event.operation_id)
    return balance._replace(balance_minor=after, moved=number, moves=(*balance.moves, move))
