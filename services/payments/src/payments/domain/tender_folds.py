"""What each tender has promised, paid and got back: parts of the folds of `money_folds`. A gift card's part of an operation is an
operation of its own.
"""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from contracts.gift_cards import GIFT_CARD
from contracts.payments import Declined, GiftCardPart, GiftCardsRedeemed, MoneyLine
from payments.domain.gateway import Kind
from payments.domain.ledger import AuthorizedLine, CapturedLine, Capturing, Ledger
from payments.domain.operation import Operation, card_operation_id


def redeemed(ledger: Ledger, event: GiftCardsRedeemed) -> Ledger:
    """Each card's part is an open operation until its authorization is answered."""
    operations = dict(ledger.operations)
    for part in event.gift_cards:
        operations[of_card(event.operation_id, part)] = card_operation("authorize", "asked", part, event.currency, None)
    return ledger.model_copy(update={"operations": operations, "currency": ledger.currency or event.currency})


def given_back(ledger: Ledger, event: Declined) -> Ledger:
    operations = dict(ledger.operations)
    for part in event.gift_cards:
        closed = card_operation("authorize", "declined", part, event.currency, None)
        operations[of_card(event.operation_id, part)] = closed.model_copy(update={"code": event.code})
    return ledger.model_copy(update={"operations": operations}) if event.gift_cards else ledger


def of_card(operation_id: UUID | None, part: GiftCardPart) -> UUID:
    assert operation_id is not None, "every event of a ledger belongs to an operation"
    return card_operation_id(operation_id, part.gift_card_id)


def card_operation(
    kind: Kind,
    state: Literal["asked", "succeeded", "declined"],
    part: GiftCardPart,
    currency: str,
    refers_to: UUID | None,
) -> Operation:
    """What a gift card does in an operation of its order."""
    return Operation(
        kind=kind,
        state=state,
        amount_minor=part.amount_minor,
        currency=currency,
        refers_to=refers_to,
        gateway=GIFT_CARD,
        lines=part.lines if state == "asked" else (),
        gateway_reference=str(part.gift_card_id),
    )


def granted(lines: tuple[MoneyLine, ...]) -> dict[str, AuthorizedLine]:
    return {line.line_id: AuthorizedLine(authorized_minor=line.amount_minor, pieces=line.quantity) for line in lines}


def taken(lines: tuple[MoneyLine, ...]) -> dict[str, CapturedLine]:
    return {line.line_id: CapturedLine(captured_minor=line.amount_minor, pieces=line.quantity) for line in lines}


def returned(ledger: Ledger, capture_id: UUID, back: tuple[MoneyLine, ...]) -> Capturing:
    """The capture after so much was refunded of it."""
    capture = ledger.captures[capture_id]
    lines = dict(capture.lines)
    for line in back:
        before = lines[line.line_id]
        after = before.model_copy(
            update={
                "refunded_minor": before.refunded_minor + line.amount_minor,
                "pieces_back": min(before.pieces_back + line.quantity, before.pieces),
            }
        )
        assert after.left_minor >= 0, f"line {line.line_id} of capture {capture_id}: {after}"
        lines[line.line_id] = after
    return capture.model_copy(update={"lines": lines})
