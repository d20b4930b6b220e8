"""The command line of a service."""

from __future__ import annotations

import sys
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
