"""`webhooks` of the OpenAPI document: the request that a receiver gets of each type of event, with an example."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import orjson
from pydantic.json_schema import models_json_schema

from chassis.declare.app import Requests
from contracts.base import Message
from contracts.envelope import dataschema
from contracts.registry import MESSAGES, is_published
from contracts.schemas import Untitled
from webhooks.delivery import render
from webhooks.delivery.line import GONE
from webhooks.delivery.sender import TOTAL_SECONDS_MAX
from webhooks.examples import example_event
from webhooks.shown import CloudEvent
from webhooks.verification import TYPE as VERIFY

Part = dict[str, Any]
PREFIX: Final = "Event_"
"""Begins the names of schemas: those of routes have an `Edited`, too."""
TEMPLATE: Final = f"#/components/schemas/{PREFIX}{{model}}"
AT: Final = datetime(2026, 11, 21, 10, tzinfo=UTC)
"""When the events of the examples happened."""
DELIVERY: Final = "delivered"
"""Schema of what every event has."""


def requests() -> Requests:
    """Returns the request of each type that the feed has, and of the verification, by type."""
    events = {name: model for name, model in sorted(MESSAGES.items()) if is_published(model)}
    refs, bodies = models_json_schema(
        [(model, "validation") for model in events.values()], ref_template=TEMPLATE, schema_generator=Untitled
    )
    webhooks = {name: {"post": _event(model, refs[model, "validation"])} for name, model in events.items()}
    webhooks[VERIFY] = {"post": _verification()}
    schemas = {DELIVERY: _delivery(), **bodies["$defs"]}
    return Requests(webhooks, {f"{PREFIX}{name}": schema for name, schema in schemas.items()})


def _event(model: type[Message], body: Part) -> Part:
    name = model.TYPE
    named = {
        "type": {"const": name},
        "dataschema": {"const": dataschema(name, model.SCHEMA_VERSION)},
        "data": body,
    }
    values = example_event(name, f"example-{name}", None, AT, personal=True)
    content: Part = {"schema": {"allOf": [{"$ref": TEMPLATE.format(model=DELIVERY)}, {"properties": named}]}}
    if values is not None:
        content["example"] = orjson.loads(orjson.dumps(values))
    return {
        "operationId": f"receive_{name.replace('.', '_')}",
        "tags": ["webhooks"],
        "summary": name,
        "description": " ".join((model.__doc__ or "").split()),
        "parameters": HEADERS,
        "requestBody": {"required": True, "content": {render.MEDIA_TYPE: content, render.BATCH_MEDIA_TYPE: BATCH}},
        "responses": RESPONSES,
    }


def _delivery() -> Part:
    """Returns the schema of an event as it is delivered, but for its data."""
    schema = CloudEvent.model_json_schema(ref_template=TEMPLATE, schema_generator=Untitled)
    schema["properties"]["data"] = {"type": "object", "description": "The event itself. With `personal: false` every personal"
                                    " value is `***`, although its schema may not allow that."}  # fmt: skip
    schema["properties"]["dataref"] = {
        "type": "string",
        "description": "With `payload: thin`, instead of `data`: the path of the event at this service.",
    }
    schema["required"] = [name for name in schema["required"] if name != "data"]
    return {**schema, "title": DELIVERY, "oneOf": [{"required": ["data"]}, {"required": ["dataref"]}]}


def _verification() -> Part:
    text = {"type": "string"}
    properties = {
        **dict.fromkeys(("specversion", "id", "source", "subject", "time", "datacontenttype", "storeid"), text),
        "type": {"const": VERIFY},
        "data": {"type": "object", "properties": {"challenge": text}, "required": ["challenge"]},
    }
    schema = {"type": "object", "properties": properties, "required": sorted(properties)}
    return {
        "operationId": "receive_webhooks_verify",
        "tags": ["webhooks"],
        "summary": VERIFY,
        "description": "Asks whether the receiver expects events of the endpoint `subject`; no event of the feed.",
        "parameters": HEADERS[:3],
        "requestBody": {"required": True, "content": {render.MEDIA_TYPE: {"schema": schema}}},
        "responses": {
            "2XX": {"description": "Enables the endpoint. With `verify: echo` the body has to be `data.challenge`, as text or"
                    " as `{\"challenge\": ...}`."},
            "default": {"description": "The endpoint stays `pending`."},
        },
    }  # fmt: skip


def _header(name: str, description: str, *, required: bool = True, **schema: Any) -> Part:
    return {
        "name": name,
        "in": "header",
        "required": required,
        "description": description,
        "schema": {"type": "string", **schema},
    }


HEADERS: Final = [
    _header("webhook-id", "The delivery: the same in each attempt, after a crash and in a replay. Drop what you have processed.",
            examples=["msg_6f1c1f0b2e5b5c0e8f3f0f6c0a4b7d21"]),
    _header("webhook-timestamp", "Unix time of this attempt, in seconds. Refuse one that is more than five minutes off.",
            pattern="^[0-9]+$"),
    _header("webhook-signature", "Signatures of `<webhook-id>.<webhook-timestamp>.<body>`, separated by spaces, one per secret:"
            " `v1,` and the base64 of an HMAC-SHA256, or `v1a,` and that of an ed25519 signature. Accept any that fits.",
            examples=["v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="]),
    _header(render.REPLAY, "The id of the replay that sends the event once more.", required=False),
    _header(render.TEST, "The event is an example that a person has sent.", required=False),
]  # fmt: skip
BATCH: Final = {
    "schema": {
        "type": "array",
        "minItems": 1,
        "items": {"$ref": TEMPLATE.format(model=DELIVERY)},
        "description": "With `batch`: this event and others, of any of the endpoint's types.",
    }
}
LATER: Final = {
    "description": "Failed. With `Retry-After` the endpoint gets nothing until then, an hour at most, and the event loses no attempt.",
    "headers": {"Retry-After": {"description": "Seconds, or an HTTP date.", "schema": {"type": "string"}}},
}
RESPONSES: Final = {
    "2XX": {"description": f"Delivered, if it comes within {TOTAL_SECONDS_MAX:.0f} s."},
    "3XX": {"description": "Failed: no redirect is followed."},
    str(GONE): {"description": "Disables the endpoint: it never wants anything again."},
    "429": LATER,
    "503": LATER,
    "default": {
        "description": "Failed: sent again after 5 s, 5 min, 30 min, 2, 5, 10, 14, 20 and 24 h; then exhausted."
    },
}
