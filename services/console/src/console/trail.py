"""Reads the table `audit`: what persons requested, newest first, by pages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, and_, select, true, tuple_
from sqlalchemy.engine import RowMapping

from chassis.declare.app import App
from chassis.http.paging import Cursors
from console.tables import audit, order_rows
from contracts.base import Timestamp

ROWS: Final = 50
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


async def page(app: App, stores: Sequence[str] | None, filters: Filters, cursor: str | None) -> Page:
    """stores: whose rows are listed; None: all, and those that belong to no store. Raises Problem 400."""
    wanted = select(audit, order_rows.c.number).join(
        order_rows, order_rows.c.order_id == audit.c.order_id, isouter=True
    )
    wanted = wanted.where(and_(true(), *_conditions(stores, filters)))
    place = tuple_(audit.c.at, audit.c.nonce)
    if (last := PLACES.after(cursor)) is not None:
        wanted = wanted.where(place < tuple_(*last))
    rows = await app.read(wanted.order_by(audit.c.at.desc(), audit.c.nonce.desc()).limit(ROWS + 1))
    found = PLACES.page(rows, ROWS, key=lambda row: (row["at"], row["nonce"]))
    return Page(found["items"], found["next_cursor"])


def _conditions(stores: Sequence[str] | None, filters: Filters) -> Sequence[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if stores is not None:
        conditions.append(audit.c.store_id.in_(stores))
    same = {"person": filters.person, "action": filters.action, "outcome": filters.outcome}
    conditions += [audit.c[name] == value for name, value in same.items() if value is not None]
    if filters.orders is not None:
        conditions.append(audit.c.order_id.in_(filters.orders))
    if filters.since is not None:
        conditions.append(audit.c.at >= filters.since)
    if filters.until is not None:
        conditions.append(audit.c.at < filters.until)
    return conditions
