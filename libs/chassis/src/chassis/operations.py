"""What every service answers its operators: health, metrics, parked messages; and the loops that watch it."""

import asyncio
import time
from typing import TYPE_CHECKING, Annotated, Any, Literal

import orjson
import structlog
from fastapi import APIRouter, Depends, Query, Request, Response
from prometheus_client import generate_latest
from pydantic import BaseModel, Field

from chassis import parking
from chassis.consumer import Consumer
from chassis.database import is_transient
from chassis.http import Principal, Problem, after, as_json, page, respond
from chassis.inbound import headers_from_json

if TYPE_CHECKING:
    from chassis.app import App

log = structlog.get_logger("chassis.operations")


class Edit(BaseModel):
    value: Annotated[str, Field(max_length=1_100_000)]
    """The whole new body, JSON text."""


def routes(app: "App") -> APIRouter:
    router = APIRouter()
    view, edit = (app.principal(scope, one_store=False) for scope in ("parked.view", "parked.edit"))

    @router.get("/health/live")
    async def live() -> Response:
        """The event loop makes progress."""
        age = time.monotonic() - app.beat_at
        return respond(as_json(200 if age < 10 else 503, {"status": "live" if age < 10 else "stuck"}))

    @router.get("/health/ready")
    async def ready() -> Response:
        """The database answers and agrees on the time; a pure worker has joined its group; the topics can be read.

        An api never depends on Kafka.
        """
        try:
            async with asyncio.timeout(2):
                clock = await app.database.read_clock()
        except Exception as error:
            return respond(as_json(503, {"status": "waiting", "for": "database", "detail": repr(error)}))
        if clock.differs:
            return respond(as_json(503, {"status": "waiting", "for": "clock", "detail": clock.explained()}))
        joined = app.consumer is not None and app.consumer.joined.is_set()
        if app.role == "worker" and not joined:
            return respond(as_json(503, {"status": "waiting", "for": "kafka"}))
        if trouble := app.start_failed or (app.consumer.reads.trouble if app.consumer is not None else None):
            return respond(as_json(503, {"status": "failing", "for": "topics", "detail": trouble}))
        return respond(as_json(200, {"status": "ready", "consuming": joined}))

    @router.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(app.metrics.registry), media_type="text/plain; version=0.0.4")

    @router.get("/v1/parked")
    async def parked(
        who: Annotated[Principal, Depends(view)],
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        cursor: str | None = None,
        state: Literal["waiting", "replayed", "edited", "discarded"] = "waiting",
    ) -> Response:
        start = after(cursor)
        if start and not isinstance(start[0], int):
            raise Problem(
                400, "bad_cursor", "The cursor is not one of ours", "use next_cursor of the page before, unchanged"
            )
        async with app.database.connection() as connection:
            rows = await connection.fetch(
                'select id, key as order_id, store_id, type, topic, partition, "offset", cause, detail, state, parked_at,'
                " edited_from, settled_by, settled_at from parked"
                " where state = $1 and ($2 or store_id = $3) and id > $4 order by id limit $5",
                state, who.administrator and not who.store_id, who.store_id, start[0] if start else 0, limit + 1,
            )  # fmt: skip
        items = [{name: _text(value) for name, value in row.items()} for row in rows]
        return respond(as_json(200, page(items, limit, lambda row: (row["id"],))))

    async def caught_up() -> None:
        """What a restored database forgot is not decided anew."""
        await app.shell.until_ready()

    async def waiting(who: Principal, parked_id: int) -> Any:
        async with app.database.connection() as connection:
            row = await connection.fetchrow(f"select {parking.COLUMNS} from parked where id = $1", parked_id)
        mine = row is not None and (
            who.administrator if row["store_id"] is None else who.store_id in ("", row["store_id"])
        )
        if not mine or (who.store_id == "" and not who.administrator):
            raise Problem(404, "not_found", "Not found", f"no parked message {parked_id} in your store")
        assert row is not None
        if row["state"] != "waiting":
            raise Problem(409, "not_waiting", "The message does not wait any more", f"it is {row['state']}")
        return row

    @router.get("/v1/parked/{parked_id}")
    async def one(who: Annotated[Principal, Depends(view)], parked_id: int) -> Response:
        row = dict(await waiting(who, parked_id))
        row["value"] = row["value"].decode("utf-8", "replace") if row["value"] is not None else None
        row["record_key"] = row["record_key"].decode("utf-8", "replace") if row["record_key"] is not None else None
        row["headers"] = [
            [name, None if value is None else value.decode("utf-8", "replace")]
            for name, value in headers_from_json(orjson.loads(row["headers"]))
        ]
        return respond(as_json(200, {name: _text(value) for name, value in row.items()}))

    async def replayable(row: Any) -> Any:
        """The row, if it can be handled; what was parked for its time is judged by the time of now."""
        hopeless = row["topic"] == "task" or row["cause"] in parking.UNREAD
        refused = row["detail"] if hopeless else await app.parking.still_refused(row)
        if refused is not None:
            raise Problem(409, "not_replayable", "This message is not replayed as it is", refused)
        return row

    async def replayed(who: Principal, row: Any) -> Response:
        if row["key"] is not None:
            done = await app.parking.replay_key(row["key"], who.actor)
        else:
            done = await app.parking.replay_one(row["id"], who.actor)
        app.relay.wake()
        if done.stopped_at is not None:
            problem = Problem(409, "failed_again", "The replay stopped", done.detail, stopped_at=done.stopped_at,
                              replayed=done.replayed, left=done.left)  # fmt: skip
            return respond(problem.rendered())
        return respond(as_json(200, {"replayed": done.replayed, "left": done.left}))

    @router.post("/v1/parked/{parked_id}/replay", dependencies=[Depends(caught_up)])
    async def replay(who: Annotated[Principal, Depends(edit)], parked_id: int) -> Response:
        """Replay the message's whole order, in order; or the message alone when it blocks nobody."""
        return await replayed(who, await replayable(await waiting(who, parked_id)))

    @router.post("/v1/parked/{parked_id}/edit", dependencies=[Depends(caught_up)])
    async def change(who: Annotated[Principal, Depends(edit)], parked_id: int, body: Edit) -> Response:
        """Put another body in the message's place and replay its order; the original bytes are kept beside it."""
        await replayable(await waiting(who, parked_id))
        async with app.database.transaction() as tx:
            row = await parking.settle(tx, parked_id, "edited", who.actor, body.value.encode())
        if row is None:
            raise Problem(409, "not_waiting", "The message does not wait any more", "somebody was faster")
        return await replayed(who, row)

    @router.post("/v1/parked/{parked_id}/discard", dependencies=[Depends(caught_up)])
    async def discard(who: Annotated[Principal, Depends(edit)], parked_id: int, request: Request) -> Response:
        """The one allowed loss: audited with who did it."""
        await waiting(who, parked_id)
        async with app.database.transaction() as tx:
            row = await parking.settle(tx, parked_id, "discarded", who.actor)
        if row is None:
            raise Problem(409, "not_waiting", "The message does not wait any more", "somebody was faster")
        log.warning("discarded", parked_id=parked_id, key=str(row["key"]), by=who.actor)
        if row["key"] is not None:
            await app.parking.replay_key(row["key"], who.actor)
            app.relay.wake()
        return respond(as_json(200, {"discarded": parked_id}))

    return router


