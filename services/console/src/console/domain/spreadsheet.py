"""Rows of a list as CSV (RFC 4180). A text that a spreadsheet would run as a formula is made harmless by a `'` before it.

Source: OWASP, CSV Injection; ASVS 5.0, 1.2.10.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from contracts.money import EXPONENTS, decimal_string

Row = Mapping[Any, Any]
Cell = Callable[[Row], str]
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠")
"""A cell that begins with one of these is a formula, or becomes one when a spreadsheet removes the control character."""


def harmless(text: str) -> str:
    """
    >>> harmless('=HYPERLINK("http://x")'), harmless("-1"), harmless("A-1")
    ('\\'=HYPERLINK("http://x")', "'-1", 'A-1')
    """
    return f"'{text}" if text.startswith(FORMULA) else text


def _text(name: str) -> Cell:
    return lambda row: harmless(row[name] or "")


def _time(name: str) -> Cell:
    def cell(row: Row) -> str:
        at: datetime | None = row[name]
        return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if at is not None else ""

    return cell


def _amount(name: str) -> Cell:
    """A number with a point, in the currency's unit."""

    def cell(row: Row) -> str:
        amount_minor, currency = row[name], row["currency"]
        if amount_minor is None or currency not in EXPONENTS:
            return ""
        return decimal_string(amount_minor, currency)

    return cell


def _tags(row: Row) -> str:
    return harmless(", ".join(row["tags"]))


def _words(kind: str, fits: Callable[[str], bool]) -> Cell:
    return lambda row: harmless(", ".join(word for word in (row[kind] or ()) if fits(word)))


_CURRENCY: Final[tuple[str, Cell]] = ("currency", _text("currency"))
CELLS: Final[Mapping[str, Sequence[tuple[str, Cell]]]] = {
    "waiting": (("waiting", _text("waiting")), ("waiting_since", _time("since"))),
    "status": (("status", _text("status")),),
    "payment": (("payment_status", _text("payment_status")),),
    "fulfillment": (("fulfillment_status", _text("fulfillment_status")),),
    "amount": (("amount", _amount("grand_minor")), _CURRENCY),
    "captured": (("captured", _amount("captured_minor")), _CURRENCY),
    "refunded": (("refunded", _amount("refunded_minor")), _CURRENCY),
    "channel": (("channel", _text("channel")), ("account", _text("account"))),
    "market": (("market", _text("market")),),
    "country": (("country", _text("country")),),
    "tags": (("tags", _tags),),
    "ordered": (("ordered_at", _time("ordered_at")),),
}
"""Column of a list -> names and cells of the file."""
FIRST: Final[Sequence[tuple[str, Cell]]] = (("number", _text("number")), ("order_id", lambda row: str(row["order_id"])))
PERSONAL: Final[Sequence[tuple[str, Cell]]] = (
    ("email", _words("buyer_words", lambda word: "@" in word)),
    ("tracking_numbers", _words("tracking_words", lambda word: True)),
)
"""As the lists have them: in lower case."""


class Table:
    """columns: of the list. personal: whether it has personal columns, too."""

    def __init__(self, columns: Sequence[str], *, personal: bool) -> None:
        chosen = [*FIRST, *(cell for column in columns for cell in CELLS[column]), *(PERSONAL if personal else ())]
        self._cells = dict(chosen)  # the currency of several amounts is one column

    def header(self) -> bytes:
        return _lines([list(self._cells)])

    def lines(self, rows: Iterable[Row]) -> bytes:
        cells = list(self._cells.values())
        return _lines([cell(row) for cell in cells] for row in rows)


def _lines(rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode("utf-8", "replace")
