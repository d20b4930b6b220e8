"""Gift cards: how an order names them, and the events of a card. The card's code is a secret and is in no message.

What orders take from a card and give back to it is in the events of the order's payment (`contracts.payments`).
"""

from __future__ import annotations

from typing import Annotated, Final
from uuid import UUID

from pydantic import AfterValidator, Field

from contracts.base import (
    UNLESS_EMPTY,
    Addressed,
    Event,
    Flag,
    Frozen,
    IfStated,
    Minor,
    MinorUnsigned,
    Personal,
    Text,
    Timestamp,
)
from contracts.limits import GIFT_CARDS_MAX
from contracts.money import Currency

GIFT_CARD: Final = "gift_card"
"""The gateway of what a gift card pays, in the ledger of an order."""


class GiftCardTender(Frozen):
    """A gift card that an order is paid with."""

    gift_card_id: UUID
    """Not its code: `POST /v1/gift-card-checks` of payments returns the id of a code."""
    amount_minor: IfStated[MinorUnsigned] = None
    """Exactly so much, but not more than is still due; null: all that the card has."""


def _each_once(tenders: tuple[GiftCardTender, ...]) -> tuple[GiftCardTender, ...]:
    if len({one.gift_card_id for one in tenders}) != len(tenders):
        raise ValueError("gift_cards: each card may be named once")
    return tenders


GiftCardTenders = Annotated[
    tuple[GiftCardTender, ...], Field(max_length=GIFT_CARDS_MAX), AfterValidator(_each_once), UNLESS_EMPTY
]
"""In the sequence in which they are redeemed. The gateway takes what they leave."""


class GiftCardKeyed(Addressed, key="gift_card_id"):
    """Declares the key of a message about one gift card."""

    gift_card_id: UUID


class GiftCardEvent(GiftCardKeyed, Event):
    currency: Currency


class GiftCardIssued(GiftCardEvent, type="payments.gift_card_issued"):
    """A card exists. It is inactive: no order can be paid with it yet."""

    amount_minor: MinorUnsigned
    """Its first balance."""
    expires_at: IfStated[Timestamp] = None
    """Null: it does not expire."""
    single_use: Flag = False
    """One order is paid with it; what that order leaves cannot be used."""
    rechargeable: Flag = True
    """Its balance may be raised."""


class GiftCardActivated(GiftCardEvent, type="payments.gift_card_activated"):
    """Orders can be paid with it."""

    amount_minor: MinorUnsigned
    """What this adds to the liability: the balance, when it is activated for the first time; 0 later."""


class GiftCardDeactivated(GiftCardEvent, type="payments.gift_card_deactivated"):
    """No order can be paid with it until it is activated again. Its balance stays."""


class GiftCardAdjusted(GiftCardEvent, type="payments.gift_card_adjusted"):
    """A person has changed the balance."""

    amount_minor: Minor
    """Added, or taken off if it is negative."""
    balance_minor: MinorUnsigned
    """After it."""
    reason: Annotated[Text, Personal()] = ""


class GiftCardExtended(GiftCardEvent, type="payments.gift_card_extended"):
    """Another time of expiry. An expired card is what it was before; what has expired does not come back."""

    expires_at: IfStated[Timestamp] = None
    """Null: it does not expire any more."""


class GiftCardExpired(GiftCardEvent, type="payments.gift_card_expired"):
    """Its time is over, and its balance is gone. What an order gives back later stays on it, and cannot be used."""

    amount_minor: MinorUnsigned
    """The balance that has expired."""
