"""Routes of endpoints: create, change, verify, enable, disable, remove, secrets."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Final, cast
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response
from sqlalchemy import func, select, tuple_
from sqlalchemy.engine import RowMapping

from chassis.declare.app import App, Outcome, Principal
from chassis.http.bodies import as_json
from chassis.http.commands import CHANGE, COMMAND, etag
from chassis.http.paging import Cursor, Cursors, Limit, Page
from chassis.http.problems import answers, known, respond
from contracts.base import Timestamp
from webhooks import verification
from webhooks.api.bodies import EnableGiven, EndpointGiven, NewEndpoint, RotateGiven, checked_secret, configured
from webhooks.api.found import find_endpoint, refused
from webhooks.api.responses import EndpointMade, EndpointRead, EndpointResumed, EndpointShown, shown
from webhooks.delivery.sender import Sender
from webhooks.domain.config import Config
from webhooks.domain.endpoint import Change, Create, Disable, Enable, Endpoint, NewSecret, Remove, Rotate, Verified
from webhooks.domain.signing import Kind, new_secret, public_key_of
from webhooks.domain.urls import Wrong
from webhooks.resuming import Resumptions
from webhooks.settings import Settings
from webhooks.shown import PERSONAL
from webhooks.tables import cursors, endpoints, feed, waiting
from webhooks.vault import Closed, Unreadable

NAMESPACE: Final = UUID("8c1f4b5e-6a3d-5f0b-9c55-0f6b1f3e7a92")
"""Namespace of the ids of endpoints that are created with an Idempotency-Key."""
LIST: Final = Cursors("endpoints", Timestamp, UUID)
NeedsAttention = Annotated[
    bool, Query(description="Only those that get nothing new: they are disabled, or their breaker is open.")
]
RETRIES_MAX: Final = 1_000
"""How many deliveries that wait for a retry are counted."""
_RETRIES: Final = (
    select(waiting.c.position)
    .where(waiting.c.endpoint_id == endpoints.c.key, ~waiting.c.exhausted, ~waiting.c.delivered)
    .limit(RETRIES_MAX + 1)
    .correlate(endpoints)
    .subquery()
)
_UNREACHED: Final = (
    select(feed.c.at)
    .where(feed.c.store_id == endpoints.c.store_id, feed.c.position > cursors.c.position)
    .order_by(feed.c.position)
    .limit(1)
    .correlate(endpoints, cursors)
)
WITH_PROGRESS: Final = select(
    endpoints,
    *(cursors.c[name] for name in ("breaker_because", "breaker_since", "succeeded_at")),
    select(func.count()).select_from(_RETRIES).scalar_subquery().label("retries"),
    _UNREACHED.scalar_subquery().label("unreached_since"),
).join(cursors, cursors.c.endpoint_id == endpoints.c.key, isouter=True)
CONFIGURED: Final = (
    "url_not_https", "url_has_credentials", "url_port", "url_not_public", "unknown_type", "bad_filter", "bad_secret",
    "reserved_header", "bad_certificate", "secret_unstorable",
)  # fmt: skip
"""The problems of a configuration."""


def routes(app: App) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["endpoints"])
    Viewer = Annotated[Principal, Depends(app.principal("webhooks.view"))]
    Editor = Annotated[Principal, Depends(app.principal("webhooks.edit"))]
    settings = cast(Settings, app.settings)
    vault, gate, resumptions = settings.vault, settings.gate, Resumptions(app)

    def sealing(endpoint_id: UUID) -> Callable[[str], str]:
        def seal(value: str) -> str:
            try:
                return vault.seal(endpoint_id, value)
            except Closed:
                raise refused("secret_unstorable", "WEBHOOKS_SECRET_KEYS is not set") from None

        return seal

    def config_of(who: Principal, endpoint_id: UUID, body: EndpointGiven) -> Config:
        if body.personal and not who.may(PERSONAL):
            raise known("scope_missing", f"`personal` needs the scope {PERSONAL}")
        try:
            return configured(body, gate, sealing(endpoint_id))
        except Wrong as wrong:
            raise refused(wrong.refusal.code, wrong.refusal.detail, **wrong.refusal.more) from None

    def secret_of(endpoint_id: UUID, given: str | None, kind: Kind) -> NewSecret:
        try:
            kind = kind if given is None else checked_secret(given)
        except Wrong as wrong:
            raise refused(wrong.refusal.code, wrong.refusal.detail, **wrong.refusal.more) from None
        secret = new_secret(kind) if given is None else given
        public_key = public_key_of(secret) if kind == "v1a" else ""
        return NewSecret(sealed=sealing(endpoint_id)(secret), kind=kind, public_key=public_key)

    def with_secret(response: Response) -> Response:
        """Opens the secret of an answer that makes one: the stored answer, which a repeated request gets, has it sealed."""
        if response.status_code >= 400:
            return response
        body = orjson.loads(bytes(response.body))
        try:
            body["secret"] = vault.open(UUID(body["endpoint_id"]), body["secret"])
        except Unreadable:
            raise refused("secret_unreadable", "the secret was made under a key that is gone") from None
        headers = {name: value for name, value in response.headers.items() if name != "content-length"}
        return Response(orjson.dumps(body), response.status_code, headers)

    def addressed(request: Request, who: Principal, endpoint_id: UUID) -> dict[str, Any]:
        """The fields that every command of a request has."""
        return {
            "endpoint_id": endpoint_id,
            "store_id": who.store_id,
            "operation_id": app.operation_id(request, who, endpoint_id),
            "actor": who.actor,
        }

    @router.get("/endpoints", response_model=Page[EndpointRead])
    async def list_endpoints(
        who: Viewer, needs_attention: NeedsAttention = False, limit: Limit = 50, cursor: Cursor = None
    ) -> Response:
        """The store's endpoints, oldest first."""
        mine = WITH_PROGRESS.where(endpoints.c.store_id == who.store_id, endpoints.c.status != "removed")
        if needs_attention:
            mine = mine.where((endpoints.c.status == "disabled") | cursors.c.breaker_because.is_not(None))
        place = tuple_(endpoints.c.created_at, endpoints.c.key)
        if (last := LIST.after(cursor)) is not None:
            mine = mine.where(place > tuple_(*last))
        rows = await app.read(mine.order_by(endpoints.c.created_at, endpoints.c.key).limit(limit + 1))
        page = LIST.page(rows, limit, key=lambda row: (row["created_at"], row["key"]))
        return respond(as_json(200, {**page, "items": [_read(row) for row in page["items"]]}))

    @router.post(
        "/endpoints", status_code=201, response_model=EndpointMade, dependencies=COMMAND,
        openapi_extra=answers(*CONFIGURED, "too_many_endpoints", "secret_unreadable"),
    )  # fmt: skip
    async def create(request: Request, who: Editor, body: NewEndpoint) -> Response:
        """Create an endpoint; the answer shows its secret once. It is `pending` until its receiver is verified.

        The events from now on are delivered then: nothing is missed in between.
        """
        endpoint_id = app.operation_id(request, who, NAMESPACE)
        command = Create(
            **addressed(request, who, endpoint_id),
            config=config_of(who, endpoint_id, body),
            secret=secret_of(endpoint_id, body.secret, body.signature),
        )

        def answer(outcome: Outcome) -> tuple[int, Any, dict[str, str]]:
            location = {"location": f"/v1/endpoints/{endpoint_id}"}
            return 201, _made(endpoint_id, outcome), location

        return with_secret(await app.execute(request, who, command, answer))

    @router.get("/endpoints/{endpoint_id}", response_model=EndpointRead, openapi_extra=answers("endpoint_unknown"))
    async def read(who: Viewer, endpoint_id: UUID) -> Response:
        row = await find_endpoint(app, who, endpoint_id, WITH_PROGRESS)
        return respond(as_json(200, _read(row), etag(row["revision"])))

    @router.put(
        "/endpoints/{endpoint_id}", response_model=EndpointShown, dependencies=CHANGE,
        openapi_extra=answers(*CONFIGURED, "endpoint_unknown"),
    )  # fmt: skip
    async def change(request: Request, who: Editor, endpoint_id: UUID, body: EndpointGiven) -> Response:
        """Replace the configuration. A new URL is `pending` until its receiver is verified; events wait meanwhile."""
        command = Change(**addressed(request, who, endpoint_id), config=config_of(who, endpoint_id, body))
        return await app.execute(request, who, command, _answer(endpoint_id))

    @router.delete(
        "/endpoints/{endpoint_id}", response_model=EndpointShown, dependencies=CHANGE,
        openapi_extra=answers("endpoint_unknown"),
    )  # fmt: skip
    async def remove(request: Request, who: Editor, endpoint_id: UUID) -> Response:
        """Remove the endpoint with its secrets. Nothing is delivered to it from then on."""
        command = Remove(**addressed(request, who, endpoint_id))
        return await app.execute(request, who, command, _answer(endpoint_id))

    @router.post(
        "/endpoints/{endpoint_id}/disable", response_model=EndpointShown, dependencies=CHANGE,
        openapi_extra=answers("endpoint_unknown"),
    )  # fmt: skip
    async def disable(request: Request, who: Editor, endpoint_id: UUID) -> Response:
        """Stop deliveries. The place in the feed stays."""
        command = Disable(**addressed(request, who, endpoint_id))
        return await app.execute(request, who, command, _answer(endpoint_id))

    @router.post(
        "/endpoints/{endpoint_id}/enable", response_model=EndpointResumed, dependencies=CHANGE,
        openapi_extra=answers("endpoint_unknown", "not_verified", "beyond_retention"),
    )  # fmt: skip
    async def enable(request: Request, who: Editor, endpoint_id: UUID, body: EnableGiven) -> Response:
        """Go on with deliveries, from where they stopped or from another place; the answer counts the events to deliver."""
        if (before := await app.answered(request, who)) is not None:
            return before
        row = await find_endpoint(app, who, endpoint_id)
        resuming = await resumptions.resuming(endpoint_id, Endpoint.model_validate_json(row["doc"]), who, body.begin)
        counted = {"to_deliver": resuming.to_deliver._asdict()}
        if body.dry_run:
            return respond(as_json(200, _shown(row) | counted, etag(row["revision"])))
        command = Enable(**addressed(request, who, endpoint_id), position=resuming.position)

        def answer(outcome: Outcome) -> tuple[int, Any]:
            return 200, _now(endpoint_id, outcome) | counted

        return await app.execute(request, who, command, answer)

    @router.post(
        "/endpoints/{endpoint_id}/verify", response_model=EndpointShown, dependencies=CHANGE,
        openapi_extra=answers("endpoint_unknown", "not_verified", "secret_unreadable"),
    )  # fmt: skip
    async def verify(request: Request, who: Editor, endpoint_id: UUID) -> Response:
        """Send a signed `webhooks.verify` to the receiver. If it answers as it should, a pending endpoint is enabled."""
        if (before := await app.answered(request, who)) is not None:
            return before
        endpoint = Endpoint.model_validate_json((await find_endpoint(app, who, endpoint_id))["doc"])
        try:
            async with Sender(settings.networks) as sender:
                failure = await verification.failure_of(sender, vault, who.store_id, endpoint_id, endpoint)
        except Unreadable:
            raise refused("secret_unreadable", "a secret of the endpoint was made under a key that is gone") from None
        if failure is not None:
            raise refused("not_verified", failure.detail, http_status=failure.http_status, error=failure.error)
        command = Verified(**addressed(request, who, endpoint_id), url=endpoint.config.url)
        return await app.execute(request, who, command, _answer(endpoint_id))

    @router.post(
        "/endpoints/{endpoint_id}/rotate", response_model=EndpointMade, dependencies=CHANGE,
        openapi_extra=answers(
            "endpoint_unknown", "bad_secret", "too_many_secrets", "secret_unstorable", "secret_unreadable"
        ),
    )  # fmt: skip
    async def rotate(request: Request, who: Editor, endpoint_id: UUID, body: RotateGiven) -> Response:
        """Replace the secret; the answer shows the new one once. The present ones sign, too, until the overlap ends."""
        command = Rotate(
            **addressed(request, who, endpoint_id),
            secret=secret_of(endpoint_id, body.secret, body.signature),
            overlap_hours=body.overlap_hours,
        )

        def answer(outcome: Outcome) -> tuple[int, Any]:
            return 200, _made(endpoint_id, outcome)

        return with_secret(await app.execute(request, who, command, answer))

    return router