def _text(value: Any) -> Any:
    return value if value is None or isinstance(value, (str, int, float, bool, list)) else (
        value.isoformat() if hasattr(value, "isoformat") else str(value)
    )  # fmt: skip


OBSERVED = """
select (select count(*) from (select 1 from outbox limit 100000) o) as outbox_rows,
  (select count(*) from outbox_set_aside) as set_aside,
  coalesce((select extract(epoch from clock_timestamp() - j.at) from (select day, journal_id from outbox order by id limit 1) o
    cross join lateral (select at from journal where day = o.day and id = o.journal_id limit 1) j), 0)::float8 as outbox_age,
  (select count(*) from parked where state = 'waiting') as parked,
  (select count(*) from parked_keys) as parked_keys,
  (select count(*) from timers where due_at < now() - interval '10 seconds') as overdue,
  (select count(*) from (select 1 from tasks limit 100000) t) as tasks"""


COUNT_SECONDS = 15
"""Between two counts of what is under way."""


async def observe(app: "App") -> None:
    """Every two seconds: the gauges that operators alert on; what is under way, which has to be counted, every fifteen."""
    metrics = app.metrics
    counted_at = float("-inf")
    while True:
        try:
            async with app.database.connection() as connection:
                row = await connection.fetchrow(OBSERVED)
                if app.service.processes is not None and time.monotonic() - counted_at > COUNT_SECONDS:
                    metrics.under_way(await connection.fetch(app.service.processes))
                    counted_at = time.monotonic()
            assert row is not None
            metrics.outbox_rows.set(row["outbox_rows"])
            metrics.outbox_age.set(row["outbox_age"])
            metrics.set_aside.set(row["set_aside"])
            metrics.parked_waiting.set(row["parked"])
            metrics.parked_keys.set(row["parked_keys"])
            metrics.timers_overdue.set(row["overdue"])
            metrics.tasks_open.set(row["tasks"])
        except Exception as error:
            if not is_transient(error):
                raise  # a gauge that is late is no fault; anything else is
        await asyncio.sleep(2)  # between two looks: gauges, not decisions


CLOCK_SECONDS = 2.0
"""Between two readings of the database's clock."""


async def watch_clock(app: "App") -> None:
    """Read the database's clock again and again; report a host whose own clock differs from it."""
    differed = False
    while True:
        try:
            clock = await app.database.read_clock()
            if clock.differs and not differed:
                log.error("clock_differs", detail=clock.explained())
            elif differed and not clock.differs:
                log.warning("clock_agrees_again", skew_seconds=round(clock.skew, 3))
            differed = clock.differs
        except Exception as error:
            if not is_transient(error):
                raise
        await asyncio.sleep(CLOCK_SECONDS)


async def watch_lag(consumer: Consumer) -> None:
    """Every two seconds, whatever else the process does."""
    while True:
        await consumer.measure_lag()
        await asyncio.sleep(2)


OUTBOX_AGE = """
select coalesce((select extract(epoch from clock_timestamp() - j.at) from (select day, journal_id from outbox order by id limit 1) o
  cross join lateral (select at from journal where day = o.day and id = o.journal_id limit 1) j), 0)::float8"""


async def watch_intake(app: "App", consumer: Consumer) -> None:
    """Pause intake topics while the outbox is old or enough processes run: live work is finished before more is taken."""
    settings, in_flight = app.settings, app.service.in_flight
    while True:
        await asyncio.sleep(0.2)
        await consumer.acknowledge()
        if not app.service.intake:
            await asyncio.sleep(1.9)
            continue
        try:
            async with app.database.connection() as connection:
                age = await connection.fetchval(OUTBOX_AGE)
                running = await connection.fetchval(in_flight, settings.intake_in_flight_max) if in_flight else 0
        except Exception as error:
            if not is_transient(error):
                raise
            continue
        consumer.pause_intake(age > settings.intake_outbox_age_seconds_max or running >= settings.intake_in_flight_max)
