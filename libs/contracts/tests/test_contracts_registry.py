"""Every type has one home, an owner, a name in the right mood, and the fields that every body has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any
from uuid import UUID

import pytest

from contracts.base import Addressed, Command, Event, Message, OrderKeyed, PrivateEvent
from contracts.registry import MESSAGES, PARTITIONS, SERVICES, SNAPSHOTS, TOPICS, is_published, topic_of
from contracts.schemas import reader
from contracts.snapshot import Snapshot

each = pytest.mark.parametrize("model", MESSAGES.values(), ids=MESSAGES)

NOT_IN_ED = {
    "difference_found",
    "endpoint_failing",
    "held",
    "out_of_stock",
    "too_late",
    "pending",
    "step_failed",
    "refund_given_up",
}
"""Events that state how things now are."""


@cache
def read(kind: str) -> dict[str, Any]:
    """The schema of a type's readers."""
    return reader(MESSAGES[kind])


def nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """Every schema inside a schema."""
    if isinstance(schema, dict):
        yield schema
    for item in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from nodes(item)


@each
def test_every_type_has_a_topic_and_a_service_for_its_owner(model: type[Message]) -> None:
    assert topic_of(model) in TOPICS
    assert model.owner() in SERVICES or model is Snapshot
    assert re.fullmatch(r"[a-z]+\.[a-z]+(_[a-z]+)*", model.TYPE)


@each
def test_commands_are_wishes_and_events_are_facts(model: type[Message]) -> None:
    word = model.TYPE.partition(".")[2]
    if issubclass(model, Command):
        assert not word.endswith("ed") and word not in NOT_IN_ED
        assert topic_of(model) == f"{model.owner()}.commands.v1" and not is_published(model)
    elif issubclass(model, Event):
        assert word.endswith("ed") or word in NOT_IN_ED
        assert topic_of(model) == f"{model.owner()}.events.v1" and is_published(model)
    else:
        assert model is Snapshot and topic_of(model) == SNAPSHOTS


@each
def test_every_body_says_what_it_is_about(model: type[Message]) -> None:
    if issubclass(model, Event):
        assert {model.KEY, "store_id", "version", "operation_id"} <= model.model_fields.keys()
    elif issubclass(model, Command):
        needed = {model.KEY, "store_id", "operation_id", "actor"}
        assert all(model.model_fields[name].is_required() for name in needed)
    assert model is Snapshot or (issubclass(model, Addressed) and model.model_fields[model.KEY].annotation is UUID)


def test_every_service_handles_and_publishes_something() -> None:
    used = {topic_of(model) for model in MESSAGES.values()}
    assert used == {name for name in TOPICS if ".bulk." not in name}
    assert all(TOPICS[name].addressed != name.endswith(".events.v1") for name in TOPICS)
    assert PARTITIONS == 12


def test_a_private_event_is_never_published() -> None:
    class Asked(OrderKeyed, PrivateEvent, type="payments.asked"):
        pass

    assert Asked.TYPE not in MESSAGES and not is_published(Asked)


def test_an_addressed_message_has_the_field_that_it_names_as_its_key() -> None:
    class LabelKeyed(Addressed, key="label_id"):
        label_id: UUID

    class Stick(LabelKeyed, Command, type="payments.stick"):
        pass

    label = UUID(int=7)
    assert Stick(label_id=label, store_id="s", operation_id=label, actor="a").key == label
    assert "order_id" not in Stick.model_fields and OrderKeyed.KEY == "order_id"
    with pytest.raises(TypeError, match="declare the field"):

        class Keyless(Command, type="payments.keyless"):
            pass


CLOSED = {
    "approval": "decides whether an order ships without a person",
    "audience": "of a command: decides whether the customer reads a note",
    "capture": "decides when money is taken",
    "cause": "of a command: a misspelt word is refused",
    "collected_by": "decides who owes a tax",
    "fulfilled_by": "decides who ships",
    "kind": "of a line: decides whether it can ship",
    "lifecycle": "decides whether goods are reserved; connectors state `unknown` for a state without a word",
    "mode": "of a command: decides what remains of the metadata",
    "on_change": "decides whether a person is asked",
    "on_short": "decides whether an order without goods is cancelled",
    "outcome": "of a command: decides whether an amount is booked",
    "price_basis": "decides whether tax is contained in an amount",
    "reason": "of a command: a misspelt word is refused",
    "resolution": "of a command: a misspelt word is refused",
}
"""Enums that refuse further words, with the reason. All others are `Open`."""


