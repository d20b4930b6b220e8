"""Which types of events a reader wants: names, or all of a service as `orders.*`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, or_

from contracts.base import Message
from contracts.registry import MESSAGES, SERVICES, is_published

Wanted = Callable[[ColumnElement[str]], ColumnElement[bool]] | None
"""A condition on the column of types; null: every type."""
KNOWN: Final = (*sorted(name for name, model in MESSAGES.items() if is_published(model)), *(f"{s}.*" for s in SERVICES))


class Misspelt(NamedTuple):
    name: str
    nearest: str

    @property
    def detail(self) -> str:
        return f"no event has the type {self.name}; the nearest is {self.nearest}"


def unknown(types: Sequence[str]) -> Misspelt | None:
    """Returns the first that no event can have, with the nearest one that it can have; else None."""
    for name in types:
        if name not in KNOWN:
            return Misspelt(name, get_close_matches(name, KNOWN, 1, 0)[0])
    return None


def included(types: Sequence[str]) -> list[type[Message]]:
    """Returns the models of the types that names and patterns include; of every type, if there are none."""
    return [
        model
        for name, model in sorted(MESSAGES.items())
        if is_published(model) and (not types or name in types or f"{model.owner()}.*" in types)
    ]


def wanted(types: Sequence[str]) -> Wanted:
    if not types:
        return None
    exact = [name for name in types if not name.endswith(".*")]
    prefixes = [name.removesuffix("*") for name in types if name.endswith(".*")]

    def condition(column: ColumnElement[str]) -> ColumnElement[bool]:
        return or_(column.in_(exact), *(column.startswith(prefix, autoescape=True) for prefix in prefixes))

    return condition
