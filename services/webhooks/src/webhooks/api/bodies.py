"""What requests state of an endpoint, and its check: a body becomes a `Config` whose secret values are sealed."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from chassis.http.strict import Strict
from contracts.base import Flag, Text, Timestamp
from contracts.deciding import Refusal
from webhooks import certificates
from webhooks import types as event_types
from webhooks.domain import conditions
from webhooks.domain import config as domain
from webhooks.domain.config import Config
from webhooks.domain.endpoint import OVERLAP_HOURS, OVERLAP_HOURS_MAX
from webhooks.domain.signing import BadSecret, Kind, kind_of
from webhooks.domain.urls import Gate, Wrong, checked_url

HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
HEADER_VALUE: Final = re.compile(r"[!-~]([ -~]{0,3998}[!-~])?")
RESERVED: Final = frozenset({
    "connection", "content-encoding", "content-length", "content-type", "cookie", "expect", "host", "keep-alive", "te",
    "trailer", "transfer-encoding", "upgrade", "user-agent",
})  # fmt: skip
RESERVED_PREFIXES: Final = ("ce-", "proxy-", "tradewind-", "webhook-")

SecretText = Annotated[str, Field(max_length=200)]


class Given(BaseModel):
    """A misspelt field is refused: it would be a setting that does not hold."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ConditionGiven(Given):
    path: Text = Field(examples=["channel", "data.currency"])
    """`channel`, `account` or `market` of the order, or a field of the event as `data.<name>`, with dots for fields of fields."""
    values: Annotated[tuple[domain.Scalar, ...], Field(min_length=1, max_length=domain.VALUES_MAX, alias="in")]
    """It is one of these. A fact that is not stored yet, and a field that the event lacks, let the event pass."""


class NoAuthGiven(Given):
    kind: Literal["none"]


class HeadersGiven(Given):
    kind: Literal["headers"]
    headers: Annotated[
        dict[str, Annotated[str, Field(max_length=4_000)] | None],
        Field(min_length=1, max_length=domain.HEADERS_MAX),
    ]
    """Name -> value. Null: as it is, while the host is the same."""


class OAuth2Given(Given):
    kind: Literal["oauth2"]
    token_url: domain.Url
    client_id: Text
    client_secret: Annotated[str, Field(max_length=4_000)] | None = None
    """Null: as it is, while the host of `token_url` is the same."""
    scope: Text = ""


class MtlsGiven(Given):
    kind: Literal["mtls"]
    certificate: domain.Pem
    """PEM, with its chain."""
    private_key: domain.Pem | None = None
    """PEM. Null: as it is, while the certificate is the same."""


AuthGiven = Annotated[NoAuthGiven | HeadersGiven | OAuth2Given | MtlsGiven, Field(discriminator="kind")]


class EndpointGiven(Given):
    """An endpoint, whole: a field that is left out has its default."""

    url: domain.Url = Field(examples=["https://example.com/webhooks"])
    types: Annotated[tuple[domain.TypeName, ...], Field(max_length=domain.TYPES_MAX, examples=[["orders.*"]])] = ()
    """Types of events, or all of a service as `orders.*`. Empty: every type."""
    new_types: Flag = True
    """Whether types that a later release brings are delivered, if `types` includes them."""
    where: Annotated[tuple[ConditionGiven, ...], Field(max_length=domain.CONDITIONS_MAX)] = ()
    """Conditions; an event has to fulfill all."""
    order: Literal["per_order", "none"] = "per_order"
    """`per_order`: the events of an order one after the other, however often one fails. Other orders do not wait."""
    payload: Literal["full", "thin"] = "full"
    """`thin`: without `data`; `dataref` is the address of the event."""
    personal: Flag = False
    """Whether personal values are delivered. The API key needs `personal.view`."""
    batch: Annotated[domain.Batch, Strict()] = domain.Batch()
    rate: Annotated[domain.Rate, Strict()] | None = None
    in_flight: Annotated[int, Field(strict=True, ge=1, le=16)] = 8
    """Requests at the same time."""
    auth: AuthGiven = NoAuthGiven(kind="none")
    verify: Literal["answer", "echo"] = "answer"
    """How the receiver shows that it expects events: by any 2xx, or by the `challenge` of the request in its answer."""
    notify_url: domain.Url | None = None
    """Where the events `webhooks.*` about this endpoint are sent, too, signed with its secrets, also while it is disabled."""
    exhausted: Literal["skip", "hold"] = "skip"
    """After the last attempt: `skip` the delivery, or `hold` the order's later ones."""


