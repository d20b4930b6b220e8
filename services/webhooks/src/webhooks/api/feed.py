"""Routes of the feed, by pages or as a stream, of single events and of cursors."""

from typing import Annotated, Any, Final, cast

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field
from sqlalchemy import select

from chassis.declare.app import App, Principal
from chassis.http.bodies import as_json
from chassis.http.openapi import shown_header
from chassis.http.paging import CURSOR_PATTERN
from chassis.http.problems import Invalid, Problem, answers, invalid, respond
from contracts.base import Id, Timestamp
from webhooks import types as event_types
from webhooks.domain.places import Place
from webhooks.reading import Reader, Selection
from webhooks.settings import Settings
from webhooks.shown import CURSORS, PERSONAL, CloudEvent, CursorShown, Events, cursor_of, shown
from webhooks.streams import MEDIA_TYPE, Streams
from webhooks.tables import feed

REWOUND: Final = "Tradewind-Rewound"
"""Header of an answer that repeats events: the database was restored to an earlier moment than the cursor's."""
WAIT_SECONDS_MAX: Final = 25
After = Annotated[
    str | None,
    Query(
        description="A cursor: what follows it is answered. Left out: from the oldest event.",
        json_schema_extra={"pattern": CURSOR_PATTERN},
    ),
]
Types = Annotated[
    tuple[Annotated[str, Field(max_length=64)], ...],
    Query(max_length=50, description="Types of events, or all of a service as `orders.*`. Left out: every type."),
]
LastEventId = Annotated[
    str | None, shown_header("Last-Event-ID", CURSOR_PATTERN, "For streams: goes before `after`. Browsers send it.")
]


def routes(app: App) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["feed"])
    Viewer = Annotated[Principal, Depends(app.principal("events.view"))]
    reader = Reader(app)
    streams = Streams(reader, cast(Settings, app.settings).streams_max)

    @router.get(
        "/events",
        response_model=Events,
        responses={200: {"content": {MEDIA_TYPE: {"schema": {"type": "string"}}}}},
        openapi_extra=answers("beyond_retention", "too_many_streams", "cursor_invalid"),
    )
    async def read_events(
        request: Request,
        who: Viewer,
        after: After = None,
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
        types: Types = (),
        wait: Annotated[
            int, Query(ge=0, le=WAIT_SECONDS_MAX, description="Seconds to wait at most while there is no event.")
        ] = 0,
        last_event_id: LastEventId = None,
    ) -> Response:
        """The events of the store behind a cursor, in the order of the feed. With `Accept: text/event-stream` as a stream."""
        if (wrong := event_types.unknown(types)) is not None:
            raise invalid(Invalid("query", "/types", f"Value error, {wrong.detail}"))
        is_stream = MEDIA_TYPE in request.headers.get("accept", "")
        from_query, from_header = CURSORS.after(after), CURSORS.after(last_event_id)
        found = from_header if is_stream and from_header is not None else from_query
        place, rewound = await reader.resume(Place(*found) if found is not None else None)
        personal = who.may(PERSONAL)
        headers = {REWOUND: "true"} if rewound else {}
        if is_stream:
            events = streams.events(streams.admit(who), place, types, personal=personal)
            return StreamingResponse(events, headers={"cache-control": "no-store", **headers}, media_type=MEDIA_TYPE)
        page = await reader.page_or_wait(place, Selection(who.store_id, types), limit, wait)
        body = {
            "items": [shown(event.row, page.head.epoch, personal=personal) for event in page.events],
            "next_cursor": cursor_of(page.next),
            "head": cursor_of(page.head),
        }
        return respond(as_json(200, body, headers))

    @router.get("/events/{event_id}", response_model=CloudEvent, openapi_extra=answers("event_unknown"))
    async def read_event(who: Viewer, event_id: Id) -> Response:
        """One event, by its `id`."""
        mine = select(feed).where(feed.c.event_id == event_id, feed.c.store_id == who.store_id)
        rows = await app.read(mine.order_by(feed.c.position).limit(1))
        if not rows:
            raise Problem(404, "event_unknown", "No such event", "the feed has no event of this id in this store")
        head = await reader.head()
        return respond(as_json(200, shown(rows[0], head.epoch, personal=who.may(PERSONAL))))

    @router.get("/cursors", response_model=CursorShown)
    async def read_cursor(
        who: Viewer, at: Annotated[Timestamp | None, Query(description="A time. Left out: now.")] = None
    ) -> Any:
        """The cursor behind which events follow that were published at a time or later."""
        return {"cursor": cursor_of(await reader.head() if at is None else await reader.place_at(at))}

    return router
