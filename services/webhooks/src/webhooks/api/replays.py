"""Routes of replays: events of an endpoint once more, from any place of the feed."""

import functools
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal, NamedTuple
from uuid import UUID

from asyncpg import Connection
from fastapi import APIRouter, Depends, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from sqlalchemy import select, tuple_
from sqlalchemy.engine import RowMapping

from chassis.declare.app import App, Principal
from chassis.http.bodies import as_json
from chassis.http.commands import COMMAND
from chassis.http.paging import Cursor, Cursors, Limit, Page
from chassis.http.problems import Invalid, answers, invalid, respond
from contracts.base import Flag, Timestamp
from webhooks import types as event_types
from webhooks.api.found import find_endpoint, refused
from webhooks.counting import Counted, behind, counted
from webhooks.delivery.line import filter_of
from webhooks.delivery.replay import selected
from webhooks.domain.config import TYPES_MAX, TypeName
from webhooks.domain.endpoint import Endpoint, notices_id
from webhooks.domain.filters import Filter
from webhooks.domain.places import Place
from webhooks.reading import Reader
from webhooks.shown import CURSORS, cursor_of
from webhooks.tables import cursors, replays

LIST: Final = Cursors("replays", Timestamp, UUID)
_TIME: TypeAdapter[datetime] = TypeAdapter(AwareDatetime)
Only = Literal["all", "failed", "missing", "one"]
Status = Literal["running", "paused", "cancelled", "finished"]
PlaceGiven = Annotated[str, Field(max_length=100, examples=["2026-11-28T00:00:00Z"])]


class ReplayGiven(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, populate_by_name=True)

    begin: PlaceGiven = Field(alias="from")
    """A cursor, or a time: the events behind it."""
    end: PlaceGiven | None = Field(None, alias="to")
    """A cursor, or a time: the events up to it. Null, or later than the endpoint has come: where the endpoint is now."""
    types: Annotated[tuple[TypeName, ...], Field(max_length=TYPES_MAX)] = ()
    """Some of the types that the endpoint wants. Empty: all of them."""
    only: Literal["all", "failed", "missing"] = "all"
    """`failed`: those whose delivery was exhausted. `missing`: those that never arrived and do not wait."""
    as_new: Flag = False
    """Whether each event gets another `webhook-id`, so that a receiver does not drop it as a repetition."""
    dry_run: Flag = False
    """Whether the events are counted, and none is sent."""


