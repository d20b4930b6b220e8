"""Routes that capture by hand."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Depends, Request, Response
from pydantic import AfterValidator, BaseModel, Field

from chassis.declare.app import App, Principal
from chassis.http.commands import CHANGE
from contracts.limits import CHARGED_LINES_MAX
from contracts.orders import ApproveAndCapture, CaptureLine, CaptureOrder
from contracts.orders.captures import each_once
from orders.api.requests import addressed, refusals
from orders.api.shown import shown
from orders.domain.decisions.actions import ACTIONS
from orders.responses.order import OrderShown


class CapturedLine(CaptureLine, extra="forbid"):
    """A line of a request: a field that is misspelt is refused, and not all of the line captured."""


class CaptureBody(BaseModel, extra="forbid"):
    lines: Annotated[tuple[CapturedLine, ...], Field(max_length=CHARGED_LINES_MAX), AfterValidator(each_once)] = ()
    """Empty: all that is left."""


def add_routes(router: APIRouter, app: App) -> None:
    may = {name: app.principal(ACTIONS[name].scope) for name in ("capture", "approve_and_capture")}

    @router.post(
        "/orders/{order_id}/capture", status_code=202, response_model=OrderShown, dependencies=CHANGE,
        openapi_extra=refusals("capture"),
    )  # fmt: skip
    async def capture(
        request: Request,
        who: Annotated[Principal, Depends(may["capture"])],
        order_id: UUID,
        body: Annotated[CaptureBody, Body(default_factory=CaptureBody)],
    ) -> Response:
        """Capture and invoice lines of an approved order whose market captures by hand; without lines, all that is left."""
        message = CaptureOrder(**addressed(app, request, who, order_id), lines=body.lines)
        return await app.execute(
            request, who, message, lambda outcome: (202, shown(order_id, outcome.state, outcome.version))
        )

    @router.post(
        "/orders/{order_id}/approve_and_capture", status_code=202, response_model=OrderShown, dependencies=CHANGE,
        openapi_extra=refusals("approve_and_capture"),
    )  # fmt: skip
    async def approve_and_capture(
        request: Request, who: Annotated[Principal, Depends(may["approve_and_capture"])], order_id: UUID
    ) -> Response:
        """Approve a placed order and capture all of it."""
        message = ApproveAndCapture(**addressed(app, request, who, order_id))
        return await app.execute(
            request, who, message, lambda outcome: (202, shown(order_id, outcome.state, outcome.version))
        )
