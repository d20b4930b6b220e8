"""Fixtures of the payments tests; the words they are told in stand in `payments_play`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from payments_play import Play


@pytest.fixture
def play() -> Play:
    return Play()
