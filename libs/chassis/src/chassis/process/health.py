"""Routes for supervisors and Prometheus: liveness, readiness, metrics."""

import asyncio
import time
from typing import Any, Final, Literal

import structlog
from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import generate_latest
from pydantic import BaseModel, Field

from chassis.http.bodies import as_json
from chassis.http.problems import alone, respond
from chassis.process.parts import Parts

log = structlog.get_logger("chassis.process.health")


class Health(BaseModel):
    status: Literal["live", "stuck", "ready", "waiting", "failing"]
    waiting_for: Literal["database", "clock", "kafka", "topics"] | None = Field(None, alias="for")
    detail: str | None = None
    consuming: bool | None = None
    """Whether the process has joined its consumer group."""


UNHEALTHY: Final[dict[int | str, dict[str, Any]]] = {503: {"model": Health, "description": "Not healthy."}}


def routes(app: Parts) -> APIRouter:
    router = APIRouter()

    @router.get("/health/live", response_model=Health, responses=UNHEALTHY, openapi_extra=alone())
    async def live() -> Response:
        """The event loop makes progress."""
        age = time.monotonic() - app.beat_at
        return respond(as_json(200 if age < 10 else 503, {"status": "live" if age < 10 else "stuck"}))

    @router.get("/health/ready", response_model=Health, responses=UNHEALTHY, openapi_extra=alone())
    async def ready() -> Response:
        """The database answers and agrees on the time; a pure worker has joined its group; the topics can be read.

        An api never depends on Kafka.
        """
        try:
            async with asyncio.timeout(2):
                clock = await app.database.read_clock()
        except Exception as error:
            log.info("not_ready", waiting_for="database", error=repr(error))
            return respond(as_json(503, {"status": "waiting", "for": "database"}))
        if clock.differs:
            return respond(as_json(503, {"status": "waiting", "for": "clock", "detail": clock.explained()}))
        if trouble := app.start_failed or (app.consumer.reads.trouble if app.consumer is not None else None):
            return respond(as_json(503, {"status": "failing", "for": "topics", "detail": trouble}))
        if not app.shell.ready.is_set():
            return respond(as_json(503, {"status": "waiting", "for": "recovery"}))
        joined = app.consumer is not None and app.consumer.joined.is_set()
        if app.role == "worker" and not joined:
            return respond(as_json(503, {"status": "waiting", "for": "kafka"}))
        return respond(as_json(200, {"status": "ready", "consuming": joined}))

    @router.get("/metrics", response_class=PlainTextResponse, openapi_extra=alone())
    async def metrics() -> Response:
        return Response(generate_latest(app.metrics.registry), media_type="text/plain; version=0.0.4")

    return router
