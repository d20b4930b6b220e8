"""One operation of a ledger: what was asked under one id, what it holds while it is open, and its outcome."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal, NamedTuple, TypeVar
from uuid import UUID

from contracts.base import Document
from contracts.ids import derived
from contracts.payments import AccountName, GatewayName, GiftCardPart, MoneyLine, PaymentName, ReversedLine
from payments.domain.gateway import Kind

Recorded = Literal["stated", "unconfirmed", "confirmed", "contradicted"]
"""The state of an outcome that was stated, not reported: no gateway is asked about it; its gateway is still asked what it has; the
gateway has reported the same; the gateway has reported another one."""


class Operation(Document):
    """What was asked under one id, and its outcome. An id has its effect once, for ever."""

    kind: Kind | Literal["reverse", "prepay", "return"]
    """`prepay`: paid in the session of its id, before its order asks for it. `return`: what of it is given back."""
    state: Literal["asked", "pending", "succeeded", "declined", "failed"]
    amount_minor: int = 0
    """What its gateway moves: without what gift cards do."""
    currency: str | None = None
    refers_to: UUID | None = None
    gateway: GatewayName | None = None
    account: AccountName | None = None
    """The one that an authorization names; what draws on it goes to the same. Null: the store's first at the gateway."""
    lines: tuple[MoneyLine, ...] = ()
    """Held while open, of all tenders together. After a gateway's refusal: what was asked. Empty after a success, unless it was
    recorded: a repetition is compared with them."""
    gift_cards: tuple[GiftCardPart, ...] = ()
    """What of the lines gift cards move. Each is an operation of its own: open from its redemption, or made with a success."""
    with_capture: bool = False
    """An authorization and its capture in one: asked for; once it has succeeded, done. The capture is an operation of its own."""
    postponed: bool = False
    """A void that waits: no gateway is asked yet, and it holds no lines."""
    gateway_reference: str | None = None
    code: str = ""
    reason: str = ""
    payment: PaymentName | None = None
    """What a payment system elsewhere calls it, of an operation that was recorded."""
    recorded: Recorded | None = None
    """Null: the outcome is the ledger's own or its gateway's."""
    expires_at: datetime | None = None
    """When an authorization that is pending is abandoned; null: never, or its session states it."""
    abandoned: bool = False
    """The time of an authorization is over while it is open: it ends as declined, once nothing can be paid on it."""
    follows: UUID | None = None
    """The reversal whose difference it moves, while it is open."""
    session_id: UUID | None = None
    """The session in which the buyer pays, or has paid, an authorization before it was asked for: no gateway is asked."""

    @property
    def is_open(self) -> bool:
        return self.state in ("asked", "pending")

    @property
    def total_minor(self) -> int:
        """What all tenders move."""
        return self.amount_minor + by_cards(self.gift_cards)

    @property
    def gateway_lines(self) -> tuple[MoneyLine, ...]:
        return rest_of(self.lines, self.gift_cards)

    @property
    def of_gateway(self) -> Operation:
        """As if no gift card took part."""
        return self.model_copy(update={"lines": self.gateway_lines, "gift_cards": ()}) if self.gift_cards else self

    @property
    def outcome(self) -> Literal["", "succeeded", "failed"]:
        """Empty while it is open."""
        return "" if self.is_open else "succeeded" if self.state == "succeeded" else "failed"


def capture_id_of(authorization_id: UUID) -> UUID:
    """The operation of the capture that was made in the same call as an authorization."""
    return derived(authorization_id, "captured with it")


def card_operation_id(operation_id: UUID, gift_card_id: UUID) -> UUID:
    """The operation of a gift card that takes part in another operation."""
    return derived(operation_id, f"gift card {gift_card_id}")


class EarlierKey(NamedTuple):
    """A closed operation that the ledger of an order may no longer have."""

    order_id: UUID
    operation_id: UUID


def total(lines: Iterable[MoneyLine]) -> int:
    return sum(line.amount_minor for line in lines)


def by_cards(parts: Iterable[GiftCardPart]) -> int:
    return sum(part.amount_minor for part in parts)


L = TypeVar("L", MoneyLine, ReversedLine)


def rest_of(lines: tuple[L, ...], parts: Sequence[GiftCardPart]) -> tuple[L, ...]:
    """What gift cards leave of the lines to the gateway: each line, also if that is nothing."""
    if not parts:
        return lines
    paid: dict[str, int] = {}
    for part in parts:
        for line in part.lines:
            paid[line.line_id] = paid.get(line.line_id, 0) + line.amount_minor
    return tuple(
        line.model_copy(update={"amount_minor": line.amount_minor - paid[line.line_id]})
        if line.line_id in paid
        else line
        for line in lines
    )
