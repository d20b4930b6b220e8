"""The columns of a list as the cells of a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from chassis.http.spreadsheet import amount_cell, harmless, lines, time_cell

Row = Mapping[Any, Any]
Cell = Callable[[Row], str]


def _text(name: str) -> Cell:
    return lambda row: harmless(row[name] or "")


def _time(name: str) -> Cell:
    return lambda row: time_cell(row[name])


def _amount(name: str) -> Cell:
    return lambda row: amount_cell(row[name], row["currency"])


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
        return lines([list(self._cells)])

    def lines(self, rows: Iterable[Row]) -> bytes:
        cells = list(self._cells.values())
        return lines([cell(row) for cell in cells] for row in rows)
