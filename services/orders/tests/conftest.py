"""Fixtures of the orders tests; `orders_play` has the words of their stories."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

from orders_play import Play

settings.register_profile("unhurried", deadline=None)  # an example takes longer on a busy machine
settings.register_profile("long", max_examples=2000, deadline=None)
settings.load_profile("long" if os.environ.get("HYPOTHESIS_PROFILE") == "long" else "unhurried")


@pytest.fixture
def play() -> Play:
    return Play()
