"""The query of a list: what forms send, and the address of the same list with something changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator

from console.api.rendering import query


def _given(value: object) -> object:
    """A form sends every field: an empty one chooses nothing."""
    return None if value == "" else value


def _utc(moment: datetime | None) -> datetime | None:
    """A field `datetime-local` states no time zone: it is UTC."""
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


Moment = Annotated[datetime | None, BeforeValidator(_given), AfterValidator(_utc)]


def linked(path: str, asked: BaseModel) -> Callable[..., str]:
    """Returns a function that makes the address of the same list with something changed, from its first page on."""
    same = asked.model_dump(mode="json", exclude_defaults=True, exclude={"cursor"}, by_alias=True)

    def link(**change: Any) -> str:
        wanted = query(same | change)
        return f"{path}?{wanted}" if wanted else path

    return link


def field_of(moment: datetime | None) -> str:
    """Returns the value of a field `datetime-local`."""
    return "" if moment is None else f"{moment:%Y-%m-%dT%H:%M}"
