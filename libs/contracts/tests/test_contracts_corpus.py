"""Messages as they lie on topics: what was written once is read for ever. Files are added, never changed."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from contracts.ids import order_id
from contracts.registry import MESSAGES
from contracts.schemas import reader, writer
from contracts.snapshot import Snapshot

FOLDER = Path(__file__).parent / "corpus"
STORED = sorted(FOLDER.glob("*/*.json"))

each = pytest.mark.parametrize("path", STORED, ids=lambda path: f"{path.parent.name}/{path.stem}")


def survives(stored: Any, written: Any, where: str) -> None:
    """Every stored field that the model has still has its value."""
    if isinstance(stored, dict):
        for name in stored.keys() & written.keys():
            survives(stored[name], written[name], f"{where}.{name}")
    elif isinstance(stored, list):
        assert len(stored) == len(written), where
        for n, (before, after) in enumerate(zip(stored, written, strict=True)):
            survives(before, after, f"{where}[{n}]")
    elif isinstance(stored, str) and "T" in stored and stored != written:
        assert datetime.fromisoformat(stored) == datetime.fromisoformat(written), where
    else:
        assert {"EL": "GR", "UK": "GB"}.get(str(stored), stored) == written, where


@each
def test_a_stored_message_is_still_read_and_written_as_it_was(path: Path) -> None:
    stored = path.read_text("utf-8")
    model = MESSAGES[path.parent.name]
    message = model.model_validate_json(stored)
    written = message.model_dump_json()
    assert model.model_validate_json(written) == message
    survives(json.loads(stored), json.loads(written), "$")


@each
def test_a_stored_message_validates_under_the_schemas(path: Path) -> None:
    stored = json.loads(path.read_text("utf-8"))
    model = MESSAGES[path.parent.name]
    Draft202012Validator(reader(model)).validate(stored)
    Draft202012Validator(writer(model)).validate(model.model_validate(stored).model_dump(mode="json"))


def test_every_type_has_a_stored_message_of_every_version() -> None:
    there = {(path.parent.name, path.name.partition("-")[0]) for path in STORED}
    assert {(kind, str(model.SCHEMA_VERSION)) for kind, model in MESSAGES.items()} <= there


def test_the_messages_of_the_story_are_about_one_order() -> None:
    snapshot = Snapshot.model_validate_json((FOLDER / "marketplace.snapshot" / "1-a2k8290lp8.json").read_bytes())
    told = order_id("st_12", snapshot.source.channel, snapshot.source.account, snapshot.order.external_order_id)
    for path in STORED:
        assert json.loads(path.read_text("utf-8")).get("order_id", str(told)) == str(told)
