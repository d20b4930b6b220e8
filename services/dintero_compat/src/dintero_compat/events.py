"""The rows of events: requests that changed an order, and what clients state about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal
from uuid import UUID

import orjson

from chassis.declare.app import App
from dintero_compat.accounts import Account

Kind = Literal["api-event", "service-event"]
INSERT: Final = (
    "insert into events (store_id, order_id, event_id, kind, created_by, body) values ($1, $2, $3, $4, $5, $6)"
    " on conflict do nothing"
)
SELECT: Final = "select event_id, at, created_by, body from events where store_id = $1 and order_id = $2"
BODY_CHARACTERS_MAX: Final = 16_384
"""A longer body of a request is not stored with its event."""


async def add(
    app: App, account: Account, order_id: UUID, event_id: UUID, kind: Kind, by: str, body: Mapping[str, Any]
) -> None:
    """Stores an event, once by its id."""
    await app.fetch(INSERT, account.store_id, order_id, event_id, kind, by, orjson.dumps(body).decode())


async def among(app: App, account: Account, order_id: UUID, ids: Sequence[UUID]) -> Sequence[UUID]:
    """Returns which of these ids are ids of events of an order."""
    if not ids:
        return ()
    rows = await app.fetch(
        "select event_id from events where store_id = $1 and order_id = $2 and event_id = any($3::uuid[])",
        account.store_id, order_id, list(ids),
    )  # fmt: skip
    return [row["event_id"] for row in rows]


async def stored(app: App, account: Account, order_id: UUID) -> Sequence[dict[str, Any]]:
    """Returns the events of an order in Dintero's shape, the oldest first."""
    rows = await app.fetch(f"{SELECT} order by at, event_id", account.store_id, order_id)
    return [_shown(row) for row in rows]


async def one(app: App, account: Account, order_id: UUID, event_id: UUID) -> dict[str, Any]:
    """Returns an event that is stored."""
    [row] = await app.fetch(f"{SELECT} and event_id = $3", account.store_id, order_id, event_id)
    return _shown(row)


def _shown(row: Any) -> dict[str, Any]:
    stated: dict[str, Any] = {
        "id": str(row["event_id"]),
        "created_at": row["at"].isoformat(),
        "created_by": row["created_by"],
    }
    stated |= orjson.loads(row["body"])
    return stated


def request_body(raw: bytes) -> str | None:
    """Returns the body of a request as it was sent; null if it is long or is no text."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return None
    return text if len(text) <= BODY_CHARACTERS_MAX and "\0" not in text else None
