"""Bodies of requests that are values of the contracts: an unknown field is refused, at every level.

Readers of topics ignore unknown fields, so that a later release can add some. In a request an unknown field is a misspelt one, and
ignoring it would do something else than what was meant.
"""

from __future__ import annotations

from functools import cache
from types import GenericAlias, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, GetCoreSchemaHandler, TypeAdapter, create_model
from pydantic_core import CoreSchema, core_schema


class Strict:
    """`Annotated[Model, Strict()]`: a field that the model, or one below it, does not have is refused. The value is a `Model`."""

    def __get_pydantic_core_schema__(self, source: type[BaseModel], handler: GetCoreSchemaHandler) -> CoreSchema:
        plain = TypeAdapter(source)

        def validated(value: Any, strictly: core_schema.ValidatorFunctionWrapHandler) -> BaseModel:
            strictly(value)
            return plain.validate_python(value)

        return core_schema.no_info_wrap_validator_function(validated, handler(strict(source)))


@cache
def strict(model: type[BaseModel]) -> type[BaseModel]:
    """Returns the model with `extra="forbid"`, and so each model that its fields name."""
    below = {name: (_strict(field.annotation), field) for name, field in model.model_fields.items()}
    changed: dict[str, Any] = {
        name: stated for name, stated in below.items() if stated[0] != model.model_fields[name].annotation
    }
    return create_model(
        f"{model.__name__}Body",
        __base__=model,
        __doc__=model.__doc__,
        __module__=model.__module__,
        __cls_kwargs__={"extra": "forbid"},
        **changed,
    )


def _strict(annotation: Any) -> Any:
    if isinstance(annotation, type) and not isinstance(annotation, GenericAlias) and issubclass(annotation, BaseModel):
        return strict(annotation)
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return Annotated[_strict(parts[0]), *parts[1:]]
    if origin is None or not parts or (inner := tuple(map(_strict, parts))) == parts:
        return annotation
    return Union[inner] if origin in (Union, UnionType) else origin[inner]  # noqa: UP007
