"""HTTP of orders: create, read with timeline, list, approve, cancel, retry, resolve exceptions; markets."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final
from uuid import UUID

import orjson
from asyncpg import Connection
from fastapi import APIRouter, Body, Depends, Request, Response
from pydantic import BaseModel, model_validator
from sqlalchemy import literal, select, tuple_

from chassis import journal
from chassis.batch.aggregates import whole
from chassis.declare.app import About, App, Outcome, Principal, Problems
from chassis.http.bodies import as_json
from chassis.http.commands import CHANGE, COMMAND, CONDITIONAL, etag, precondition
from chassis.http.paging import Cursor, Cursors, Limit, Page
from chassis.http.problems import Problem, answers, invalid, respond
from contracts.base import Code, Id, Text, Timestamp, shown_word
from contracts.ids import order_id
from contracts.orders import (
    Approve,
    Cancel,
    CancelCause,
    FulfillmentStatus,
    MarketTerms,
    PaymentStatus,
    Place,
    Resolution,
    Resolve,
    Retry,
    Status,
)
from contracts.snapshot import OrderContent, arriving
from orders import store
from orders.domain import actions
from orders.domain.actions import ACTIONS
from orders.domain.exceptions import KINDS
from orders.domain.order import OpenException, Order
from orders.domain.undo import data_of
from orders.domain.views import waiting, waits_for
from orders.responses import CancelAccepted, MarketShown, MarketWritten, OrderRead, OrderShown, OrderSummary
from orders.tables import markets, metadata, orders

PROBLEMS: Problems = {
    "order_unknown": About(404, "No such order", "This store has no order of this id.",
        "Use the `order_id` that `POST /v1/orders` answered; `GET /v1/orders?external_order_id=` finds it."),
    "order_exists": About(409, "The external id is taken by an order with another content",
        "Channel, account and external id name an order that was sold otherwise.",
        "Give the new order an external id of its own; a change of the old one comes as a snapshot."),
    "order_not_awaiting_approval": About(409, "The order does not wait for approval",
        "It needs no approval, has not been placed yet, or is cancelled.", "`GET /v1/orders/{id}` lists `legal_actions`."),
    "order_shipped": About(409, "Something has shipped", "Goods have left the warehouse: the order can no longer be cancelled.",
        "Take the goods back as a return."),
    "step_not_failed": About(409, "No step waits for a person", "No process of the order waits to be resumed.",
        "`GET /v1/orders/{id}` shows in `processes` what it waits for."),
    "market_unknown": About(404, "No such market", "This store has no market of this code.",
        "`GET /v1/markets` lists them; `PUT /v1/markets/{code}` creates one."),
    "market_taken": About(409, "Another market is found by this",
        "A store has one market for each channel and account, and one default.", "Change that market, or name another account."),
    "exception_unknown": About(404, "No such open exception", "The order has no open exception of this id.",
        "`GET /v1/orders/{id}` lists `exceptions`; one that was resolved is in the timeline."),
    "resolution_unsupported": About(409, "The exception does not end by this resolution",
        "Exceptions of this kind end otherwise.", "`GET /v1/orders/{id}` lists the resolutions of each exception."),
    "obstacle_remains": About(409, "The order still cannot start", "The cause that keeps the order from starting is not corrected.",
        "Correct what the exception names, then resolve it again."),
    "undo_running": About(409, "The cancel of the order has not ended", "The order is being cancelled, and services still answer.",
        "Resolve the exception when the cancel has ended; `GET /v1/orders/{id}` shows it in `processes`."),
}  # fmt: skip
WORDS: Final = {
    "status": Status,
    "payment_status": PaymentStatus,
    "fulfillment_status": FulfillmentStatus,
    "cancel_cause": CancelCause,
}
UNSHOWN: Final = ("orders.progressed", "orders.merged")
"""Types of the journal that the timeline leaves out; `GET /v1/journal` has them."""
LISTED = Cursors("orders", Timestamp, UUID)
MARKETS = Cursors("markets", Code)
SHOWN = [column for column in markets.c if column.name != "store_id"]


class NewOrder(OrderContent):
    """The content of an order, and where it was sold."""

    channel: Code = "api"
    account: Code = "default"
    """A part of the order's id. Not the name of the API key: a till keeps its orders when its key is replaced."""

    @model_validator(mode="after")
    def _fits(self) -> "NewOrder":
        arriving(self)
        return self


