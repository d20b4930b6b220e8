"""Finds the fields of a message that are marked `Personal`, and hides their values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, get_args

from pydantic import BaseModel

from contracts.base import Personal, json_bytes

MASK: Final = "***"
"""Replaces a personal value; an empty field stays empty."""


def is_personal(metadata: Sequence[object], annotation: object) -> bool:
    """Returns whether a field is marked, itself or in a part of its annotation: `Annotated[Text, Personal()] | None`."""
    marks = [*metadata, *getattr(annotation, "__metadata__", ())]
    if any(isinstance(mark, Personal) for mark in marks):
        return True
    return any(is_personal((), part) for part in get_args(annotation))


def masked(value: BaseModel) -> dict[str, Any]:
    """Returns the model as JSON values; each personal one that is not empty is MASK.

    Fields that the model does not declare are left out: nothing states whether they are personal.
    """
    shown: dict[str, Any] = _masked(value, json.loads(json_bytes(value)))
    return shown


def _masked(value: Any, written: Any) -> Any:
    """`written` is what JSON makes of `value`; what does not correspond to it is hidden."""
    if isinstance(value, BaseModel):
        return {
            name: (written[name] and MASK)
            if _marked(type(value), name)
            else _masked(getattr(value, name), written[name])
            for name in type(value).model_fields
            if name in written
        }
    if isinstance(value, Mapping):
        return {str(key): _masked(one, written[str(key)]) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_masked(one, other) for one, other in zip(value, written, strict=True)]
    if isinstance(written, (dict, list)):
        return MASK
    return written


def _marked(model: type[BaseModel], name: str) -> bool:
    field = model.model_fields[name]
    return is_personal(field.metadata, field.annotation)
