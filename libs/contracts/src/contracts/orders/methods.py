"""How orders of a market may be paid. The market lists its payment methods; an order has one of them."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, model_validator

from contracts.base import UNLESS_EMPTY, Code, Country, Frozen, IfStated, MinorUnsigned, Rate, Text
from contracts.limits import COUNTRIES_MAX, CURRENCIES_MAX, PAYMENT_METHODS_MAX
from contracts.money import Currency
from contracts.orders.words import CaptureOption
from contracts.payments import AccountName, GatewayName

SURCHARGE_LINE: Final = "fee:payment_method"
"""`external_line_id` of the surcharge of a payment method."""


class MethodCurrency(Frozen):
    """A currency that a payment method takes. Amounts are minor units of it, tax included."""

    currency: Currency
    max_minor: IfStated[MinorUnsigned] = None
    """The largest total of an order, the surcharge included; null: any."""
    surcharge_minor: IfStated[MinorUnsigned] = None
    """What an order costs more by this method, besides `surcharge_percent`."""


class PaymentMethod(Frozen):
    code: Code
    title: IfStated[Annotated[Text, Field(max_length=100)]] = None
    """What the buyer reads, also on the invoice, as the title of the surcharge."""
    gateway: GatewayName
    account: IfStated[AccountName] = None
    """The store's account at the gateway; null: its first."""
    capture: IfStated[CaptureOption] = None
    """When money is taken; null: by the market's option."""
    capture_up_to_minor: IfStated[MinorUnsigned] = None
    """As that of the market; null: the market's."""
    currencies: Annotated[tuple[MethodCurrency, ...], Field(max_length=CURRENCIES_MAX), UNLESS_EMPTY] = ()
    """The only ones that it takes; empty: any."""
    countries: Annotated[tuple[Country, ...], Field(max_length=COUNTRIES_MAX), UNLESS_EMPTY] = ()
    """The only countries of billing addresses that it takes (where none is stated: of delivery); empty: any."""
    surcharge_percent: IfStated[Rate] = None
    """Per cent of the order's total without the surcharge, as a decimal string."""

    @model_validator(mode="after")
    def _each_currency_once(self) -> PaymentMethod:
        if len({one.currency for one in self.currencies}) != len(self.currencies):
            raise ValueError(f"currencies of the payment method {self.code}: each at most once")
        return self


PaymentMethods = Annotated[tuple[PaymentMethod, ...], Field(max_length=PAYMENT_METHODS_MAX), UNLESS_EMPTY]