@each
def test_an_enum_is_open_to_words_of_a_newer_release_or_closed_for_a_reason(model: type[Message]) -> None:
    for node in nodes(read(model.TYPE)):
        for name, field in node.get("properties", {}).items() if isinstance(node.get("properties"), dict) else ():
            enums = [one for one in nodes(field) if "enum" in one or "const" in one]
            assert not enums or name in CLOSED, f"{model.TYPE}: {name} is a closed enum without a reason"


@each
def test_integers_are_bounded_and_texts_refuse_nul(model: type[Message]) -> None:
    for node in nodes(read(model.TYPE)):
        if node.get("type") in ("integer", "number"):
            assert {"minimum", "maximum"} <= node.keys(), node
            assert node["type"] == "integer" and abs(node["minimum"]) < 2**53 and node["maximum"] < 2**53
        if node.get("type") == "string":
            assert node.keys() & {"pattern", "format", "enum", "const"}, node


@each
def test_money_is_an_integer_in_minor_units(model: type[Message]) -> None:
    for node in nodes(read(model.TYPE)):
        for name, field in node.get("properties", {}).items() if isinstance(node.get("properties"), dict) else ():
            if re.search(r"amount|price|(^|_)total$|_minor$", name) and name != "price_basis":
                assert name.endswith("_minor"), f"{model.TYPE}: {name} holds money, and its name has no unit"
                assert any(option.get("type") == "integer" for option in field.get("anyOf", [field]))


PERSONAL = {
    "Address": {
        *("salutation", "name", "company", "line1", "line2", "line3", "house_number", "district", "postcode", "city"),
        *("region", "phone", "pickup_point"),
    },
    "Attribute": {"value"},
    "Buyer": {"external_id", "name", "email", "phone", "company", "company_number", "vat_number"},
    "Gift": {"message"},
    "Line": {"ship_to"},
    "OrderContent": {"buyer_note", "delivery_note", "seller_note"},
    "TaxRegistration": {"number"},
    "UpstreamInvoice": {"number"},
    "UpstreamPayment": {"reference"},
    "UpstreamShipment": {"tracking_number", "tracking_url"},
}


@each
def test_personal_fields_are_marked_in_the_schema(model: type[Message]) -> None:
    for name, definition in read(model.TYPE).get("$defs", {}).items():
        marked = {
            field
            for field, schema in definition["properties"].items()
            if any(node.get("x-personal") for node in nodes(schema))
        }
        assert marked >= PERSONAL.get(name, set()), f"{model.TYPE}: {name}"


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("orders.cancel", "reason"),
        ("orders.add_note", "text"),
        ("orders.note_added", "text"),
        ("orders.note_added", "author"),
        ("orders.attachment_added", "url"),
        ("orders.metadata_changed", "metadata"),
        ("fulfillment.start", "ship_to"),
        ("fulfillment.shipped", "tracking_number"),
        ("invoicing.issue", "buyer"),
        ("invoicing.issued", "bill_to"),
    ],
)
def test_personal_fields_of_messages_are_marked(kind: str, field: str) -> None:
    assert any(node.get("x-personal") for node in nodes(read(kind)["properties"][field]))


def test_payments_is_told_nothing_personal_but_the_reason_of_a_statement_and_a_token() -> None:
    personal = {
        (model.TYPE, name)
        for kind, model in MESSAGES.items()
        if kind.startswith("payments.")
        for name, field in read(model.TYPE)["properties"].items()
        if any(node.get("x-personal") for node in nodes(field))
    }
    own_words = ("payments.force", "payments.forced", "payments.gift_card_adjusted", "payments.difference_closed")
    assert personal == {
        *((kind, "reason") for kind in own_words),
        ("payments.authorize", "payment_token"),
        ("payments.reverse", "payment_token"),
    }
