"""Payloads that a JSON Schema of ours admits, for hypothesis. It has the keywords of `compatibility`."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Any

from hypothesis import strategies as st

from contracts.compatibility import Schema
from contracts.money import EXPONENTS
from contracts.orders.annotations import JSON_OBJECT_PATTERN

TEXTS = {
    "date-time": st.datetimes(datetime(1971, 1, 1), datetime(2199, 1, 1), timezones=st.just(UTC)).map(
        datetime.isoformat
    ),
    "date": st.dates(date(1971, 1, 1), date(2199, 1, 1)).map(date.isoformat),
    "uuid": st.uuids().map(str),
}


def payloads(schema: Schema, whole: Schema) -> st.SearchStrategy[Any]:
    """Fields that are not required may be missing; fields that are not named never appear."""
    if "$ref" in schema:
        return payloads(whole["$defs"][schema["$ref"].removeprefix("#/$defs/")], whole)
    if "anyOf" in schema:
        return st.one_of([payloads(option, whole) for option in schema["anyOf"]])
    if "enum" in schema or "const" in schema:
        return st.sampled_from(schema.get("enum", [schema.get("const")]))
    match schema["type"]:
        case "object":
            fields = {name: payloads(field, whole) for name, field in schema["properties"].items()}
            needed = set(schema.get("required", ()))
            return st.fixed_dictionaries(
                {name: field for name, field in fields.items() if name in needed},
                optional={name: field for name, field in fields.items() if name not in needed},
            )
        case "array":
            least = schema.get("minItems", 0)
            most = min(schema.get("maxItems", least + 2), least + 2)
            return st.lists(payloads(schema["items"], whole), min_size=least, max_size=most)
        case "integer":
            return st.integers(schema.get("minimum"), schema.get("maximum"))
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "string":
            return _strings(schema)
    raise AssertionError(schema)


def _strings(schema: Schema) -> st.SearchStrategy[str]:
    if "format" in schema:
        return TEXTS[schema["format"]]
    pattern = schema.get("pattern", "")
    if pattern == r"^[A-Z]{3}$":
        return st.sampled_from(sorted(EXPONENTS))  # the list of currencies is no part of the schema
    if pattern == JSON_OBJECT_PATTERN:
        return st.sampled_from(
            ["{}", '{"erp":{"id":7,"open":[true,null,1.5]},"näme":"x"}']
        )  # nor is the grammar of JSON
    least, most = schema.get("minLength", 0), min(schema.get("maxLength", 40), 40)
    if pattern in ("", r"^[^\x00]*$"):
        return st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=least, max_size=most)
    found = st.from_regex(re.compile(pattern, re.ASCII), fullmatch=True).filter(lambda text: not text.endswith("\n"))
    return found.filter(lambda text: least <= len(text) <= schema.get("maxLength", len(text)))
