"""The command line of a service."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest
from chassis_counter import SERVICE
from sqlalchemy.exc import DBAPIError

from chassis.process import cli

MISSING = asyncpg.InvalidCatalogNameError('database "counter" does not exist')


@pytest.mark.parametrize("error", [MISSING, DBAPIError(None, None, MISSING)], ids=["asyncpg", "sqlalchemy"])
def test_an_error_of_the_database_ends_a_command_with_one_sentence(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: Any) -> None:
        raise error

    monkeypatch.setattr(cli, "_command", fails)
    monkeypatch.setenv("COUNTER_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/counter")
    monkeypatch.setattr(sys, "argv", ["counter", "migrate"])
    with pytest.raises(SystemExit, match=r'^counter migrate: database "counter" does not exist$'):
        cli.run(SERVICE)


@pytest.fixture
def collections() -> Iterator[list[int]]:
    """How many objects each collection has freed."""
    found: list[int] = []
    thresholds = gc.get_threshold()

    def noted(phase: str, info: dict[str, int]) -> None:
        if phase == "stop":
            found.append(info["collected"])

    gc.callbacks.append(noted)
    yield found
    gc.callbacks.remove(noted)
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    gc.enable()


@pytest.mark.parametrize("young_objects", [10_000, 40_000])
def test_a_process_collects_after_as_many_objects_as_its_service_lets_gather(
    young_objects: int, collections: list[int]
) -> None:
    gc.disable()  # as `__main__` does while the service loads
    cli.spare_collections(young_objects)
    collections.clear()
    for _ in range(100_000):
        cycle: list[Any] = []
        cycle.append(cycle)
    assert len(collections) >= 100_000 // young_objects - 1 and max(collections) < young_objects * 1.01
