"""What has happened to an order's money elsewhere: recorded at payments, in one shape for four collections."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from chassis.http.commands import COMMAND, idempotency_key
from chassis.http.problems import Invalid, Problem, answers, invalid
from dintero_compat import additions, details
from dintero_compat.api.desk import Asked, Desk, Lines, Money, OrderId
from dintero_compat.domain import paying, reversing
from dintero_compat.domain.paying import Collection
from dintero_compat.domain.shapes import Payment
from dintero_compat.refusals import refused
from dintero_compat.responses import Authorizations, Cancellations, Captures, OperationShown, Refunds

LISTS: Final[Mapping[Collection, type[BaseModel]]] = {
    "authorizations": Authorizations, "captures": Captures, "refunds": Refunds, "cancellations": Cancellations,
}  # fmt: skip
OURS: Final = ("id", "amount", "created_at", "created_by", "_links")
"""Fields of an operation that a client does not state."""
ORIGIN: Final = ("channel", "account", "external_order_id")
"""Shows payments, which may not have the order yet, whose it is."""
COVERED: Final = ("authorizations", "captures")
"""Collections of which a reversal has booked a part already."""
REFUSALS = answers(
    "account_unknown",
    "order_unknown",
    "line_unknown",
    "refund_divided",
    "reversal_exceeded",
    "payment_differs",
    "option_uncovered",
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
        if collection not in COVERED and any(item.amount < 0 for item in body.items):
            raise invalid(
                Invalid(
                    "body", "/items", "only lines that are reversed are authorized and captured with negative amounts"
                )
            )
        order = await desk.order(asked, order_id)
        lines = await desk.lines(asked, order)
        unnamed = desk.app.operation_id(request, asked.who, UUID(order["order_id"]))
        payment_id = body.payment_details.payment_id or f"unnamed:{unnamed}"
        try:
            wanted = paying.record(body, payment_id, order["currency"], lines.numbers)
        except paying.LineUnknown as error:
            raise refused("line_unknown", str(error), line=error.line_id) from None
        authorization = _named(body)
        reversal = None
        if collection in COVERED and (lines.added or any(item.amount < 0 for item in body.items)):
            reversal = await _take_off_what_is_booked(asked, order, collection, body, wanted, lines)
        if collection == "refunds":
            money = await desk.money(asked, order["order_id"])
            wanted["capture_id"] = _capture(wanted, money, authorization)
        elif collection in ("captures", "cancellations"):
            wanted["authorization_id"] = authorization
        if wanted["lines"]:
            done = await _recorded(request, asked, order, collection, wanted, is_stated=reversal is not None)
        else:
            done = {"operation_id": reversal}
        await desk.happened(request, asked, order, f"{collection} {wanted['gateway']} {payment_id}")
        fields = _details(body, payment_id)
        shown = paying.operation(
            done["operation_id"],
            sum(item.amount for item in body.items),
            [{"line_id": item.line_id, "amount": item.amount} for item in body.items],
            success=body.success,
            at=datetime.now(UTC).isoformat(),
            authorization_id=authorization,
            details={},
        )
        if done["operation_id"] is not None:  # else it is a repetition of an operation that is long ended
            key = UUID(order["order_id"])
            await details.add(
                desk.app, asked.account, key, collection, UUID(done["operation_id"]), asked.who.actor, fields
            )
        return shown | fields

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

    async def _collection(asked: Asked, name: str) -> list[dict[str, Any]]:
        order = await desk.order(asked, name)
        money = await desk.money(asked, order["order_id"])
        lines = await desk.lines(asked, order)
        return money.collections(lines.numbers).get(collection, [])

    async def _take_off_what_is_booked(
        asked: Asked, order: Mapping[str, Any], collection: str, body: Payment, wanted: dict[str, Any], lines: Lines
    ) -> str | None:
        """Takes off `wanted` what the reversals of the order have booked already; returns the id of the reversal, if anything. Raises
        Problem 409, 501."""
        key, account = UUID(order["order_id"]), asked.account
        stated = reversing.summed((item.line_id, item.amount) for item in body.items)
        booked = await additions.booked(desk.app, account, key)
        if not stated.keys() & booked.keys():
            if min(stated.values()) < 0:
                raise refused("reversal_exceeded", "no draft has reversed a line of these", allowed_minor=0)
            return None
        if not body.success:
            raise refused(
                "option_uncovered", "not covered: a failed attempt about lines of a reversal, which moves no money"
            )
        payment = wanted["gateway"], wanted["payment_id"]
        covered = await desk.app.write(
            lambda tx: additions.state(tx, account, key, collection, payment, stated, booked)
        )
        for line in wanted["lines"]:
            line["amount_minor"] -= covered.get(lines.numbers[line["line_id"]], 0)
        wanted["lines"] = [line for line in wanted["lines"] if line["amount_minor"]]
        money = await desk.money(asked, order["order_id"])
        assert money.ledger is not None, "payments has booked a reversal"
        items = paying.items_of(money.ledger, money.entries)
        first = next(number for number in stated if number in booked)
        return paying.reversal_of(reversing.ours(first), money.ledger, items)

    async def _recorded(
        request: Request,
        asked: Asked,
        order: Mapping[str, Any],
        collection: Collection,
        wanted: dict[str, Any],
        *,
        is_stated: bool,
    ) -> dict[str, Any]:
        """States at payments what has happened. What it refuses is not stated at all. is_stated: a part is booked by a reversal."""
        where = f"/v1/orders/{order['order_id']}/payments/{collection}"
        key, payment = UUID(order["order_id"]), (wanted["gateway"], wanted["payment_id"])
        stated = wanted | {"origin": {name: order[name] for name in ORIGIN}}
        try:
            done: dict[str, Any] = await desk.owners.write(
                "payments", asked.who, where, stated, key=idempotency_key(request)
            )
        except Problem as problem:
            if is_stated and problem.status < 500:
                await desk.app.write(lambda tx: additions.forget(tx, asked.account, key, collection, payment))
            raise
        if is_stated:
            await desk.app.write(lambda tx: additions.confirm(tx, asked.account, key, collection, payment))
        return done


def _details(body: Payment, payment_id: str) -> dict[str, Any]:
    """Returns what is stated of an operation beside its amounts, as it is shown."""
    stated = body.model_dump(mode="json", exclude_unset=True, exclude={"items", "success", "authorization_id", *OURS})
    return stated | {"payment_details": stated.get("payment_details", {}) | {"payment_id": payment_id}}


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
    repeated = any(one["kind"] == "refund" and one["gateway_reference"] == wanted["payment_id"] for one in done)
    if not paying.several_captures(money.ledger) or repeated or not wanted["success"]:
        return None
    items = paying.items_of(money.ledger, money.entries)
    found = paying.capture_for(wanted["lines"], money.ledger, items, authorization)
    if found is None and (beyond := paying.exceeded(wanted["lines"], money.ledger)) is not None:
        line, stated, left = beyond
        detail = f"{stated} of line {line} are stated, {left} are left"
        raise refused(
            "request_refused", detail, cause="exceeds_refundable", owner="payments", line=line, allowed_minor=left
        )
    if found is None:
        raise refused("refund_divided", "no capture has all these amounts left")
    return str(found)
