"""The AsyncAPI document agrees with the registry."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from faststream.specification.asyncapi.v3_0_0.schema import ApplicationSchema

from contracts import asyncapi
from contracts.asyncapi import DOCUMENT, HEADERS, document
from contracts.envelope import headers
from contracts.registry import MESSAGES, PARTITIONS, SERVICES, TOPICS, Topic, topic_of
from contracts.schemas import text

WHOLE = document()


def resolve(ref: str) -> Any:
    found: Any = WHOLE
    for part in ref.removeprefix("#/").split("/"):
        found = found[part]
    return found


def refs(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [ref for value in node.values() for ref in refs(value)]
    return [ref for value in node for ref in refs(value)] if isinstance(node, list) else []


def test_the_checked_in_document_is_that_of_the_registry() -> None:
    assert DOCUMENT.read_text("utf-8") == text(WHOLE), "run python -m contracts.asyncapi"


def test_it_is_an_asyncapi_3_document() -> None:
    read = ApplicationSchema.model_validate(WHOLE)
    written = json.loads(read.model_dump_json(by_alias=True, exclude_none=True))
    assert read.asyncapi == "3.0.0" and written["channels"].keys() == TOPICS.keys()
    assert written["components"]["schemas"].keys() == WHOLE["components"]["schemas"].keys()


def test_every_reference_leads_somewhere() -> None:
    for ref in refs(WHOLE):
        resolve(ref)


@pytest.mark.parametrize("kind", MESSAGES)
def test_every_type_is_a_message_on_its_channel_with_headers_and_a_payload(kind: str) -> None:
    assert kind in WHOLE["channels"][topic_of(MESSAGES[kind])]["messages"]
    message = resolve(f"#/components/messages/{kind}")
    assert resolve(message["payload"]["$ref"])["properties"].keys() == MESSAGES[kind].model_fields.keys()
    assert message["headers"]["allOf"][1]["properties"]["ce_type"] == {"const": kind}
    assert message["bindings"]["kafka"]["key"]["format"] == "uuid"


def test_channels_are_topics_with_their_partitions() -> None:
    for name, channel in WHOLE["channels"].items():
        assert channel["address"] == channel["bindings"]["kafka"]["topic"] == name
        assert channel["bindings"]["kafka"]["partitions"] == PARTITIONS
        assert channel["messages"]


def test_only_the_owner_of_a_topic_publishes_or_handles_its_messages() -> None:
    for service in SERVICES:
        mine = {
            (each["action"], each["channel"]["$ref"])
            for name, each in WHOLE["operations"].items()
            if name.startswith(service)
        }
        assert (("receive", f"#/channels/{service}.commands.v1") in mine) is (f"{service}.commands.v1" in TOPICS)
        assert {channel for action, channel in mine if action == "send" and channel.endswith("events.v1")} == {
            f"#/channels/{service}.events.v1"
        }
    heard = {
        (name.partition(".")[0], each["channel"]["$ref"].removeprefix("#/channels/"))
        for name, each in WHOLE["operations"].items()
        if each["action"] == "receive"
    }
    assert {topic for _, topic in heard} == TOPICS.keys()
    for listener in ("webhooks", "console"):
        assert {topic for who, topic in heard if who == listener} == {f"{service}.events.v1" for service in SERVICES}
    assert {who for who, topic in heard if topic == "webhooks.events.v1"} == {"webhooks", "console"}


def test_a_service_without_commands_has_no_channel_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TOPICS, "loyalty.events.v1", Topic("loyalty.events.v1", False, "Events of loyalty."))
    monkeypatch.setattr(asyncapi, "SERVICES", (*SERVICES, "loyalty"))
    operations = document()["operations"].values()
    used = {each["channel"]["$ref"].removeprefix("#/channels/") for each in operations}
    assert used == TOPICS.keys()


def test_the_headers_are_those_that_the_envelope_writes() -> None:
    texts = ("ce_id", "source", "subject", "store_id", "correlation_id", "causation_id", "traceparent")
    told: dict[str, Any] = dict.fromkeys(texts, "x")
    written = {name for name, _ in headers(**told, type="orders.placed", time=datetime(2026, 11, 21, tzinfo=UTC))}
    assert written == HEADERS["properties"].keys()
    assert set(HEADERS["required"]) <= written
