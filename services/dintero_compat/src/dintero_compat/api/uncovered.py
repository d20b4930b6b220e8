"""What is not covered: 501 with the list of what is."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.routing import APIRoute

from dintero_compat.api.desk import Asked, Desk
from dintero_compat.refusals import refused

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def covered(router: APIRouter) -> list[str]:
    """Returns the calls that are answered, e.g. `GET /v1/accounts/{aid}/shopping/orders`."""
    return [
        f"{method} {route.path}"
        for route in router.routes
        if isinstance(route, APIRoute) and route.include_in_schema
        for method in sorted(route.methods or ())
    ]


def add_routes(router: APIRouter, desk: Desk) -> None:
    calls = covered(router)

    @router.api_route("/{rest:path}", methods=METHODS, include_in_schema=False)
    async def answer(request: Request, rest: str, asked: Annotated[Asked, Depends(desk.asked("orders.view"))]) -> Any:
        raise refused("operation_uncovered", f"{request.method} of this path is not covered", covered=calls)
