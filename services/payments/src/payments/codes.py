"""Codes of gift cards: secrets that are shown once. What is stored is a hash of the code, and its last characters.

A code has 100 random bits, so a plain hash of it cannot be searched. It is read in capital or small letters, with or without
separators; O is read as 0, I and L as 1 (Crockford's base 32).
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH: Final = 20
GROUP: Final = 4
LENGTH_MAX: Final = 64
"""The longest text that is read as a code, separators included."""
_READ: Final = str.maketrans("OIL", "011")


def new_code() -> str:
    """Returns a code in groups.

    >>> len(new_code())
    24
    """
    code = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
    return "-".join(code[start : start + GROUP] for start in range(0, LENGTH, GROUP))


def hash_of(store_id: str, code: str) -> str:
    """Returns the hash under which the code of a store's card is found.

    >>> hash_of("st_1", "0a1b-") == hash_of("st_1", "OALB")
    True
    """
    return hashlib.sha256(f"{store_id}|{_letters(code)}".encode()).hexdigest()


def end_of(code: str) -> str:
    """Returns the last characters, by which a person identifies the card."""
    return _letters(code)[-GROUP:]


def _letters(code: str) -> str:
    return "".join(letter for letter in code.upper() if letter.isalnum()).translate(_READ)
