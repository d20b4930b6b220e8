"""Numbers of orders. ALPHANUMERIC_9 is a random code; there is no gapless series."""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import Final

ALPHABET: Final = string.ascii_uppercase + string.digits
LENGTH: Final = 9


def alphanumeric_9(below: Callable[[int], int]) -> str:
    """Returns a code of nine letters and digits. below(n): a random number of 0..n-1, e.g. `secrets.randbelow`."""
    return "".join(ALPHABET[below(len(ALPHABET))] for _ in range(LENGTH))
