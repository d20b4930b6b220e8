"""Events that gateways send, and their list."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel
from sqlalchemy import Label, and_, literal_column, not_, select, tuple_

from chassis.declare.app import App, Principal
from chassis.http.paging import Cursor, Cursors, Limit, Page
from chassis.http.problems import Problem, answers
from contracts.base import Timestamp
from payments import asking
from payments.gateways import received
from payments.gateways.accounts import Accounts, CredentialsMissing, resolved
from payments.gateways.inbound import EVENT_BYTES_MAX, InvalidSignature, Unreadable, verified
from payments.gateways.registry import KINDS
from payments.tables import gateway_events

EVENTS = Cursors("gateway-events", Timestamp, str, str, str)
ORDER_ID: Label[Any] = literal_column(
    received.ORDER.format(
        operation_id="gateway_events.operation_id",
        store_id="gateway_events.store_id",
        payment="gateway_events.payment",
        gateway="gateway_events.gateway",
    )
).label("order_id")


class Received(BaseModel):
    is_new: bool
    """False: the event had been received before."""


class GatewayEvent(BaseModel):
    gateway: str
    account: str
    event_id: str
    """The gateway's id; of an unreadable event the hash of its body."""
    type: str
    occurred_at: Timestamp
    received_at: Timestamp
    subject: str
    """The gateway's id of the object that changed."""
    payment: str | None
    """The gateway's reference of the authorization."""
    operation_id: UUID | None
    order_id: UUID | None
    """Null: payments has no payment of it, yet."""
    unreadable: str
    """Why it could not be read; empty: it could."""


def add_routes(router: APIRouter, app: App) -> None:
    Viewer = Annotated[Principal, Depends(app.principal("payments.view"))]
    accounts = Accounts(app)
    RECEIVE = answers("gateway_unknown", "signature_invalid", "credentials_missing", "event_too_large") | {
        "requestBody": {
            "description": "An event as the gateway writes and signs it.",
            "content": {"application/json": {"schema": {"type": "object"}}},
        }
    }

    @router.post("/gateways/{gateway}/{account}/events", response_model=Received, openapi_extra=RECEIVE)
    async def receive_event(gateway: str, account: str, request: Request) -> Any:
        """Where a gateway sends its events. Answered when the event is stored; verified before anything of it is parsed."""
        kind = KINDS.get(gateway)
        known = await accounts.named(gateway, account) if kind else None
        if kind is None or known is None:
            raise Problem(
                404, "gateway_unknown", "No such account at a gateway", "Nothing is declared under this address."
            )
        if known.webhook_secret is None:
            raise Problem(401, "signature_invalid", "The signature is invalid", "The account has no secret for events.")
        body = await request.body()
        if len(body) > EVENT_BYTES_MAX:
            raise Problem(
                413, "event_too_large", "The event is too large", f"It has more than {EVENT_BYTES_MAX} bytes."
            )
        now = datetime.now(UTC)
        try:
            verified(kind.inbound, body, request.headers, resolved(known.webhook_secret), now)
        except CredentialsMissing as missing:
            raise Problem(503, "credentials_missing", "The secret of the account is not there", str(missing)) from None
        except InvalidSignature as invalid:
            raise Problem(401, "signature_invalid", "The signature is invalid", str(invalid)) from None
        try:
            notice = kind.inbound.read(body)
        except Unreadable as unreadable:
            why = str(unreadable)
            await app.write(lambda tx: received.keep_unreadable(tx, known, body, why, now))
            return {"is_new": True}
        is_new = await app.write(lambda tx: received.receive(tx, known, notice))
        if notice.asks:
            await asking.ask_about(app, known.gateway, known.account, notice.event_id)
        return {"is_new": is_new}

    @router.get("/gateway-events", response_model=Page[GatewayEvent])
    async def list_events(who: Viewer, matched: bool | None = None, limit: Limit = 50, cursor: Cursor = None) -> Any:
        """Events of the store's gateways, newest first. `matched=false`: those without a payment, and unreadable ones."""
        keys = (
            gateway_events.c.received_at,
            gateway_events.c.gateway,
            gateway_events.c.account,
            gateway_events.c.event_id,
        )
        found = select(gateway_events, ORDER_ID).where(gateway_events.c.store_id == who.store_id)
        if matched is not None:
            is_matched = and_(ORDER_ID.element.is_not(None), gateway_events.c.unreadable == "")
            found = found.where(is_matched if matched else not_(is_matched))
        if (start := EVENTS.after(cursor)) is not None:
            found = found.where(tuple_(*keys) < tuple_(*start))
        rows = await app.read(found.order_by(*(key.desc() for key in keys)).limit(limit + 1))
        return EVENTS.page(rows, limit, key=lambda row: tuple(row[key.name] for key in keys))
