"""What the console asks of itself, as it asks the other services, without a connection: its own parked messages."""

from __future__ import annotations

from typing import Final, cast

from fastapi import FastAPI

from chassis.declare.app import App
from chassis.http.auth import ACT_AS
from chassis.http.problems import install_problems
from chassis.process import parked
from chassis.process.parts import Parts
from console.owners import Itself

NAME: Final = "console"


def parked_messages(app: App) -> Itself:
    """Returns the routes of parked messages of this process, with a key that no other process accepts."""
    parts = cast(Parts, app)
    routes = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    install_problems(routes)
    routes.include_router(parked.routes(parts))
    return Itself(NAME, routes, parts.keys.lend(NAME, ("*", ACT_AS)))
