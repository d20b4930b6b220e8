"""A three-way merge of orders: what one statement of an order changed from another one, taken into a third."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from pydantic import BaseModel

from contracts.snapshot import Line, OrderContent

FIELD_BY_FIELD: Final = frozenset({"", "totals", "lines[]", "lines[].quantity", "lines[].cancellation"})
"""Parts that are merged field by field; every other field is taken whole, an address and a list included."""
Takes = Callable[[str], bool]
"""Whether a changed field is taken, by its path without the ids of lines; `lines[]`: a line that is added or removed."""


def merged(ours: OrderContent, base: OrderContent, told: OrderContent, takes: Takes) -> OrderContent:
    """Returns `ours` with every field that `told` has changed from `base`; what differs between `ours` and `base` stays.

    Raises ValueError if the result does not add up.
    """
    content: OrderContent = _merged(ours, base, told, "", takes)
    return content


def _merged(ours: Any, base: Any, told: Any, rule: str, takes: Takes) -> Any:
    if base == told or ours == told:
        return ours
    if rule == "lines":
        return tuple(_lines(ours, base, told, takes))
    if rule not in FIELD_BY_FIELD:
        return told if takes(rule) else ours
    assert isinstance(ours, BaseModel)
    change = {}
    for name in type(ours).model_fields:
        before, path = getattr(ours, name), f"{rule}.{name}" if rule else name
        after = _merged(before, getattr(base, name), getattr(told, name), path, takes)
        if after is not before:
            change[name] = after
    return ours.model_copy(update=change) if change else ours


def _lines(ours: tuple[Line, ...], base: tuple[Line, ...], told: tuple[Line, ...], takes: Takes) -> Iterator[Line]:
    befores, afters = ({line.external_line_id: line for line in lines} for lines in (base, told))
    own = {line.external_line_id for line in ours}
    for line in ours:
        before, after = befores.get(line.external_line_id), afters.get(line.external_line_id)
        if after is not None:
            yield _merged(line, before or line, after, "lines[]", takes)
        elif before is None or not takes("lines[]"):
            yield line
    for line in told:
        if line.external_line_id not in own and line.external_line_id not in befores and takes("lines[]"):
            yield line
