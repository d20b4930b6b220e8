"""Parameters that routes share, typed once: row numbers, pages of a list, cursors.

Ids, codes and filters have the contracts' types (`Id`, `Code`, `Text`): 422 for a value that PostgreSQL cannot store.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Generic, TypedDict, TypeVar

import orjson
from fastapi import Path, Query
from pydantic import BaseModel, Field, TypeAdapter

from chassis.http.problems import known

ROW_MAX: Final = 2**53 - 1
"""The largest integer that every reader of JSON holds exactly."""

RowNumber = Annotated[int, Field(strict=True, ge=0, le=ROW_MAX)]
"""The number of a row in the database."""
RowId = Annotated[int, Path(ge=0, le=ROW_MAX)]
"""The number of a row, as a part of a path."""
Limit = Annotated[int, Query(ge=1, le=500)]
"""Number of rows of a page."""
CURSOR_PATTERN: Final = "^[A-Za-z0-9_-]{16,}$"
Cursor = Annotated[
    str | None,
    Query(description="`next_cursor` of the page before, unchanged.", json_schema_extra={"pattern": CURSOR_PATTERN}),
]
"""A place in a list, as `Cursors` makes it. Its pattern is only documented: each cursor that is refused has the same answer."""

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
    """Cursors of one list, ordered by a key of these types.

    A cursor is base64 of a checksum, the list's name and the key of the last row shown. A changed cursor and one of another
    list are refused. The checksum is no secret: a computed cursor reaches no row that the list would not show.
    """

    def __init__(self, of: str, *types: Any) -> None:
        shape: Any = tuple
        self._of = of
        self._read: TypeAdapter[tuple[Any, ...]] = TypeAdapter(shape[(str, *types)])

    def page(self, rows: Sequence[Any], limit: int, key: Callable[[Any], Sequence[Any]]) -> PageOfRows:
        """Returns the first `limit` rows. `rows` were read with `limit + 1`: one row too many means that there is a next page."""
        shown = list(rows[:limit])
        cursor = None
        if len(rows) > limit:
            cursor = self.at(key(shown[-1]))
        return {"items": shown, "next_cursor": cursor}

    def at(self, key: Sequence[Any]) -> str:
        """Returns the cursor of the rows that follow a key."""
        return sealed(orjson.dumps([self._of, *key], default=str))

    def after(self, cursor: str | None) -> tuple[Any, ...] | None:
        """Returns the key in a cursor; None for the first page. Raises Problem 400."""
        if cursor is None:
            return None
        try:
            of, *key = self._read.validate_json(opened(cursor))
        except ValueError:  # no base64, another checksum, no JSON, or a key of other types
            of, key = "", []
        if of != self._of:
            raise known("cursor_invalid", "use next_cursor of the page before, unchanged")
        return tuple(key)


_CHECKSUM_BYTES: Final = 9
"""A multiple of 3: the base64 of checksum and place needs no padding between them."""


def sealed(place: bytes) -> str:
    """Returns the cursor of a place."""
    return base64.urlsafe_b64encode(_checksum(place) + place).decode().rstrip("=")


def opened(cursor: str) -> bytes:
    """Returns the place of a cursor. Raises ValueError if `sealed` did not make it, or made it in another spelling."""
    raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    place = raw[_CHECKSUM_BYTES:]
    if sealed(place) != cursor:
        raise ValueError("the checksum differs")
    return place


def _checksum(place: bytes) -> bytes:
    return hashlib.blake2s(place, digest_size=_CHECKSUM_BYTES).digest()
