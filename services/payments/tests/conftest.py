"""Fixtures of the payments tests; `payments_play` has the words of their stories."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

sys.path.insert(0, str(Path(__file__).parent))

from payments_database import emptied
from payments_play import Play

from chassis.batch.database import Database


@pytest.fixture
def play() -> Play:
    return Play()


@pytest_asyncio.fixture
async def database() -> AsyncIterator[Database]:
    async with emptied() as database:
        yield database
