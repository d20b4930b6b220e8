"""A patch of asyncpg that writes arrays in two thirds of the time (docs/decisions/0019-what-a-trick-must-earn.md)."""

from __future__ import annotations

import asyncpg.protocol.protocol


def quicken_arrays() -> None:
    """Makes asyncpg recognise only lists and tuples as nested arrays.

    For each element it checks whether the element is an array, by two abstract classes that are implemented in Python. All
    arrays of ours are lists or tuples. A test fails when the patch no longer takes effect.
    """
    for abstract in ("IterableABC", "SizedABC"):
        setattr(asyncpg.protocol.protocol, abstract, (list, tuple))
