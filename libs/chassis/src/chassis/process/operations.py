"""What every service answers its operators: health, metrics, parked messages; and the loops that watch it."""

import asyncio
import time
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from uuid import UUID

import orjson
import structlog
from fastapi import APIRouter, Depends, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import generate_latest
from pydantic import BaseModel, Field

from chassis.batch.database import is_transient
from chassis.batch.inbound import headers_from_json
from chassis.http.auth import Principal
from chassis.http.bodies import as_json
from chassis.http.paging import BIGINT_MAX, Cursors, Limit, Page, RowId, RowNumber
from chassis.http.problems import Problem, alone, answers, known, respond
from chassis.kafka.consumer import Consumer
from chassis.work import parking
from contracts.base import Code, Text

if TYPE_CHECKING:
    from chassis.process.app import App

log = structlog.get_logger("chassis.process.operations")


class Edit(BaseModel):
    value: Annotated[str, Field(max_length=1_100_000)]
    """The whole new body, JSON text."""


class Discard(BaseModel):
    reason: Text = ""
    """Why it may be lost: stored with the message and shown."""


class BulkDiscard(BaseModel):
    """The waiting messages that fit all filters given; at least one is."""

    reason: Annotated[Text, Field(min_length=1)]
    ids: Annotated[list[RowNumber], Field(max_length=parking.DISCARD_MAX)] | None = None
    order_id: UUID | None = None
    cause: Code | None = None


class Health(BaseModel):
    status: Literal["live", "stuck", "ready", "waiting", "failing"]
    waiting_for: Literal["database", "clock", "kafka", "topics"] | None = Field(None, alias="for")
    detail: str | None = None
    consuming: bool | None = None
    """Whether the process has joined its consumer group."""


UNHEALTHY: Final[dict[int | str, dict[str, Any]]] = {503: {"model": Health, "description": "Not healthy."}}


class ParkedMessage(BaseModel):
    """A message that was set aside, in a list."""

    id: int
    order_id: UUID | None
    store_id: str | None
    type: str | None
    topic: str
    partition: int | None
    offset: int | None
    cause: str
    detail: str
    state: Literal["waiting", "replayed", "edited", "discarded"]
    parked_at: datetime
    edited_from: int | None
    """The message whose body was edited."""
    settled_by: str | None
    settled_at: datetime | None
    reason: str | None


class ParkedWhole(ParkedMessage):
    """The message with its bytes, as text: bytes that are not UTF-8 are replaced."""

    record_key: str | None
    headers: list[tuple[str, str | None]]
    value: str | None


class Replayed(BaseModel):
    replayed: int
    """Number of messages that were replayed."""
    left: int
    """Number of messages of the order that still wait."""


class Edited(Replayed):
    stopped_at: int | None = None
    """A later message of the order that failed."""
    detail: str | None = None


class Discarded(BaseModel):
    discarded: int
    """The id of the message."""


class BulkDiscarded(BaseModel):
    discarded: int
    """Number of messages."""
    more: bool
    """Whether messages that fit may be left."""


PARKED: Final = Cursors("parked", RowNumber)


