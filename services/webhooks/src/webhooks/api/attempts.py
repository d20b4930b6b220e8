"""Routes of deliveries: the log of attempts, one event once more, the test of an endpoint."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, cast
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select, tuple_
from sqlalchemy.engine import RowMapping

from chassis.declare.app import App, Principal
from chassis.http.bodies import as_json
from chassis.http.commands import COMMAND
from chassis.http.paging import Cursor, Cursors, Limit, Page
from chassis.http.problems import answers, respond
from contracts.base import Id, Timestamp
from webhooks import types as event_types
from webhooks.api import replays
from webhooks.api.found import find_endpoint, refused
from webhooks.delivery import render
from webhooks.delivery.outgoing import Outgoing
from webhooks.delivery.sender import Sender
from webhooks.domain.attempts import PRECISION, time_of
from webhooks.domain.config import TypeName
from webhooks.domain.endpoint import Endpoint
from webhooks.domain.places import Place
from webhooks.examples import example_event
from webhooks.reading import Reader
from webhooks.settings import Settings
from webhooks.tables import attempts, endpoints
from webhooks.vault import Unreadable

LIST: Final = Cursors("attempts", Timestamp, UUID)
Outcome = Literal["delivered", "failed", "returned", "exhausted"]


class AttemptShown(BaseModel):
    """A request that was sent to an endpoint."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    id: UUID
    endpoint_id: UUID
    host: str
    """The host of the endpoint's present URL."""
    event_id: str
    type: str
    subject: UUID
    """The aggregate that the event is about: mostly the order."""
    webhook_id: str
    """The same in each attempt."""
    number: int
    """1 on the first try. Attempts that are `returned` do not count."""
    at: datetime
    duration_ms: int
    outcome: Outcome
    """`returned`: it failed while the endpoint was paused or probed, and costs the event no try. `exhausted`: it was the last one."""
    http_status: int | None
    response: str
    """The beginning of the answer."""
    error: str | None
    """What prevented an answer. `event_expired`: the event waited for longer than the feed retains it, and was not sent again."""
    events: int
    """How many the request carried. Each of them has an attempt of its own, with the same `webhook_id` and time."""
    notice: bool
    """Whether it went to `notify_url`."""
    replay_id: UUID | None


