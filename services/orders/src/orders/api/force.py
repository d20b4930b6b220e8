"""The route by which a person states the outcome of an operation."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel

from chassis.declare.app import App, Principal
from chassis.http.commands import CHANGE
from contracts.base import Id, Text
from contracts.orders import Force
from contracts.payments import Outcome
from orders.api.requests import addressed, refusals
from orders.api.shown import shown
from orders.domain.decisions.actions import ACTIONS
from orders.responses.order import OrderShown


class ForceBody(BaseModel, extra="forbid"):
    operation_id: UUID
    """An operation that the timeline shows: a command to payments without an answer, or with a refusal."""
    outcome: Outcome
    reference: Id | None = None
    """The gateway's name of the operation, if the person has it."""
    reason: Text = ""


def add_routes(router: APIRouter, app: App) -> None:
    may = app.principal(ACTIONS["force"].scope)

    @router.post(
        "/orders/{order_id}/force", status_code=202, response_model=OrderShown, dependencies=CHANGE,
        openapi_extra=refusals("force"),
    )  # fmt: skip
    async def force(
        request: Request, who: Annotated[Principal, Depends(may)], order_id: UUID, body: ForceBody
    ) -> Response:
        """State the outcome of an operation whose gateway gives none. Payments decides whether it is booked: the timeline then
        shows the answer of the operation, or `orders.force_refused`."""
        message = Force(
            **addressed(app, request, who, order_id), target_operation_id=body.operation_id, outcome=body.outcome,
            reference=body.reference, reason=body.reason,
        )  # fmt: skip
        return await app.execute(
            request, who, message, lambda outcome: (202, shown(order_id, outcome.state, outcome.version))
        )
