"""What the console reads, and the pages that it serves. Start reading here."""

from __future__ import annotations

from pathlib import Path

from chassis.declare.service import Service
from console import api, freshness, invariants, people, polling, working
from console.projection import PROJECTION
from console.settings import Settings
from console.tables import metadata

SERVICE = Service(
    name="console",
    aggregates=(),
    listener=PROJECTION,  # *.events.v1
    settings=Settings,
    metadata=metadata,
    migrations=Path(__file__).parents[2] / "migrations",
    routes=api.routes,
    problems=api.PROBLEMS,
    apply=people.apply,
    forms=True,
    young_objects=10_000,  # pages wait for each collection: it may take a few milliseconds, not half a second
    loops=lambda app: {**freshness.loops(app), **polling.loops(app), **working.loops(app)},
    adopts=False,  # it publishes nothing
    check=invariants.check,
)
