"""How states are written."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from asyncpg.pgproto.pgproto import UUID as DriverUUID

from chassis.batch.aggregates import _doc
from contracts.base import Document, Timestamp


class Part(Document):
    at: Timestamp
    name: str = ""


class State(Document):
    parts: tuple[Part, ...] = ()
    by_name: dict[str, Part] = {}
    by_id: dict[UUID, Part] = {}
    large: Part | None = None
    id: UUID | None = None


PART = Part(at=datetime(2026, 11, 21, 9, 30, tzinfo=UTC))
LATER = Part.model_validate_json('{"at": "2026-11-21T09:30:00.25Z", "name": "\\u00e9", "later": {"a": [1]}}')


@pytest.mark.parametrize("key", [UUID(int=5), DriverUUID(UUID(int=5).bytes)], ids=["standard", "of the driver"])
def test_a_state_is_written_as_pydantic_would_and_read_as_it_was(key: UUID) -> None:
    state = State(parts=(PART, LATER), by_name={"x": LATER}, by_id={key: PART}, large=PART, id=key)
    assert _doc(state, ()) == state.model_dump_json()
    assert _doc(state, ("large",)) == state.model_dump_json(exclude={"large"})
    assert State.model_validate_json(_doc(state, ())) == state


def test_a_state_of_a_newer_release_keeps_what_is_not_known_here() -> None:
    state = State.model_validate_json('{"later": [1, {"b": null}]}')
    assert '"later":[1,{"b":null}]' in _doc(state, ("large",))
