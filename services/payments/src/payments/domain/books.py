"""The books: which accounts an event of a ledger debits and which it credits.

Double entry: a posting makes two entries of one amount, so the entries of an operation balance. Only published events are
booked, because they alone survive a restored backup. An operation that fails has no entries in the end.
docs/payments.md lists the accounts, and what each operation books.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple, get_args
from uuid import UUID

from contracts.base import Event
from contracts.gift_cards import GIFT_CARD
from contracts.payments import (
    MARKETPLACE,
    Authorized,
    Captured,
    DisputeClosed,
    DisputeOpened,
    Failed,
    MoneyLine,
    Pending,
    PrepaymentReceived,
    PrepaymentReturned,
    Refunded,
    Reversed,
    Voided,
)
from payments.domain.ledger import Ledger
from payments.domain.operation import card_operation_id, rest_of
from payments.domain.reversals import by_tender, plain

Account = Literal[
    "customer",
    "authorized",
    "receivable",
    "gateway_clearing",
    "marketplace_clearing",
    "fees",
    "refunds_payable",
    "prepayments",
    "gift_card_liability",
    "gift_cards_issued",
    "gift_cards_expired",
    "disputed",
    "chargebacks",
    "in_transit",
    "bank",
    "suspense",
    "exchange",
    "rounding",
]
ACCOUNTS: Final[tuple[Account, ...]] = get_args(Account)
HELD: Final[tuple[Account, ...]] = ("authorized", "receivable")
"""What customers have promised, before it is collected."""
DISPUTE_LINE: Final = "dispute"
"""The line of the entries of a dispute."""
PREPAID_LINE: Final = "prepayment"
"""The line of the entries of what is paid in a session before its order: it has no lines yet."""
CLEARING: Final[tuple[Account, ...]] = ("gateway_clearing", "marketplace_clearing", "gift_card_liability")
"""Where collected money lies."""
_HELD_BY: Final[Mapping[str, Account]] = {"manual": "receivable"}
_CLEARED_BY: Final[Mapping[str, Account]] = {
    MARKETPLACE: "marketplace_clearing",
    GIFT_CARD: "gift_card_liability",
}


class Posting(NamedTuple):
    """A debit of one account and a credit of another, of each line by its amount."""

    event: Event
    place: int
    """The index of the event among those given."""
    number: int
    """How many lines the postings of the event before this one have."""
    operation_id: UUID
    debit: Account
    credit: Account
    lines: Sequence[MoneyLine]
    """Their amounts are positive."""
    currency: str | None = None
    """Null: that of the ledger. What was paid before the order asked may be in another one."""


def postings(before: Ledger, after: Ledger, events: Sequence[Event]) -> Iterator[Posting]:
    """Yields what the events book, in their order. before, after: the ledger before and after all of them.

    A ledger retains its authorizations and captures: what an event draws on is in `after`.
    """
    owed = _owed(before)
    for place, event in enumerate(events):
        number = 0
        currency = event.currency if isinstance(event, (PrepaymentReceived, PrepaymentReturned)) else None
        for move in _moves(event, after, owed):
            if lines := [line for line in move.lines if line.amount_minor]:
                assert move.operation_id is not None, "every event of a ledger belongs to an operation"
                yield Posting(event, place, number, move.operation_id, move.debit, move.credit, lines, currency)
                number += len(lines)


class _Move(NamedTuple):
    operation_id: UUID | None
    debit: Account
    credit: Account
    lines: Sequence[MoneyLine]


Owed = dict[UUID | None, Sequence[MoneyLine]]
"""Refunds that a gateway has accepted and not yet made, by operation."""


def _owed(ledger: Ledger) -> Owed:
    return {
        operation_id: operation.gateway_lines
        for operation_id, operation in ledger.operations.items()
        if operation.kind == "refund" and operation.state == "pending"
    }


def _moves(event: Event, ledger: Ledger, owed: Owed) -> Iterator[_Move]:
    """What the event books. `owed` is changed to what it is after the event."""
    operation_id = event.operation_id
    match event:
        case Authorized():
            if event.session_id is not None:
                yield from _taken_over(event, event.session_id)
            for tender in _tenders(operation_id, event.gateway, event):
                yield _Move(tender.operation_id, held_by(tender.gateway), "customer", tender.lines)
            if event.capture_id is not None:
                for tender in _tenders(event.capture_id, event.gateway, event):
                    yield _Move(tender.operation_id, cleared_by(tender.gateway), held_by(tender.gateway), tender.lines)
        case Captured():
            for tender in _tenders(operation_id, ledger.captures[event.capture_id].gateway, event):
                yield _Move(tender.operation_id, cleared_by(tender.gateway), held_by(tender.gateway), tender.lines)
        case Voided():
            granted = ledger.authorizations.get(event.authorization_id)
            if granted is not None:  # else it was declined: nothing was promised
                for tender in _tenders(operation_id, granted.gateway, event):
                    yield _Move(tender.operation_id, "customer", held_by(tender.gateway), tender.lines)
        case Refunded():
            was_owed = owed.pop(operation_id, None) is not None
            of_gateway, *of_cards = _tenders(operation_id, ledger.captures[event.capture_id].gateway, event)
            debit: Account = "refunds_payable" if was_owed else "customer"
            yield _Move(operation_id, debit, cleared_by(of_gateway.gateway), of_gateway.lines)
            for tender in of_cards:
                yield _Move(tender.operation_id, "customer", cleared_by(tender.gateway), tender.lines)
        case Reversed():
            for capture_id, of_tender in by_tender(event).items():
                gateway = ledger.captures[capture_id].gateway
                held, cleared = held_by(gateway), cleared_by(gateway)
                taken_off = plain(of_tender.taken_off)
                yield _Move(of_tender.operation_id, "customer", held, taken_off)
                yield _Move(of_tender.operation_id, held, cleared, taken_off)
                yield _Move(of_tender.operation_id, held, "customer", of_tender.paid)
                yield _Move(of_tender.operation_id, cleared, held, of_tender.paid)
        case Pending(command="refund"):
            owed[operation_id] = rest_of(event.lines, event.gift_cards)
            yield _Move(operation_id, "customer", "refunds_payable", owed[operation_id])
        case Failed(command="refund") if operation_id in owed:
            yield _Move(operation_id, "refunds_payable", "customer", owed.pop(operation_id))
        case PrepaymentReceived():
            yield _Move(operation_id, held_by(event.gateway), "prepayments", _prepaid(event.amount_minor))
            if event.captured:
                cleared = cleared_by(event.gateway)
                yield _Move(operation_id, cleared, held_by(event.gateway), _prepaid(event.amount_minor))
        case PrepaymentReturned():
            lies = cleared_by(event.gateway) if event.captured else held_by(event.gateway)
            yield _Move(operation_id, "prepayments", lies, _prepaid(event.amount_minor))
        case DisputeOpened():
            yield _Move(operation_id, "disputed", cleared_by(event.gateway), _of_dispute(event.withheld_minor))
        case DisputeClosed():
            yield _Move(operation_id, "disputed", cleared_by(event.gateway), _of_dispute(event.withheld_minor))
            to = cleared_by(event.gateway) if event.outcome == "won" else "chargebacks"
            yield _Move(operation_id, to, "disputed", _of_dispute(event.settled_minor))
        case _:
            pass


def _taken_over(event: Authorized, session_id: UUID) -> Iterator[_Move]:
    """Takes back what the session has booked: the authorization books the same, by its lines."""
    lines = _prepaid(sum(line.amount_minor for line in rest_of(event.lines, event.gift_cards)))
    if event.capture_id is not None:
        yield _Move(session_id, held_by(event.gateway), cleared_by(event.gateway), lines)
    yield _Move(session_id, "prepayments", held_by(event.gateway), lines)


def _prepaid(amount_minor: int) -> Sequence[MoneyLine]:
    return [MoneyLine(line_id=PREPAID_LINE, quantity=0, amount_minor=amount_minor)]


def _of_dispute(amount_minor: int) -> Sequence[MoneyLine]:
    """A dispute is about a payment, not about its lines."""
    return [MoneyLine(line_id=DISPUTE_LINE, quantity=0, amount_minor=amount_minor)]


class _Tender(NamedTuple):
    operation_id: UUID | None
    gateway: str
    lines: Sequence[MoneyLine]


def _tenders(
    operation_id: UUID | None, gateway: str, event: Authorized | Captured | Voided | Refunded
) -> list[_Tender]:
    """What each tender has of the event's lines: first the gateway, then the gift cards, each as an operation of its own."""
    found = [_Tender(operation_id, gateway, rest_of(event.lines, event.gift_cards))]
    for part in event.gift_cards:
        assert operation_id is not None, "every event of a ledger belongs to an operation"
        found.append(_Tender(card_operation_id(operation_id, part.gift_card_id), GIFT_CARD, part.lines))
    return found


def held_by(gateway: str) -> Account:
    """Returns the account of what is authorized with a gateway and not captured."""
    return _HELD_BY.get(gateway, "authorized")


def cleared_by(gateway: str) -> Account:
    """Returns the account of what was captured with a gateway and not refunded."""
    return _CLEARED_BY.get(gateway, "gateway_clearing")
