"""The rows of what clients have stated of operations beside their amounts: payments has no field for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

import orjson

from chassis.declare.app import App
from dintero_compat.accounts import Account

Details = Mapping[tuple[str, str], Mapping[str, Any]]
"""(collection, id of the operation) -> fields in Dintero's shape."""
INSERT: Final = (
    "insert into details (store_id, order_id, collection, operation_id, created_by, body) values ($1, $2, $3, $4, $5, $6)"
    " on conflict do nothing"
)
SELECT: Final = (
    "select collection, operation_id, at, created_by, body from details where store_id = $1 and order_id = $2"
)


async def add(
    app: App, account: Account, order_id: UUID, collection: str, operation_id: UUID, by: str, fields: Mapping[str, Any]
) -> None:
    """Stores what was stated of an operation. What was stated first stays."""
    written = orjson.dumps(fields).decode()
    await app.fetch(INSERT, account.store_id, order_id, collection, operation_id, by, written)


async def of_order(app: App, account: Account, order_id: UUID) -> Details:
    rows = await app.fetch(SELECT, account.store_id, order_id)
    return {
        (row["collection"], str(row["operation_id"])): {
            "created_at": row["at"].isoformat(), "created_by": row["created_by"], **orjson.loads(row["body"]),
        }
        for row in rows
    }  # fmt: skip
