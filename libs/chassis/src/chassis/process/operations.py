"""`GET /v1/operations` of every process: what its gauges show, as JSON, with the times since when."""

import os
import platform
import socket
from datetime import datetime, timedelta
from functools import cache
from importlib.metadata import version
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from chassis.batch.database import PoolUse
from chassis.declare.app import Principal
from chassis.kafka.consumer import Consumer
from chassis.process.observer import Observation, Read
from chassis.process.parts import Parts


class Versions(BaseModel):
    tradewind: str
    python: str
    postgresql: str


class Outbox(BaseModel):
    rows: int
    """Not yet published; at most 100,000 are counted."""
    oldest_since: datetime | None
    set_aside: int
    """Rows that the broker refuses."""


class ParkedMessages(BaseModel):
    waiting: int
    keys: int
    """Orders, and other aggregates, that wait behind one."""
    oldest_since: datetime | None


class UnderWayShown(BaseModel):
    step: str
    """`<process>.<step>` of an order; the operation of a gateway."""
    waiting: str
    """What it waits for."""
    count: int
    oldest_since: datetime


class Processes(BaseModel):
    counted_at: datetime
    items: list[UnderWayShown]


class Consuming(BaseModel):
    """The member of the consumer group."""

    group: str
    joined: bool
    lag: int
    """Records not yet handled on its partitions."""
    oldest_since: datetime | None
    intake_paused: bool
    trouble: str | None
    """Why topics cannot be read."""


class Pool(BaseModel):
    """Connections to the database."""

    name: Literal["batch", "reads"]
    connections_max: int
    connections: int
    in_use: int


class Operations(BaseModel):
    """One process, and what waits in the database of its service."""

    service: str
    role: str
    """`all`, `api` or `worker`."""
    process: str
    """`<host>:<process id>`."""
    started_at: datetime
    at: datetime
    """When the database was read, by its clock; at most two seconds ago."""
    ready: bool
    """False until a restored database has recovered."""
    versions: Versions
    clock_skew_seconds: float
    """The host's clock minus the database's."""
    outbox: Outbox
    parked: ParkedMessages
    tasks_open: int
    timers_overdue: int
    """More than ten seconds late."""
    processes: Processes
    """What is under way in the whole service."""
    consumer: Consuming | None
    """Null in a process of the role `api`, and before the consumer starts."""
    pools: list[Pool]
    gauges: dict[str, float]
    """What the service itself measures in this process, by the name of its series without `tradewind_`, e.g. `breakers_open`."""


def routes(app: Parts) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["operations"])
    view = app.principal("operations.view", one_store=False)

    @router.get("/operations", response_model=Operations)
    async def operations(who: Annotated[Principal, Depends(view)]) -> Any:
        """What waits, since when, and for what: in this process, and in its service's database over all stores."""
        return _shown(app, await app.observer.latest())

    return router


def _shown(app: Parts, observed: Observation) -> Operations:
    read = observed.read
    return Operations(
        service=app.service.name,
        role=app.role,
        process=f"{socket.gethostname()}:{os.getpid()}",
        started_at=app.started_at,
        at=read.at,
        ready=app.shell.ready.is_set(),
        versions=Versions(tradewind=_release(), python=platform.python_version(), postgresql=read.postgresql),
        clock_skew_seconds=round(app.database.clock.skew, 3),
        outbox=Outbox(rows=read.outbox_rows, oldest_since=_outbox_since(read), set_aside=read.set_aside),
        parked=ParkedMessages(waiting=read.parked, keys=read.parked_keys, oldest_since=read.parked_since),
        tasks_open=read.tasks,
        timers_overdue=read.timers_overdue,
        processes=Processes(
            counted_at=observed.counted_at,
            items=[
                UnderWayShown(
                    step=one.step, waiting=one.waiting, count=one.number, oldest_since=observed.oldest_since(one)
                )
                for one in observed.under_way
            ],
        ),
        consumer=_consuming(app.consumer, read.at) if app.consumer is not None else None,
        pools=[_pool(use) for use in app.database.pools()],
        gauges=_gauges(app),
    )


def _outbox_since(read: Read) -> datetime | None:
    return read.at - timedelta(seconds=read.outbox_age_seconds) if read.outbox_rows else None


def _consuming(consumer: Consumer, at: datetime) -> Consuming:
    lag, age_seconds = consumer.lag()
    return Consuming(
        group=consumer.service.name,
        joined=consumer.joined.is_set(),
        lag=lag,
        oldest_since=at - timedelta(seconds=age_seconds) if age_seconds else None,
        intake_paused=consumer.intake_paused,
        trouble=consumer.reads.trouble,
    )


def _gauges(app: Parts) -> dict[str, float]:
    """Without those of the chassis, and without those that have labels."""
    families = [one for one in app.registry.collect() if one.type == "gauge" and one.name not in app.metrics.own]
    return {
        one.name.removeprefix("tradewind_"): sample.value
        for one in families
        if one.name.startswith("tradewind_")
        for sample in one.samples
        if sample.labels.keys() == {"service"}
    }


def _pool(use: PoolUse) -> Pool:
    return Pool(name=use.name, connections_max=use.connections_max, connections=use.connections, in_use=use.in_use)


@cache
def _release() -> str:
    return version("tradewind-chassis")