class ReplayShown(BaseModel):
    """A replay. Its end is fixed when it begins."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    replay_id: UUID | None
    """Null for a dry run. Requests carry it as `tradewind-replay`."""
    endpoint_id: UUID
    status: Status | None
    begin: str = Field(alias="from")
    end: str = Field(alias="to")
    cursor: str
    """How far it has come."""
    types: list[str]
    only: Only
    as_new: bool
    count: int | None
    """How many events a dry run found. Null for a replay."""
    or_more: bool
    """The count of the dry run has ended at a limit: there are more."""
    delivered: int
    failed: int
    created_at: datetime | None
    ended_at: datetime | None


class Range(NamedTuple):
    """What is to be sent once more."""

    endpoint_id: UUID
    first: int
    """The events behind it."""
    last: int
    types: tuple[str, ...]
    only: Only
    as_new: bool = False
    positions: tuple[int, ...] = ()
    """For `one`: the events of the request that is sent once more."""
    notice: bool = False
    """For `one`: it went to `notify_url`."""


def one(endpoint_id: UUID, positions: Sequence[int], *, notice: bool) -> Range:
    """positions: ascending."""
    return Range(endpoint_id, positions[0] - 1, positions[-1], (), "one", positions=tuple(positions), notice=notice)


BEGUN: Final = """
insert into replays (id, endpoint_id, store_id, first, last, position, types, which, as_new, actor, positions, notices_of, created_at)
select $1, coalesce($11::uuid, key), $3, $4, $5, $4, $6, $7, $8, $9, $10, case when $11 is not null then key end, clock_timestamp()
from endpoints where key = $2 and (status = 'enabled' or $11 is not null)
on conflict (id) do nothing"""
CHANGED: Final = """
update replays set status = $3, ended_at = case when $3 = 'cancelled' then clock_timestamp() end
where id = $1 and store_id = $2 and status = any($4::text[])"""
FROM: Final[dict[Status, list[Status]]] = {
    "paused": ["running"], "running": ["paused"], "cancelled": ["running", "paused"],
}  # fmt: skip
"""What a request may make of which."""


def routes(app: App) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["deliveries"])
    Viewer = Annotated[Principal, Depends(app.principal("webhooks.view"))]
    Editor = Annotated[Principal, Depends(app.principal("webhooks.edit"))]
    reader = Reader(app)

    async def position_of(given: str, pointer: str) -> int:
        """Returns the position of a place that is given as a time or as a cursor. Raises Problem."""
        try:
            return (await reader.place_at(_TIME.validate_python(given))).position
        except ValidationError:
            key = CURSORS.after(given)
        if key is None:
            raise invalid(Invalid("body", pointer, "Value error, neither a time nor a cursor"))
        place, _ = await reader.resume(Place(*key))
        return place.position

    @router.post(
        "/endpoints/{endpoint_id}/replay", status_code=202, response_model=ReplayShown, dependencies=COMMAND,
        responses={200: {"model": ReplayShown, "description": "With `dry_run`: what would be sent. No replay is made."}},
        openapi_extra=answers(
            "endpoint_unknown", "unknown_type", "beyond_retention", "cursor_invalid", "disabled", "not_verified"
        ),
    )  # fmt: skip
    async def replay(request: Request, who: Editor, endpoint_id: UUID, body: ReplayGiven) -> Response:
        """Send events once more, beside the deliveries, with at most half of the endpoint's `in_flight`."""
        if not body.dry_run and (before := await begun_before(app, request, who, endpoint_id)) is not None:
            return before
        row = await find_endpoint(app, who, endpoint_id)
        if (misspelt := event_types.unknown(body.types)) is not None:
            raise refused("unknown_type", misspelt.detail, nearest=misspelt.nearest)
        [at] = await app.read(select(cursors.c.position).where(cursors.c.endpoint_id == endpoint_id))
        end = at["position"] if body.end is None else min(await position_of(body.end, "/to"), at["position"])
        first = min(await position_of(body.begin, "/from"), end)
        wanted = Range(endpoint_id, first, end, body.types, body.only, body.as_new)
        if body.dry_run:
            config = Endpoint.model_validate_json(row["doc"]).config
            filters = filter_of(config), Filter(body.types)
            found = behind(
                app,
                who.store_id,
                filters,
                first,
                end,
                functools.partial(selected, app.fetch, endpoint_id, only=body.only),
            )
            return respond(as_json(200, await _dry(reader, wanted, await counted(found))))
        return await begin(app, request, who, wanted)

    @router.get("/replays", response_model=Page[ReplayShown])
    async def list_replays(
        who: Viewer, endpoint: UUID | None = None, limit: Limit = 50, cursor: Cursor = None
    ) -> Response:
        """The replays of the store's endpoints, newest first; what was sent once more with `resend` is one, too."""
        mine = select(replays).where(replays.c.store_id == who.store_id)
        if endpoint is not None:
            mine = mine.where(replays.c.endpoint_id.in_((endpoint, notices_id(endpoint))))
        place = tuple_(replays.c.created_at, replays.c.id)
        if (last := LIST.after(cursor)) is not None:
            mine = mine.where(place < tuple_(*last))
        rows = await app.read(mine.order_by(replays.c.created_at.desc(), replays.c.id.desc()).limit(limit + 1))
        page = LIST.page(rows, limit, key=lambda row: (row["created_at"], row["id"]))
        epoch = (await reader.head()).epoch
        return respond(as_json(200, {**page, "items": [_values(row, epoch) for row in page["items"]]}))

    @router.get("/replays/{replay_id}", response_model=ReplayShown, openapi_extra=answers("replay_unknown"))
    async def read_replay(who: Viewer, replay_id: UUID) -> Response:
        return respond(as_json(200, await _shown(app, reader, who, replay_id)))

    async def change(who: Principal, replay_id: UUID, status: Status) -> Response:
        async def work(tx: Connection) -> None:
            await tx.execute(CHANGED, replay_id, who.store_id, status, FROM[status])

        await app.write(work)
        return respond(as_json(200, await _shown(app, reader, who, replay_id)))

    @router.post("/replays/{replay_id}/pause", response_model=ReplayShown, openapi_extra=answers("replay_unknown"))
    async def pause(who: Editor, replay_id: UUID) -> Response:
        """Begin no more requests. One that has ended stays as it is."""
        return await change(who, replay_id, "paused")

    @router.post(
        "/replays/{replay_id}/resume", response_model=ReplayShown,
        openapi_extra=answers("replay_unknown", "endpoint_unknown", "disabled", "not_verified"),
    )  # fmt: skip
    async def resume(who: Editor, replay_id: UUID) -> Response:
        """Go on where it was paused."""
        await _check_enabled(app, who, (await _shown(app, reader, who, replay_id))["endpoint_id"])
        return await change(who, replay_id, "running")

    @router.post("/replays/{replay_id}/cancel", response_model=ReplayShown, openapi_extra=answers("replay_unknown"))
    async def cancel(who: Editor, replay_id: UUID) -> Response:
        """End it. What was sent stays sent."""
        return await change(who, replay_id, "cancelled")

    return router


