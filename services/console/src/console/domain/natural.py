"""The order in which a person counts: 2 before 10."""

from __future__ import annotations

import re
from typing import Final

_NUMBER: Final = re.compile(r"([0-9]+)")


def natural(text: str) -> list[str | int]:
    """Returns a key to sort by: the numbers in a text count as numbers.

    >>> sorted(["10", "2", "1", "2-b", "shipping"], key=natural)
    ['1', '2', '2-b', '10', 'shipping']
    """
    return [int(part) if place % 2 else part for place, part in enumerate(_NUMBER.split(text))]