class NewEndpoint(EndpointGiven):
    secret: SecretText | None = None
    """A secret to sign with: `whsec_...` or `whsk_...`. Null: one is made."""
    signature: Kind = "v1"
    """The kind of a secret that is made: `v1` is HMAC-SHA256, `v1a` ed25519."""


class RotateGiven(Given):
    secret: SecretText | None = None
    """Null: one is made."""
    signature: Kind = "v1"
    """The kind of a secret that is made."""
    overlap_hours: Annotated[int, Field(strict=True, ge=0, le=OVERLAP_HOURS_MAX)] = OVERLAP_HOURS
    """For how long the present secrets sign, too."""


class EnableGiven(Given):
    begin: Literal["cursor", "now"] | Timestamp = Field(alias="from")
    """Where deliveries go on: `cursor`, where they stopped; `now`; or a time, with the events that were written then or later."""
    dry_run: Flag = False
    """Whether the events are counted, and the endpoint stays as it is."""


Seal = Callable[[str], str]


def configured(body: EndpointGiven, gate: Gate, seal: Seal) -> Config:
    """Returns the configuration that a body states. Raises Wrong."""
    if (misspelt := event_types.unknown(body.types)) is not None:
        raise Wrong(Refusal("unknown_type", misspelt.detail, {"nearest": misspelt.nearest}))
    models = event_types.included(body.types)
    stated = {name: getattr(body, name) for name in Config.model_fields.keys() & EndpointGiven.model_fields.keys()}
    config = Config(**stated | {
        "url": checked_url(body.url, gate),
        "named": () if body.new_types else tuple(model.TYPE for model in models),
        "where": tuple(domain.Condition(path=one.path, values=one.values) for one in body.where),
        "auth": _auth(body.auth, gate, seal),
        "notify_url": None if body.notify_url is None else checked_url(body.notify_url, gate, "notify_url"),
    })  # fmt: skip
    conditions.check(config.where, models, personal=config.personal)
    return config


def checked_secret(secret: str) -> Kind:
    """Returns the kind of a secret that a client brings along. Raises Wrong."""
    try:
        return kind_of(secret)
    except BadSecret:
        raise Wrong(Refusal("bad_secret", "it is neither whsec_ and base64 nor whsk_ and base64")) from None


def _auth(given: AuthGiven, gate: Gate, seal: Seal) -> domain.Auth:
    def sealed(value: str | None) -> str | None:
        return None if value is None else seal(value)

    match given:
        case HeadersGiven(headers=headers):
            return domain.HeadersAuth(headers={_name(name): sealed(_value(value)) for name, value in headers.items()})
        case OAuth2Given(client_secret=secret):
            token_url = checked_url(given.token_url, gate, "auth/token_url")
            return domain.OAuth2Auth(
                token_url=token_url, client_id=given.client_id, client_secret=sealed(secret), scope=given.scope
            )
        case MtlsGiven(certificate=certificate, private_key=key):
            try:
                certificates.check(certificate, key, datetime.now(UTC))
            except certificates.BadCertificate as bad:
                raise Wrong(Refusal("bad_certificate", str(bad))) from None
            return domain.MtlsAuth(certificate=certificate, private_key=sealed(key))
        case _:
            return domain.NoAuth()


def _name(name: str) -> str:
    """Header names are compared without case; the lower one is sent."""
    lower = name.lower()
    if not HEADER_NAME.fullmatch(name):
        raise Wrong(Refusal("reserved_header", "a header name consists of letters, digits and -"))
    if lower in RESERVED or lower.startswith(RESERVED_PREFIXES):
        raise Wrong(Refusal("reserved_header", f"deliveries set {lower} themselves"))
    return lower


def _value(value: str | None) -> str | None:
    if value is not None and not HEADER_VALUE.fullmatch(value):
        raise Wrong(Refusal("reserved_header", "a header value is printable ASCII, without spaces around it"))
    return value
