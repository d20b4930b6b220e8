"""What webhooks reads. Start reading here."""

from __future__ import annotations

from pathlib import Path

from chassis.declare.service import Service
from webhooks import api, invariants, retention
from webhooks.feed import FEED
from webhooks.settings import Settings
from webhooks.tables import metadata

SERVICE = Service(
    name="webhooks",
    aggregates=(),
    listener=FEED,  # *.events.v1
    settings=Settings,
    metadata=metadata,
    migrations=Path(__file__).parents[2] / "migrations",
    routes=api.routes,
    problems=api.PROBLEMS,
    loops=retention.loops,
    adopts=False,
    check=invariants.check,
)
