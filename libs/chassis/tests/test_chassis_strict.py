"""Bodies that are values of the contracts: what a reader of a topic ignores is refused in a request."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from chassis.http.strict import Strict
from contracts.base import Frozen


class Part(Frozen):
    size: Annotated[int, Field(ge=1)]


class Whole(Frozen):
    first: Part | None = None
    rest: Annotated[tuple[Annotated[Part, Field()], ...], Field(max_length=2)] = ()
    named: dict[str, Part] = {}
    note: str = ""

    @model_validator(mode="after")
    def _is_noted(self) -> Whole:
        if self.note == "wrong":
            raise ValueError("wrong")
        return self


BODY: TypeAdapter[Whole] = TypeAdapter(Annotated[Whole, Strict()])
STATED: dict[str, Any] = {"first": {"size": 1}, "rest": [{"size": 2}], "named": {"a": {"size": 3}}, "note": "n"}


def test_the_value_is_the_contracts_own() -> None:
    assert BODY.validate_python(STATED) == Whole.model_validate(STATED)
    assert BODY.validate_python({}) == Whole()


@pytest.mark.parametrize(
    ("changed", "place"),
    [
        ({"note_": ""}, ("note_",)),
        ({"first": {"size": 1, "sise": 1}}, ("first", "sise")),
        ({"rest": [{"size": 1}, {"size": 1, "sise": 1}]}, ("rest", 1, "sise")),
        ({"named": {"a": {"size": 1, "sise": 1}}}, ("named", "a", "sise")),
    ],
)
def test_an_unknown_field_is_refused_at_every_level(changed: dict[str, Any], place: tuple[str | int, ...]) -> None:
    assert Whole.model_validate(STATED | changed)
    with pytest.raises(ValidationError) as refused:
        BODY.validate_python(STATED | changed)
    assert [(error["type"], error["loc"]) for error in refused.value.errors()] == [("extra_forbidden", place)]


@pytest.mark.parametrize(
    ("changed", "kind"),
    [({"first": {"size": 0}}, "greater_than_equal"), ({"rest": [{"size": 1}] * 3}, "too_long"), ({"note": "wrong"}, "value_error")],
)  # fmt: skip
def test_what_the_contract_demands_is_demanded(changed: dict[str, Any], kind: str) -> None:
    with pytest.raises(ValidationError) as refused:
        BODY.validate_python(STATED | changed)
    assert [error["type"] for error in refused.value.errors()] == [kind]
