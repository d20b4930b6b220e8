"""CloudEvents 1.0 over Kafka, binary mode: the headers describe the record, the value is the pydantic model as JSON.

`read` turns a record into a `Received` or raises `Poison` with its cause. It needs no broker.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson
from pydantic import ValidationError

from contracts.base import Addressed, Message, is_code
from contracts.ids import message_id, order_id
from contracts.limits import BODY_BYTES_MAX
from contracts.registry import MESSAGES, SNAPSHOTS, SNAPSHOTS_BULK, TOPICS, topic_of
from contracts.snapshot import Snapshot

Headers = Sequence[tuple[str, bytes | None]]

_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_NEEDED: Final = ("ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "ce_subject", "ce_storeid")
_COPIED: Final = ("ce_correlationid", "traceparent")
"""Copied to the messages that a message causes. A value that cannot be read is dropped: it must not stop a good message."""
_READ: Final = frozenset((*_NEEDED, *_COPIED))
_TEXT_MAX: Final = 200
"""Characters of an id, a source or a correlation id."""
_SEEN: Final[dict[bytes, str]] = {}
"""Decoded header values that repeat (types, sources, stores); bounded by `_text`."""
_HOMES: Final[dict[type[Message], frozenset[str]]] = {}


class Poison(Exception):
    """A record that can never be handled as it is. `cause` is a closed word; `detail` is what is wrong, where, how to fix it."""

    def __init__(self, cause: str, detail: str, findings: Sequence[Mapping[str, Any]] = ()) -> None:
        """findings: of a body that does not validate, as pydantic states them (`loc`, `msg`, `type`), without its values."""
        super().__init__(f"{cause}: {detail}")
        self.cause, self.detail, self.findings = cause, detail, findings


class Ignored(Exception):
    """An unknown type on the events topic of another service: counted, and not parked."""


class Unknown(NamedTuple):
    """The body of an event of a type that only a newer release has: its service was deployed first."""

    fields: Mapping[str, Any]


class Received(NamedTuple):
    """A valid record."""

    id: UUID
    """A function of (time, source, store, key, ce_id): the row of the message in the inbox, and the root of derived ids."""
    ce_id: str
    source: str
    type: str
    time: datetime
    key: UUID
    store_id: str
    correlation_id: str
    traceparent: str | None
    body: Message | Unknown
    value: bytes
    """The body as it was sent."""


def _text(value: bytes) -> str:
    known = _SEEN.get(value)
    if known is None:
        known = value.decode("utf-8")
        if len(_SEEN) < 2_000 and len(value) < 64:
            _SEEN[value] = known
    return known


def _homes(model: type[Message]) -> frozenset[str]:
    """Returns the topics on which a message of this model is valid."""
    found = _HOMES.get(model)
    if found is None:
        home = topic_of(model)
        found = _HOMES[model] = frozenset({home, SNAPSHOTS_BULK} if home == SNAPSHOTS else {home})
    return found


def texts(headers: Headers) -> dict[str, str]:
    """Returns the texts of the headers that are read here, by name. A sender may add others, with any content.

    Raises Poison if a required header is null or not UTF-8.
    """
    found: dict[str, str] = {}
    for name, value in headers:
        if name not in _READ:
            continue
        try:
            if value is None:
                raise ValueError
            found[name] = _text(value) if name in ("ce_type", "ce_source", "ce_storeid") else value.decode("utf-8")
        except ValueError:
            if name in _NEEDED:
                raise Poison("bad_header", f"header {name} is null or not UTF-8; send UTF-8 text") from None
    return found


def traceparent(text: str | None) -> str | None:
    """Returns the text if it is a W3C trace context (55 characters, no zero ids), else None: nothing else is passed on."""
    return text if text is not None and _TRACEPARENT.fullmatch(text) else None


def _correlation(text: str | None, ce_id: str) -> str:
    """Returns the sender's correlation id, or the message's own id if there is none that can be copied."""
    return text if text and len(text) <= _TEXT_MAX and "\0" not in text else ce_id


def key_of(key: bytes | None) -> UUID | None:
    """Returns the id in a record key. None: the key holds no id, so no later record waits behind this one."""
    found = _named(key)
    return found[0] if found is not None else None


def _named(key: bytes | None) -> tuple[UUID, str] | None:
    """The id and its text."""
    return _named_by(key) if key is not None and len(key) == 36 else None


@lru_cache(maxsize=4096)
def _named_by(key: bytes) -> tuple[UUID, str] | None:
    """Cached: the messages of an order have one key and arrive within a short time."""
    try:
        named = UUID(key.decode("ascii"))
    except ValueError:
        return None
    return named, str(named)


def read(topic: str, key: bytes | None, value: bytes | None, headers: Headers, *, unknown: bool = False) -> Received:
    """Returns the record as a message. Raises Poison with its cause.

    An event whose type is unknown raises Ignored; if `unknown`, it is returned with its fields as they are.
    """
    named = texts(headers)
    kind = named.get("ce_type", "")
    model = MESSAGES.get(kind)
    if model is not None and topic not in _homes(model):
        model = None  # it means something, but not here
    if model is None and kind and not unknown and not TOPICS[topic].addressed:
        raise Ignored(kind)
    if missing := [name for name in _NEEDED if not named.get(name)]:
        raise Poison(
            "missing_header",
            f"headers {', '.join(missing)} are missing or empty; CloudEvents 1.0 binary mode is expected",
        )
    if named["ce_specversion"] != "1.0":
        raise Poison("bad_header", f"ce_specversion is {named['ce_specversion']!r}, only 1.0 is understood")
    found = _named(key)
    if found is None:
        raise Poison("bad_key", "the record key must be an id, a UUID in 36 characters of text")
    subject, text = found
    if named["ce_subject"] != text:
        raise Poison("key_is_not_subject", f"the record key is {subject}, ce_subject is {named['ce_subject']!r}")
    if model is None and (not unknown or TOPICS[topic].addressed):
        raise Poison("unknown_type", f"no message of type {kind!r} belongs on {topic}")
    if not is_code(named["ce_storeid"]):
        raise Poison(
            "bad_header", f"ce_storeid {named['ce_storeid']!r} is not 1 to 64 characters of A-Z a-z 0-9 . _ : -"
        )
    for name in ("ce_id", "ce_source"):
        if len(named[name]) > _TEXT_MAX or "\0" in named[name]:
            raise Poison("bad_header", f"{name} is a text of at most {_TEXT_MAX} characters without NUL")
    try:
        time = datetime.fromisoformat(named["ce_time"])
    except ValueError:
        time = None
    if time is None or time.tzinfo is None or not 1970 <= time.year < 2200:
        raise Poison("bad_header", f"ce_time {named['ce_time']!r} is no RFC 3339 time with an offset")
    if value is None:
        raise Poison("no_body", "the record has no value (a tombstone); send the JSON body")
    if len(value) > BODY_BYTES_MAX:
        raise Poison("too_large", f"the body has {len(value)} bytes, at most {BODY_BYTES_MAX} are taken")
    body = _body(model, value)
    _belongs(body, subject, named["ce_storeid"], named["ce_source"])
    return Received(
        id=message_id(time, named["ce_source"], named["ce_storeid"], subject, named["ce_id"]),
        ce_id=named["ce_id"],
        source=named["ce_source"],
        type=kind,
        time=time,
        key=subject,
        store_id=named["ce_storeid"],
        correlation_id=_correlation(named.get("ce_correlationid"), named["ce_id"]),
        traceparent=traceparent(named.get("traceparent")),
        body=body,
        value=value,
    )


def _body(model: type[Message] | None, value: bytes) -> Message | Unknown:
    """Returns the body as its model reads it. Raises Poison."""
    if model is None:
        try:
            fields = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise Poison("bad_json", str(error)) from None
        if not isinstance(fields, dict):
            raise Poison("bad_body", "the body of an event is a JSON object")
        return Unknown(fields)
    try:
        return model.model_validate_json(value, context=len(value))
    except ValidationError as error:
        raise _explained(error) from None


def _belongs(body: Message | Unknown, subject: UUID, store_id: str, source: str) -> None:
    """Raises Poison unless the body is about the aggregate and the store that the headers name."""
    if isinstance(body, Snapshot):
        expected = order_id(store_id, body.source.channel, body.source.account, body.order.external_order_id)
        if expected != subject:
            raise Poison("key_is_not_subject", f"the snapshot is of order {expected}, the record key is {subject}")
    elif isinstance(body, Addressed):
        if body.key != subject:
            raise Poison("key_is_not_subject", f"{body.KEY} is {body.key}, the record key is {subject}")
        if body.store_id != store_id:
            raise Poison("store_differs", f"store_id is {body.store_id!r}, ce_storeid is {store_id!r}")
    elif isinstance(body, Unknown) and body.fields.get("store_id", store_id) != store_id:
        raise Poison("store_differs", f"store_id is not ce_storeid, which is {store_id!r}")


_CAUSES: Final = {"json_invalid": "bad_json", "too_large": "too_large"}
"""Type of a body's first finding -> cause."""


