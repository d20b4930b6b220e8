"""Which events an endpoint receives: by type, and by conditions on facts of the order and on the event's data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

FACTS: Final = ("channel", "account", "market")
"""Facts of the order. Only `orders.received` states them: an event that is read before it has none."""
DATA: Final = "data."
ALL_OF: Final = ".*"
"""End of a pattern that names all types of a service: `orders.*`."""


class Candidate(Protocol):
    """An event, as far as filters examine it."""

    @property
    def type(self) -> str: ...
    @property
    def facts(self) -> Mapping[str, str] | None:
        """By the names of FACTS; null: the feed does not have them yet."""

    @property
    def data(self) -> Any:
        """The event's body, as JSON values."""


class Condition(NamedTuple):
    path: str
    """One of FACTS, or `data.` and the names of fields, separated by dots; lists on the way are searched."""
    values: frozenset[tuple[bool, Any]]
    """As `comparable` makes them."""

    @classmethod
    def of(cls, path: str, values: Iterable[Any]) -> Condition:
        return cls(path, frozenset(map(comparable, values)))


class Filter:
    """The types and conditions of one endpoint.

    A missing fact, or a field that an event does not have, fulfills a condition: a receiver can drop an event
    that it did not want, but cannot act on one that it never got.
    """

    def __init__(self, types: Sequence[str], conditions: Sequence[Condition] = ()) -> None:
        """types: names of types, or of all types of a service; none: every type."""
        self._exact = frozenset(name for name in types if not name.endswith(ALL_OF))
        self._services = frozenset(name.removesuffix(ALL_OF) for name in types if name.endswith(ALL_OF))
        self._every = not types
        self._conditions = tuple(conditions)

    @property
    def has_conditions(self) -> bool:
        """Whether more than the type of an event decides."""
        return bool(self._conditions)

    def wants(self, event: Candidate) -> bool:
        return self.wants_type(event.type) and all(_fulfills(event, one) for one in self._conditions)

    def wants_type(self, name: str) -> bool:
        return self._every or name in self._exact or name.partition(".")[0] in self._services


def comparable(value: Any) -> tuple[bool, Any]:
    """Returns a scalar of JSON as it is compared: for Python, true equals 1."""
    return isinstance(value, bool), value


def _fulfills(event: Candidate, condition: Condition) -> bool:
    if condition.path in FACTS:
        return event.facts is None or comparable(event.facts[condition.path]) in condition.values
    found = list(_values(event.data, condition.path.removeprefix(DATA).split(".")))
    return not found or any(comparable(value) in condition.values for value in found)


def _values(data: Any, names: Sequence[str]) -> Iterator[Any]:
    """Yields the scalar values at a path."""
    if isinstance(data, list):
        for one in data:
            yield from _values(one, names)
    elif names:
        if isinstance(data, Mapping) and names[0] in data:
            yield from _values(data[names[0]], names[1:])
    elif not isinstance(data, Mapping):
        yield data