class CancelBody(BaseModel):
    cause: CancelCause = "customer"
    reason: Text = ""


class ResolveBody(BaseModel):
    resolution: Resolution
    reason: Text = ""


class MarketBody(BaseModel):
    channel: Code | None = None
    account: Code | None = None
    terms: MarketTerms

    @model_validator(mode="after")
    def _names_one_account_or_none(self) -> "MarketBody":
        if (self.channel is None) != (self.account is None):
            raise ValueError("channel and account come together or not at all")
        return self


def refusals(name: str) -> dict[str, Any]:
    """The problems of an action's route: what its guard refuses."""
    codes = [code for code, why in ACTIONS[name].why_not.items() if why.answer != "done"]
    return answers("order_unknown", *codes)


def routes(app: App) -> APIRouter:
    router = APIRouter(prefix="/v1")
    view, edit = app.principal("orders.view"), app.principal("orders.edit")
    may = {name: app.principal(action.scope) for name, action in ACTIONS.items()}

    @router.post(
        "/orders",
        status_code=201,
        response_model=OrderShown,
        dependencies=COMMAND,
        openapi_extra=answers("order_exists"),
    )
    async def create(request: Request, who: Annotated[Principal, Depends(edit)], body: NewOrder) -> Response:
        """Take an order and start placing it. The same external id with the same content is the same order."""
        key = order_id(who.store_id, body.channel, body.account, body.external_order_id)
        content = OrderContent.model_construct(**{name: getattr(body, name) for name in OrderContent.model_fields})
        message = Place(
            order_id=key, store_id=who.store_id, operation_id=app.operation_id(request, who, key), actor=who.actor,
            channel=body.channel, account=body.account, order=content,
        )  # fmt: skip

        def answer(outcome: Outcome) -> tuple[int, Any, dict[str, str]]:
            return 201, shown(key, outcome.state, outcome.version), {"location": f"/v1/orders/{key}"}

        return await app.execute(request, who, message, answer)

    @router.get("/orders/{order_id}", response_model=OrderRead, openapi_extra=answers("order_unknown"))
    async def read(who: Annotated[Principal, Depends(view)], order_id: UUID) -> Response:
        """The order, its processes, and the timeline: which message caused what, when."""
        rows = await app.read(
            select(orders.c.version, orders.c.doc, orders.c.content, orders.c.market).where(
                orders.c.key == order_id, orders.c.store_id == who.store_id
            )
        )
        if not rows:
            raise Problem(404, "order_unknown", "No such order", f"no order {order_id} in your store")
        state = Order.model_validate_json(whole(rows[0], ("content", "market")))
        parked_keys = metadata.tables["parked_keys"]
        parked = await app.read(select(parked_keys.c.key).where(parked_keys.c.key == order_id))
        version = rows[0]["version"]
        body = shown(order_id, state, version)
        if parked:
            body["waiting"] = "parked"
        return respond(as_json(200, body | {"timeline": await timeline(who, order_id)}, etag(version)))

    async def timeline(who: Principal, key: UUID) -> list[dict[str, Any]]:
        found = await journal.entries(app.read, "orders", who.store_id, key, without=UNSHOWN)
        bodies = [orjson.loads(entry.payload) for entry in found]
        return [
            {
                "at": entry.at.isoformat(), "type": entry.type, "version": entry.version,
                "operation_id": entry.operation_id and str(entry.operation_id), "message_id": str(entry.message_id),
                "caused_by": {"type": entry.cause_type, "id": str(entry.cause_id), "actor": entry.actor},
                "status": body.get("status"), "payment_status": body.get("payment_status"),
                "fulfillment_status": body.get("fulfillment_status"),
                **{name: body[name] for name in ("code", "detail", "resolution", "reason") if body.get(name)},
            }
            for entry, body in zip(found, bodies, strict=True)
        ]  # fmt: skip

    @router.get("/orders", response_model=Page[OrderSummary])
    async def listed(
        who: Annotated[Principal, Depends(view)],
        limit: Limit = 50,
        cursor: Cursor = None,
        status: Text | None = None,
        waiting: Text | None = None,
        external_order_id: Id | None = None,
    ) -> Response:
        """The store's orders, newest first."""
        o = orders.c
        names = ("key", "version", "external_order_id", "channel", "account", "status", "payment_status", "fulfillment_status",
                 "waiting", "currency", "grand_minor", "test", "cancel_cause", "ordered_at", "placed_at", "completed_at")  # fmt: skip
        query = select(*(o[name] for name in names)).where(o.store_id == who.store_id)
        for column, wanted in ((o.status, status), (o.waiting, waiting), (o.external_order_id, external_order_id)):
            if wanted is not None:
                query = query.where(column == wanted)
        if (start := LISTED.after(cursor)) is not None:
            at, last = start
            query = query.where(
                tuple_(o.ordered_at, o.key)
                < tuple_(literal(at).cast(o.ordered_at.type), literal(last).cast(o.key.type))
            )
        rows = await app.read(query.order_by(o.ordered_at.desc(), o.key.desc()).limit(limit + 1))
        items = [
            {("order_id" if name == "key" else name): _plain(row[name]) for name in names} | _words(row) for row in rows
        ]
        return respond(as_json(200, LISTED.page(items, limit, lambda row: (row["ordered_at"], row["order_id"]))))

    @router.post(
        "/orders/{order_id}/approve", response_model=OrderShown, dependencies=CHANGE,
        openapi_extra=refusals("approve"),
    )  # fmt: skip
    async def approve(request: Request, who: Annotated[Principal, Depends(may["approve"])], order_id: UUID) -> Response:
        message = Approve(
            order_id=order_id,
            store_id=who.store_id,
            operation_id=app.operation_id(request, who, order_id),
            actor=who.actor,
        )
        return await app.execute(
            request, who, message, lambda outcome: (200, shown(order_id, outcome.state, outcome.version))
        )

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
        operation = app.operation_id(request, who, order_id)
        message = Cancel(order_id=order_id, store_id=who.store_id, operation_id=operation, actor=who.actor,
                         cause=body.cause, reason=body.reason)  # fmt: skip

        def answer(outcome: Outcome) -> tuple[int, Any]:
            run = outcome.state.undo
            running = data_of(run).cancel_operation_id if run is not None else None
            return 202, {"operation_id": str(running or operation), **shown(order_id, outcome.state, outcome.version)}

        return await app.execute(request, who, message, answer)

    @router.post(
        "/orders/{order_id}/retry", status_code=202, response_model=OrderShown, dependencies=CHANGE,
        openapi_extra=refusals("retry"),
    )  # fmt: skip
    async def retry(request: Request, who: Annotated[Principal, Depends(may["retry"])], order_id: UUID) -> Response:
        """Repeat the step that was refused, once its cause is corrected."""
        message = Retry(
            order_id=order_id,
            store_id=who.store_id,
            operation_id=app.operation_id(request, who, order_id),
            actor=who.actor,
        )
        return await app.execute(
            request, who, message, lambda outcome: (202, shown(order_id, outcome.state, outcome.version))
        )

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
            order_id=order_id, store_id=who.store_id, operation_id=app.operation_id(request, who, order_id),
            actor=who.actor, exception_id=exception_id, resolution=body.resolution, reason=body.reason,
        )  # fmt: skip
        return await app.execute(
            request, who, message, lambda outcome: (200, shown(order_id, outcome.state, outcome.version))
        )

    @router.put(
        "/markets/{code}", response_model=MarketWritten, dependencies=CONDITIONAL, openapi_extra=answers("market_taken")
    )
    async def put_market(
        request: Request, who: Annotated[Principal, Depends(edit)], code: Code, body: MarketBody
    ) -> Response:
        """Write a market whole. The orders that wait because of it start."""
        if body.terms.code != code:
            raise invalid(("body.terms.code", f"Value error, it must be {code}, as in the path"))
        market = store.Market(store=who.store_id, channel=body.channel, account=body.account, terms=body.terms)

        async def write(tx: Connection) -> int:
            precondition(request, await store.market_version(tx, who.store_id, code))
            return await store.put_market(tx, market)

        try:
            version = await app.write(write)
        except ValueError as error:
            raise Problem(409, "market_taken", "Another market is found by this", str(error)) from None
        return respond(as_json(200, {**market.model_dump(mode="json"), "version": version}, etag(version)))

    @router.get("/markets/{code}", response_model=MarketShown, openapi_extra=answers("market_unknown"))
    async def read_market(who: Annotated[Principal, Depends(view)], code: Code) -> Response:
        rows = await app.read(select(*SHOWN).where(markets.c.store_id == who.store_id, markets.c.code == code))
        if not rows:
            raise Problem(404, "market_unknown", PROBLEMS["market_unknown"].title, f"this store has no market {code}")
        return respond(as_json(200, dict(rows[0]), etag(rows[0]["version"])))

    @router.get("/markets", response_model=Page[MarketShown])
    async def list_markets(
        who: Annotated[Principal, Depends(view)], limit: Limit = 50, cursor: Cursor = None
    ) -> Response:
        """The store's markets, by code."""
        query = select(*SHOWN).where(markets.c.store_id == who.store_id)
        if (start := MARKETS.after(cursor)) is not None:
            query = query.where(markets.c.code > start[0])
        rows = [dict(row) for row in await app.read(query.order_by(markets.c.code).limit(limit + 1))]
        return respond(as_json(200, MARKETS.page(rows, limit, lambda row: (row["code"],))))

    return router


