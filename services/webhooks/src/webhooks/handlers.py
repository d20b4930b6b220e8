"""What webhooks reads, and what it decides on. Start reading here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from chassis.declare.app import App
from chassis.declare.service import Aggregate, Service, Share, on
from webhooks import api, invariants, retention, store
from webhooks.delivery.dispatcher import Dispatcher
from webhooks.domain import endpoint
from webhooks.domain.endpoint import Change, Create, Disable, Enable, Endpoint, Remove, Report, Rotate, Verified
from webhooks.feed import FEED
from webhooks.openapi import requests
from webhooks.settings import Settings
from webhooks.tables import metadata

ENDPOINTS = Aggregate(
    table="endpoints",
    key="endpoint_id",
    state=Endpoint,
    initial=endpoint.new_endpoint,
    evolve=endpoint.evolve,
    shows_revision=True,
    handlers=(
        on(Create, endpoint.create),  # over HTTP
        on(Change, endpoint.change),
        on(Verified, endpoint.verified),
        on(Enable, endpoint.enable),
        on(Disable, endpoint.disable),
        on(Rotate, endpoint.rotate),
        on(Remove, endpoint.remove),
        on(Report, endpoint.report),  # the dispatcher
    ),
    columns={
        "status": ("text", lambda state: state.status),
        "created_at": ("timestamptz", lambda state: state.created_at),
    },
    stamps={"changed_at": "true"},
    rows=store.rows,
)

STORES = Share(
    name="stores",
    needs=endpoint.needs,
    load=store.load_counts,
    touched=endpoint.counted,
    evolve=endpoint.count,
)


def loops(app: App) -> Mapping[str, Callable[[], Awaitable[None]]]:
    return {**retention.loops(app), "dispatcher": Dispatcher(app).run}


SERVICE = Service(
    name="webhooks",
    aggregates=(ENDPOINTS,),
    shares=(STORES,),
    listener=FEED,  # *.events.v1
    settings=Settings,
    metadata=metadata,
    migrations=Path(__file__).parents[2] / "migrations",
    routes=api.routes,
    problems=api.PROBLEMS,
    requests=requests,
    loops=loops,
    adopts=False,  # most of an endpoint is not published
    check=invariants.check,
)
