"""Routes for parked messages: list, group, show, replay, edit, discard."""

from collections.abc import Mapping
from typing import Annotated, Any, Final
from uuid import UUID

import orjson
import structlog
from fastapi import APIRouter, Body, Depends, Query, Request, Response
from pydantic import ValidationError

from chassis.batch.record import headers_from_json
from chassis.declare.app import Principal, Rendered
from chassis.http.bodies import as_json
from chassis.http.commands import CHANGE, COMMAND, etag, if_match, outdated, precondition
from chassis.http.paging import ROW_MAX, Cursor, Cursors, Limit, Page, RowId, RowNumber
from chassis.http.problems import Invalid, Problem, answers, invalid, invalid_value, known, respond
from chassis.http.repeated import Repeated
from chassis.process.journal import PERSONAL
from chassis.process.parked_bodies import (
    BulkDiscard,
    BulkDiscarded,
    BulkReplay,
    BulkReplayed,
    Discard,
    Discarded,
    Edit,
    Edited,
    ParkedGroups,
    ParkedKey,
    ParkedMessage,
    ParkedWhole,
    Replayed,
    ReplayedOne,
    ReplayOutcome,
    State,
)
from chassis.process.parts import Parts
from chassis.work import parked as work
from chassis.work.parked_groups import GROUPS
from chassis.work.replay import Replay
from contracts.base import Code, Text, json_bytes
from contracts.envelope import Poison
from contracts.personal import masked
from contracts.registry import MESSAGES

log = structlog.get_logger("chassis.process.parked")


PARKED: Final = Cursors("parked", RowNumber)
KEYS: Final = Cursors("parked.keys", UUID)