def _answer(endpoint_id: UUID) -> Callable[[Outcome], tuple[int, Any]]:
    return lambda outcome: (200, _now(endpoint_id, outcome))


def _now(endpoint_id: UUID, outcome: Outcome) -> dict[str, Any]:
    """An endpoint after a decision."""
    return shown(endpoint_id, outcome.state, outcome.version, datetime.now(UTC))


def _made(endpoint_id: UUID, outcome: Outcome) -> dict[str, Any]:
    """An endpoint with its newest secret, still sealed."""
    endpoint: Endpoint = outcome.state
    return {**_now(endpoint_id, outcome), "secret": endpoint.secrets[0].sealed}


def _read(row: RowMapping) -> dict[str, Any]:
    is_open = row["status"] == "enabled" and row["breaker_because"] is not None
    breaker = {"because": row["breaker_because"], "since": row["breaker_since"]} if is_open else None
    backlog = {
        "retries": min(row["retries"], RETRIES_MAX),
        "or_more": row["retries"] > RETRIES_MAX,
        "since": row["unreached_since"],
    }
    return {**_shown(row), "breaker": breaker, "last_success_at": row["succeeded_at"], "backlog": backlog}


def _shown(row: RowMapping) -> dict[str, Any]:
    endpoint = Endpoint.model_validate_json(row["doc"])
    return shown(row["key"], endpoint, row["revision"], datetime.now(UTC))
