"""A gift card: its terms and its life. What it is worth now is the share in `balances`, which orders move, too.

issued (inactive) -> active <-> inactive; with its time of expiry -> expired, which an extension takes back. That nothing is
left on a card is no state: it follows from the balance. The code is a secret: this has a hash of it, and its last characters.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

from pydantic import StringConstraints

from contracts.base import Command, Document, Event, Flag, Minor, MinorUnsigned, Personal, PrivateEvent, Text, Timestamp
from contracts.deciding import Context, Effect, Refusal, Wake
from contracts.gift_cards import (
    GiftCardActivated,
    GiftCardAdjusted,
    GiftCardDeactivated,
    GiftCardExpired,
    GiftCardExtended,
    GiftCardIssued,
    GiftCardKeyed,
)
from contracts.limits import MINOR_MAX
from contracts.money import Currency

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
CodeEnd = Annotated[str, StringConstraints(pattern=r"^[0-9A-Z]{4}$")]


class CardKey(NamedTuple):
    """Names the balance of a card."""

    store_id: str
    gift_card_id: UUID


class GiftCardCommand(GiftCardKeyed, Command):
    """Requested over HTTP."""


class Issue(GiftCardCommand, type="payments.issue_gift_card"):
    currency: Currency
    amount_minor: MinorUnsigned
    expires_at: Timestamp | None = None
    single_use: Flag = False
    rechargeable: Flag = True
    code_sha256: Sha256
    code_end: CodeEnd
    activate: Flag = False


class Activate(GiftCardCommand, type="payments.activate_gift_card"):
    pass


class Deactivate(GiftCardCommand, type="payments.deactivate_gift_card"):
    pass


class Adjust(GiftCardCommand, type="payments.adjust_gift_card"):
    amount_minor: Minor
    reason: Annotated[Text, Personal()]


class Extend(GiftCardCommand, type="payments.extend_gift_card"):
    expires_at: Timestamp | None


class ReplaceCode(GiftCardCommand, type="payments.replace_gift_card_code"):
    code_sha256: Sha256
    code_end: CodeEnd


class CodeSet(GiftCardKeyed, PrivateEvent, type="payments.gift_card_code_set"):
    """A code that is random: it cannot be found by its hash."""

    code_sha256: Sha256
    code_end: CodeEnd


class GiftCard(Document):
    schema_version: int = 1
    store_id: str = ""
    gift_card_id: UUID | None = None
    currency: str | None = None
    """Null: it was not issued."""
    initial_minor: int = 0
    active: bool = False
    activated: bool = False
    """It has ever been active: its balance is a liability."""
    expired: bool = False
    expires_at: Timestamp | None = None
    single_use: bool = False
    rechargeable: bool = True
    code_sha256: str | None = None
    """Null: the code was lost with a database, and has to be replaced."""
    code_end: str = ""

    @property
    def state(self) -> Literal["inactive", "active", "expired"]:
        return "expired" if self.expired else "active" if self.active else "inactive"


def new_gift_card(key: UUID, store_id: str) -> GiftCard:
    return GiftCard(store_id=store_id, gift_card_id=key)


def issue(card: GiftCard, command: Issue, context: Context) -> list[Effect]:
    if card.currency is not None:
        return []
    if command.expires_at is not None and command.expires_at <= context.now:
        return [_in_the_past(command.expires_at)]
    named = _named(context, command.operation_id)
    money = {**named, "currency": command.currency}
    issued = GiftCardIssued(
        **money,
        amount_minor=command.amount_minor,
        expires_at=command.expires_at,
        single_use=command.single_use,
        rechargeable=command.rechargeable,
    )
    effects: list[Effect] = [
        issued,
        CodeSet(**named, code_sha256=command.code_sha256, code_end=command.code_end),
    ]
    return [*effects, GiftCardActivated(**money, amount_minor=command.amount_minor)] if command.activate else effects


def activate(card: GiftCard, command: Activate, context: Context) -> list[Effect]:
    if (no := _unusable(card)) is not None:
        return [no]
    if card.active:
        return []
    amount = 0 if card.activated else _balance(card, context)
    return [GiftCardActivated(**_money(card, context, command.operation_id), amount_minor=amount)]


def deactivate(card: GiftCard, command: Deactivate, context: Context) -> list[Effect]:
    if (no := _unusable(card)) is not None:
        return [no]
    return [GiftCardDeactivated(**_money(card, context, command.operation_id))] if card.active else []


def adjust(card: GiftCard, command: Adjust, context: Context) -> list[Effect]:
    if (no := _unusable(card)) is not None:
        return [no]
    before = _balance(card, context)
    after = before + command.amount_minor
    if command.amount_minor > 0 and not card.rechargeable:
        return [Refusal("gift_card_fixed", "the card was issued with one amount for ever")]
    if after < 0:
        detail = f"the card has {before}, {-command.amount_minor} cannot be taken off"
        return [Refusal("gift_card_insufficient", detail, {"allowed_minor": before})]
    if after > MINOR_MAX:
        return [Refusal("gift_card_full", f"a card has at most {MINOR_MAX}", {"allowed_minor": MINOR_MAX - before})]
    if not command.amount_minor:
        return []
    return [
        GiftCardAdjusted(
            **_money(card, context, command.operation_id),
            amount_minor=command.amount_minor,
            balance_minor=after,
            reason=command.reason,
        )
    ]


def extend(card: GiftCard, command: Extend, context: Context) -> list[Effect]:
    if card.currency is None:
        return [_unknown()]
    if command.expires_at is not None and command.expires_at <= context.now:
        return [_in_the_past(command.expires_at)]
    if command.expires_at == card.expires_at and not card.expired:
        return []
    return [GiftCardExtended(**_money(card, context, command.operation_id), expires_at=command.expires_at)]


def replace_code(card: GiftCard, command: ReplaceCode, context: Context) -> list[Effect]:
    if card.currency is None:
        return [_unknown()]
    named = _named(context, command.operation_id)
    return [CodeSet(**named, code_sha256=command.code_sha256, code_end=command.code_end)]


def woken(card: GiftCard, wake: Wake, context: Context) -> list[Effect]:
    """Its time of expiry has come."""
    due = wake_at(card)
    if due is None or due > context.now:
        return []
    return [GiftCardExpired(**_money(card, context, None), amount_minor=_balance(card, context))]


def wake_at(card: GiftCard) -> datetime | None:
    return None if card.expired or card.currency is None else card.expires_at


def evolve(card: GiftCard, event: Event) -> GiftCard:
    match event:
        case GiftCardIssued():
            change: dict[str, Any] = {
                "currency": event.currency,
                "initial_minor": event.amount_minor,
                "expires_at": event.expires_at,
                "single_use": event.single_use,
                "rechargeable": event.rechargeable,
            }
        case CodeSet():
            change = {"code_sha256": event.code_sha256, "code_end": event.code_end}
        case GiftCardActivated():
            change = {"active": True, "activated": True}
        case GiftCardDeactivated():
            change = {"active": False}
        case GiftCardExtended():
            change = {"expires_at": event.expires_at, "expired": False}
        case GiftCardExpired():
            change = {"expired": True}
        case GiftCardAdjusted():
            change = {}
        case _:
            raise AssertionError(f"{event.TYPE} is not about a gift card")
    return card.model_copy(update=change)


def _balance(card: GiftCard, context: Context) -> int:
    """What it is worth now."""
    balance = context.shares.get(CardKey(context.store_id, context.key))
    return balance.balance_minor if balance is not None else 0


def _unusable(card: GiftCard) -> Refusal | None:
    if card.currency is None:
        return _unknown()
    return Refusal("gift_card_expired", "extend it first") if card.expired else None


def _unknown() -> Refusal:
    return Refusal("gift_card_unknown", "the store has no gift card of this id")


def _in_the_past(expires_at: datetime) -> Refusal:
    return Refusal("expiry_past", f"{expires_at.isoformat()} is over")


def _named(context: Context, operation_id: UUID | None) -> Mapping[str, Any]:
    return {"gift_card_id": context.key, "store_id": context.store_id, "operation_id": operation_id}


def _money(card: GiftCard, context: Context, operation_id: UUID | None) -> Mapping[str, Any]:
    assert card.currency is not None, "it was issued"
    return {**_named(context, operation_id), "currency": card.currency}
