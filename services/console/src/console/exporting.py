"""A list as a stream of CSV. It is read in pages, each a query of its own: a receiver that is slow keeps no query and no snapshot
open, and one that is gone ends the reading.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Final, NamedTuple

from sqlalchemy.engine import RowMapping

from console import listing
from console.listing import SHOWN, Asked, Read
from console.spreadsheet import Table

EXPORT_PAGE_ROWS: Final = 2_000
"""Rows of a query and of a chunk. More: the other requests of the process wait longer while a chunk is written."""
WORDS: Final = ", words_by_kind->'buyer' as buyer_words, words_by_kind->'tracking' as tracking_words"


class Chunk(NamedTuple):
    text: bytes
    rows: int


class SearchTooWide(Exception):
    """More orders fit a search than are read of it, so that some would be missing."""


async def chunks(
    read: Read, store_id: str, asked: Asked, columns: Sequence[str], *, personal: bool, search_personal: bool
) -> AsyncGenerator[Chunk]:
    """Yields the file: the header with the first rows, then further rows. personal: whether it has the personal columns.

    The rows are the newest first, also if the list has another sort: the time of an order does not change meanwhile, so no
    order is in the file twice. Raises SearchTooWide before the first rows, Problem 400.
    """
    table = Table(columns, personal=personal)
    asked = asked.model_copy(update={"sort": "newest", "cursor": None})
    text = table.header()
    while True:
        found = await listing.find(
            read, store_id, asked, personal=search_personal, rows=EXPORT_PAGE_ROWS, shown=SHOWN + (WORDS if personal else "")
        )  # fmt: skip
        if found.too_many:
            raise SearchTooWide
        rows: Sequence[RowMapping] = found.rows
        yield Chunk(text + table.lines(rows), len(rows))
        text = b""
        if found.next_cursor is None:
            return
        asked = asked.model_copy(update={"cursor": found.next_cursor})
