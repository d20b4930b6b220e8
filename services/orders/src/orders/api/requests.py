"""Routes of what a till or a person requests: create, approve, cancel, retry, ask again, give up, resolve an exception."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Depends, Request, Response
from pydantic import BaseModel, model_validator

from chassis.declare.app import App, Outcome, Principal
from chassis.http.commands import CHANGE, COMMAND
from chassis.http.problems import Problem, answers
from chassis.http.strict import Strict
from contracts.base import Code, Text
from contracts.ids import order_id
from contracts.orders import Cancel, GiveUp, Place, RequestedCause, Resolution, Resolve
from contracts.payments import TOKEN_REFUSED
from contracts.snapshot import OrderContent, arriving
from orders.api.problems import PROBLEMS
from orders.api.shown import shown
from orders.domain.decisions.actions import ACTIONS
from orders.domain.processes.undo import data_of
from orders.responses.order import CancelAccepted, OrderShown


class NewOrder(OrderContent):
    """The content of an order, and where it was sold."""

    channel: Code = "api"
    account: Code = "default"
    """A part of the order's id. Not the name of the API key: a till keeps its orders when its key is replaced."""

    @model_validator(mode="after")
    def _fits(self) -> "NewOrder":
        arriving(self)
        return self


class CancelBody(BaseModel, extra="forbid"):
    cause: RequestedCause = "customer"
    reason: Text = ""


class GiveUpBody(BaseModel, extra="forbid"):
    reason: Text = ""


class ResolveBody(BaseModel, extra="forbid"):
    resolution: Resolution
    reason: Text = ""


def refusals(name: str) -> dict[str, Any]:
    """The problems of an action's route: what its guard refuses."""
    codes = [code for code, why in ACTIONS[name].why_not.items() if why.answer != "done"]
    return answers("order_unknown", *codes)


def addressed(app: App, request: Request, who: Principal, order_id: UUID) -> dict[str, Any]:
    """The fields that every command of a request has."""
    return {
        "order_id": order_id,
        "store_id": who.store_id,
        "operation_id": app.operation_id(request, who, order_id),
        "actor": who.actor,
    }


def add_routes(router: APIRouter, app: App) -> None:
    edit = app.principal("orders.edit")
    may = {name: app.principal(action.scope) for name, action in ACTIONS.items()}
    _add_plain(router, app, "approve", 200)
    _add_plain(router, app, "retry", 202, "Repeat the step that was refused, once its cause is corrected.")
    _add_plain(router, app, "ask", 202, "Ask again now what the order's processes have asked other services and have no answer to:"
        " the same operations, so that nothing is done twice.")  # fmt: skip

    @router.post(
        "/orders",
        status_code=201,
        response_model=OrderShown,
        dependencies=COMMAND,
        openapi_extra=answers("order_exists", "payment_token_refused"),
    )
    async def create(
        request: Request, who: Annotated[Principal, Depends(edit)], body: Annotated[NewOrder, Strict()]
    ) -> Response:
        """Take an order and start placing it. The same external id with the same content is the same order."""
        if body.payment_token == TOKEN_REFUSED:
            about = PROBLEMS["payment_token_refused"]
            raise Problem(about.status, "payment_token_refused", about.title, "`payment_token` is a card number.")
        key = order_id(who.store_id, body.channel, body.account, body.external_order_id)
        content = OrderContent.model_construct(**{name: getattr(body, name) for name in OrderContent.model_fields})
        message = Place(
            **addressed(app, request, who, key), channel=body.channel, account=body.account, order=content,
        )  # fmt: skip

        def answer(outcome: Outcome) -> tuple[int, Any, dict[str, str]]:
            return 201, shown(key, outcome.state, outcome.version), {"location": f"/v1/orders/{key}"}

        return await app.execute(request, who, message, answer)

    @router.post(
        "/orders/{order_id}/cancel", status_code=202, response_model=CancelAccepted, dependencies=CHANGE,
        openapi_extra=refusals("cancel"),
    )  # fmt: skip
    async def undo(
        request: Request,
        who: Annotated[Principal, Depends(may["cancel"])],
        order_id: UUID,
        body: Annotated[CancelBody, Body(default_factory=CancelBody)],
    ) -> Response:
        """Accepted at once; `status` becomes cancelled when it can no longer be refused. `operation_id` is the cancel's."""
        message = Cancel(**addressed(app, request, who, order_id), cause=body.cause, reason=body.reason)
        return await app.execute(request, who, message, lambda outcome: _undoing(message, outcome))

    @router.post(
        "/orders/{order_id}/give_up", status_code=202, response_model=CancelAccepted, dependencies=CHANGE,
        openapi_extra=refusals("give_up"),
    )  # fmt: skip
    async def give_up(
        request: Request,
        who: Annotated[Principal, Depends(may["give_up"])],
        order_id: UUID,
        body: Annotated[GiveUpBody, Body(default_factory=GiveUpBody)],
    ) -> Response:
        """End the wait of a step that is not answered: the order is undone, as when the patience of its market ends.
        `operation_id` is the cancel's."""
        message = GiveUp(**addressed(app, request, who, order_id), reason=body.reason)
        return await app.execute(request, who, message, lambda outcome: _undoing(message, outcome))

    @router.post(
        "/orders/{order_id}/exceptions/{exception_id}/resolve", response_model=OrderShown, dependencies=CHANGE,
        openapi_extra=refusals("resolve"),
    )  # fmt: skip
    async def resolve(
        request: Request,
        who: Annotated[Principal, Depends(may["resolve"])],
        order_id: UUID,
        exception_id: UUID,
        body: ResolveBody,
    ) -> Response:
        """End an exception: `accept` what the marketplace states, or `keep` the order as it runs here."""
        message = Resolve(
            **addressed(app, request, who, order_id), exception_id=exception_id, resolution=body.resolution, reason=body.reason,
        )  # fmt: skip
        return await app.execute(
            request, who, message, lambda outcome: (200, shown(order_id, outcome.state, outcome.version))
        )


def _add_plain(router: APIRouter, app: App, name: str, status: int, does: str | None = None) -> None:
    """Adds the route of an action whose request states nothing but the order."""
    action = ACTIONS[name]
    may = app.principal(action.scope)

    @router.post(
        f"/orders/{{order_id}}/{name}", name=name, description=does, status_code=status, response_model=OrderShown,
        dependencies=CHANGE, openapi_extra=refusals(name),
    )  # fmt: skip
    async def act(request: Request, who: Annotated[Principal, Depends(may)], order_id: UUID) -> Response:
        message = action.message(**addressed(app, request, who, order_id))
        return await app.execute(
            request, who, message, lambda outcome: (status, shown(order_id, outcome.state, outcome.version))
        )


def _undoing(message: Cancel | GiveUp, outcome: Outcome) -> tuple[int, dict[str, Any]]:
    """The answer to a request that undoes an order, with the operation of the undo that runs."""
    run = outcome.state.undo
    running = data_of(run).cancel_operation_id if run is not None else None
    order = shown(message.order_id, outcome.state, outcome.version)
    return 202, {"operation_id": str(running or message.operation_id), **order}
