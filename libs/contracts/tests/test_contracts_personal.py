"""Personal fields are found wherever their mark is, and their values are hidden."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import pytest

from contracts.base import Frozen, Personal, Text
from contracts.personal import MASK, is_personal, masked
from contracts.registry import MESSAGES
from contracts.snapshot import Address, Buyer

Name = Annotated[Text, Personal()]


class Parcel(Frozen):
    sku: Text = ""
    note: Name = ""
    to: Annotated[Address, Personal()] | None = None
    back: Address | None = None
    names: tuple[Name, ...] = ()
    by_role: Mapping[str, tuple[Name, ...]] = {}
    parts: tuple[Parcel, ...] = ()
    labels: Mapping[str, Parcel] = {}


HOME = Address(name="Ann", line1="1 High Street", city="Leeds", country="GB")


def test_a_marked_field_is_hidden_wherever_it_is() -> None:
    inner = Parcel(sku="A", note="for Ann")
    parcel = Parcel(
        sku="A", note="for Ann", to=HOME, back=HOME, names=("Ann",), by_role={"payer": ("Ann",)}, parts=(inner,),
        labels={"first": inner},
    )  # fmt: skip
    shown = masked(parcel)
    assert "Ann" not in json.dumps(shown) and "Leeds" not in json.dumps(shown)
    assert (shown["sku"], shown["note"], shown["to"], shown["names"], shown["by_role"]) == ("A", MASK, MASK, MASK, MASK)
    assert (shown["back"]["country"], shown["back"]["city"]) == ("GB", MASK)
    assert shown["parts"][0]["sku"] == shown["labels"]["first"]["sku"] == "A"
    assert shown["parts"][0]["note"] == shown["labels"]["first"]["note"] == MASK


def test_a_field_that_is_empty_stays_empty() -> None:
    shown = masked(Parcel(back=Address(country="GB")))
    assert (shown["note"], shown["to"], shown["back"].get("name")) == ("", None, None)


def test_what_is_not_personal_is_written_as_on_a_topic() -> None:
    buyer = Buyer(name="Ann", email="ann@example.com")
    written = json.loads(buyer.model_dump_json())
    assert {name for name, value in masked(buyer).items() if value != written[name]} == {"name", "email"}


def _personal(schema: Any) -> bool:
    if isinstance(schema, list):
        return any(map(_personal, schema))
    return isinstance(schema, dict) and (schema.get("x-personal") is True or any(map(_personal, schema.values())))


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_every_field_that_a_schema_marks_as_personal_is_found(name: str) -> None:
    """The schema of a field and its annotation agree, nested types left out: they are masked by their own fields."""
    model = MESSAGES[name]
    properties = model.model_json_schema()["properties"]
    for field, about in model.model_fields.items():
        assert is_personal(about.metadata, about.annotation) == _personal(properties[field]), field
