"""The rules of the market that an order was sold in."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from contracts.base import UNLESS_EMPTY, Code, Flag, Frozen, IfStated, MinorUnsigned
from contracts.limits import LOCATIONS_MAX, NAMES_MAX
from contracts.money import Currency
from contracts.orders.methods import PaymentMethods
from contracts.orders.words import CaptureOption
from contracts.payments import MARKETPLACE, AccountName, GatewayName


class MarketTerms(Frozen):
    """The rules of the market that an order was sold in. The order stores the copy that applied."""

    code: Code
    currency: Currency | None = None
    """If set, the only currency the market sells in; else the order's own counts."""
    payment_methods: PaymentMethods = ()
    """How its orders may be paid; an order that names none has the first that fits. Empty: the market has one, which is
    `payment_method`, `gateway`, `account`, `capture` and `capture_up_to_minor`. An order's copy of the terms has its own there."""
    payment_method: IfStated[Code] = None
    """The code of the one payment method."""
    gateway: GatewayName = MARKETPLACE
    account: IfStated[AccountName] = None
    """The store's account at the gateway; null: its first."""
    capture: CaptureOption = "on_approval"
    """When money is taken; `manual`: when a person asks for it."""
    capture_up_to_minor: IfStated[MinorUnsigned] = None
    """An order of more, in minor units of the market's currency, is captured as if the option were `manual`."""
    on_short: Literal["cancel", "wait"] = "cancel"
    approval: Literal["automatic", "manual"] = "manual"
    """Who approves a placed order: a rule at once, or a person. A person's market may leave some orders to the rule: those
    that meet every condition of `approve_below_minor` and `approve_gateways` that is stated."""
    approve_below_minor: IfStated[MinorUnsigned] = None
    """An order of less, in minor units of the market's currency, needs no person."""
    approve_gateways: Annotated[tuple[GatewayName, ...], Field(max_length=NAMES_MAX), UNLESS_EMPTY] = ()
    """An order that is paid by one of these gateways needs no person."""
    hold_window_seconds: IfStated[Annotated[int, Field(strict=True, ge=1, le=10**7)]] = None
    """Every order is held that long after placement, so that a cancel costs nothing; null: it is not."""
    hold_reasons: Annotated[tuple[Code, ...], Field(max_length=NAMES_MAX), UNLESS_EMPTY] = ()
    """Reasons of the store's own for a hold, besides `HOLD_REASONS`."""
    seller: Code = "default"
    invoice_deemed_supplier: Flag = False
    """Also invoice orders of which the marketplace is the deemed supplier."""
    locations: Annotated[tuple[Code, ...], Field(min_length=1, max_length=LOCATIONS_MAX)] = ("main",)
    """Tried in this order."""
    give_up_after_seconds: Annotated[int, Field(strict=True, ge=1, le=10**8)] | None = None
    """Undoes an order if a step has no answer for this time. Null (the default): a missing answer is never a refusal."""
    edit_expires_seconds: IfStated[Annotated[int, Field(strict=True, ge=60, le=10**8)]] = None
    """An edit that is not confirmed is discarded after this time. Null: after 24 hours."""
    on_change: IfStated[Literal["apply", "ask"]] = None
    """What the marketplace changes of a placed order: `apply` takes it over by an edit, `ask` asks a person. Null: `ask`."""

    @model_validator(mode="after")
    def _amounts_have_a_currency(self) -> MarketTerms:
        for one, name in (
            *((self, name) for name in ("approve_below_minor", "capture_up_to_minor")),
            *((method, "capture_up_to_minor") for method in self.payment_methods),
        ):
            if getattr(one, name) is not None and self.currency is None:
                raise ValueError(f"{name} is an amount of the market's currency: state it")
        return self

    @model_validator(mode="after")
    def _one_payment_method_of_a_code(self) -> MarketTerms:
        codes = [method.code for method in self.payment_methods]
        if len(set(codes)) != len(codes):
            raise ValueError("payment_methods: each code at most once")
        if codes and self.payment_method is not None:
            raise ValueError("payment_method names the one method of a market without payment_methods: leave it out")
        return self
