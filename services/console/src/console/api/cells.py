"""The cells of the lists, as the stream sends them to the pages that show them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import get_args
from uuid import UUID

from sqlalchemy.engine import RowMapping

from chassis.declare.app import App
from console import audit, freshness
from console.api.rendering import Templates
from console.listing import Column


class Cells:
    def __init__(self, app: App, templates: Templates) -> None:
        self._app, self._templates = app, templates

    async def rows(self, rows: Sequence[RowMapping]) -> Mapping[UUID, Mapping[str, str]]:
        """Returns the cells of each order; `mark` is beside the number."""
        behind = await catching_up(self._app, rows)
        macros = self._templates.macros("row.html")
        return {
            row["order_id"]: {
                "mark": macros.mark(row, row["order_id"] in behind),
                **{name: macros.cell(name, row).strip() for name in get_args(Column)},
            }
            for row in rows
        }

    async def as_of(self) -> Mapping[str, str]:
        return {"as_of": self._templates.macros("parts.html").as_of(*await freshness.current_to(self._app)).strip()}


async def catching_up(app: App, rows: Sequence[RowMapping]) -> Collection[UUID]:
    """Returns the orders whose row does not have the version yet that orders answered to an action."""
    if not rows:
        return ()
    awaited = await audit.awaited(app, [row["order_id"] for row in rows])
    return {row["order_id"] for row in rows if awaited.get(row["order_id"], 0) > (row["orders_version"] or 0)}
