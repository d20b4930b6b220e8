"""Routes that hold an order and release it."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel

from chassis.declare.app import App, Outcome, Principal
from chassis.http.commands import CHANGE
from contracts.base import Code, Text, Timestamp
from contracts.orders import Hold, Release
from orders.api.requests import addressed, refusals
from orders.api.shown import shown
from orders.domain.decisions.actions import ACTIONS
from orders.responses.order import HoldPlaced, OrderShown


class HoldBody(BaseModel, extra="forbid"):
    reason: Code
    note: Text = ""
    until: Timestamp | None = None


def add_routes(router: APIRouter, app: App) -> None:
    may = {name: app.principal(ACTIONS[name].scope) for name in ("hold", "release")}

    @router.post(
        "/orders/{order_id}/holds", status_code=201, response_model=HoldPlaced, dependencies=CHANGE,
        openapi_extra=refusals("hold"),
    )  # fmt: skip
    async def hold(
        request: Request, who: Annotated[Principal, Depends(may["hold"])], order_id: UUID, body: HoldBody
    ) -> Response:
        """Ask, ship and capture nothing more until it is released, by a person or at `until`. Several may be open at once."""
        message = Hold(**addressed(app, request, who, order_id), reason=body.reason, note=body.note, until=body.until)

        def answer(outcome: Outcome) -> tuple[int, Any]:
            holds = outcome.state.holds.values()
            placed = next((str(one.hold_id) for one in holds if one.operation_id == message.operation_id), None)
            return 201, {"hold_id": placed, **shown(order_id, outcome.state, outcome.version)}

        return await app.execute(request, who, message, answer)

    @router.post(
        "/orders/{order_id}/holds/{hold_id}/release", response_model=OrderShown, dependencies=CHANGE,
        openapi_extra=refusals("release"),
    )  # fmt: skip
    async def release(
        request: Request, who: Annotated[Principal, Depends(may["release"])], order_id: UUID, hold_id: UUID
    ) -> Response:
        """End one hold. The order goes on when none is left."""
        message = Release(
            **addressed(app, request, who, order_id), hold_id=hold_id,
        )  # fmt: skip
        return await app.execute(
            request, who, message, lambda outcome: (200, shown(order_id, outcome.state, outcome.version))
        )