def routes(app: Parts) -> APIRouter:
    router = APIRouter()
    view, edit = (app.principal(scope, one_store=False) for scope in ("parked.view", "parked.edit"))

    @router.get("/v1/parked", response_model=Page[ParkedMessage])
    async def parked(
        who: Annotated[Principal, Depends(view)],
        limit: Limit = 50,
        cursor: Cursor = None,
        state: State = "waiting",
        key: UUID | None = None,
        cause: Code | None = None,
        raised_at: Annotated[
            Text | None, Query(description="The line of our code; empty: only messages without one.")
        ] = None,
        id_max: Annotated[int | None, Query(ge=0, le=ROW_MAX, description="Only messages up to this id.")] = None,
    ) -> Response:
        """Parked messages, newest first."""
        start = PARKED.after(cursor)
        filters = {"store_id": _store_of(who), "key": key, "cause": cause, "raised_at": raised_at, "id_max": id_max}
        statement, values = work.listed(state, filters, start[0] if start else ROW_MAX, limit + 1)
        async with app.database.queries.connection() as connection:
            rows = await connection.fetch(statement, *values)
        items = [{name: _text(value) for name, value in row.items()} for row in rows]
        return respond(as_json(200, PARKED.page(items, limit, lambda row: (row["id"],))))

    @router.get("/v1/parked-groups", response_model=ParkedGroups)
    async def groups(who: Annotated[Principal, Depends(view)]) -> Any:
        """The messages that wait, by cause and by the line of our code that raised."""
        async with app.database.queries.connection() as connection:
            rows = await connection.fetch(GROUPS, _store_of(who))
        return {"items": [{"service": app.service.name, **row} for row in rows]}

    @router.get("/v1/parked-keys", response_model=Page[ParkedKey])
    async def keys(who: Annotated[Principal, Depends(view)], limit: Limit = 50, cursor: Cursor = None) -> Response:
        """The orders, and other aggregates, of which a message waits; by key."""
        (after,) = KEYS.after(cursor) or (None,)
        async with app.database.queries.connection() as connection:
            rows = await connection.fetch(work.KEYS, _store_of(who), after, limit + 1)
        items = [{"key": str(row["key"]), "since": row["since"].isoformat()} for row in rows]
        return respond(as_json(200, KEYS.page(items, limit, lambda item: (item["key"],))))

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

    async def waiting(who: Principal, parked_id: int, request: Request | None = None) -> Any:
        """A message that waits. request: raises Problem 412 if its `If-Match` names another version."""
        row = await found(who, parked_id)
        if request is not None:
            precondition(request, row["version"])
        if row["state"] != "waiting":
            raise known("message_settled", f"it is {row['state']}")
        return row

    @router.get("/v1/parked/{parked_id}", response_model=ParkedWhole, openapi_extra=answers("resource_unknown"))
    async def one(who: Annotated[Principal, Depends(view)], parked_id: RowId) -> Response:
        """A message with its bytes, waiting or settled."""
        row = dict(await found(who, parked_id))
        row["masked"] = not who.may(PERSONAL)
        value = _masked(row) if row["masked"] else row["value"]
        row["value"] = value.decode("utf-8", "replace") if value is not None else None
        row["record_key"] = row["record_key"].decode("utf-8", "replace") if row["record_key"] is not None else None
        row["stack"] = row["stack"].split("\n") if row["stack"] else []
        async with app.database.queries.connection() as connection:
            row["behind"] = await connection.fetchval(work.BEHIND, row["key"], row["id"])
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

    async def answered_before(repeated: Repeated) -> Response | None:
        async with app.database.connection() as connection:
            return await repeated.found(connection)

    async def answered(repeated: Repeated, answer: Rendered) -> Response:
        """Stores an answer after its effect, which is in transactions of its own: a message is settled once, however often it
        is asked for."""
        async with app.database.transaction() as tx:
            if (first := await repeated.claimed(tx)) is not None:
                return first  # the same request at the same time
            await repeated.store(tx, answer)
        return respond(answer)

    @router.post(
        "/v1/parked/{parked_id}/replay", response_model=Replayed, dependencies=[Depends(caught_up), *COMMAND],
        openapi_extra=answers("resource_unknown", "message_settled", "message_unreplayable", "replay_stopped", "outcome_unknown"),
    )  # fmt: skip
    async def replay(request: Request, who: Annotated[Principal, Depends(edit)], parked_id: RowId) -> Response:
        """Replay the message's whole order, in order; or the message alone when no other waits behind it."""
        repeated = await Repeated.of(request, who)
        if (before := await answered_before(repeated)) is not None:
            return before
        done = await replayed(who, await replayable(await waiting(who, parked_id)))
        if done.stopped_at is not None:
            raise failed(done)
        return await answered(repeated, as_json(200, {"replayed": done.replayed, "left": done.left}))

    async def replayed(who: Principal, row: Any) -> Replay:
        if row["key"] is not None:
            done = await app.replays.replay_key(row["key"], who.actor)
        else:
            done = await app.replays.replay_one(row["id"], who.actor)
        app.relay.wake()
        return done

    @router.post(
        "/v1/parked-replays", response_model=BulkReplayed, dependencies=[Depends(caught_up), *COMMAND],
        openapi_extra=answers("outcome_unknown"),
    )  # fmt: skip
    async def replay_many(request: Request, who: Annotated[Principal, Depends(edit)], body: BulkReplay) -> Response:
        """Replay up to 100 messages, each with all that waits under its key, in its order. One that fails stops its key alone."""
        repeated = await Repeated.of(request, who)
        if (before := await answered_before(repeated)) is not None:
            return before
        stopped: dict[UUID, str] = {}
        items = [(await replay_of_many(who, parked_id, stopped)).model_dump() for parked_id in body.ids]
        return await answered(repeated, as_json(200, {"items": items}))

    async def replay_of_many(who: Principal, parked_id: int, stopped: dict[UUID, str]) -> ReplayedOne:
        """stopped: keys that failed in this request, with the reason; they are not tried twice."""

        def told(outcome: ReplayOutcome, detail: str = "") -> ReplayedOne:
            return ReplayedOne(id=parked_id, outcome=outcome, detail=detail)

        try:
            row = await found(who, parked_id)
            if row["state"] != "waiting":
                return told(row["state"])
            if row["key"] in stopped:
                return told("stopped", stopped[row["key"]])
            done = await replayed(who, await replayable(row))
        except Problem as problem:
            return told("unreplayable" if problem.code == "message_unreplayable" else "unknown", problem.detail)
        if done.stopped_at is None:
            return told("replayed")
        if row["key"] is not None:
            stopped[row["key"]] = done.detail
        through = (await found(who, parked_id))["state"] == "replayed"  # a later message of its key has failed
        return told("replayed") if through else told("stopped", done.detail)

    @router.post(
        "/v1/parked/{parked_id}/edit", response_model=Edited, dependencies=[Depends(caught_up), *CHANGE],
        openapi_extra=answers("resource_unknown", "message_settled", "message_unreplayable", "replay_stopped", "outcome_unknown"),
    )  # fmt: skip
    async def change(
        request: Request, who: Annotated[Principal, Depends(edit)], parked_id: RowId, body: Edit
    ) -> Response:
        """Put another body in the message's place and replay its order; the original bytes are stored beside it.

        422: it is not JSON, or does not fit the schema of its type; nothing was stored, and `errors` have pointers into `value`.
        409: it failed again, and the edit was not stored. 200: it is through; `stopped_at` names a later message of the
        order that failed, if one did.
        """
        repeated = await Repeated.of(request, who)
        if (before := await answered_before(repeated)) is not None:
            return before
        row = await replayable(await waiting(who, parked_id, request))
        readable(row, body.value.encode())
        if body.dry_run:
            async with app.database.queries.connection() as connection:
                left = await connection.fetchval(work.BEHIND, row["key"], 0)
            return await answered(repeated, as_json(200, {"replayed": 0, "left": left}))
        try:
            done = await app.replays.edit(parked_id, body.value.encode(), who.actor, if_match(request))
        except work.Outdated as error:
            raise outdated(error.version) from None
        if done is None:
            raise known("message_settled", "another request was faster")
        if not done.stored:
            raise failed(done)
        app.relay.wake()
        shown: dict[str, Any] = {"replayed": done.replayed, "left": done.left}
        if done.stopped_at is not None:
            shown |= {"stopped_at": done.stopped_at, "detail": done.detail}
        return await answered(repeated, as_json(200, shown))

    def readable(row: Any, value: bytes) -> None:
        """Raises Problem 422 if the new body of a message is not JSON or does not validate."""
        try:
            app.replays.read_edited(row, value)
        except Poison as poison:
            if poison.findings:
                raise invalid(*invalid_value(poison.findings, _parsed(value))) from None
            if poison.cause in ("bad_json", "bad_body"):
                raise invalid(Invalid("value", "", poison.detail)) from None

    @router.post(
        "/v1/parked/{parked_id}/discard", response_model=Discarded, dependencies=[Depends(caught_up), *CHANGE],
        openapi_extra=answers("resource_unknown", "message_settled", "outcome_unknown"),
    )  # fmt: skip
    async def discard(
        request: Request,
        who: Annotated[Principal, Depends(edit)],
        parked_id: RowId,
        body: Annotated[Discard, Body(default_factory=Discard)],
    ) -> Response:
        """The one allowed loss: audited with who did it and why."""
        repeated = await Repeated.of(request, who)
        if (before := await answered_before(repeated)) is not None:
            return before
        await waiting(who, parked_id, request)
        answer = as_json(200, {"discarded": parked_id})
        async with app.database.transaction() as tx:
            if (first := await repeated.claimed(tx)) is not None:
                return first
            try:
                row = await work.hold(tx, parked_id, if_match(request))
            except work.Outdated as error:
                raise outdated(error.version) from None
            if row is None:
                raise known("message_settled", "another request was faster")
            gone = await work.discard(tx, work.Chosen(ids=[parked_id]), who.actor, body.reason)
            await repeated.store(tx, answer)
        noted(who, gone, body.reason)
        if (key := row["key"]) is not None:
            await app.replays.replay_key(key, who.actor)
            app.relay.wake()
        return respond(answer)

    @router.post(
        "/v1/parked-discards", response_model=BulkDiscarded, dependencies=[Depends(caught_up), *COMMAND],
        openapi_extra=answers("filter_missing", "outcome_unknown"),
    )  # fmt: skip
    async def discard_many(request: Request, who: Annotated[Principal, Depends(edit)], body: BulkDiscard) -> Response:
        """Discard the waiting messages that fit, up to 1,000 at a time; `more`: whether others may be left."""
        repeated = await Repeated.of(request, who)
        if body.ids is None and body.key is None and body.cause is None:
            raise known("filter_missing", "name ids, key or cause")
        chosen = work.Chosen(body.ids, body.key, body.cause, _store_of(who))
        async with app.database.transaction() as tx:
            if (first := await repeated.claimed(tx)) is not None:
                return first
            gone = await work.discard(tx, chosen, who.actor, body.reason)
            answer = as_json(200, {"discarded": len(gone), "more": len(gone) == work.DISCARD_MAX})
            await repeated.store(tx, answer)
        noted(who, gone, body.reason)
        return respond(answer)

    def noted(who: Principal, gone: list[tuple[int, UUID | None]], reason: str) -> None:
        for parked_id, key in gone:
            log.warning("discarded", parked_id=parked_id, key=str(key), by=who.actor, reason=reason)

    return router


def _store_of(who: Principal) -> str | None:
    """Whose messages are seen; None: an administrator's, who names no store, sees all. A key without a store sees none."""
    return None if who.administrator and not who.store_id else who.store_id


def _masked(row: Mapping[str, Any]) -> bytes | None:
    """Returns the body with its personal values hidden; None if it does not validate: nothing states which they are."""
    model = MESSAGES.get(row["type"])
    if model is None or row["value"] is None:
        return None
    try:
        return json_bytes(masked(model.model_validate_json(row["value"], context=len(row["value"]))))
    except ValidationError:
        return None


def _parsed(value: bytes) -> Any:
    """Returns a JSON value; null if it is none."""
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return None


def _text(value: Any) -> Any:
    return value if value is None or isinstance(value, (str, int, float, bool, list)) else (
        value.isoformat() if hasattr(value, "isoformat") else str(value)
    )  # fmt: skip
