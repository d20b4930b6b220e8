"""Changes of captured lines: they are reversed, and replaced by others."""

from typing import Annotated, Any, Final, get_args
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from chassis.declare.app import App, Outcome, Principal
from chassis.http.commands import CHANGE
from chassis.http.problems import Problem, answers, known
from contracts import payments
from contracts.base import Flag, Id, LineId, LongText, MinorUnsigned, Quantity, Rate
from contracts.limits import CHARGED_LINES_MAX
from contracts.money import Currency
from payments.api import origins
from payments.api.records import RecordedLine
from payments.domain.operation import total
from payments.domain.reversals import charge_id_of, refund_id_of
from payments.responses import ReversedShown

REFUSALS: Final[tuple[str, ...]] = get_args(payments.ReversalCode)


class ReversalLine(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    line_id: LineId
    """A new line: the reversal."""
    reverses: LineId
    quantity: Quantity
    """Pieces; 0 for a line that was captured without pieces."""
    amount_minor: MinorUnsigned
    """What it takes off, at the unit price of the line that it reverses."""


class ReplacingLine(RecordedLine):
    """A new line. What it does not state of its article, it has from the line that it replaces: the invoice needs it."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    replaces: LineId | None = None
    """One of the reversed lines; null: the first of them."""
    sku: Id | None = None
    title: LongText | None = None
    rate: Rate | None = None
    """Rate of its VAT, per cent."""


class ReversalBody(BaseModel):
    """Captured lines, and those that replace them. Amounts are minor units of `currency`, tax included."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    currency: Currency
    reversals: Annotated[list[ReversalLine], Field(min_length=1, max_length=CHARGED_LINES_MAX)]
    lines: Annotated[list[ReplacingLine], Field(max_length=CHARGED_LINES_MAX)] = []
    """The new lines, in the sequence in which the capture pays them: with what gift cards have paid first."""
    refund_line_id: LineId | None = None
    """A new line for what they cost less; it is refunded."""
    capture_id: UUID | None = None
    """The capture that has the reversed lines; null: the only one that has them."""
    gateway: payments.GatewayName | None = None
    """Where what they cost more is authorized and captured; null: the gateway and the account of the capture."""
    account: payments.AccountName | None = None
    """The store's account at `gateway`; null: its first."""
    payment_token: payments.PaymentToken | None = None
    """The gateway's token of the means of payment; null: the buyer enters it."""
    reference: Id | None = None
    """The order's name on the buyer's statement; if `recorded`, what the place where the difference was moved calls that."""
    recorded: Flag = False
    """The difference was moved elsewhere: it is booked at once, and no gateway is asked."""


def add_routes(router: APIRouter, app: App) -> None:
    Recorder = Annotated[Principal, Depends(app.principal("payments.record"))]

    @router.post(
        "/orders/{order_id}/reversals", response_model=ReversedShown, dependencies=CHANGE,
        openapi_extra=answers("order_unknown", *REFUSALS),
    )  # fmt: skip
    async def reverse(request: Request, who: Recorder, order_id: UUID, body: ReversalBody) -> Response:
        """Reverse captured lines and replace them. A difference that a gateway is to move also needs the scope
        `payments.refund` (they cost less) or `payments.capture` (more)."""
        if not await origins.has_order(app, who, order_id):
            raise Problem(404, "order_unknown", "No payment of this order", f"Your store has no payment of {order_id}.")
        message = _message(order_id, who, app.operation_id(request, who, order_id), body)
        _permit(who, message)
        return await app.execute(request, who, message, lambda outcome: _answer(message, outcome))


def _permit(who: Principal, message: payments.Reverse) -> None:
    """Raises Problem 403."""
    cost, reversed_minor = total(message.lines), sum(one.amount_minor for one in message.reversals)
    if message.recorded or cost == reversed_minor:
        return
    scope = "payments.refund" if cost < reversed_minor else "payments.capture"
    if not who.may(scope):
        raise known("scope_missing", f"to move the difference this call needs the scope {scope}, too")


def _message(order_id: UUID, who: Principal, operation_id: UUID, body: ReversalBody) -> payments.Reverse:
    return payments.Reverse(
        order_id=order_id, store_id=who.store_id, operation_id=operation_id, actor=who.actor,
        capture_id=body.capture_id, currency=body.currency,
        reversals=tuple(payments.ReversedLine(**line.model_dump()) for line in body.reversals),
        lines=tuple(payments.ReplacingLine(**line.model_dump()) for line in body.lines),
        refund_line_id=body.refund_line_id, gateway=body.gateway, account=body.account, payment_token=body.payment_token,
        reference=body.reference, recorded=body.recorded,
    )  # fmt: skip


def _answer(message: payments.Reverse, outcome: Outcome) -> tuple[int, Any]:
    """Computed from the command: a repetition that has no event is answered with the same ids."""
    cost, reversed_minor = total(message.lines), sum(one.amount_minor for one in message.reversals)
    operation_id = message.operation_id
    known = outcome.state.operations.get(operation_id)
    return 200, {
        "operation_id": operation_id,
        "capture_id": message.capture_id if known is None else known.refers_to,
        "amount_minor": reversed_minor,
        "refund_id": refund_id_of(operation_id) if cost < reversed_minor else None,
        "refund_minor": max(reversed_minor - cost, 0),
        "charge_id": charge_id_of(operation_id) if cost > reversed_minor else None,
        "charge_minor": max(cost - reversed_minor, 0),
        "totals": outcome.state.totals(),
    }
