"""What a storefront needs for the buyer to complete an authorization that is pending."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel
from sqlalchemy import select

from chassis.declare.app import App, Principal
from chassis.http.problems import Problem, answers
from payments.domain.gateway import GatewayCall
from payments.gateways.accounts import CredentialsMissing
from payments.gateways.port import Unclear
from payments.gateways.registry import gateways_of
from payments.tables import operations


class BuyersAction(BaseModel):
    kind: Literal["pay", "confirm"]
    """`pay`: the buyer enters a means of payment. `confirm`: the buyer passes the check of the bank (3-D Secure)."""
    client_secret: str | None
    """For the gateway's library in the browser. A secret of this buyer: neither stored nor logged here."""
    redirect_url: str | None
    """Where to send the buyer, if the gateway has a page for it."""


def add_routes(router: APIRouter, app: App) -> None:
    Storefront = Annotated[Principal, Depends(app.principal("payments.pay"))]
    CODES = answers(
        "order_unknown", "operation_closed", "gateway_unknown", "credentials_missing", "gateway_unavailable"
    )

    @router.get(
        "/payments/{order_id}/operations/{operation_id}/action", response_model=BuyersAction, openapi_extra=CODES
    )
    async def read_action(order_id: UUID, operation_id: UUID, who: Storefront, response: Response) -> Any:
        """Asks the gateway what stops a pending authorization. The outcome comes as an event, not here."""
        found = select(operations).where(
            operations.c.operation_id == operation_id,
            operations.c.order_id == order_id,
            operations.c.store_id == who.store_id,
            operations.c.kind == "authorize",
        )
        rows = await app.read(found)
        if not rows:
            raise Problem(
                404, "order_unknown", "No such authorization", f"No authorization {operation_id} of this order."
            )
        row = rows[0]
        if row["state"] != "pending":
            raise Problem(409, "operation_closed", "Nothing is to be done", f"The authorization is {row['state']}.")
        action = await buyers_action(app, operation_id, dict(row))
        if action is None:
            raise Problem(409, "operation_closed", "Nothing is to be done", "The gateway does not wait for the buyer.")
        response.headers["cache-control"] = "no-store"
        return action


async def buyers_action(app: App, operation_id: UUID, row: Mapping[str, Any]) -> BuyersAction | None:
    """Asks the gateway what an authorization that is pending waits for. row: of the table `operations`."""
    call = GatewayCall(
        operation_id=operation_id, gateway=row["gateway"], account=row["account"], kind="authorize",
        order_id=row["order_id"], store_id=row["store_id"],
        currency=row["currency"], amount_minor=row["amount_minor"], reported_as=row["gateway_reference"], ask_only=True,
    )  # fmt: skip
    try:
        gateway = await gateways_of(app).opened(call)
        action = await gateway.action(call) if gateway is not None else None
    except CredentialsMissing as missing:
        raise Problem(
            503, "credentials_missing", "The credentials of the account are not there", str(missing)
        ) from None
    except Unclear as unclear:
        raise Problem(503, "gateway_unavailable", "The gateway gives no answer", str(unclear)) from None
    if gateway is None:
        raise Problem(
            404, "gateway_unknown", "The gateway is not set up", f"The store has no account at {row['gateway']}."
        )
    if action is None:
        return None
    return BuyersAction(kind=action.kind, client_secret=action.client_secret, redirect_url=action.redirect_url)
