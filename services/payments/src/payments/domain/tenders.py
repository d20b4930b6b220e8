"""How the amounts of an operation are shared among the tenders of an order: its gift cards, and the gateway.

Cards are redeemed in the sequence in which the order names them, each over all lines by what is not paid of them yet (largest
remainder); the gateway takes the rest. A capture takes from the cards first. What is voided or refunded goes back to the
gateway first, then to the cards, the last one first: of each line at most what the tender has paid of it. A reversal does
both: it takes lines off as a refund does, and each tender pays with what was taken off it, the cards first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, get_args
from uuid import UUID

from contracts.gift_cards import GiftCardTender
from contracts.money import split
from contracts.payments import GiftCardPart, MoneyLine, ReversedLine
from payments.domain.balances import Balance
from payments.domain.gift_cards import CardKey
from payments.domain.ledger import Authorization, Capturing, Ledger
from payments.domain.operation import Operation, by_cards, card_operation_id

Unredeemable = Literal[
    "gift_card_unknown", "gift_card_inactive", "gift_card_expired", "gift_card_redeemed", "gift_card_insufficient"
]
NOT_REDEEMABLE: Final[tuple[Unredeemable, ...]] = get_args(Unredeemable)


class NotRedeemable(Exception):
    """Why an order cannot be paid with a card. `code` is one of `NOT_REDEEMABLE`, or currency_differs."""

    def __init__(self, code: Unredeemable | Literal["currency_differs"], reason: str) -> None:
        super().__init__(reason)
        self.code = code


def redeemed(
    tenders: Sequence[GiftCardTender],
    lines: Sequence[MoneyLine],
    currency: str,
    store_id: str,
    shares: Mapping[Any, Any],
    now: datetime,
) -> tuple[GiftCardPart, ...]:
    """What each card pays of the lines. shares: the balances, by `CardKey`. Raises NotRedeemable."""
    due = {line.line_id: 0 for line in lines}
    for line in lines:
        due[line.line_id] += line.amount_minor
    parts = []
    for tender in tenders:
        balance = shares.get(CardKey(store_id, tender.gift_card_id)) or Balance()
        has = available(balance, tender.gift_card_id, currency, now)
        rest = sum(due.values())
        wanted = min(has if tender.amount_minor is None else tender.amount_minor, rest)
        if wanted > has or (rest and not has):
            raise NotRedeemable(
                "gift_card_insufficient", f"gift card {tender.gift_card_id} has {has}, {wanted or rest} are due"
            )
        if wanted:
            parts.append(GiftCardPart(gift_card_id=tender.gift_card_id, lines=_shared_out(due, wanted)))
    return tuple(parts)


def available(balance: Balance, gift_card_id: UUID, currency: str, now: datetime) -> int:
    """What may be redeemed of a card now. Raises NotRedeemable."""
    name = f"gift card {gift_card_id}"
    if not balance.currency:
        raise NotRedeemable("gift_card_unknown", f"the store has no {name}")
    if balance.currency != currency:
        raise NotRedeemable("currency_differs", f"{name} is in {balance.currency}, the order in {currency}")
    if balance.expired or (balance.expires_at is not None and balance.expires_at <= now):
        raise NotRedeemable("gift_card_expired", f"{name} has expired")
    if not balance.active:
        raise NotRedeemable("gift_card_inactive", f"{name} is not active")
    if balance.single_use and balance.used_minor:
        raise NotRedeemable("gift_card_redeemed", f"{name} is for one order, and another is paid with it")
    return balance.balance_minor


def held(ledger: Ledger, operation_id: UUID, tenders: Sequence[GiftCardTender]) -> tuple[GiftCardPart, ...]:
    """What the cards already pay of this authorization: in a restored database, which has lost that it was asked for."""
    found = []
    for tender in tenders:
        operation = ledger.operations.get(card_operation_id(operation_id, tender.gift_card_id))
        if operation is not None and operation.is_open:
            found.append(GiftCardPart(gift_card_id=tender.gift_card_id, lines=operation.lines))
    return tuple(found)


def shared(ledger: Ledger, requested: Operation) -> Operation:
    """A capture, void or refund of checked amounts, with what of them gift cards move."""
    assert requested.refers_to is not None, "it draws on an earlier operation"
    if requested.follows is not None:
        return requested  # its reversal states what each tender gets
    those: Mapping[UUID, Authorization] | Mapping[UUID, Capturing] = (
        ledger.captures if requested.kind == "refund" else ledger.authorizations
    )
    source = those.get(requested.refers_to)
    if source is None or not source.cards:
        return requested
    left = ledger.left_by_tender(those, requested.refers_to)
    of_gateway, *of_cards = left.items()
    sequence = [*of_cards, of_gateway] if requested.kind == "capture" else [of_gateway, *reversed(of_cards)]
    rest = {line.line_id: line.amount_minor for line in requested.lines}
    taken = {tender: _take(rest, of, sum(rest.values())) for tender, of in sequence}
    parts = tuple(
        GiftCardPart(gift_card_id=card, lines=taken[card]) for card, _ in of_cards if card is not None and taken[card]
    )
    amount = sum(line.amount_minor for line in requested.lines) - by_cards(parts)
    return requested.model_copy(update={"gift_cards": parts, "amount_minor": amount})


def exchanged(
    ledger: Ledger, capture_id: UUID, reversals: Iterable[ReversedLine], paid: Iterable[MoneyLine]
) -> tuple[tuple[GiftCardPart, ...], tuple[GiftCardPart, ...]]:
    """What gift cards have paid of the lines that are reversed, by reversal, and what they pay instead.

    paid: the lines that the capture pays instead, in the sequence in which the cards pay them; together as much as is
    reversed. The last of them is the one to be refunded, if there is one: that is the gateway's money first.
    """
    if not ledger.captures[capture_id].cards:
        return (), ()
    left = ledger.left_by_tender(ledger.captures, capture_id)
    of_gateway, *cards = left
    off: dict[UUID | None, list[MoneyLine]] = {tender: [] for tender in left}
    for one in reversals:
        rest = {one.reverses: one.amount_minor}
        for tender in (of_gateway, *reversed(cards)):
            for taken in _take(rest, left[tender], one.amount_minor):
                left[tender][taken.line_id] -= taken.amount_minor
                off[tender].append(MoneyLine(line_id=one.line_id, quantity=0, amount_minor=taken.amount_minor))
    due = {line.line_id: line.amount_minor for line in paid}
    pays = {tender: _take(due, due, sum(line.amount_minor for line in off[tender])) for tender in (*cards, of_gateway)}
    used = [card for card in cards if card is not None and off[card]]
    return (
        tuple(GiftCardPart(gift_card_id=card, lines=tuple(off[card])) for card in used),
        tuple(GiftCardPart(gift_card_id=card, lines=pays[card]) for card in used),
    )


def _shared_out(due: dict[str, int], amount: int) -> tuple[MoneyLine, ...]:
    """The amount over the lines by what is due of each. Changes `due`. amount: at most all that is due."""
    shares = split(amount, [*due.values()])
    for line_id, share in zip([*due], shares, strict=True):
        due[line_id] -= share
    return tuple(
        MoneyLine(line_id=line_id, quantity=0, amount_minor=share)
        for line_id, share in zip(due, shares, strict=True)
        if share
    )


def _take(due: dict[str, int], has: Mapping[str, int], amount: int) -> tuple[MoneyLine, ...]:
    """Takes so much from the first lines on, of each at most what the tender has of it. Changes `due`."""
    taken = []
    for line_id, rest in [*due.items()]:
        part = min(rest, has.get(line_id, 0), amount)
        if part > 0:
            due[line_id] -= part
            amount -= part
            taken.append(MoneyLine(line_id=line_id, quantity=0, amount_minor=part))
    return tuple(taken)
