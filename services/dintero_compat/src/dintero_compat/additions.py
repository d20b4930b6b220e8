"""The rows of drafts that have added lines to an order, and of what clients have stated of those lines since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import orjson
from asyncpg import Connection

from chassis.declare.app import App
from dintero_compat.accounts import Account
from dintero_compat.domain import reversing
from dintero_compat.domain.reversing import Amounts
from dintero_compat.domain.shapes import Item
from dintero_compat.refusals import refused

ITEMS: Final = (
    "select doc from drafts where store_id = $1 and aid = $2 and adds_to = $3 and status = 'completed'"
    " order by completed_at, draft_id"
)
STATED: Final = "select system, payment_id, stated, covered from statements where store_id = $1 and order_id = $2 and collection = $3"
INSERT: Final = (
    "insert into statements (store_id, order_id, collection, system, payment_id, stated, covered)"
    " values ($1, $2, $3, $4, $5, $6, $7)"
)
ONE: Final = "where store_id = $1 and order_id = $2 and collection = $3 and system = $4 and payment_id = $5"
RECORDED: Final = f"update statements set recorded = true {ONE}"
DELETE: Final = f"delete from statements {ONE} and not recorded"


async def items_of(app: App, account: Account, order_id: UUID) -> Sequence[dict[str, Any]]:
    """Returns the items that completed drafts have added to an order, the oldest first."""
    rows = await app.fetch(ITEMS, account.store_id, account.aid, order_id)
    return [item for row in rows for item in orjson.loads(row["doc"])["order"]["items"]]


async def booked(app: App, account: Account, order_id: UUID) -> Amounts:
    """Returns what the reversals of an order have booked of the lines that they added."""
    found: dict[int, int] = {}
    for row in await app.fetch(ITEMS, account.store_id, account.aid, order_id):
        items = orjson.loads(row["doc"])["order"]["items"]
        found |= reversing.paid([Item.model_validate(item) for item in items])
    return found


async def state(
    tx: Connection, account: Account, order_id: UUID, collection: str, payment: tuple[str, str], stated: Amounts, booked: Amounts
) -> Amounts:  # fmt: skip
    """Stores what an authorization or a capture states of reversed lines and of those that replace them; returns what of it is booked
    already. payment: system and id; stated again, it changes nothing. Raises Problem 409."""
    await tx.execute(
        "select pg_advisory_xact_lock(hashtextextended($1, 1))", f"{account.store_id}|{order_id}|{collection}"
    )
    before: dict[int, int] = {}
    for row in await tx.fetch(STATED, account.store_id, order_id, collection):
        covered = _amounts(row["covered"])
        if (row["system"], row["payment_id"]) == payment:
            if _amounts(row["stated"]) != stated:
                raise refused("payment_differs", f"{payment[1]} of {payment[0]} was stated with other amounts")
            return covered
        before = reversing.summed([*before.items(), *covered.items()])
    try:
        covered = reversing.covered(stated, booked, before)
    except reversing.Exceeded as error:
        more = {"line": error.line_id, "allowed_minor": error.allowed_minor}
        raise refused("reversal_exceeded", str(error), **more) from None
    await tx.execute(
        INSERT, account.store_id, order_id, collection, *payment, _written(stated), _written(covered)
    )  # fmt: skip
    return covered


async def confirm(tx: Connection, account: Account, order_id: UUID, collection: str, payment: tuple[str, str]) -> None:
    """Payments has the rest of a statement: it stays, also if a repetition is refused."""
    await tx.execute(RECORDED, account.store_id, order_id, collection, *payment)


async def forget(tx: Connection, account: Account, order_id: UUID, collection: str, payment: tuple[str, str]) -> None:
    """Deletes a statement whose rest payments has refused, unless it has recorded that before."""
    await tx.execute(DELETE, account.store_id, order_id, collection, *payment)


def _written(amounts: Amounts) -> str:
    return orjson.dumps({str(number): amount for number, amount in amounts.items()}).decode()


def _amounts(text: str) -> dict[int, int]:
    found: Mapping[str, int] = orjson.loads(text)
    return {int(number): amount for number, amount in found.items()}
