"""What a request may name, typed once for every route: rows, pages, places in a list.

Ids, codes and filters are the contracts' types (`Id`, `Code`, `Text`): what PostgreSQL could not keep is refused with 422.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Generic, TypedDict, TypeVar

import orjson
from fastapi import Path, Query
from pydantic import BaseModel, Field, TypeAdapter

from chassis.http.problems import known

BIGINT_MAX: Final = 2**63 - 1

RowNumber = Annotated[int, Field(strict=True, ge=0, le=BIGINT_MAX)]
"""A number that the database gave to a row."""
RowId = Annotated[int, Path(ge=0, le=BIGINT_MAX)]
"""The same in a path."""
Limit = Annotated[int, Query(ge=1, le=500)]
"""Rows of a page."""


Item = TypeVar("Item")


class Page(BaseModel, Generic[Item]):
    """A part of a list."""

    items: list[Item]
    next_cursor: str | None
    """The cursor of the next page; null on the last one."""


class PageOfRows(TypedDict):
    items: list[Any]
    next_cursor: str | None


class Cursors:
    """The places between the rows of one list, ordered by a key of these types.

    A cursor is base64 of the list's name and the key of the last row shown; another list's is refused like a changed one.
    """

    def __init__(self, of: str, *types: Any) -> None:
        shape: Any = tuple
        self._of = of
        self._read: TypeAdapter[tuple[Any, ...]] = TypeAdapter(shape[(str, *types)])

    def page(self, rows: Sequence[Any], limit: int, key: Callable[[Any], Sequence[Any]]) -> PageOfRows:
        """`rows` were read with `limit + 1`: one too many says that there is a next page."""
        shown = list(rows[:limit])
        cursor = None
        if len(rows) > limit:
            place = orjson.dumps([self._of, *key(shown[-1])], default=str)
            cursor = base64.urlsafe_b64encode(place).decode().rstrip("=")
        return {"items": shown, "next_cursor": cursor}

    def after(self, cursor: str | None) -> tuple[Any, ...] | None:
        """The key that a cursor stands for; None at the beginning. Raises Problem 400."""
        if cursor is None:
            return None
        try:
            place = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            of, *key = self._read.validate_json(place)
        except ValueError:  # no base64, no JSON, or a key of other types
            of, key = "", []
        if of != self._of:
            raise known("bad_cursor", "use next_cursor of the page before, unchanged")
        return tuple(key)
