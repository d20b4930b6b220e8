"""What the service declares. It handles no message: its routes ask orders and payments. Start reading in `api`."""

from __future__ import annotations

from pathlib import Path

from chassis.declare.service import Service
from dintero_compat import accounts, api
from dintero_compat.refusals import in_their_shape
from dintero_compat.settings import Settings
from dintero_compat.tables import metadata

SERVICE = Service(
    name="dintero_compat",
    aggregates=(),
    settings=Settings,
    metadata=metadata,
    migrations=Path(__file__).parents[2] / "migrations",
    routes=api.routes,
    problems=api.PROBLEMS,
    problem_members=in_their_shape,
    apply=accounts.apply,
    adopts=False,  # it publishes nothing
)
