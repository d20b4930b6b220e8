"""A file that is streamed, with its row in the audit: written before the first byte, ended with how much was sent."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import NamedTuple
from uuid import UUID, uuid4

from anyio import CancelScope
from fastapi import Response

from chassis.http.spreadsheet import Streamed
from console import audit
from console.api.serving import Pages
from console.audit import Subject
from console.domain.people import Person

Piece = tuple[bytes, int]
"""A piece of a file, and how much of what is counted it has."""


class File(NamedTuple):
    subject: Subject
    action: str
    what: str
    """What it has been chosen by, for the audit."""
    name: str
    counted: str
    """What the pieces count: `rows`, `bytes`."""


class NoFile(Exception):
    """There is not a single piece."""


async def streamed(pages: Pages, person: Person, file: File, pieces: AsyncGenerator[Piece]) -> Response:
    """Sends a file. What is wrong before its first piece is raised, and no row is written. Raises NoFile."""
    first = await anext(pieces, None)
    if first is None:
        raise NoFile
    nonce = uuid4()
    await audit.asked(pages.app, nonce, person, file.subject, file.action, file.what)
    return Streamed(_audited(pages, nonce, person, file, first, pieces), file.name)


async def _audited(
    pages: Pages, nonce: UUID, person: Person, file: File, first: Piece, rest: AsyncGenerator[Piece]
) -> AsyncGenerator[bytes]:
    """Yields the file; notes how much was sent, also if the receiver has gone."""
    (text, count), outcome = first, "broken"
    try:
        async with aclosing(rest):
            yield text
            async for text, more in rest:
                count += more
                yield text
        outcome = "done"
    finally:
        with CancelScope(shield=True):
            await audit.ended(pages.app, nonce, person, f"{outcome}: {count} {file.counted}")