def routes(app: "App") -> APIRouter:
    router = APIRouter()
    view, edit = (app.principal(scope, one_store=False) for scope in ("parked.view", "parked.edit"))

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

    @router.get("/v1/parked", response_model=Page[ParkedMessage])
    async def parked(
        who: Annotated[Principal, Depends(view)],
        limit: Limit = 50,
        cursor: str | None = None,
        state: Literal["waiting", "replayed", "edited", "discarded"] = "waiting",
        order_id: UUID | None = None,
        cause: Code | None = None,
    ) -> Response:
        """Parked messages, newest first."""
        start = PARKED.after(cursor)
        async with app.database.connection() as connection:
            rows = await connection.fetch(
                'select id, key as order_id, store_id, type, topic, partition, "offset", cause, detail, state, parked_at,'
                " edited_from, settled_by, settled_at, reason from parked where state = $1 and ($2::text is null or store_id = $2)"
                " and ($3::uuid is null or key = $3) and ($4::text is null or cause = $4) and id < $5 order by id desc limit $6",
                state, _store_of(who), order_id, cause, start[0] if start else BIGINT_MAX, limit + 1,
            )  # fmt: skip
        items = [{name: _text(value) for name, value in row.items()} for row in rows]
        return respond(as_json(200, PARKED.page(items, limit, lambda row: (row["id"],))))

    async def caught_up() -> None:
        """What a restored database forgot is not decided anew."""
        await app.shell.until_ready()

    async def found(who: Principal, parked_id: int) -> Any:
        async with app.database.connection() as connection:
            row = await connection.fetchrow(f"select {parking.COLUMNS} from parked where id = $1", parked_id)
        mine = row is not None and (
            who.administrator if row["store_id"] is None else who.store_id in ("", row["store_id"])
        )
        if not mine or (who.store_id == "" and not who.administrator):
            raise known("resource_unknown", f"no parked message {parked_id} in your store")
        assert row is not None
        return row

    async def waiting(who: Principal, parked_id: int) -> Any:
        row = await found(who, parked_id)
        if row["state"] != "waiting":
            raise known("message_settled", f"it is {row['state']}")
        return row

    @router.get("/v1/parked/{parked_id}", response_model=ParkedWhole, openapi_extra=answers("resource_unknown"))
    async def one(who: Annotated[Principal, Depends(view)], parked_id: RowId) -> Response:
        """A message with its bytes, waiting or settled."""
        row = dict(await found(who, parked_id))
        row["order_id"] = row.pop("key")
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
            raise known("message_unreplayable", refused)
        return row

    def failed(done: parking.Replay) -> Problem:
        return known("replay_stopped", done.detail, stopped_at=done.stopped_at, replayed=done.replayed, left=done.left)

    @router.post(
        "/v1/parked/{parked_id}/replay", response_model=Replayed, dependencies=[Depends(caught_up)],
        openapi_extra=answers("resource_unknown", "message_settled", "message_unreplayable", "replay_stopped", "outcome_unknown"),
    )  # fmt: skip
    async def replay(who: Annotated[Principal, Depends(edit)], parked_id: RowId) -> Response:
        """Replay the message's whole order, in order; or the message alone when it blocks nobody."""
        row = await replayable(await waiting(who, parked_id))
        if row["key"] is not None:
            done = await app.parking.replay_key(row["key"], who.actor)
        else:
            done = await app.parking.replay_one(row["id"], who.actor)
        app.relay.wake()
        if done.stopped_at is not None:
            raise failed(done)
        return respond(as_json(200, {"replayed": done.replayed, "left": done.left}))

    @router.post(
        "/v1/parked/{parked_id}/edit", response_model=Edited, dependencies=[Depends(caught_up)],
        openapi_extra=answers("resource_unknown", "message_settled", "message_unreplayable", "replay_stopped", "outcome_unknown"),
    )  # fmt: skip
    async def change(who: Annotated[Principal, Depends(edit)], parked_id: RowId, body: Edit) -> Response:
        """Put another body in the message's place and replay its order; the original bytes are stored beside it.

        409: it failed again, and the edit was not stored. 200: it is through; `stopped_at` names a later message of the
        order that failed, if one did.
        """
        await replayable(await waiting(who, parked_id))
        done = await app.parking.edit(parked_id, body.value.encode(), who.actor)
        if done is None:
            raise known("message_settled", "another request was faster")
        if not done.stored:
            raise failed(done)
        app.relay.wake()
        shown: dict[str, Any] = {"replayed": done.replayed, "left": done.left}
        if done.stopped_at is not None:
            shown |= {"stopped_at": done.stopped_at, "detail": done.detail}
        return respond(as_json(200, shown))

    @router.post(
        "/v1/parked/{parked_id}/discard", response_model=Discarded, dependencies=[Depends(caught_up)],
        openapi_extra=answers("resource_unknown", "message_settled", "outcome_unknown"),
    )  # fmt: skip
    async def discard(
        who: Annotated[Principal, Depends(edit)], parked_id: RowId, body: Discard | None = None
    ) -> Response:
        """The one allowed loss: audited with who did it and why."""
        await waiting(who, parked_id)
        gone = await discarded(who, parking.Chosen(ids=[parked_id]), (body or Discard()).reason)
        if not gone:
            raise known("message_settled", "another request was faster")
        [(_, key)] = gone
        if key is not None:
            await app.parking.replay_key(key, who.actor)
            app.relay.wake()
        return respond(as_json(200, {"discarded": parked_id}))

    @router.post(
        "/v1/parked/discard", response_model=BulkDiscarded, dependencies=[Depends(caught_up)],
        openapi_extra=answers("filter_missing", "outcome_unknown"),
    )  # fmt: skip
    async def discard_many(who: Annotated[Principal, Depends(edit)], body: BulkDiscard) -> Response:
        """Discard the waiting messages that fit, up to 1,000 at a time; `more` says whether others are left."""
        if body.ids is None and body.order_id is None and body.cause is None:
            raise known("filter_missing", "name ids, order_id or cause")
        chosen = parking.Chosen(body.ids, body.order_id, body.cause, _store_of(who))
        gone = await discarded(who, chosen, body.reason)
        return respond(as_json(200, {"discarded": len(gone), "more": len(gone) == parking.DISCARD_MAX}))

    async def discarded(who: Principal, chosen: parking.Chosen, reason: str) -> list[tuple[int, UUID | None]]:
        async with app.database.transaction() as tx:
            gone = await parking.discard(tx, chosen, who.actor, reason)
        for parked_id, key in gone:
            log.warning("discarded", parked_id=parked_id, key=str(key), by=who.actor, reason=reason)
        return gone

    return router


def _store_of(who: Principal) -> str | None:
    """Whose messages are seen; None: an administrator's, who names no store, sees all. A key without a store sees none."""
    return None if who.administrator and not who.store_id else who.store_id


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
            await app.certify()
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
