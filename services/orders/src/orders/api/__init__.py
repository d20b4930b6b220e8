"""HTTP of orders: one file for each subject."""

from fastapi import APIRouter

from chassis.declare.app import App
from orders.api import (
    annotations,
    captures,
    edits,
    force,
    holds,
    listing,
    markets,
    orion,
    processes,
    reading,
    refunds,
    requests,
)
from orders.api.problems import PROBLEMS
from orders.api.waits import Waits, waiting_route

__all__ = ["PROBLEMS", "routes"]


def routes(app: App) -> APIRouter:
    ours = APIRouter(prefix="/v1", route_class=waiting_route(Waits(app)))
    for subject in (
        requests,
        captures,
        force,
        edits,
        refunds,
        holds,
        annotations,
        reading,
        processes,
        listing,
        markets,
    ):
        subject.add_routes(ours, app)
    ours.routes.extend(orion.routes(app).routes)
    return ours
