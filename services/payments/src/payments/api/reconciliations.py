"""Reconciliations: asked for by hand, listed, and read while they run."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final, Literal
from uuid import UUID

from asyncpg import Connection
from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, model_validator
from sqlalchemy import select, tuple_

from chassis.declare.app import App, Principal
from chassis.http.commands import COMMAND
from chassis.http.paging import Cursor, Cursors, Limit, Page
from chassis.http.problems import Problem, answers, known
from contracts.base import Timestamp
from contracts.payments import AccountName, GatewayName
from payments import reconciliations
from payments.gateways.registry import LISTS, gateways_of
from payments.tables import reconciliations as table

LIST = Cursors("reconciliations", Timestamp, UUID)
DAYS_MAX: Final = 31
SHOWN = [
    column for column in table.c if column.name not in ("store_id", "place", "leased_by", "lease_until", "run_at", "tries")
]  # fmt: skip


class Asked(BaseModel):
    """A period of up to 31 days. It may end in the future: what is listed until now is compared."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    gateway: GatewayName
    account: AccountName | None = None
    """The name of the store's account at the gateway; null: its first."""
    begins_at: Timestamp
    ends_at: Timestamp
    """The first moment after the period."""

    @model_validator(mode="after")
    def is_a_period(self) -> "Asked":
        if not timedelta() < self.ends_at - self.begins_at <= timedelta(days=DAYS_MAX):
            raise ValueError(f"`ends_at` is after `begins_at`, by at most {DAYS_MAX} days")
        return self


class Reconciliation(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)

    reconciliation_id: UUID
    gateway: str
    account: str
    begins_at: Timestamp
    ends_at: Timestamp
    actor: str
    """Who asked for it; `system:nightly`: the service itself."""
    state: Literal["listing", "comparing", "closing", "done", "failed"]
    """`listing`: the gateway's list is read. `comparing`: its rows and our ledgers are compared. `closing`: differences that are no
    more are closed."""
    listed: int
    """Movements in the gateway's list."""
    orders: int
    """Orders that were compared."""
    found: int
    """Differences, also those that were found before."""
    gone: int
    """Earlier differences that are no more."""
    error: str
    """Why the last step was not done: it is tried again, unless the state is `failed`."""
    created_at: Timestamp
    ended_at: Timestamp | None


def add_routes(router: APIRouter, app: App) -> None:
    Reconciler = Depends(app.principal("payments.reconcile"))

    @router.post(
        "/reconciliations", status_code=202, response_model=Reconciliation, dependencies=COMMAND,
        openapi_extra=answers("gateway_unknown", "list_missing", "idempotency_key_reused"),
    )  # fmt: skip
    async def ask(request: Request, asked: Asked, who: Principal = Reconciler) -> Any:
        """Compare our ledgers of a period with the gateway's own list. It runs after the answer."""
        key = app.operation_id(request, who, reconciliations.NAMESPACE)
        if asked_before := await _found(key, who):
            account = asked.account or asked_before[0]["account"]  # the store's first one may be another by now
        else:
            account = await _account(asked, who)

        async def write(tx: Connection) -> None:
            await reconciliations.create(
                tx, key, who.store_id, asked.gateway, account, asked.begins_at, asked.ends_at, who.actor
            )

        if not asked_before:
            await app.write(write)
        row = await _one(key, who)
        if (row["gateway"], row["account"], row["begins_at"], row["ends_at"]) != (
            asked.gateway,
            account,
            asked.begins_at,
            asked.ends_at,
        ):
            raise known("idempotency_key_reused", "use a new key per request")
        return reconciliations.shown(row)

    @router.get("/reconciliations", response_model=Page[Reconciliation])
    async def list_reconciliations(
        limit: Limit = 50, cursor: Cursor = None, gateway: GatewayName | None = None, who: Principal = Reconciler
    ) -> Any:
        """The reconciliations of the store, newest first."""
        found = select(*SHOWN).where(table.c.store_id == who.store_id)
        if gateway is not None:
            found = found.where(table.c.gateway == gateway)
        if (last := LIST.after(cursor)) is not None:
            found = found.where(tuple_(table.c.created_at, table.c.key) < last)
        rows = await app.read(found.order_by(table.c.created_at.desc(), table.c.key.desc()).limit(limit + 1))
        page = LIST.page(rows, limit, key=lambda row: (row["created_at"], row["key"]))
        return {**page, "items": [reconciliations.shown(row) for row in page["items"]]}

    @router.get(
        "/reconciliations/{reconciliation_id}", response_model=Reconciliation, openapi_extra=answers("reconciliation_unknown")
    )  # fmt: skip
    async def one(reconciliation_id: UUID, who: Principal = Reconciler) -> Any:
        """How far it is, and what it has found."""
        return reconciliations.shown(await _one(reconciliation_id, who))

    async def _account(asked: Asked, who: Principal) -> str:
        account = await gateways_of(app).account(who.store_id, asked.gateway, asked.account)
        if asked.gateway not in LISTS:
            raise Problem(
                409, "list_missing", "The gateway has no list", f"{asked.gateway} cannot list what it has moved."
            )
        if account is None:
            raise Problem(404, "gateway_unknown", "No such account", f"The store has no account at {asked.gateway}.")
        return account

    async def _found(key: UUID, who: Principal) -> Sequence[Any]:
        return await app.read(select(*SHOWN).where(table.c.key == key, table.c.store_id == who.store_id))

    async def _one(key: UUID, who: Principal) -> Any:
        rows = await _found(key, who)
        if not rows:
            raise Problem(
                404, "reconciliation_unknown", "No such reconciliation", f"This store has no reconciliation {key}."
            )
        return rows[0]