async def begin(app: App, request: Request, who: Principal, wanted: Range) -> Response:
    """Store a replay, which the dispatcher finds within a second; a repeated request finds the one that it began.

    Raises Problem 409 if nothing is delivered to the endpoint.
    """
    replay_id = app.operation_id(request, who, wanted.endpoint_id)

    async def work(tx: Connection) -> bool:
        await tx.execute(
            BEGUN, replay_id, wanted.endpoint_id, who.store_id, wanted.first, wanted.last, list(wanted.types), wanted.only,
            wanted.as_new, who.actor, list(wanted.positions),
            notices_id(wanted.endpoint_id) if wanted.notice else None,
        )  # fmt: skip
        return await tx.fetchval("select true from replays where id = $1", replay_id) is not None

    if not await app.write(work):
        await _check_enabled(app, who, wanted.endpoint_id)
    return await _accepted(app, who, replay_id)


async def begun_before(app: App, request: Request, who: Principal, endpoint_id: UUID) -> Response | None:
    """Returns the answer of a repeated request: with the replay that the first one has begun, also if its places in the feed are gone."""
    replay_id = app.operation_id(request, who, endpoint_id)
    mine = (replays.c.id == replay_id) & (replays.c.store_id == who.store_id)
    return await _accepted(app, who, replay_id) if await app.read(select(replays.c.id).where(mine)) else None


async def _accepted(app: App, who: Principal, replay_id: UUID) -> Response:
    shown = await _shown(app, Reader(app), who, replay_id)
    return respond(as_json(202, shown, {"location": f"/v1/replays/{replay_id}"}))


async def _check_enabled(app: App, who: Principal, endpoint_id: UUID) -> None:
    """Raises Problem 409 if nothing is delivered to an endpoint, 404 if there is none."""
    match (await find_endpoint(app, who, endpoint_id))["status"]:
        case "disabled":
            raise refused("disabled", "nothing is sent to the endpoint until it is enabled")
        case "pending":
            raise refused("not_verified", "nothing is sent to the endpoint until its receiver is verified")


async def _shown(app: App, reader: Reader, who: Principal, replay_id: UUID) -> dict[str, Any]:
    rows = await app.read(select(replays).where(replays.c.id == replay_id, replays.c.store_id == who.store_id))
    if not rows:
        raise refused("replay_unknown", "there is no replay of this id in your store")
    return _values(rows[0], (await reader.head()).epoch)


def _values(row: RowMapping, epoch: int) -> dict[str, Any]:
    return {
        "replay_id": row["id"],
        "endpoint_id": row["notices_of"] or row["endpoint_id"],
        **{name: row[name] for name in ("status", "as_new", "delivered", "failed")},
        **{name: row[name] for name in ("types", "created_at", "ended_at")},
        "only": row["which"],
        "from": cursor_of(Place(epoch, row["first"])),
        "to": cursor_of(Place(epoch, row["last"])),
        "cursor": cursor_of(Place(epoch, row["position"])),
        "count": None,
        "or_more": False,
    }


async def _dry(reader: Reader, wanted: Range, found: Counted) -> dict[str, Any]:
    epoch = (await reader.head()).epoch
    begin, end = (cursor_of(Place(epoch, position)) for position in (wanted.first, wanted.last))
    return {
        "replay_id": None, "endpoint_id": wanted.endpoint_id, "status": None, "from": begin, "to": end, "cursor": begin,
        "types": wanted.types, "only": wanted.only, "as_new": wanted.as_new, "count": found.events,
        "or_more": found.or_more, "delivered": 0, "failed": 0, "created_at": None, "ended_at": None,
    }  # fmt: skip
