"""Which types of events a reader wants: names, or all of a service as `orders.*`."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final

from sqlalchemy import ColumnElement, or_

from contracts.registry import MESSAGES, SERVICES, is_published
from webhooks.reading import Wanted

KNOWN: Final = (*sorted(name for name, model in MESSAGES.items() if is_published(model)), *(f"{s}.*" for s in SERVICES))


def unknown(types: Sequence[str]) -> str | None:
    """Returns what is wrong with the first that no event can have, with the nearest one that it can have; else None."""
    for name in types:
        if name not in KNOWN:
            nearest = get_close_matches(name, KNOWN, 1, 0)
            return f"no event has the type {name}; the nearest is {nearest[0]}"
    return None


def wanted(types: Sequence[str]) -> Wanted:
    if not types:
        return None
    exact = [name for name in types if not name.endswith(".*")]
    prefixes = [name.removesuffix("*") for name in types if name.endswith(".*")]

    def condition(column: ColumnElement[str]) -> ColumnElement[bool]:
        return or_(column.in_(exact), *(column.startswith(prefix, autoescape=True) for prefix in prefixes))

    return condition
