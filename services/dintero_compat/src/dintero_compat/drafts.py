"""The rows of drafts: one is locked while it is read and changed, and changes only while it is open."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson
from asyncpg import Connection, Record

from chassis.declare.app import App
from dintero_compat.accounts import Account
from dintero_compat.domain import numbers, placing
from dintero_compat.refusals import refused

COLUMNS: Final = "draft_id, status, version, number, doc, created_by, created_at, updated_at, completed_at"
INSERT: Final = (
    "insert into drafts (store_id, draft_id, aid, status, version, number, doc, created_by)"
    " values ($1, $2, $3, 'open', 1, $4, $5, $6) on conflict do nothing returning draft_id"
)
LOCK: Final = f"select {COLUMNS} from drafts where store_id = $1 and draft_id = $2 and aid = $3 for update"
LIST: Final = (
    f"select {COLUMNS} from drafts where store_id = $1 and aid = $2 and ($3::text is null or status = $3)"
    " and ($4::timestamptz is null or (created_at, draft_id) < ($4, $5))"
    " and ($6::timestamptz is null or created_at >= $6) and ($7::timestamptz is null or created_at <= $7)"
    " order by created_at desc, draft_id desc limit $8"
)
NUMBERS_TRIED_MAX: Final = 20
"""A code is one of 36^9: a collision is rare."""


class Draft(NamedTuple):
    """A row."""

    draft_id: UUID
    status: str
    version: int
    number: str | None
    doc: Mapping[str, Any]
    created_by: str
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None


def _draft(row: Record) -> Draft:
    return Draft(**{**row, "doc": orjson.loads(row["doc"])})


async def create(
    tx: Connection,
    account: Account,
    draft_id: UUID,
    doc: Mapping[str, Any],
    number: str | None,
    *,
    reserve: bool,
    by: str,
) -> Draft:
    """Returns the draft; the one that is there already if the id is. reserve: it gets a number now. Raises Problem 409."""
    written = orjson.dumps(doc).decode()
    for _ in range(NUMBERS_TRIED_MAX):
        wanted = numbers.alphanumeric_9(secrets.randbelow) if reserve and number is None else number
        await tx.fetchval(INSERT, account.store_id, draft_id, account.aid, wanted, written, by)
        row = await tx.fetchrow(LOCK, account.store_id, draft_id, account.aid)
        if row is not None:
            return _draft(row)
        if number is not None:
            break
    raise refused("number_taken", f"the order_id {number} is taken")


async def locked(tx: Connection, account: Account, draft_id: UUID) -> Draft:
    """Returns a draft and locks it until the transaction ends. Raises Problem 404."""
    row = await tx.fetchrow(LOCK, account.store_id, draft_id, account.aid)
    if row is None or row["status"] == "deleted":
        raise refused("draft_unknown", "no draft of this id in this account")
    return _draft(row)


async def open_locked(tx: Connection, account: Account, draft_id: UUID) -> Draft:
    """As `locked`. Raises Problem 409 unless the draft is open."""
    found = await locked(tx, account, draft_id)
    if found.status != "open":
        raise refused("draft_settled", f"the draft is {found.status}")
    return found


async def change(tx: Connection, account: Account, draft: Draft, doc: Mapping[str, Any], number: str | None) -> Draft:
    """Writes a draft that `open_locked` returned. Raises Problem 409 if another one has the number."""
    if number is not None and number != draft.number:
        await _check_free(tx, account, number)
    await tx.execute(
        "update drafts set doc = $3, number = $4, version = version + 1, updated_at = now()"
        " where store_id = $1 and draft_id = $2",
        account.store_id, draft.draft_id, orjson.dumps(doc).decode(), number,
    )  # fmt: skip
    return await locked(tx, account, draft.draft_id)


async def delete(tx: Connection, account: Account, draft: Draft) -> None:
    """Deletes an open draft. Its row stays without items and persons, and its number is free."""
    doc = {"options": {}, "order": {"currency": draft.doc["order"]["currency"], "items": []}}
    await tx.execute(
        "update drafts set status = 'deleted', number = null, doc = $3, version = version + 1, updated_at = now()"
        " where store_id = $1 and draft_id = $2",
        account.store_id, draft.draft_id, orjson.dumps(doc).decode(),
    )  # fmt: skip


async def discard(tx: Connection, account: Account, draft_id: UUID) -> None:
    """Removes the row of a draft if it is open: of an order that was refused. One that is being completed by another request stays."""
    await tx.execute(
        "delete from drafts where store_id = $1 and draft_id = $2 and aid = $3 and status = 'open'",
        account.store_id, draft_id, account.aid,
    )  # fmt: skip


async def begin_completion(tx: Connection, account: Account, draft: Draft, *, generate: bool) -> Draft:
    """Gives an open draft its number and its date, so that each attempt to complete it asks for the same order."""
    number = draft.number
    if number is None:
        number = await _free_code(tx, account) if generate else str(draft.draft_id)
    await tx.execute(
        "update drafts set status = 'completing', number = $3, completed_at = now(), updated_at = now()"
        " where store_id = $1 and draft_id = $2",
        account.store_id, draft.draft_id, number,
    )  # fmt: skip
    return await locked(tx, account, draft.draft_id)


async def begin_addition(tx: Connection, account: Account, draft: Draft, order_id: UUID) -> Draft:
    """Begins the completion of an open draft that adds lines to an order. order_id: our id of the order."""
    await tx.execute(
        "update drafts set status = 'completing', adds_to = $3, completed_at = now(), updated_at = now()"
        " where store_id = $1 and draft_id = $2",
        account.store_id, draft.draft_id, order_id,
    )  # fmt: skip
    return await locked(tx, account, draft.draft_id)


async def end_completion(tx: Connection, account: Account, draft: Draft, *, done: bool) -> None:
    """Records what orders or payments answered: it is done; or it was refused, and the draft is open again, as another version."""
    doc = placing.without_personal_data(dict(draft.doc)) if done else draft.doc
    await tx.execute(
        "update drafts set status = $4, doc = $5, version = version + $6, updated_at = now(),"
        " adds_to = case when $4 = 'completed' then adds_to end"
        " where store_id = $1 and draft_id = $2 and version = $3 and status = 'completing'",
        account.store_id, draft.draft_id, draft.version, "completed" if done else "open", orjson.dumps(doc).decode(),
        0 if done else 1,
    )  # fmt: skip


async def listed(
    app: App,
    account: Account,
    *,
    status: str | None,
    after: tuple[datetime, UUID] | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
) -> Sequence[Draft]:
    """Returns drafts, the newest first. after: the place of the last one of the page before."""
    at, draft_id = after or (None, None)
    rows = await app.fetch(LIST, account.store_id, account.aid, status, at, draft_id, since, until, limit)
    return [_draft(row) for row in rows]


async def of_order(app: App, account: Account, number: str) -> Draft | None:
    """Returns the draft that became the order of this number; None if there is none."""
    rows = await app.fetch(
        f"select {COLUMNS} from drafts where store_id = $1 and aid = $2 and number = $3 and status = 'completed'",
        account.store_id, account.aid, number,
    )  # fmt: skip
    return _draft(rows[0]) if rows else None


async def _free_code(tx: Connection, account: Account) -> str:
    for _ in range(NUMBERS_TRIED_MAX):
        code = numbers.alphanumeric_9(secrets.randbelow)
        if not await _is_taken(tx, account, code):
            return code
    raise AssertionError("twenty random codes are taken")


async def _check_free(tx: Connection, account: Account, number: str) -> None:
    if await _is_taken(tx, account, number):
        raise refused("number_taken", f"the order_id {number} is taken")


async def _is_taken(tx: Connection, account: Account, number: str) -> bool:
    """Locks the number until the transaction ends: two requests at once do not both find it free."""
    await tx.execute(
        "select pg_advisory_xact_lock(hashtextextended($1, 0))", f"{account.store_id}|{account.aid}|{number}"
    )
    return bool(
        await tx.fetchval(
            "select exists (select from drafts where store_id = $1 and aid = $2 and number = $3)",
            account.store_id, account.aid, number,
        )
    )  # fmt: skip
