"""Routes for parked messages: list, show, replay, edit, discard."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import orjson
import structlog
from fastapi import APIRouter, Body, Depends, Response
from pydantic import BaseModel, ConfigDict, Field

from chassis.batch.record import headers_from_json
from chassis.declare.app import Principal
from chassis.http.bodies import as_json
from chassis.http.commands import etag
from chassis.http.paging import ROW_MAX, Cursor, Cursors, Limit, Page, RowId, RowNumber
from chassis.http.problems import Problem, answers, known, respond
from chassis.process.parts import Parts
from chassis.work import parked as work
from chassis.work.replay import Replay
from contracts.base import Code, Text

log = structlog.get_logger("chassis.process.parked")


class Edit(BaseModel):
    value: Annotated[str, Field(max_length=1_100_000)]
    """The whole new body, JSON text."""


class Discard(BaseModel):
    reason: Text = ""
    """Why it may be lost: stored with the message and shown."""


class BulkDiscard(BaseModel):
    """The waiting messages that fit all filters given; at least one is."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": [name], "properties": {name: {"type": kind}}}
                for name, kind in (("ids", "array"), ("key", "string"), ("cause", "string"))
            ]
        }
    )

    reason: Annotated[Text, Field(min_length=1)]
    ids: Annotated[list[RowNumber], Field(max_length=work.DISCARD_MAX)] | None = None
    key: UUID | None = None
    """The record key: an order id, or the id of another aggregate."""
    cause: Code | None = None


class ParkedMessage(BaseModel):
    """A message that was set aside, in a list."""

    id: int
    key: UUID | None
    """The id in the record key; null if the record has none that can be read."""
    store_id: str | None
    type: str | None
    topic: str
    partition: int | None
    offset: int | None
    cause: str
    detail: str
    state: Literal["waiting", "replayed", "edited", "discarded"]
    version: int
    """Counts the changes of the record: edited, failed again, settled."""
    parked_at: datetime
    edited_from: int | None
    """The message whose body was edited."""
    settled_by: str | None
    settled_at: datetime | None
    reason: str | None


class RecordHeader(BaseModel):
    name: str
    value: str | None


class ParkedWhole(ParkedMessage):
    """The message with its bytes, as text: bytes that are not UTF-8 are replaced."""

    record_key: str | None
    headers: list[RecordHeader]
    value: str | None


class Replayed(BaseModel):
    replayed: int
    """Number of messages that were replayed."""
    left: int
    """Number of messages of the key that still wait."""


class Edited(Replayed):
    stopped_at: int | None = None
    """A later message of the key that failed."""
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


def routes(app: Parts) -> APIRouter:
    router = APIRouter()
    view, edit = (app.principal(scope, one_store=False) for scope in ("parked.view", "parked.edit"))

    @router.get("/v1/parked", response_model=Page[ParkedMessage])
    async def parked(
        who: Annotated[Principal, Depends(view)],
        limit: Limit = 50,
        cursor: Cursor = None,
        state: Literal["waiting", "replayed", "edited", "discarded"] = "waiting",
        key: UUID | None = None,
        cause: Code | None = None,
    ) -> Response:
        """Parked messages, newest first."""
        start = PARKED.after(cursor)
        async with app.database.queries.connection() as connection:
            rows = await connection.fetch(
                'select id, key, store_id, type, topic, partition, "offset", cause, detail, state, version, parked_at,'
                " edited_from, settled_by, settled_at, reason from parked where state = $1 and ($2::text is null or store_id = $2)"
                " and ($3::uuid is null or key = $3) and ($4::text is null or cause = $4) and id < $5 order by id desc limit $6",
                state, _store_of(who), key, cause, start[0] if start else ROW_MAX, limit + 1,
            )  # fmt: skip
        items = [{name: _text(value) for name, value in row.items()} for row in rows]
        return respond(as_json(200, PARKED.page(items, limit, lambda row: (row["id"],))))

    async def caught_up() -> None:
        """Refuses while a restored database catches up: a decision on data that it lost would be wrong."""
        await app.shell.until_ready()

    async def found(who: Principal, parked_id: int) -> Any:
        async with app.database.queries.connection() as connection:
            row = await connection.fetchrow(f"select {work.COLUMNS} from parked where id = $1", parked_id)
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
        row["value"] = row["value"].decode("utf-8", "replace") if row["value"] is not None else None
        row["record_key"] = row["record_key"].decode("utf-8", "replace") if row["record_key"] is not None else None
        row["headers"] = [
            {"name": name, "value": None if value is None else value.decode("utf-8", "replace")}
            for name, value in headers_from_json(orjson.loads(row["headers"]))
        ]
        return respond(as_json(200, {name: _text(value) for name, value in row.items()}, etag(row["version"])))

    async def replayable(row: Any) -> Any:
        """The row, if it can be handled; what was parked for its time is judged by the time of now."""
        hopeless = row["topic"] == "task" or row["cause"] in work.UNREAD
        refused = row["detail"] if hopeless else await app.replays.still_refused(row)
        if refused is not None:
            raise known("message_unreplayable", refused)
        return row

    def failed(done: Replay) -> Problem:
        return known("replay_stopped", done.detail, stopped_at=done.stopped_at, replayed=done.replayed, left=done.left)

    @router.post(
        "/v1/parked/{parked_id}/replay", response_model=Replayed, dependencies=[Depends(caught_up)],
        openapi_extra=answers("resource_unknown", "message_settled", "message_unreplayable", "replay_stopped", "outcome_unknown"),
    )  # fmt: skip
    async def replay(who: Annotated[Principal, Depends(edit)], parked_id: RowId) -> Response:
        """Replay the message's whole order, in order; or the message alone when no other waits behind it."""
        row = await replayable(await waiting(who, parked_id))
        if row["key"] is not None:
            done = await app.replays.replay_key(row["key"], who.actor)
        else:
            done = await app.replays.replay_one(row["id"], who.actor)
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
        done = await app.replays.edit(parked_id, body.value.encode(), who.actor)
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
        who: Annotated[Principal, Depends(edit)],
        parked_id: RowId,
        body: Annotated[Discard, Body(default_factory=Discard)],
    ) -> Response:
        """The one allowed loss: audited with who did it and why."""
        await waiting(who, parked_id)
        gone = await discarded(who, work.Chosen(ids=[parked_id]), body.reason)
        if not gone:
            raise known("message_settled", "another request was faster")
        [(_, key)] = gone
        if key is not None:
            await app.replays.replay_key(key, who.actor)
            app.relay.wake()
        return respond(as_json(200, {"discarded": parked_id}))

    @router.post(
        "/v1/parked-discards", response_model=BulkDiscarded, dependencies=[Depends(caught_up)],
        openapi_extra=answers("filter_missing", "outcome_unknown"),
    )  # fmt: skip
    async def discard_many(who: Annotated[Principal, Depends(edit)], body: BulkDiscard) -> Response:
        """Discard the waiting messages that fit, up to 1,000 at a time; `more`: whether others may be left."""
        if body.ids is None and body.key is None and body.cause is None:
            raise known("filter_missing", "name ids, key or cause")
        chosen = work.Chosen(body.ids, body.key, body.cause, _store_of(who))
        gone = await discarded(who, chosen, body.reason)
        return respond(as_json(200, {"discarded": len(gone), "more": len(gone) == work.DISCARD_MAX}))

    async def discarded(who: Principal, chosen: work.Chosen, reason: str) -> list[tuple[int, UUID | None]]:
        async with app.database.transaction() as tx:
            gone = await work.discard(tx, chosen, who.actor, reason)
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
