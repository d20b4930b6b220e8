"""Payment sessions: what a storefront needs so that the buyer pays an order."""

import json
from typing import Annotated, Any, Literal, Self, cast
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator
from sqlalchemy import case, select, tuple_
from sqlalchemy.engine import RowMapping

from chassis.declare.app import App, Principal
from chassis.http.commands import COMMAND
from chassis.http.paging import Cursor, Cursors, Limit, Page
from chassis.http.problems import Problem, answers
from contracts.base import Id, MinorUnsigned, Timestamp
from contracts.money import Currency
from contracts.payments import AccountName, CancelSession, GatewayName, OpenSession, ReturnPrepayment
from payments.api import origins
from payments.api.actions import BuyersAction, buyers_action
from payments.api.origins import Origin
from payments.gateways.registry import gateways_of
from payments.settings import Settings
from payments.storefronts import RETURN_URL_PATTERN, unfit
from payments.tables import operations, payment_sessions, storefronts

ReturnUrl = Annotated[str, Field(min_length=8, max_length=2_000, pattern=RETURN_URL_PATTERN)]
Prepaid = Literal["held", "taken", "returning", "returned", "retained"]
State = Literal["open", "completed", "expired", "cancelled"]
SESSIONS = Cursors("payment sessions", Timestamp, UUID)
ASKS = ("gateway_unknown", "credentials_missing", "gateway_unavailable")


