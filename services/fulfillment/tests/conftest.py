"""Fixtures of fulfillment's plays."""

from __future__ import annotations

import pytest
from fulfillment_play import House


@pytest.fixture
def house() -> House:
    """A service without a request so far."""
    return House()
