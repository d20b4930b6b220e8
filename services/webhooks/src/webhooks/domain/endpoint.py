"""An endpoint: where a store receives its events, from its creation until it is removed.

It is `pending` until its receiver has answered a signed request, because a mistyped URL would send a store's events to a
stranger; a new URL is `pending` again. It has its place in the feed from its creation, so nothing is missed meanwhile.
What is delivered changes nothing here: only that it fails, recovers or is disabled comes as a `Report`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal, NamedTuple
from uuid import UUID

from pydantic import Field

from contracts.base import Command, Counter, Document, Event, Frozen, Id, PrivateEvent, Text, Timestamp
from contracts.deciding import Context, Effect, Refusal
from contracts.ids import derived
from contracts.webhooks import (
    DeliveryExhausted,
    DisabledBecause,
    EndpointDisabled,
    EndpointFailing,
    EndpointKeyed,
    EndpointRecovered,
)
from webhooks.domain.config import Config, HeadersAuth, MtlsAuth, OAuth2Auth, Sealed, Url
from webhooks.domain.urls import host_of, origin_of

ENDPOINTS_MAX: Final = 500
"""Endpoints of a store."""
SHARDS: Final = 16
"""Parts of all endpoints: the process that holds a shard delivers to its endpoints."""
SECRETS_MAX: Final = 3
"""That sign at the same time."""
OVERLAP_HOURS: Final = 24
OVERLAP_HOURS_MAX: Final = 168

Status = Literal["pending", "enabled", "disabled", "removed"]


# -- commands ---------------------------------------------------------------------------------------------------------


class NewSecret(Frozen):
    sealed: Sealed
    kind: Literal["v1", "v1a"] = "v1"
    """HMAC-SHA256, or ed25519."""
    public_key: Text = ""
    """The other half of a `v1a` secret."""


class Create(EndpointKeyed, Command, type="webhooks.create"):
    config: Config
    secret: NewSecret


class Change(EndpointKeyed, Command, type="webhooks.change"):
    """Replaces the configuration; a secret value that is null stays as it is."""

    config: Config


class Verified(EndpointKeyed, Command, type="webhooks.verified"):
    """The receiver has answered as it should."""

    url: Url
    """Which was asked."""


class Enable(EndpointKeyed, Command, type="webhooks.enable"):
    position: Counter | None = None
    """Delivery goes on behind it; null: where it stopped."""


class Disable(EndpointKeyed, Command, type="webhooks.disable"):
    pass


class Rotate(EndpointKeyed, Command, type="webhooks.rotate"):
    """A new secret signs from now on; the present ones sign, too, until the overlap ends."""

    secret: NewSecret
    overlap_hours: Annotated[int, Field(strict=True, ge=0, le=OVERLAP_HOURS_MAX)] = OVERLAP_HOURS


class Remove(EndpointKeyed, Command, type="webhooks.remove"):
    pass


class Failing(Frozen):
    kind: Literal["failing"] = "failing"
    since: Timestamp
    failures: Counter
    last: Text


class Recovered(Frozen):
    kind: Literal["recovered"] = "recovered"


class Exhausted(Frozen):
    kind: Literal["exhausted"] = "exhausted"
    count: Counter
    event_id: Id
    event_type: Id
    last: Text


class GivenUp(Frozen):
    kind: Literal["given_up"] = "given_up"
    because: Literal["gone", "failing"]


class Report(EndpointKeyed, Command, type="webhooks.report"):
    """What the dispatcher states. Its operation is derived from the cause: a repeated report has no effect."""

    what: Annotated[Failing | Recovered | Exhausted | GivenUp, Field(discriminator="kind")]


# -- events and state -------------------------------------------------------------------------------------------------


class Secret(Frozen):
    id: UUID
    sealed: Sealed
    kind: Literal["v1", "v1a"] = "v1"
    public_key: Text = ""
    created_at: Timestamp
    expires_at: Timestamp | None = None
    """It no longer signs from then on; null: it was not replaced."""

    def signs(self, now: datetime) -> bool:
        return self.expires_at is None or now < self.expires_at


class EndpointCreated(EndpointKeyed, PrivateEvent, type="webhooks.endpoint_created"):
    config: Config
    secret: Secret
    created_at: Timestamp


class EndpointChanged(EndpointKeyed, PrivateEvent, type="webhooks.endpoint_changed"):
    config: Config


class EndpointVerified(EndpointKeyed, PrivateEvent, type="webhooks.endpoint_verified"):
    pass


class EndpointEnabled(EndpointKeyed, PrivateEvent, type="webhooks.endpoint_enabled"):
    position: Counter | None = None


class SecretRotated(EndpointKeyed, PrivateEvent, type="webhooks.secret_rotated"):
    secret: Secret
    others_expire_at: Timestamp


class EndpointRemoved(EndpointKeyed, PrivateEvent, type="webhooks.endpoint_removed"):
    pass


class Endpoint(Document):
    schema_version: int = 1
    status: Status = "pending"
    """`removed`: a tombstone, which nothing is delivered to."""
    disabled_because: DisabledBecause | None = None
    config: Config = Config(url="")
    secrets: tuple[Secret, ...] = ()
    """Newest first."""
    verified: bool = False
    """Whether the receiver at the present URL has answered."""
    created_at: Timestamp | None = None
    """Null: it does not exist."""
    failing_since: Timestamp | None = None
    """Set while `webhooks.endpoint_failing` holds."""
    moves: Counter = 0
    """How often a person has set its place in the feed."""
    moved_to: Counter = 0
    """Where to, the last time."""

    @property
    def exists(self) -> bool:
        return self.created_at is not None and self.status != "removed"

    def signing(self, now: datetime) -> tuple[Secret, ...]:
        """Returns the secrets that sign, newest first."""
        return tuple(secret for secret in self.secrets if secret.signs(now))


NOTICES: Final = tuple(
    event.TYPE for event in (EndpointFailing, EndpointRecovered, EndpointDisabled, DeliveryExhausted)
)
"""The events that go to `notify_url`, too."""


def notices_id(endpoint_id: UUID) -> UUID:
    """Returns the id under which the notices about an endpoint are delivered, as if to an endpoint of their own."""
    return derived(endpoint_id, "notices")


def notified(endpoint: Endpoint) -> Endpoint:
    """Returns an endpoint as its notices are delivered: signed with its secrets, without the credentials of its receiver."""
    assert endpoint.config.notify_url is not None
    return endpoint.model_copy(update={"config": Config(url=endpoint.config.notify_url, types=NOTICES)})


def shard_of(endpoint_id: UUID) -> int:
    """Returns 0 to SHARDS - 1. The id is a hash or random."""
    return endpoint_id.int % SHARDS


class StoreKey(NamedTuple):
    """The share that counts the endpoints of a store."""

    store_id: str


def new_endpoint(key: UUID, store_id: str) -> Endpoint:
    return Endpoint()


# -- how many a store has ---------------------------------------------------------------------------------------------


def needs(endpoint: Endpoint, message: Any) -> Iterable[StoreKey]:
    return (StoreKey(message.store_id),) if isinstance(message, (Create, Remove)) else ()


def counted(event: Event) -> Iterable[StoreKey]:
    return (StoreKey(event.store_id),) if isinstance(event, (EndpointCreated, EndpointRemoved)) else ()


def count(endpoints: int | None, key: StoreKey, event: Event) -> int:
    return (endpoints or 0) + (1 if isinstance(event, EndpointCreated) else -1)


# -- decisions --------------------------------------------------------------------------------------------------------


def create(endpoint: Endpoint, command: Create, context: Context) -> list[Effect]:
    if endpoint.status == "removed":
        return [_unknown()]
    if endpoint.created_at is not None:
        return []  # the same request once more
    if (context.shares.get(StoreKey(context.store_id)) or 0) >= ENDPOINTS_MAX:
        return [Refusal("too_many_endpoints", f"the store has {ENDPOINTS_MAX} endpoints")]
    secret = _secret(command.secret, context)
    return [EndpointCreated(**_about(command), config=command.config, secret=secret, created_at=context.now)]


def change(endpoint: Endpoint, command: Change, context: Context) -> list[Effect]:
    if not endpoint.exists:
        return [_unknown()]
    config = _with_present_values(command.config, endpoint.config)
    if config is None:
        return [
            Refusal("bad_secret", "a secret value of `auth` is left out, and there is no present one of the same host")
        ]
    return [] if config == endpoint.config else [EndpointChanged(**_about(command), config=config)]


def verified(endpoint: Endpoint, command: Verified, context: Context) -> list[Effect]:
    if not endpoint.exists:
        return [_unknown()]
    if command.url != endpoint.config.url:
        return [Refusal("not_verified", "its URL was changed while the receiver was asked")]
    return [] if endpoint.verified else [EndpointVerified(**_about(command))]


def enable(endpoint: Endpoint, command: Enable, context: Context) -> list[Effect]:
    if not endpoint.exists:
        return [_unknown()]
    if not endpoint.verified:
        return [Refusal("not_verified", "its receiver has not answered a request yet")]
    if endpoint.status == "enabled" and command.position is None:
        return []
    return [EndpointEnabled(**_about(command), position=command.position)]


def disable(endpoint: Endpoint, command: Disable, context: Context) -> list[Effect]:
    if not endpoint.exists:
        return [_unknown()]
    return [] if endpoint.status == "disabled" else [_disabled(endpoint, command, "request")]


def rotate(endpoint: Endpoint, command: Rotate, context: Context) -> list[Effect]:
    if not endpoint.exists:
        return [_unknown()]
    kept = endpoint.signing(context.now) if command.overlap_hours else ()
    if len(kept) >= SECRETS_MAX:
        ends = min(secret.expires_at for secret in kept if secret.expires_at is not None)
        detail = f"{len(kept)} secrets sign; the next one expires at {ends:%Y-%m-%dT%H:%M:%SZ}"
        return [Refusal("too_many_secrets", detail)]
    expire_at = context.now + timedelta(hours=command.overlap_hours)
    secret = _secret(command.secret, context)
    return [SecretRotated(**_about(command), secret=secret, others_expire_at=expire_at)]


def remove(endpoint: Endpoint, command: Remove, context: Context) -> list[Effect]:
    return [EndpointRemoved(**_about(command))] if endpoint.exists else [_unknown()]


def report(endpoint: Endpoint, command: Report, context: Context) -> list[Effect]:
    """What no longer holds is passed over: a person may have acted meanwhile."""
    if not endpoint.exists or endpoint.status != "enabled":
        return []
    about = {**_about(command), "host": host_of(endpoint.config.url)}
    match command.what:
        case Failing(since=since, failures=failures, last=last):
            failing = EndpointFailing(**about, since=since, failures=failures, last=last)
            return [] if endpoint.failing_since is not None else [failing]
        case Recovered():
            failing_since = endpoint.failing_since
            return [] if failing_since is None else [EndpointRecovered(**about, failing_since=failing_since)]
        case Exhausted(count=count, event_id=event_id, event_type=event_type, last=last):
            return [DeliveryExhausted(**about, count=count, event_id=event_id, event_type=event_type, last=last)]
        case GivenUp(because=because):
            return [_disabled(endpoint, command, because)]


def _about(command: Command) -> dict[str, Any]:
    return {"endpoint_id": command.key, "store_id": command.store_id, "operation_id": command.operation_id}


def _unknown() -> Refusal:
    return Refusal("endpoint_unknown", "there is no endpoint of this id in your store")


def _secret(new: NewSecret, context: Context) -> Secret:
    return Secret(
        id=context.new_id("secret"), sealed=new.sealed, kind=new.kind, public_key=new.public_key, created_at=context.now
    )


def _disabled(endpoint: Endpoint, command: Command, because: DisabledBecause) -> EndpointDisabled:
    return EndpointDisabled(
        **_about(command), host=host_of(endpoint.config.url), because=because, failing_since=endpoint.failing_since
    )


def _with_present_values(config: Config, present: Config) -> Config | None:
    """Returns a configuration in which the present secret values replace those that are null; None: one has none.

    A value goes only where it went before: who may change an endpoint must not have its secrets sent to another host.
    """
    match config.auth, present.auth:
        case HeadersAuth(headers=given) as auth, before:
            had = before.headers if isinstance(before, HeadersAuth) and _same_host(config.url, present.url) else {}
            headers = {name: had.get(name) if value is None else value for name, value in given.items()}
            return None if None in headers.values() else _with(config, auth.model_copy(update={"headers": headers}))
        case OAuth2Auth(client_secret=None) as auth, before:
            if not isinstance(before, OAuth2Auth) or not _same_host(auth.token_url, before.token_url):
                return None
            return _with(config, auth.model_copy(update={"client_secret": before.client_secret}))
        case MtlsAuth(private_key=None) as auth, before:
            if not isinstance(before, MtlsAuth) or before.certificate != auth.certificate:
                return None
            return _with(config, auth.model_copy(update={"private_key": before.private_key}))
        case _:
            return config


def _with(config: Config, auth: Frozen) -> Config:
    return config.model_copy(update={"auth": auth})


def _same_host(one: str, other: str) -> bool:
    return origin_of(one) == origin_of(other)


# -- what events change -----------------------------------------------------------------------------------------------


def evolve(endpoint: Endpoint, event: Event) -> Endpoint:
    return endpoint.model_copy(update=_changes(endpoint, event))


def _changes(endpoint: Endpoint, event: Event) -> dict[str, Any]:
    match event:
        case EndpointCreated(config=config, secret=secret, created_at=created_at):
            return {"config": config, "secrets": (secret,), "created_at": created_at}
        case EndpointChanged(config=config):
            if config.url == endpoint.config.url:
                return {"config": config}
            status = "disabled" if endpoint.status == "disabled" else "pending"
            return {"config": config, "verified": False, "status": status, "failing_since": None}
        case EndpointVerified():
            return {"verified": True, "status": "enabled" if endpoint.status == "pending" else endpoint.status}
        case EndpointEnabled(position=position):
            moved = {} if position is None else {"moves": endpoint.moves + 1, "moved_to": position}
            return {"status": "enabled", "disabled_because": None, "failing_since": None, **moved}
        case EndpointDisabled(because=because):
            return {"status": "disabled", "disabled_because": because, "failing_since": None}
        case SecretRotated(secret=secret, others_expire_at=expire_at):
            others = tuple(_expiring(one, expire_at) for one in endpoint.secrets)
            return {"secrets": (secret, *(one for one in others if one.signs(secret.created_at)))}
        case EndpointRemoved():
            return {"status": "removed", "secrets": (), "config": Config(url=""), "failing_since": None}
        case EndpointFailing(since=since):
            return {"failing_since": since}
        case EndpointRecovered():
            return {"failing_since": None}
        case DeliveryExhausted():
            return {}
        case _:
            raise AssertionError(f"{event.TYPE} is no event of an endpoint")


def _expiring(secret: Secret, at: datetime) -> Secret:
    earliest = at if secret.expires_at is None else min(secret.expires_at, at)
    return secret.model_copy(update={"expires_at": earliest})
