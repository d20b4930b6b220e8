"""The AsyncAPI 3.0 document of all topics, generated from the registry into `docs/asyncapi.json`.

    python -m contracts.asyncapi            write it
    python -m contracts.asyncapi --check    fail when the checked-in one differs

A channel is a topic, a message is a type with its CloudEvents headers, an operation what one service sends or receives.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

from pydantic.json_schema import models_json_schema

from contracts.base import Message
from contracts.envelope import dataschema
from contracts.registry import MESSAGES, PARTITIONS, SERVICES, SNAPSHOTS, SNAPSHOTS_BULK, TOPICS, topic_of
from contracts.schemas import Untitled, differences, text

ROOT: Final = Path(__file__).parents[4]
DOCUMENT: Final = ROOT / "docs" / "asyncapi.json"

ORCHESTRATOR: Final = "orders"
"""Sends commands to the other services and receives their answers. A person, an API key or a program sends commands to it."""
LISTENERS: Final = ("webhooks", "console")
"""Receive every event: for the feed, and for the lists of the console."""
CONNECTORS: Final = "connectors"
"""Programs outside that publish the orders of marketplaces."""

Part = dict[str, Any]


def document() -> Part:
    messages = dict(sorted(MESSAGES.items()))
    payloads, schemas = models_json_schema(
        [(model, "validation") for model in messages.values()],
        ref_template="#/components/schemas/{model}",
        schema_generator=Untitled,
    )
    return {
        "asyncapi": "3.0.0",
        "id": "urn:tradewind",
        "info": {
            "title": "Tradewind",
            "version": _version(),
            "description": "Every message between the services of Tradewind, and what connectors send them.\n\n"
            "Records are CloudEvents 1.0 in binary mode: headers describe the record, the value is the body as JSON. "
            "The key is the id of the aggregate, e.g. the order, and equals `ce_subject`. Unknown fields are ignored by readers.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "channels": {name: _channel(name) for name in TOPICS},
        "operations": dict(sorted(_operations().items())),
        "components": {
            "messages": {kind: _message(model, payloads[model, "validation"]) for kind, model in messages.items()},
            "schemas": {"CloudEventHeaders": HEADERS, **schemas["$defs"]},
        },
    }


HEADERS: Final[Part] = {
    "description": "CloudEvents 1.0 over Kafka, binary mode. Every value is UTF-8 text.",
    "type": "object",
    "required": ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "ce_subject", "ce_storeid"],
    "properties": {
        "ce_specversion": {"type": "string", "const": "1.0"},
        "ce_id": {
            "type": "string",
            "minLength": 1,
            "maxLength": 200,
            "description": "The same id, source, time, store and key are the same message, which is processed once.",
        },
        "ce_source": {
            "type": "string",
            "minLength": 1,
            "maxLength": 200,
            "description": "The service; for a connector `<channel>/<account>`.",
        },
        "ce_type": {"type": "string", "description": "`<owner>.<word>`"},
        "ce_time": {"type": "string", "format": "date-time"},
        "ce_subject": {
            "type": "string",
            "format": "uuid",
            "description": "The id of the aggregate, e.g. the order; equals the record key.",
        },
        "ce_storeid": {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,64}$"},
        "ce_dataschema": {"type": "string", "description": "A name for the schema of the body, never fetched."},
        "ce_correlationid": {
            "type": "string",
            "description": "The same for a first message and all messages that follow from it.",
        },
        "ce_causationid": {"type": "string", "description": "`ce_id` of the message that caused this one."},
        "content-type": {"type": "string", "const": "application/json"},
        "traceparent": {"type": "string", "description": "W3C Trace Context."},
    },
}


def _channel(topic: str) -> Part:
    return {
        "address": topic,
        "description": TOPICS[topic].about
        + (" An unknown type is parked." if TOPICS[topic].addressed else " Readers ignore unknown types."),
        "messages": {kind: {"$ref": f"#/components/messages/{kind}"} for kind in _kinds(topic)},
        "bindings": {"kafka": {"topic": topic, "partitions": PARTITIONS, "bindingVersion": "0.5.0"}},
    }


def _message(model: type[Message], payload: Part) -> Part:
    fixed = {
        "ce_type": {"const": model.TYPE},
        "ce_dataschema": {"const": dataschema(model.TYPE, model.SCHEMA_VERSION)},
    }
    about = {"summary": " ".join(model.__doc__.split())} if model.__doc__ else {}
    return about | {
        "name": model.TYPE,
        "title": model.__name__,
        "contentType": "application/json",
        "correlationId": {"location": "$message.header#/ce_correlationid"},
        "headers": {
            "allOf": [{"$ref": "#/components/schemas/CloudEventHeaders"}, {"type": "object", "properties": fixed}]
        },
        "payload": payload,
        "bindings": {
            "kafka": {
                "key": {"type": "string", "format": "uuid", "description": "The id of the aggregate, e.g. the order."},
                "bindingVersion": "0.5.0",
            }
        },
    }


def _operations() -> dict[str, Part]:
    """Returns what every service sends and receives, and what connectors send."""
    found: dict[str, Part] = {}

    def add(who: str, action: str, topic: str) -> None:
        found[f"{who}.{action}.{topic}"] = {
            "action": action,
            "channel": {"$ref": f"#/channels/{topic}"},
            "messages": [{"$ref": f"#/channels/{topic}/messages/{kind}"} for kind in _kinds(topic)],
            "tags": [{"name": who}],
        } | ({"bindings": _group(who)} if action == "receive" else {})

    for topic in (SNAPSHOTS, SNAPSHOTS_BULK):
        add(CONNECTORS, "send", topic)
        add(ORCHESTRATOR, "receive", topic)
    for service in SERVICES:
        commands, events = f"{service}.commands.v1", f"{service}.events.v1"
        add(service, "send", events)
        for listener in LISTENERS:
            add(listener, "receive", events)
        if service not in (ORCHESTRATOR, *LISTENERS):
            add(ORCHESTRATOR, "receive", events)
        if commands in TOPICS:
            add(service, "receive", commands)
            if service != ORCHESTRATOR:
                add(ORCHESTRATOR, "send", commands)
    return found


def _group(service: str) -> Part:
    return {"kafka": {"groupId": {"type": "string", "enum": [service]}, "bindingVersion": "0.5.0"}}


def _kinds(topic: str) -> list[str]:
    """Returns the types that are published on a topic. The topic for mass replays has those of snapshots."""
    home = SNAPSHOTS if topic == SNAPSHOTS_BULK else topic
    return sorted(kind for kind, model in MESSAGES.items() if topic_of(model) == home)


def _version() -> str:
    with (Path(__file__).parents[2] / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m contracts.asyncapi", description="The AsyncAPI document of all topics."
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a difference")
    content = text(document())
    if parser.parse_args().check:
        stale = differences({DOCUMENT: content}, ())
        print("".join(f"{line}; run python -m contracts.asyncapi\n" for line in stale), end="", file=sys.stderr)
        return 1 if stale else 0
    DOCUMENT.parent.mkdir(parents=True, exist_ok=True)
    DOCUMENT.write_text(content, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
