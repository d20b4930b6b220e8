"""Capture by hand, where the market's option is `manual`."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from contracts.base import Command, Frozen, LineId, OrderKeyed, QuantityPositive, Text
from contracts.limits import CHARGED_LINES_MAX
from contracts.orders.event import OrderEvent
from contracts.payments import MoneyLine


class CaptureLine(Frozen):
    line_id: LineId
    quantity: QuantityPositive | None = None
    """Pieces of the line; null: what is left of it. The shipping charge has no pieces."""


def each_once(lines: tuple[CaptureLine, ...]) -> tuple[CaptureLine, ...]:
    """Raises ValueError if a line is listed twice."""
    if len({line.line_id for line in lines}) != len(lines):
        raise ValueError("lines: each line_id may be listed once")
    return lines


CaptureLines = Annotated[tuple[CaptureLine, ...], Field(max_length=CHARGED_LINES_MAX), AfterValidator(each_once)]
"""Empty: all that is left."""


class CaptureOrder(OrderKeyed, Command, type="orders.capture"):
    """Captures and invoices lines of an approved order. Answered by capture_requested."""

    lines: CaptureLines = ()


class ApproveAndCapture(OrderKeyed, Command, type="orders.approve_and_capture"):
    """Approves a placed order, and captures all of it where the market's option is `manual`."""


class CaptureRequested(OrderEvent, type="orders.capture_requested"):
    """A person has the money taken; `payment_changed` follows when it is."""

    lines: Annotated[tuple[MoneyLine, ...], Field(max_length=CHARGED_LINES_MAX)]
    """What is captured, amounts in minor units."""
    actor: Text
