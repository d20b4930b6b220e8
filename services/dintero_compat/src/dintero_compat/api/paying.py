"""What has happened to an order's money elsewhere: recorded at payments, in one shape for four collections."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from chassis.http.commands import COMMAND, idempotency_key
from chassis.http.problems import answers
from contracts.payments import RECORDED
from dintero_compat.api.desk import Asked, Desk, Money, OrderId, line_numbers
from dintero_compat.domain import paying
from dintero_compat.domain.paying import Collection
from dintero_compat.domain.shapes import Payment
from dintero_compat.refusals import refused
from dintero_compat.responses import Authorizations, Cancellations, Captures, OperationShown, Refunds

LISTS: Final[Mapping[Collection, type[BaseModel]]] = {
    "authorizations": Authorizations, "captures": Captures, "refunds": Refunds, "cancellations": Cancellations,
}  # fmt: skip
AWAIT_SECONDS = 2.0
"""How long a request waits at most until the order waits for its authorization: until its goods are reserved."""
AWAIT_POLL_SECONDS = 0.1
REFUSALS = answers(
    "account_unknown",
    "order_unknown",
    "line_unknown",
    "refund_divided",
    "request_refused",
    "owner_silent",
)


def add_routes(router: APIRouter, desk: Desk) -> None:
    for collection in paying.COLLECTIONS:
        _add_collection(router, desk, collection)


def _add_collection(router: APIRouter, desk: Desk, collection: Collection) -> None:
    """Adds the routes of one collection: another word in its place is not covered."""
    path = f"/orders/{{order_id}}/{collection}"
    Viewer = Annotated[Asked, Depends(desk.asked("payments.view"))]
    Recorder = Annotated[Asked, Depends(desk.asked("payments.record"))]

    @router.post(
        path,
        name=f"record_{collection}",
        response_model=OperationShown,
        response_model_exclude_unset=True,
        dependencies=COMMAND,
        openapi_extra=REFUSALS,
    )
    async def record(request: Request, asked: Recorder, order_id: OrderId, body: Payment) -> dict[str, Any]:
        """Record what has happened. The same `payment_id` of the same `psp` again changes nothing."""
        order = await desk.order(asked, order_id)
        payment_id = body.payment_details.payment_id or f"unnamed:{desk.app.operation_id(request, asked.who, uuid4())}"
        try:
            wanted = paying.record(body, payment_id, order["currency"], line_numbers(order))
        except paying.LineUnknown as error:
            raise refused("line_unknown", str(error), line=error.line_id) from None
        authorization = _named(body)
        if collection == "authorizations" and body.success:
            await _until_awaited(asked, order)
        elif collection == "refunds":
            money = await desk.money(asked, order["order_id"])
            wanted["capture_id"] = _capture(wanted, money, authorization)
        elif collection in ("captures", "cancellations"):
            wanted["authorization_id"] = authorization
        where = f"/v1/orders/{order['order_id']}/payments/{collection}"
        done = await desk.owners.write("payments", asked.who, where, wanted, key=idempotency_key(request))
        await desk.happened(request, asked, order, f"{collection} {wanted['gateway']} {payment_id}")
        return paying.operation(
            done["operation_id"],
            done["amount_minor"],
            [{"line_id": item.line_id, "amount": item.amount} for item in body.items],
            success=body.success,
            at=(body.processed_at or datetime.now(UTC)).isoformat(),
            authorization_id=authorization,
            details=body.payment_details.model_dump(mode="json", exclude_unset=True) | {"payment_id": payment_id},
        )

    @router.get(
        path,
        name=f"list_{collection}",
        response_model=LISTS[collection],
        response_model_exclude_unset=True,
        openapi_extra=answers("account_unknown", "order_unknown", "owner_silent"),
    )
    async def list_operations(asked: Viewer, order_id: OrderId) -> dict[str, Any]:
        """The operations of one kind, the oldest first."""
        return {collection: await _collection(asked, order_id)}

    @router.get(
        f"{path}/{{operation_id}}",
        name=f"read_{collection}",
        response_model=OperationShown,
        response_model_exclude_unset=True,
        openapi_extra=answers("account_unknown", "order_unknown", "operation_unknown", "owner_silent"),
    )
    async def read_operation(asked: Viewer, order_id: OrderId, operation_id: UUID) -> dict[str, Any]:
        """One operation."""
        for one in await _collection(asked, order_id):
            if one["id"] == str(operation_id):
                return one
        raise refused("operation_unknown", f"the order has none of this id among its {collection}")

    async def _until_awaited(asked: Asked, order: Mapping[str, Any]) -> None:
        """Returns when payments waits for the first authorization of an order, or none is to be waited for; after a while, too.

        What is recorded then is the authorization that the order waits for. One that is recorded before counts as well; the
        one that is recorded while the order asks leaves a request without an answer at payments.
        """
        if order["market"]["gateway"] != RECORDED or order["status"] not in ("pending", "placing"):
            return
        ends = time.monotonic() + AWAIT_SECONDS
        while True:
            money = await desk.money(asked, order["order_id"])
            done = money.ledger["operations"] if money.ledger is not None else ()
            states = [one["state"] for one in done if one["kind"] == "authorize"]
            if {"pending", "succeeded"} & set(states):
                return
            if time.monotonic() > ends:
                return
            await asyncio.sleep(AWAIT_POLL_SECONDS)

    async def _collection(asked: Asked, name: str) -> list[dict[str, Any]]:
        order = await desk.order(asked, name)
        money = await desk.money(asked, order["order_id"])
        return money.collections(line_numbers(order)).get(collection, [])


def _named(body: Payment) -> str | None:
    """Returns the authorization that an operation names. Raises Problem 409 if it has no id of ours."""
    if body.authorization_id is None:
        return None
    try:
        return str(UUID(body.authorization_id))
    except ValueError:
        raise refused("operation_unknown", "authorization_id is the `id` of an authorization", status=409) from None


def _capture(wanted: Mapping[str, Any], money: Money, authorization: str | None) -> str | None:
    """Returns the capture that a refund draws on; null: payments decides. Raises Problem 409."""
    if money.ledger is None:
        return None
    done: Sequence[Mapping[str, Any]] = money.ledger["operations"]
    captures = [one for one in done if one["kind"] == "capture" and one["state"] == "succeeded"]
    repeated = any(one["kind"] == "refund" and one["gateway_reference"] == wanted["payment_id"] for one in done)
    if len(captures) <= 1 or repeated or not wanted["success"]:
        return None
    items = paying.items_of(money.ledger, money.entries)
    found = paying.capture_for(wanted["lines"], money.ledger, items, authorization)
    if found is None:
        raise refused("refund_divided", f"none of the {len(captures)} captures has all these amounts left")
    return str(found)