class TestGiven(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    type: TypeName = Field(examples=["orders.placed"])


class TestShown(BaseModel):
    """What was sent, and how the receiver answered."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    url: str
    headers: dict[str, str]
    """Without those of `auth`."""
    body: str
    signed_text: str
    """The text whose signatures `webhook-signature` lists."""
    http_status: int | None
    response: str
    error: str | None
    duration_ms: int


def routes(app: App) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["deliveries"])
    Viewer = Annotated[Principal, Depends(app.principal("webhooks.view"))]
    Editor = Annotated[Principal, Depends(app.principal("webhooks.edit"))]
    settings, reader = cast(Settings, app.settings), Reader(app)

    @router.get("/attempts", response_model=Page[AttemptShown])
    async def list_attempts(
        who: Viewer,
        endpoint: UUID | None = None,
        order_id: UUID | None = None,
        event_id: Id | None = None,
        status: Annotated[Outcome | None, Query(description="The outcome.")] = None,
        type: Annotated[TypeName | None, Query(description="The type of the event.")] = None,
        since: Timestamp | None = None,
        until: Annotated[Timestamp | None, Query(description="Those before this time.")] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Response:
        """The requests that were sent to the store's endpoints, newest first. They are stored for 90 days."""
        mine = select(attempts).where(attempts.c.store_id == who.store_id)
        wanted = {"endpoint_id": endpoint, "key": order_id, "event_id": event_id, "outcome": status, "type": type}
        for name, value in wanted.items():
            if value is not None:
                mine = mine.where(attempts.c[name] == value)
        if since is not None:
            mine = mine.where(attempts.c.at >= since)
        if until is not None:
            mine = mine.where(attempts.c.at < until)
        place = tuple_(attempts.c.at, attempts.c.id)
        if (last := LIST.after(cursor)) is not None:
            mine = mine.where(place < tuple_(*last))
        rows = await app.read(mine.order_by(attempts.c.at.desc(), attempts.c.id.desc()).limit(limit + 1))
        page = LIST.page(rows, limit, key=lambda row: (row["at"], row["id"]))
        hosts = await _hosts(app, {row["endpoint_id"] for row in page["items"]})
        return respond(as_json(200, {**page, "items": [_attempt(row, hosts) for row in page["items"]]}))

    @router.post(
        "/attempts/{attempt_id}/resend", status_code=202, response_model=replays.ReplayShown, dependencies=COMMAND,
        openapi_extra=answers("attempt_unknown", "endpoint_unknown", "beyond_retention", "disabled", "not_verified"),
    )  # fmt: skip
    async def resend(request: Request, who: Editor, attempt_id: UUID) -> Response:
        """Send the request of an attempt once more, with the same `webhook-id` and the same events: a replay of its own."""
        row = await _find(app, who, attempt_id)
        if (before := await replays.begun_before(app, request, who, row["endpoint_id"])) is not None:
            return before
        await find_endpoint(app, who, row["endpoint_id"])
        same = [attempts.c[name] == row[name] for name in ("endpoint_id", "at", "delivery_id")]
        batch = await app.read(select(attempts.c.position).where(*same).order_by(attempts.c.position))
        positions = [one["position"] for one in batch]
        await reader.resume(Place((await reader.head()).epoch, positions[0] - 1))
        return await replays.begin(app, request, who, replays.one(row["endpoint_id"], positions, notice=row["notice"]))

    @router.post(
        "/endpoints/{endpoint_id}/test", response_model=TestShown,
        openapi_extra=answers("endpoint_unknown", "unknown_type", "secret_unreadable"),
    )  # fmt: skip
    async def test(who: Editor, endpoint_id: UUID, body: TestGiven) -> Response:
        """Send the checked-in example of a type to the endpoint now, enabled or not, and show how it was answered."""
        row = await find_endpoint(app, who, endpoint_id)
        endpoint = Endpoint.model_validate_json(row["doc"])
        if (misspelt := event_types.unknown([body.type])) is not None:
            raise refused("unknown_type", misspelt.detail, nearest=misspelt.nearest)
        now = datetime.now(UTC)
        event = example_event(body.type, f"test-{uuid4()}", who.store_id, now, personal=endpoint.config.personal)
        if event is None:
            raise refused("unknown_type", f"there is no example of {body.type}: name one type")
        content = render.rendered(event, thin=endpoint.config.payload == "thin")
        outgoing = Outgoing(endpoint_id, endpoint, settings.vault)
        try:
            sent = outgoing.carrying([content], f"msg_{uuid4().hex}", now)
            async with Sender(settings.networks) as sender:
                answer = await outgoing.send(sender, sent, {render.TEST: "true"})
        except Unreadable:
            raise refused("secret_unreadable", "a secret of the endpoint was made under a key that is gone") from None
        headers = {name: value for name, value in sent.headers.items() if name in render.SHOWN}
        return respond(
            as_json(
                200,
                {
                    "url": sent.url,
                    "headers": {**headers, render.TEST: "true"},
                    "body": sent.body.decode(),
                    "signed_text": f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{sent.body.decode()}",
                    "http_status": answer.status,
                    "response": answer.body,
                    "error": answer.error,
                    "duration_ms": int(answer.seconds * 1000),
                },
            )
        )

    return router


async def _find(app: App, who: Principal, attempt_id: UUID) -> RowMapping:
    """Returns the row of an attempt of the store, by one look-up in the partition of its day. Raises Problem 404."""
    if (at := time_of(attempt_id)) is not None:
        then = attempts.c.at >= at, attempts.c.at < at + PRECISION
        mine = select(attempts).where(*then, attempts.c.id == attempt_id, attempts.c.store_id == who.store_id)
        if rows := await app.read(mine):
            return rows[0]
    raise refused("attempt_unknown", "there is no attempt of this id in your store")


async def _hosts(app: App, keys: Collection[UUID]) -> Mapping[UUID, str]:
    rows = await app.read(select(endpoints.c.key, endpoints.c.doc).where(endpoints.c.key.in_(keys)))
    urls = {row["key"]: Endpoint.model_validate_json(row["doc"]).config.url for row in rows}
    return {key: urlsplit(url).hostname or "" for key, url in urls.items()}


def _attempt(row: RowMapping, hosts: Mapping[UUID, str]) -> dict[str, Any]:
    values = dict(row)
    named = {
        "host": hosts.get(row["endpoint_id"], ""),
        "subject": values.pop("key"),
        "webhook_id": values.pop("delivery_id"),
        "response": values["response"] or "",
    }
    return {name: value for name, value in (values | named).items() if name not in ("store_id", "position")}
