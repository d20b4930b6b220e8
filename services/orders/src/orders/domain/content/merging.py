"""A three-way merge of orders: what one statement of an order changed from another one, taken into a third."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any, Final

from pydantic import BaseModel

from contracts.snapshot import Line, OrderContent
from orders.domain.content.agreement import reworded_line

FIELD_BY_FIELD: Final = frozenset({"", "totals", "lines[]", "lines[].quantity", "lines[].cancellation"})
"""Parts that are merged field by field; every other field is taken whole, an address and a list included."""
Takes = Callable[[str], bool]
"""Whether a changed field is taken, by its path without the ids of lines; `lines[]`: a line that is added or removed."""


def merged(
    ours: OrderContent, base: OrderContent, told: OrderContent, takes: Takes, alike: Collection[str] = ()
) -> OrderContent:
    """Returns `ours` with every field that `told` has changed from `base`; what differs between `ours` and `base` stays.

    alike: the ids of lines that `ours` and `told` sell alike; they become as `told` states them. Raises ValueError if the result
    does not add up, or if both have changed the pieces of a line, each in another way.
    """
    content: OrderContent = _merged(ours, base, told, "", takes, alike)
    return content


def _merged(ours: Any, base: Any, told: Any, rule: str, takes: Takes, alike: Collection[str]) -> Any:
    if base == told or ours == told:
        return ours
    if rule == "lines":
        return tuple(_lines(ours, base, told, takes, alike))
    if rule not in FIELD_BY_FIELD:
        return told if takes(rule) else ours
    assert isinstance(ours, BaseModel)
    change = {}
    for name in type(ours).model_fields:
        before, path = getattr(ours, name), f"{rule}.{name}" if rule else name
        after = _merged(before, getattr(base, name), getattr(told, name), path, takes, alike)
        if after is not before:
            change[name] = after
    if not change:
        return ours
    result = ours.model_copy(update=change)
    one_side = (_pieces(ours), _pieces(told)) if rule == "lines[].quantity" and _pieces(ours) != _pieces(base) else ()
    if one_side and _pieces(result) not in one_side:
        raise ValueError("pieces of a line were changed on both sides")
    return result


def _pieces(quantity: Any) -> tuple[int, int]:
    return quantity.ordered, quantity.cancelled


def _lines(
    ours: tuple[Line, ...], base: tuple[Line, ...], told: tuple[Line, ...], takes: Takes, alike: Collection[str]
) -> Iterator[Line]:
    befores, afters = ({line.external_line_id: line for line in lines} for lines in (base, told))
    own = {line.external_line_id for line in ours}
    for line in ours:
        before, after = befores.get(line.external_line_id), afters.get(line.external_line_id)
        if after is not None:
            line = reworded_line(line, after) if line.external_line_id in alike else line
            yield _merged(line, before or line, after, "lines[]", takes, alike)
        elif before is None or not takes("lines[]"):
            yield line
    for line in told:
        if line.external_line_id not in own and line.external_line_id not in befores and takes("lines[]"):
            yield line
