"""Response models of endpoints. No secret value is in them, except in the answer that makes one."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from contracts.base import shown_word
from contracts.webhooks import DisabledBecause
from webhooks.api.bodies import EndpointGiven
from webhooks.domain.config import Auth, HeadersAuth, MtlsAuth, OAuth2Auth
from webhooks.domain.endpoint import Endpoint, Secret
from webhooks.domain.signing import Kind


class SecretShown(BaseModel):
    """A secret that signs; its value is shown once, when it is made."""

    id: UUID
    kind: Kind
    public_key: str | None
    """Receivers verify a `v1a` signature with it."""
    created_at: datetime
    expires_at: datetime | None
    """Set when it was replaced."""


class EndpointShown(EndpointGiven):
    """An endpoint. Secret values of `auth` are null."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    endpoint_id: UUID
    version: int
    status: Literal["pending", "enabled", "disabled", "removed"]
    """`pending`: its receiver has not answered yet, and nothing is delivered."""
    disabled_because: Literal["request", "gone", "failing", "unknown"] | None
    failing_since: datetime | None
    """While nothing succeeds."""
    secrets: list[SecretShown]
    """Newest first. Each of them signs."""
    created_at: datetime


class BreakerShown(BaseModel):
    """Nothing new is sent to the endpoint; what happens waits."""

    because: Literal["failures", "waiting"]
    """`failures`: attempts failed, and only probes are sent. `waiting`: too many events wait for a retry, and only those are sent."""
    since: datetime


class BacklogShown(BaseModel):
    """What the endpoint has not received yet."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    retries: int
    """Deliveries that failed and are tried again; counted up to 1,000."""
    or_more: bool
    """There are more than `retries`."""
    since: datetime | None
    """When the oldest event of the store was written that deliveries have not come to. Null: they are at the newest one. It may be
    30 s late for an endpoint that wants none of the events."""


class EndpointRead(EndpointShown):
    breaker: BreakerShown | None
    """Null: it is closed, or the endpoint is not enabled."""
    last_success_at: datetime | None
    backlog: BacklogShown


class ToDeliver(BaseModel):
    events: int
    """Those that wait, and those that it wants behind the place where deliveries go on."""
    or_more: bool
    """The count has ended at a limit: there are more."""


class EndpointResumed(EndpointShown):
    to_deliver: ToDeliver


class EndpointMade(EndpointShown):
    secret: str
    """Shown once. Store it: no later request shows it."""


def shown(endpoint_id: UUID, endpoint: Endpoint, version: int, now: datetime) -> dict[str, Any]:
    """Returns an endpoint as JSON values."""
    config = endpoint.config
    return {
        "endpoint_id": str(endpoint_id),
        "version": version,
        "status": endpoint.status,
        "disabled_because": shown_word(endpoint.disabled_because, DisabledBecause),
        "failing_since": endpoint.failing_since,
        **config.model_dump(mode="json", exclude={"named", "where", "auth"}),
        "where": [{"path": one.path, "in": one.values} for one in config.where],
        "auth": _without_values(config.auth),
        "secrets": [_secret(secret) for secret in endpoint.signing(now)],
        "created_at": endpoint.created_at,
    }


def _secret(secret: Secret) -> dict[str, Any]:
    return {**secret.model_dump(exclude={"sealed"}), "public_key": secret.public_key or None}


def _without_values(auth: Auth) -> dict[str, Any]:
    match auth:
        case HeadersAuth(headers=headers):
            return {"kind": "headers", "headers": dict.fromkeys(headers)}
        case OAuth2Auth():
            return auth.model_dump() | {"client_secret": None}
        case MtlsAuth():
            return auth.model_dump() | {"private_key": None}
        case _:
            return auth.model_dump()
