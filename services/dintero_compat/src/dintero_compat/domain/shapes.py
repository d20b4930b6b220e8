"""What clients send, in the shapes of Dintero's Shopping API. Fields that nothing here reads are stored with the draft.

Source: docs.dintero.com/api-reference (draft, draftitems, orderauthorizations, ordercaptures, orderevents).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from contracts.base import Id, LongText, Minor, Quantity, QuantityPositive, Text, Timestamp
from contracts.limits import CHARGED_LINES_MAX, ORDER_LINES_MAX
from contracts.money import Currency
from contracts.orders import json_object

LINE_ID_MAX: Final = 2**31 - 1
LineNumber = Annotated[int, Field(strict=True, ge=1, le=LINE_ID_MAX)]


class Sent(BaseModel):
    """A part of a body. Unknown fields are stored: all together as metadata of an order, at most 16,384 bytes and 10 levels."""

    model_config = ConfigDict(extra="allow")

    @model_validator(mode="after")
    def _unknown_fields_can_be_stored(self) -> Self:
        json_object(self.model_extra or {})
        return self


def _four_decimals(value: float) -> float:
    if round(value, 4) != value:
        raise ValueError("a percentage has at most 4 decimals")
    return value


class TaxLine(Sent):
    amount: Minor
    """Negative on a line that is reversed."""
    percentage: Annotated[float, Field(ge=0, lt=100), AfterValidator(_four_decimals)]
    included_in_price: bool = True
    exempt: bool = False


class RelatedItem(Sent):
    line_id: LineNumber
    type: Literal["reversed"] = "reversed"


class Item(Sent):
    """A line. `gross_amount` is what all its pieces cost after discounts, with tax; negative if the line reverses `related_item`."""

    id: Id
    """The SKU."""
    line_id: LineNumber | None = None
    """Null: the next free one."""
    quantity: QuantityPositive = 1
    gross_amount: Minor
    description: LongText = ""
    tax_lines: Annotated[list[TaxLine], Field(max_length=5)] = []
    related_item: RelatedItem | None = None
    """The line that this one reverses."""
    reversed_reason: Text | None = None

    @model_validator(mode="after")
    def _amounts_have_its_sign(self) -> Self:
        amounts = [self.gross_amount, *(tax.amount for tax in self.tax_lines)]
        if self.related_item is None and min(amounts) < 0:
            raise ValueError("an amount is negative, and `related_item` names no line that is reversed")
        if self.related_item is not None and max(amounts) > 0:
            raise ValueError("amounts of a line that reverses another one are negative")
        return self


class Address(Sent):
    first_name: Text = ""
    last_name: Text = ""
    business_name: Text = ""
    co_address: Text = ""
    address_line: Text = ""
    address_line_2: Text = ""
    postal_code: Text = ""
    postal_place: Text = ""
    country: Text = ""
    phone_number: Text = ""
    comment: LongText = ""


class Company(Sent):
    bussiness_name: Text = ""
    """Spelt so in the API."""
    organization_number: Text = ""


class Customer(Sent):
    id: Text = ""
    first_name: Text = ""
    last_name: Text = ""
    email: Text = ""
    phone_number: Text = ""
    company: Company = Company()


class DraftOrder(Sent):
    currency: Currency
    order_id: Id | None = None
    """The number that the order is to have; null: see `generate_order_id`."""
    items: Annotated[list[Item], Field(max_length=ORDER_LINES_MAX)] = []
    customer: Customer = Customer()
    shipping_address: Address | None = None
    billing_address: Address | None = None


class Options(Sent):
    generate_order_id: Literal["ALPHANUMERIC_9", "ALPHANUMERIC_9_RESERVE"] | None = None
    split_draft: bool = False
    multiple_authorizations: bool = False
    order_id: Id | None = None
    """The order whose lines the draft reverses and replaces; null: it becomes an order."""


class Draft(BaseModel):
    """The body that creates a draft."""

    model_config = ConfigDict(extra="ignore")

    options: Options = Options()
    order: DraftOrder

    @model_validator(mode="after")
    def _either_is_an_order_or_reverses_lines_of_one(self) -> Self:
        if self.options.order_id is None:
            if any(item.related_item is not None for item in self.order.items):
                raise ValueError("a line reverses another one, and `options.order_id` names no order")
        elif self.order.order_id is not None or self.options.generate_order_id is not None:
            raise ValueError("`options.order_id` names the order: it gets no other number")
        elif any(item.line_id is None for item in self.order.items):
            raise ValueError("`line_id` is to be stated: it is unique among all lines of the order")
        return self


class OrderUpdate(Sent):
    """What is set on an order after its completion."""

    courier_id: Text | None = None
    delivery_id: Text | None = None
    pickup_at: Timestamp | None = None


class PaymentItem(Sent):
    line_id: LineNumber
    amount: Minor
    """Negative for a line that is reversed."""
    quantity: Quantity = 0
    """Ours: the pieces that the amount is for."""


class PaymentDetails(Sent):
    psp: Text = ""
    payment_id: Id | None = None


class Payment(Sent):
    """An authorization, a capture, a refund or a cancellation: one shape."""

    items: Annotated[list[PaymentItem], Field(min_length=1, max_length=CHARGED_LINES_MAX)]
    authorization_id: Id | None = None
    payment_details: PaymentDetails = PaymentDetails()
    success: bool = True
    processed_at: datetime | None = None
    processed_by: Text = ""


def uncovered(draft: Draft) -> Iterator[str]:
    """Yields what a draft asks for and nothing here does, in words."""
    asked: Mapping[str, Any] = draft.options.model_extra or {}
    yield from (f"options.{name}" for name, value in sorted(asked.items()) if value not in (None, False))
    if draft.options.split_draft:
        yield "options.split_draft"
    for item in draft.order.items:
        if any(not tax.included_in_price for tax in item.tax_lines):
            yield f"line {item.line_id}: a tax that is not included in the price"
