"""Fixtures of the payments tests; `payments_play` has the words of their stories."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from payments_play import Play


@pytest.fixture
def play() -> Play:
    return Play()
