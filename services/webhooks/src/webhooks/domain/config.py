"""What a store configures of an endpoint: where its events go, which, and how. Secret values are sealed text."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, StrictBool, StrictInt, StrictStr, StringConstraints

from contracts.base import Flag, Frozen, Text

URL_MAX: Final = 2_000
Url = Annotated[str, StringConstraints(max_length=URL_MAX, pattern=r"^[^\x00]*$")]
Sealed = Annotated[str, StringConstraints(max_length=16_000, pattern=r"^[A-Za-z0-9_=-]*$")]
"""A secret value, encrypted: see `webhooks.vault`."""
TypeName = Annotated[str, StringConstraints(max_length=64, pattern=r"^[^\x00]*$")]
"""A type of events, or all of a service as `orders.*`."""
Pem = Annotated[str, StringConstraints(max_length=16_000, pattern=r"^[^\x00]*$")]
Scalar = StrictStr | StrictInt | StrictBool

TYPES_MAX: Final = 50
CONDITIONS_MAX: Final = 10
VALUES_MAX: Final = 100
"""Values of one condition."""
HEADERS_MAX: Final = 10


class Condition(Frozen):
    path: Text
    """`channel`, `account` or `market` of the order, or a field of the event as `data.<name>`, with dots for fields of fields."""
    values: Annotated[tuple[Scalar, ...], Field(min_length=1, max_length=VALUES_MAX)]
    """It is one of these."""


class Batch(Frozen):
    """How many events a request carries."""

    max: Annotated[int, Field(strict=True, ge=1, le=100)] = 1
    """1: a single event. More: a list of events, also if there is only one."""
    wait_ms: Annotated[int, Field(strict=True, ge=0, le=5_000)] = 0
    """How long the first event of a list waits for more."""


class Rate(Frozen):
    """How many requests begin at most."""

    per_second: Annotated[int, Field(strict=True, ge=1, le=1_000)]
    burst: Annotated[int, Field(strict=True, ge=1, le=1_000)] = 1
    """How many may begin at once after a pause."""


class NoAuth(Frozen):
    kind: Literal["none"] = "none"


class HeadersAuth(Frozen):
    """Headers that every request carries."""

    kind: Literal["headers"] = "headers"
    headers: dict[str, Sealed | None]
    """Name -> value. Null only in a change: the present value."""


class OAuth2Auth(Frozen):
    """Client credentials (RFC 6749, 4.4)."""

    kind: Literal["oauth2"] = "oauth2"
    token_url: Url
    client_id: Text
    client_secret: Sealed | None
    """Null only in a change: the present one."""
    scope: Text = ""


class MtlsAuth(Frozen):
    """A certificate of the client."""

    kind: Literal["mtls"] = "mtls"
    certificate: Pem
    """With its chain."""
    private_key: Sealed | None
    """Null only in a change: the present one."""


Auth = Annotated[NoAuth | HeadersAuth | OAuth2Auth | MtlsAuth, Field(discriminator="kind")]


class Config(Frozen):
    url: Url
    types: Annotated[tuple[TypeName, ...], Field(max_length=TYPES_MAX)] = ()
    """Empty: every type."""
    new_types: Flag = True
    """Whether types that a later release brings are delivered, if `types` includes them."""
    named: tuple[TypeName, ...] = ()
    """Unless `new_types`: every type that `types` includes, as they were when it was configured."""
    where: Annotated[tuple[Condition, ...], Field(max_length=CONDITIONS_MAX)] = ()
    order: Literal["per_order", "none"] = "per_order"
    payload: Literal["full", "thin"] = "full"
    personal: Flag = False
    batch: Batch = Batch()
    rate: Rate | None = None
    in_flight: Annotated[int, Field(strict=True, ge=1, le=16)] = 8
    auth: Auth = NoAuth()
    verify: Literal["answer", "echo"] = "answer"
    notify_url: Url | None = None
    exhausted: Literal["skip", "hold"] = "skip"

    @property
    def delivered_types(self) -> tuple[str, ...]:
        """The names and patterns of the types that are delivered; empty: every type."""
        return self.types if self.new_types else self.named
