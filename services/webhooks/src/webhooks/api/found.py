"""What several routes of endpoints need: the endpoint of a path, and a refusal as a problem."""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.engine import RowMapping

from chassis.declare.app import App, Principal
from chassis.http.problems import Problem
from webhooks.api.problems import PROBLEMS
from webhooks.tables import endpoints

WHOLE: Final = select(endpoints)


async def find_endpoint(app: App, who: Principal, endpoint_id: UUID, columns: Select[Any] = WHOLE) -> RowMapping:
    """Returns the row of an endpoint of the store. columns: a selection of rows of endpoints. Raises Problem 404."""
    mine = columns.where(endpoints.c.key == endpoint_id, endpoints.c.store_id == who.store_id)
    rows = await app.read(mine.where(endpoints.c.status != "removed"))
    if not rows:
        raise refused("endpoint_unknown", "there is no endpoint of this id in your store")
    return rows[0]


def refused(code: str, detail: str, **more: Any) -> Problem:
    about = PROBLEMS[code]
    return Problem(about.status, code, about.title, detail, **more)
