"""Money as the marketplace states it: payments, refunds, payout, discounts, its own invoices."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, get_args

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, StringConstraints
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema as core

from contracts.base import (
    Frozen,
    Id,
    IfStated,
    Minor,
    MinorUnsigned,
    Open,
    Personal,
    Quantity,
    Text,
    Timestamp,
    UnknownWord,
)
from contracts.money import Currency
from contracts.snapshot.parties import PersonalText

PaymentWord = Literal[
    "pending",
    "authorized",
    "partially_paid",
    "paid",
    "partially_refunded",
    "refunded",
    "voided",
    "failed",
    "unknown",
]
WORDS: Final = {word: word for word in get_args(PaymentWord)}
SECURED: Final = frozenset({"paid", "authorized"})
"""Payment states in which the buyer's money is there."""


class PassedOn(Open):
    """Marks an enum of outsiders' words: readers take any text of up to 500 characters, in lower case, and pass it on.

    Unlike the words of `Open`, further words are valid in what we write too, because we repeat the stated word.
    """

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core.CoreSchema:
        text = core.str_schema(max_length=500, pattern=r"^[^\x00]*$", to_lower=True)
        return core.no_info_after_validator_function(
            lambda word: WORDS.get(word) or UnknownWord(word), text, serialization=core.to_string_ser_schema()
        )

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema["schema"]), "examples": list(WORDS)}


PaymentState = Annotated[PaymentWord, PassedOn()]
"""Placing starts at `paid` and `authorized`. A person decides at `refunded` and `partially_refunded`. At every other word,
one that is not listed included, the order waits for a newer snapshot, unless nothing is to be paid."""

ExchangeRate = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,12}(\.[0-9]{1,12})?$")]


class UpstreamPayment(Frozen):
    """A payment, or an attempt, as the marketplace states it. It moves no money here."""

    external_payment_id: IfStated[Id] = None
    method: IfStated[Text] = None
    reference: IfStated[PersonalText] = None
    """The payment provider's own."""
    state: IfStated[Text] = None
    amount_minor: IfStated[Minor] = None
    currency: IfStated[Currency] = None
    """Null: the order's."""
    at: IfStated[Timestamp] = None


class UpstreamRefund(Frozen):
    external_refund_id: Id
    external_line_id: IfStated[Id] = None
    amount_minor: Minor
    """Tax and shipping included."""
    tax_minor: IfStated[Minor] = None
    shipping_minor: IfStated[Minor] = None
    """The part of `amount_minor` that is of the shipping charge."""
    currency: IfStated[Currency] = None
    """Null: the order's."""
    quantity: IfStated[Quantity] = None
    """Pieces."""
    reason: IfStated[Text] = None
    state: IfStated[Text] = None
    at: IfStated[Timestamp] = None


class Settlement(Frozen):
    """The payout of the marketplace to the seller, or the amount of the order in the shop's own currency."""

    currency: Currency
    amount_minor: IfStated[Minor] = None
    rate: IfStated[ExchangeRate] = None
    """Units of this currency for one of the order's, as a decimal."""


class Discount(Frozen):
    """Names a discount. The money is in `totals.discount_minor` and `lines[].discount_minor`, and counts there alone."""

    code: IfStated[Text] = None
    title: IfStated[Text] = None
    paid_by: IfStated[Text] = None
    """`seller` or `marketplace`."""
    amount_minor: IfStated[MinorUnsigned] = None
    external_line_id: IfStated[Id] = None
    """Null: of the whole order."""


class UpstreamInvoice(Frozen):
    """A document that the marketplace made for the order."""

    number: Annotated[Text, Personal()]
    state: IfStated[Text] = None
    amount_minor: IfStated[Minor] = None
    tax_minor: IfStated[Minor] = None
    issued_at: IfStated[Timestamp] = None