class SessionBody(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    order_id: UUID
    """The order may be placed later: its id follows from its origin (docs/order-ids.md)."""
    origin: Origin = None
    amount_minor: Annotated[MinorUnsigned, Field(ge=1)]
    """What the order authorizes, in minor units of `currency`. An order of nothing needs no payment, so 0 is refused."""
    currency: Currency
    return_url: ReturnUrl
    """Where the buyer is sent after the payment: https (http on loopback), an origin of the store's storefronts."""
    cancel_url: ReturnUrl | None = None
    """Where a buyer is sent who gives up; null: `return_url`."""
    expires_in_seconds: Annotated[int, Field(ge=60, le=86_400)] = 3_600
    gateway: GatewayName | None = None
    """Where the buyer pays at once, also if the order does not exist yet. Null: when the order asks for its authorization. An
    authorization that waits for its buyer is paid at its own gateway."""
    account: AccountName | None = None
    """The store's account at `gateway`; null: its first."""


class ReturnBody(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    recorded: bool = False
    """It was given back elsewhere: it is booked, and the gateway is not asked."""
    reference: Id | None = None
    """What the place where it was given back calls that; with `recorded` alone."""

    @model_validator(mode="after")
    def only_a_recorded_one_has_a_reference(self) -> Self:
        if self.reference is not None and not self.recorded:
            raise ValueError("`reference` names what was given back elsewhere: state `recorded`, too")
        return self


class SessionListed(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)

    session_id: UUID
    order_id: UUID
    state: State
    """`completed`: authorized. `expired`, `cancelled`: what waited at the gateway is cancelled, and the order receives a decline."""
    currency: str
    amount_minor: int
    authorization_id: UUID | None
    """The operation that waits for the buyer; null: the order has not asked for it yet."""
    code: str
    """Why the authorization was declined; empty: it was not."""
    return_url: str
    cancel_url: str | None
    expires_at: Timestamp
    created_at: Timestamp
    gateway: str | None
    """Where the buyer pays before the order asks; null: at the gateway of the authorization."""
    account: str | None
    prepayment: Prepaid | None
    """What was paid before the order asked waits for it (`held`), is that of `authorization_id` (`taken`), is given back wholly or in
    part (`returning`, `returned`), or its gateway refuses to give it back (`retained`). Null: nothing was."""
    held_minor: int
    """What was paid and is neither that of an authorization nor given back."""


class PaymentSession(SessionListed):
    action: BuyersAction | None
    """What the buyer has to do, read from the gateway; null: nothing, or not yet."""


def add_routes(router: APIRouter, app: App) -> None:
    Storefront = Annotated[Principal, Depends(app.principal("payments.pay"))]
    Viewer = Annotated[Principal, Depends(app.principal("payments.view"))]
    Refunder = Annotated[Principal, Depends(app.principal("payments.refund"))]

    @router.post(
        "/payment-sessions", response_model=PaymentSession, status_code=201, dependencies=COMMAND,
        openapi_extra=answers(
            "return_url_invalid", "session_open", "session_paid", "session_differs", "currency_differs", *ASKS,
            *origins.REFUSALS,
        ),
    )  # fmt: skip
    async def open_session(request: Request, who: Storefront, body: SessionBody) -> Response:
        """Open the session of an order's payment. A repeated request answers with the session as it is now."""
        if (before := await app.answered(request, who)) is not None:
            return await _opened(before, who)
        await origins.check_order(app, who, body.order_id, body.origin)
        await _check_urls(who.store_id, body)
        if (
            body.gateway is not None
            and await gateways_of(app).account(who.store_id, body.gateway, body.account) is None
        ):
            raise Problem(
                404, "gateway_unknown", "The gateway is not set up", f"The store has no account at {body.gateway}."
            )
        message = OpenSession(
            store_id=who.store_id, operation_id=app.operation_id(request, who, body.order_id), actor=who.actor,
            order_within_seconds=cast(Settings, app.settings).session_order_seconds_max, **body.model_dump(exclude={"origin"}),
        )  # fmt: skip
        # The stored answer has no secret of the buyer: that is read anew for each answer.
        answer = await app.execute(
            request, who, message, lambda outcome: (201, {"session_id": str(message.operation_id)})
        )
        return await _opened(answer, who)

    @router.get("/payment-sessions", response_model=Page[SessionListed])
    async def list_sessions(
        who: Viewer,
        state: State | None = None,
        prepayment: Prepaid | None = None,
        order_id: UUID | None = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Any:
        """The store's sessions, newest first. What the buyer has to do is read with the session itself. `prepayment=retained`: what
        gateways refuse to give back, for a person."""
        s = payment_sessions.c
        found = select(payment_sessions).where(s.store_id == who.store_id)
        if state is not None:
            found = found.where(s.state == state)
        if prepayment is not None:
            found = found.where(s.prepayment == prepayment)
        if order_id is not None:
            found = found.where(s.order_id == order_id)
        if (start := SESSIONS.after(cursor)) is not None:
            found = found.where(tuple_(s.created_at, s.session_id) < tuple_(*start))
        rows = await app.read(found.order_by(s.created_at.desc(), s.session_id.desc()).limit(limit + 1))
        return SESSIONS.page(rows, limit, key=lambda row: (row["created_at"], row["session_id"]))

    @router.get(
        "/payment-sessions/{session_id}", response_model=PaymentSession, openapi_extra=answers("session_unknown", *ASKS)
    )
    async def read_session(session_id: UUID, who: Storefront) -> Response:
        """The session, and what the buyer has to do. Poll it until it is not open any more."""
        return await _shown(session_id, who.store_id, 200)

    @router.post(
        "/payment-sessions/{session_id}/cancel", response_model=PaymentSession, dependencies=COMMAND,
        openapi_extra=answers("session_unknown", "session_closed", *ASKS),
    )  # fmt: skip
    async def cancel_session(request: Request, who: Storefront, session_id: UUID) -> Response:
        """The buyer gives up: nothing can be paid any more, and the order receives a decline."""
        row = await _row(session_id, who.store_id)
        message = CancelSession(
            order_id=row["order_id"], store_id=who.store_id, session_id=session_id, actor=who.actor,
            operation_id=app.operation_id(request, who, row["order_id"]),
        )  # fmt: skip
        answer = await app.execute(request, who, message, lambda outcome: (200, {}))
        return answer if answer.status_code != 200 else await _shown(session_id, who.store_id, 200)

    @router.post(
        "/payment-sessions/{session_id}/return", response_model=PaymentSession, dependencies=COMMAND,
        openapi_extra=answers("session_unknown", "prepayment_closed", *ASKS),
    )  # fmt: skip
    async def return_prepayment(request: Request, who: Refunder, session_id: UUID, body: ReturnBody) -> Response:
        """Give back what was paid before the order and no authorization has taken over; once more, if the gateway has refused."""
        row = await _row(session_id, who.store_id)
        message = ReturnPrepayment(
            order_id=row["order_id"], store_id=who.store_id, session_id=session_id, actor=who.actor,
            operation_id=app.operation_id(request, who, row["order_id"]), **body.model_dump(),
        )  # fmt: skip
        answer = await app.execute(request, who, message, lambda outcome: (200, {}))
        return answer if answer.status_code != 200 else await _shown(session_id, who.store_id, 200)

    async def _opened(answer: Response, who: Principal) -> Response:
        """The session of a stored answer as it is now; a refusal as it was."""
        if answer.status_code != 201:
            return answer
        return await _shown(UUID(json.loads(bytes(answer.body))["session_id"]), who.store_id, 201)

    async def _check_urls(store_id: str, body: SessionBody) -> None:
        found = await app.read(select(storefronts.c.origin).where(storefronts.c.store_id == store_id))
        fitting = {row["origin"] for row in found}
        for name, url in (("return_url", body.return_url), ("cancel_url", body.cancel_url)):
            if url is not None and (why := unfit(url, fitting)) is not None:
                raise Problem(422, "return_url_invalid", "The buyer is not sent there", f"{name}: {why}")

    async def _row(session_id: UUID, store_id: str) -> RowMapping:
        s = payment_sessions.c
        found = (
            select(
                payment_sessions,
                operations.c.operation_id,
                operations.c.gateway.label("asked_gateway"),
                operations.c.account.label("asked_account"),
                operations.c.gateway_reference,
                operations.c.state.label("paid"),
            )
            .join(
                operations,
                operations.c.operation_id == case((s.gateway.is_(None), s.authorization_id), else_=s.session_id),
                isouter=True,
            )
            .where(s.session_id == session_id, s.store_id == store_id)
        )
        rows = await app.read(found)
        if not rows:
            raise Problem(404, "session_unknown", "No such session", f"This store has no session {session_id}.")
        return rows[0]

    async def _shown(session_id: UUID, store_id: str, status: int) -> Response:
        row = await _row(session_id, store_id)
        action = None
        if row["state"] == "open" and row["paid"] == "pending":
            asked = {**row, "gateway": row["asked_gateway"], "account": row["asked_account"]}
            action = await buyers_action(app, row["operation_id"], asked)
        fields = {name: row.get(name) for name in PaymentSession.model_fields} | {"action": action}
        body = PaymentSession.model_validate(fields).model_dump(mode="json")
        return JSONResponse(body, status, headers={"cache-control": "no-store"})
