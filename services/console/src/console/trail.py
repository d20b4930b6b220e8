"""Reads the table `audit`: what persons requested, newest first, by pages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Subquery, and_, func, select, true, tuple_
from sqlalchemy.engine import RowMapping

from chassis.declare.app import App
from chassis.http.paging import Cursors
from console.tables import audit, order_rows
from contracts.base import Timestamp

ROWS: Final = 50
LOOK_BACK: Final = 20_000
"""Rows that one request reads at most: of these, fewer than a page may fit the filters."""
NEWEST: Final = (audit.c.at.desc(), audit.c.nonce.desc())
PLACES: Final = Cursors("console.audit", Timestamp, UUID)


class Filters(NamedTuple):
    """Each one narrows the list; None: any."""

    person: str | None
    action: str | None
    outcome: str | None
    orders: Sequence[UUID] | None
    since: datetime | None
    until: datetime | None


class Page(NamedTuple):
    rows: Sequence[RowMapping]
    next_cursor: str | None
    searched_back_to: datetime | None
    """There may be more, further back than one request reads; null: there is nothing behind this page, or the next one has it."""


async def page(app: App, stores: Sequence[str] | None, filters: Filters, cursor: str | None) -> Page:
    """stores: whose rows are listed; None: all, and those that belong to no store. Raises Problem 400."""
    looked_at = _looked_at(filters, PLACES.after(cursor))
    newest = looked_at.order_by(*NEWEST).limit(LOOK_BACK).subquery("looked_at")
    number = select(order_rows.c.number).where(order_rows.c.order_id == newest.c.order_id).scalar_subquery()
    wanted = select(newest, number.label("number")).where(and_(true(), *_fitting(newest, stores, filters)))
    rows = await app.read(wanted.order_by(newest.c.at.desc(), newest.c.nonce.desc()).limit(ROWS + 1))
    found = PLACES.page(rows, ROWS, key=lambda row: (row["at"], row["nonce"]))
    if found["next_cursor"] is not None:
        return Page(found["items"], found["next_cursor"], None)
    last = await app.read(looked_at.order_by(*NEWEST).offset(LOOK_BACK - 1).limit(1))
    if not last:
        return Page(found["items"], None, None)
    return Page(found["items"], PLACES.at((last[0]["at"], last[0]["nonce"])), last[0]["at"])


def _looked_at(filters: Filters, last: tuple[Any, ...] | None) -> Select[Any]:
    """Returns the rows that an index finds by their time, or by their order."""
    wanted = select(audit)
    if filters.orders is not None:
        wanted = wanted.where(audit.c.order_id.in_(filters.orders))
    if filters.since is not None:
        wanted = wanted.where(audit.c.at >= filters.since)
    if filters.until is not None:
        wanted = wanted.where(audit.c.at < filters.until)
    return wanted if last is None else wanted.where(tuple_(audit.c.at, audit.c.nonce) < tuple_(*last))


def _fitting(newest: Subquery, stores: Sequence[str] | None, filters: Filters) -> Sequence[ColumnElement[bool]]:
    outcome = func.split_part(newest.c.outcome, ":", 1)  # of a file, how much was sent is behind the word
    same = ((newest.c.person, filters.person), (newest.c.action, filters.action), (outcome, filters.outcome))
    conditions = [column == value for column, value in same if value is not None]
    return conditions if stores is None else [newest.c.store_id.in_(stores), *conditions]
