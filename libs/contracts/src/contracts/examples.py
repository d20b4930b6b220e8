"""The checked-in example of each message: a body that its schema accepts."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Final

CORPUS: Final = Path(__file__).parents[2] / "tests" / "corpus"


@functools.cache
def example(type: str) -> bytes | None:
    """Returns the body of the first example of a type; None: it has none."""
    found = sorted((CORPUS / type).glob("1-*.json"))
    return found[0].read_bytes() if found else None