def _words(order: Mapping[Any, Any]) -> dict[str, str | None]:
    """Returns the statuses of an order, given as a row or a state. A word of a newer release is shown as `unknown`."""
    return {name: shown_word(order[name], words) for name, words in WORDS.items()}


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else str(value) if isinstance(value, UUID) else value


def _shown_exception(code: str, one: OpenException) -> dict[str, Any]:
    return {
        "exception_id": str(one.exception_id), "code": code, "since": one.since.isoformat(), "detail": one.detail,
        "difference": [change.model_dump() for change in one.difference], "changes_more": one.changes_more,
        "resolutions": KINDS[code].resolutions if code in KINDS else (),
    }  # fmt: skip


def shown(key: UUID, order: Order, version: int) -> dict[str, Any]:
    """Returns an order as the API shows it."""
    content = order.content
    assert content is not None and order.source is not None and order.market is not None
    return {
        "order_id": str(key),
        "version": version,
        "store_id": order.store_id,
        "number": order.number,
        "external_order_id": content.external_order_id,
        "channel": order.source.channel,
        "account": order.source.account,
        **_words(order.__dict__),
        "waiting": waiting(order),
        "legal_actions": [one._asdict() for one in actions.legal(order)],
        "currency": content.currency,
        "grand_minor": order.grand_minor,
        "test": content.test,
        "money": order.facts.money.model_dump(),
        "ordered_at": content.placed_at.isoformat(),
        **{name: _plain(getattr(order, name)) for name in ("placed_at", "approved_at", "cancelled_at", "completed_at")},
        "processes": [
            {"id": run.id, "kind": run.kind, "step": run.step, "waits_for": waits_for(run), "since": run.since.isoformat(),
             "end": run.end, "asks": run.asks, "detail": run.detail}
            for run in order.runs.values()
        ],
        "invoices": [
            {"invoice_id": str(capture.invoice_id), "number": capture.invoice_number, "capture_id": str(capture.capture_id),
             "credited": not capture.uncredited_minor, "credited_minor": sum(line.credited_minor for line in capture.lines)}
            for capture in order.facts.captures.values() if capture.invoice_id
        ],
        "shipments": [json.loads(shipment.model_dump_json()) for shipment in order.facts.shipments.values()],
        "exceptions": [_shown_exception(code, one) for code, one in order.exceptions.items()],
        "notes": [{"code": code, "detail": detail} for code, detail in order.notes.items()],
        "market": order.market.model_dump(),
        "order": json.loads(content.model_dump_json()),
    }  # fmt: skip
