"""Recording mode: what happened to an order's money elsewhere is stated here and booked. No gateway is asked."""

from typing import Annotated, Any, Final, Literal, get_args
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select

from chassis.declare.app import App, Outcome, Principal
from chassis.http.commands import CHANGE
from chassis.http.problems import answers
from contracts import payments
from contracts.base import Id, LineId, MinorUnsigned, Quantity, Text
from contracts.limits import CHARGED_LINES_MAX
from contracts.money import Currency
from payments.api import origins
from payments.api.origins import Origin
from payments.domain.recording import recorded_as
from payments.responses import Operations, Recorded
from payments.tables import operations

Collection = Literal["authorizations", "captures", "refunds", "cancellations"]
KINDS: Final[dict[Collection, payments.OperationKind]] = {
    "authorizations": "authorize", "captures": "capture", "refunds": "refund", "cancellations": "void",
}  # fmt: skip
PATH: Final = "/orders/{order_id}/payments/{collection}"
REFUSALS: Final[tuple[str, ...]] = get_args(payments.RecordCode)


class RecordedLine(BaseModel):
    model_config = ConfigDict(extra="forbid")

    line_id: LineId
    amount_minor: MinorUnsigned
    quantity: Quantity = 0
    """Pieces that the amount is for; 0: an amount without pieces."""


class RecordBody(BaseModel):
    """An operation that has happened. Amounts are minor units of `currency`."""

    model_config = ConfigDict(extra="forbid")

    gateway: payments.GatewayName
    """The payment system where it happened."""
    payment_id: Id
    """What that system calls the operation. The same one again changes nothing, with or without an Idempotency-Key."""
    currency: Currency
    lines: Annotated[list[RecordedLine], Field(min_length=1, max_length=CHARGED_LINES_MAX)]
    authorization_id: UUID | None = None
    """What a capture or a cancellation draws on; null: the only authorization of the order."""
    capture_id: UUID | None = None
    """What a refund draws on; null: the only capture of the order."""
    captured: bool = False
    """The authorization was captured at once."""
    success: bool = True
    """A refused attempt is recorded, too; it moves nothing."""
    code: Text = ""
    """Why it was refused, in the words of the payment system."""
    reason: Text = ""
    origin: Origin = None


def add_routes(router: APIRouter, app: App) -> None:
    Viewer = Annotated[Principal, Depends(app.principal("payments.view"))]
    Recorder = Annotated[Principal, Depends(app.principal("payments.record"))]

    @router.post(
        PATH, response_model=Recorded, dependencies=CHANGE, openapi_extra=answers(*REFUSALS, *origins.REFUSALS)
    )
    async def record(
        request: Request, who: Recorder, order_id: UUID, collection: Collection, body: RecordBody
    ) -> Response:
        """State what has happened elsewhere: it is booked, or it was before (`repeated`)."""
        await origins.check_order(app, who, order_id, body.origin)
        message = _message(order_id, who, app.operation_id(request, who, order_id), KINDS[collection], body)
        return await app.execute(request, who, message, lambda outcome: _answer(message, outcome))

    @router.get(PATH, response_model=Operations)
    async def list_operations(order_id: UUID, collection: Collection, who: Viewer) -> Any:
        """The operations of one kind of an order, the oldest first: recorded and executed ones, and failed attempts."""
        o = operations.c
        mine = (o.order_id == order_id) & (o.store_id == who.store_id) & (o.kind == KINDS[collection])
        return {"items": await app.read(select(operations).where(mine).order_by(o.at, o.operation_id))}


def _message(
    order_id: UUID, who: Principal, operation_id: UUID, kind: payments.OperationKind, body: RecordBody
) -> payments.Record:
    return payments.Record(
        order_id=order_id, store_id=who.store_id, operation_id=operation_id, actor=who.actor,
        kind=kind, system=body.gateway, payment_id=body.payment_id, currency=body.currency,
        lines=tuple(payments.MoneyLine(**line.model_dump()) for line in body.lines),
        refers_to=body.capture_id if kind == "refund" else body.authorization_id,
        capture=body.captured, outcome="succeeded" if body.success else "failed", code=body.code, reason=body.reason,
    )  # fmt: skip


def _answer(message: payments.Record, outcome: Outcome) -> tuple[int, Any]:
    booked = next((event for event in outcome.events if isinstance(event, _BOOKED)), None)
    answer = {
        "operation_id": booked.operation_id if booked is not None else recorded_as(outcome.state, message),
        "amount_minor": sum(line.amount_minor for line in message.lines),
        "repeated": booked is None,
        "totals": outcome.state.totals(),
    }
    return 200, answer


_BOOKED: Final = (
    payments.Authorized, payments.Captured, payments.Voided, payments.Refunded, payments.Declined, payments.Failed,
)  # fmt: skip
