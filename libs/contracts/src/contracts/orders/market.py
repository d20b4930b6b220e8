"""The rules of the market that an order was sold in."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from contracts.base import Code, Flag, Frozen
from contracts.limits import LOCATIONS_MAX
from contracts.money import Currency
from contracts.orders.words import CaptureOption
from contracts.payments import GatewayName


class MarketTerms(Frozen):
    """The rules of the market that an order was sold in. The order stores the copy that applied."""

    code: Code
    currency: Currency | None = None
    """If set, the only currency the market sells in; else the order's own counts."""
    gateway: GatewayName = "marketplace"
    capture: CaptureOption = "on_approval"
    on_short: Literal["cancel", "wait"] = "cancel"
    auto_approve: Flag = False
    seller: Code = "default"
    invoice_deemed_supplier: Flag = False
    """Also invoice orders of which the marketplace is the deemed supplier."""
    locations: Annotated[tuple[Code, ...], Field(min_length=1, max_length=LOCATIONS_MAX)] = ("main",)
    """Tried in this order."""
    give_up_after_seconds: Annotated[int, Field(strict=True, ge=1, le=10**8)] | None = None
    """Undoes an order if a step has no answer for this time. Null (the default): a missing answer is never a refusal."""
