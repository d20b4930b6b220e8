"""The checked-in schemas are those of the models: what readers accept and what writers emit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from contracts_payloads import payloads
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from contracts import schemas
from contracts.base import Event, Message, to_json
from contracts.registry import MESSAGES

PRESENT = schemas.present()
BASELINE = schemas.baseline()
each = pytest.mark.parametrize("model", MESSAGES.values(), ids=MESSAGES)


def test_the_checked_in_schemas_are_those_of_the_models() -> None:
    found = sorted(schemas.FOLDER.glob("*/*.json"))
    assert schemas.differences(schemas.files(PRESENT), found) == [], "run python -m contracts.schemas"


def test_generating_twice_gives_the_same_bytes_in_sorted_order() -> None:
    assert schemas.files(PRESENT) == schemas.files(schemas.present())
    for content in schemas.files(PRESENT).values():
        assert content.endswith("}\n")
        assert content == schemas.text(json.loads(content))


@each
def test_every_schema_is_a_valid_schema(model: type[Message]) -> None:
    for schema in PRESENT[model.TYPE]["1"].values():
        Draft202012Validator.check_schema(schema)


def objects(node: Any) -> list[dict[str, Any]]:
    if isinstance(node, dict):
        own = [node] if node.get("type") == "object" and "properties" in node else []
        return own + [found for value in node.values() for found in objects(value)]
    return [found for value in node for found in objects(value)] if isinstance(node, list) else []


@each
def test_writers_leave_out_only_what_is_null_or_empty_and_add_no_field_and_readers_ignore_further_ones(
    model: type[Message],
) -> None:
    sides = PRESENT[model.TYPE]["1"]
    for written in objects(sides["writer"]):
        assert written["additionalProperties"] is False
        left_out = written["properties"].keys() - set(written.get("required", ()))
        assert all(written["properties"][name].get("default", 1) in (None, []) for name in left_out)
    assert all("additionalProperties" not in read for read in objects(sides["reader"]))


def test_a_stale_a_missing_and_a_left_over_file_are_told(tmp_path: Path) -> None:
    fresh, stale, missing, odd = (tmp_path / name for name in ("fresh", "stale", "missing", "odd"))
    for path in (fresh, stale, odd):
        path.write_text("1\n", "utf-8")
    lines = schemas.differences({fresh: "1\n", stale: "2\n", missing: "3\n"}, [fresh, stale, odd])
    assert lines == sorted([f"{stale} is stale", f"{missing} is missing", f"{odd} belongs to no type"])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(schemas, "FOLDER", tmp_path)
    monkeypatch.setattr(schemas, "BASELINE", tmp_path / "baseline.json")
    monkeypatch.setattr(schemas, "present", lambda: PRESENT)  # generated once: each run of `main` would take a second
    return tmp_path


def test_check_writes_nothing_and_fails_until_the_schemas_are_written(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert schemas.main(["--check"]) == 1
    assert list(folder.iterdir()) == []
    assert "payments.captured/1.reader.json is missing; run python -m contracts.schemas" in capsys.readouterr().err
    assert schemas.main([]) == 0 and schemas.main(["--check"]) == 0
    (folder / "payments.captured" / "1.reader.json").write_text("{}\n", "utf-8")
    assert schemas.main(["--check"]) == 1


def test_only_a_release_moves_the_baseline_and_not_past_a_finding(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert schemas.main([]) == 0 and not schemas.BASELINE.exists()
    assert schemas.main(["--release"]) == 0
    released = schemas.baseline()
    released["payments.captured"]["1"]["reader"]["properties"]["tip_minor"] = {"type": "integer"}
    schemas.BASELINE.write_text(schemas.text(released), "utf-8")
    assert schemas.main(["--check"]) == 1
    assert "payments.captured/1 $.tip_minor: the field was removed" in capsys.readouterr().err
    assert schemas.main(["--release"]) == 1 and schemas.baseline() == released
    assert schemas.main(["--release", "--breaking"]) == 0 and schemas.main(["--check"]) == 0


def test_descriptions_are_no_part_of_the_baseline_but_a_field_of_such_a_name_is() -> None:
    bare = schemas._bare(
        {"title": "X", "properties": {"title": {"description": "d", "type": "string"}}, "default": {"title": 1}}
    )
    assert bare == {"properties": {"title": {"type": "string"}}, "default": {"title": 1}}


OF_ONE_FIELD = ("is not an active ISO 4217 currency code", "a time", "a day")
"""Rules of the models' own about a single field. All others compare fields, which no schema can state."""


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_what_the_last_release_could_write_is_read_now(data: st.DataObject) -> None:
    """Drawn from the frozen schemas of readers (outsiders write by them) and writers, read by today's models."""
    kind = data.draw(st.sampled_from(sorted(BASELINE)))
    version = data.draw(st.sampled_from(sorted(BASELINE[kind])))
    side = data.draw(st.sampled_from(["reader", "writer"]))
    schema = BASELINE[kind][version][side]
    payload = data.draw(payloads(schema, schema))
    Draft202012Validator(PRESENT[kind][version]["reader"]).validate(payload)
    try:
        message = MESSAGES[kind].model_validate_json(json.dumps(payload))
    except ValidationError as error:
        assert all(
            found["type"] == "value_error" and not any(text in found["msg"] for text in OF_ONE_FIELD)
            for found in error.errors()
        )
        return
    if side == "writer" or not issubclass(
        MESSAGES[kind], Event
    ):  # events are ours: no other writer has words of its own
        Draft202012Validator(PRESENT[kind][version]["writer"]).validate(message.model_dump(mode="json"))
    assert MESSAGES[kind].model_validate_json(message.model_dump_json()) == message


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_what_we_write_is_what_pydantic_would_write(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(PRESENT)))
    schema = PRESENT[kind][str(MESSAGES[kind].SCHEMA_VERSION)]["reader"]
    try:
        message = MESSAGES[kind].model_validate_json(json.dumps(data.draw(payloads(schema, schema))))
    except ValidationError:
        return  # a rule across fields
    assert to_json(message) == message.model_dump_json()
