"""Files of comma-separated values (RFC 4180), streamed. A text that a spreadsheet would run as a formula is made harmless by a
`'` before it.

Source: OWASP, CSV Injection; ASVS 5.0, 1.2.10.
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Final, cast

from fastapi.responses import StreamingResponse
from starlette.types import Send

from contracts.money import EXPONENTS, decimal_string

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠")
"""A cell that begins with one of these is a formula, or becomes one when a spreadsheet removes the control character."""


def harmless(text: str) -> str:
    """
    >>> harmless('=HYPERLINK("http://x")'), harmless("-1"), harmless("A-1")
    ('\\'=HYPERLINK("http://x")', "'-1", 'A-1')
    """
    return f"'{text}" if text.startswith(FORMULA) else text


def time_cell(at: datetime | None) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if at is not None else ""


def amount_cell(amount_minor: int | None, currency: str | None) -> str:
    """A number with a point, in the currency's unit; empty without an amount or a currency."""
    if amount_minor is None or currency not in EXPONENTS:
        return ""
    return decimal_string(amount_minor, currency)


def lines(rows: Iterable[Sequence[str]]) -> bytes:
    """Returns rows of cells as lines of the file."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode("utf-8", "replace")


class Streamed(StreamingResponse):
    """A file that is made while it is sent. Ends what makes it as soon as its receiver is gone, not when it is collected as
    garbage."""

    def __init__(self, body: AsyncGenerator[bytes], name: str) -> None:
        headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
        super().__init__(body, headers=headers, media_type="text/csv; charset=utf-8; header=present")

    async def stream_response(self, send: Send) -> None:
        async with aclosing(cast(AsyncGenerator[bytes], self.body_iterator)):
            await super().stream_response(send)
