"""A person states the outcome of an operation whose owner gives none."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from contracts.base import Command, Counter, Id, IfStated, MinorUnsigned, Open, OrderKeyed, Personal, Text, Timestamp
from contracts.orders.event import OrderEvent
from contracts.payments import ForceCode, GatewayName, Outcome


class Force(OrderKeyed, Command, type="orders.force"):
    """Accepted with forced; payments decides whether the outcome is booked. The process that waits for it goes on by the
    ordinary answer, or force_refused states why not."""

    target_operation_id: UUID
    """An operation of payments that a process of the order has requested."""
    outcome: Outcome
    reference: IfStated[Id] = None
    """The gateway's name of the operation, if the person has it."""
    reason: Annotated[Text, Personal()] = ""


class Forced(OrderEvent, type="orders.forced"):
    """A person has stated the outcome of an operation."""

    target_operation_id: UUID
    outcome: Annotated[Outcome, Open()]
    reference: IfStated[Id] = None
    actor: Text
    reason: Annotated[Text, Personal()] = ""


class ForceRefused(OrderEvent, type="orders.force_refused"):
    """Payments has not booked the outcome: nothing has changed."""

    target_operation_id: UUID
    code: Annotated[ForceCode, Open()]
    detail: Text = ""
    gateway: GatewayName | None = None
    """Who is being asked."""
    since: Timestamp | None = None
    """When it was first asked."""
    tries: Counter = 0
    """How many times it has been asked without giving an outcome."""
    allowed_minor: MinorUnsigned | None = None
    """With `amount_exceeded`: the amount that is left."""