def _explained(error: ValidationError) -> Poison:
    """Returns the cause and the findings of a body that does not validate, without its values: they may be personal."""
    findings = error.errors(include_input=False, include_url=False)
    found = "; ".join(f"{'.'.join(map(str, f['loc'])) or 'body'}: {f['msg']}" for f in findings[:3])
    more = f" (and {len(findings) - 3} more)" if len(findings) > 3 else ""
    return Poison(_CAUSES.get(findings[0]["type"], "bad_body"), found + more, findings)


def headers(
    *,
    ce_id: str,
    source: str,
    type: str,
    time: datetime,
    subject: str,
    store_id: str,
    correlation_id: str,
    causation_id: str | None = None,
    traceparent: str | None = None,
    schema_version: int = 1,
) -> list[tuple[str, bytes]]:
    """Returns the headers of a record that we write."""
    named = [
        *_same_for_all(source, type, schema_version),
        ("ce_id", ce_id.encode()),
        ("ce_time", _text_of(time)),
        ("ce_subject", subject.encode()),
        ("ce_storeid", store_id.encode()),
        ("ce_correlationid", correlation_id.encode()),
    ]
    if causation_id is not None:
        named.append(("ce_causationid", causation_id.encode()))
    if traceparent is not None:
        named.append(("traceparent", traceparent.encode()))
    return named


@lru_cache(maxsize=256)
def _same_for_all(source: str, type: str, schema_version: int) -> tuple[tuple[str, bytes], ...]:
    """Returns the headers that all records of one type from one source share."""
    return (
        ("ce_specversion", b"1.0"),
        ("ce_source", source.encode()),
        ("ce_type", type.encode()),
        ("ce_dataschema", dataschema(type, schema_version).encode()),
        ("content-type", b"application/json"),
    )


@lru_cache(maxsize=256)
def _text_of(time: datetime) -> bytes:
    """Cached: the messages of a batch have one time."""
    return time.isoformat().replace("+00:00", "Z").encode()


def dataschema(type: str, schema_version: int) -> str:
    """Returns a URI for the schema of a type: libs/contracts/schemas/<type>/<version>.reader.json."""
    return f"urn:tradewind:schema:{type}:{schema_version}"
