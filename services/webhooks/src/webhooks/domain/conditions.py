"""Whether the conditions of an endpoint can be evaluated: their fields exist in an event, and do not reveal personal values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel

from contracts.base import Message
from contracts.deciding import Refusal
from contracts.personal import is_personal
from webhooks.domain.config import Condition
from webhooks.domain.filters import DATA, FACTS
from webhooks.domain.urls import Wrong


def check(conditions: Iterable[Condition], models: Sequence[type[Message]], *, personal: bool) -> None:
    """models: the types that are delivered. personal: whether personal values are. Raises Wrong."""
    for condition in conditions:
        if condition.path not in FACTS:
            _check(condition.path, models, personal)


def _check(path: str, models: Sequence[type[Message]], personal: bool) -> None:
    if not path.startswith(DATA):
        raise Wrong(Refusal("bad_filter", f"{path} is none of {', '.join(FACTS)} and does not begin with {DATA}"))
    found = [mark for model in models for mark in _found(model, path.removeprefix(DATA).split("."))]
    if not found:
        raise Wrong(Refusal("bad_filter", f"no event of these types has the field {path}"))
    if any(found) and not personal:
        raise Wrong(Refusal("bad_filter", f"{path} is personal, and the endpoint does not receive personal values"))


class _Named(NamedTuple):
    """An object whose members have any name."""

    value: Any


def _found(annotation: Any, names: Sequence[str], personal: bool = False) -> Iterator[bool]:
    """Yields, for each single value that the names reach, whether it is personal. Lists on the way are searched."""
    for part in _parts(annotation):
        if isinstance(part, type) and issubclass(part, BaseModel):
            if names and (field := part.model_fields.get(names[0])) is not None:
                marked = personal or is_personal(field.metadata, field.annotation)
                yield from _found(field.annotation, names[1:], marked)
        elif isinstance(part, _Named):
            if names:
                yield from _found(part.value, names[1:], personal)
        elif not names and part is not NoneType:
            yield personal


def _parts(annotation: Any) -> Iterator[Any]:
    """Yields the models, objects and scalar types that a value of an annotation may be, or the items of its lists."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _parts(arguments[0])
    elif origin in (Union, UnionType, tuple, list, frozenset):
        for one in arguments:
            if one is not Ellipsis:
                yield from _parts(one)
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        yield _Named(arguments[1])
    else:
        yield annotation
