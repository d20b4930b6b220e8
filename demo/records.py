"""Splits a file's bytes into trimmed cells with line numbers, and tolerates what spreadsheets and editors do to a file.

A `csv.reader` over the whole file would put everything after an unclosed quote into one cell. Here an unclosed quote costs
one row. Lines without a quote, which are most lines, are split directly, which is also faster.
"""

from __future__ import annotations

import codecs
import csv
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, TextIO

COLUMNS: Final = (
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
)

_QUOTED_LINES_MAX: Final = 50
"""The maximum number of lines of a record with quoted line breaks. If it takes more, the closing quote is missing."""
_HEADER_CHARACTERS_MAX: Final = 10_000
_CHUNK_BYTES: Final = 1 << 20
_AFTER: Final = "\x01"
"""A line appended to a record: if the csv reader returns it as a record of its own, no quote was left open."""


class SourceError(Exception):
    """The file cannot be used. The message is one sentence for the person who named the file."""


class Record(NamedTuple):
    """One row of the file. `line` is its first line, counted from 1 with the header included."""

    line: int
    cells: list[str]
    problem: str | None = None
    """Set if the cells cannot be separated."""


def records(path: Path) -> Iterator[Record]:
    """All rows after the header, trimmed, without empty lines. Raises SourceError before it yields the first row."""
    try:
        with path.open(encoding=_encoding(path), newline="") as file:
            header_lines = _read_header(file, path)
            yield from _records(file, header_lines + 1)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}.") from error


def _encoding(path: Path) -> str:
    """UTF-8 if the whole file decodes as UTF-8, else ISO-8859-1, which decodes every byte."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        try:
            while chunk := file.read(_CHUNK_BYTES):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "iso-8859-1"
    return "utf-8-sig"


def _read_header(file: TextIO, path: Path) -> int:
    """Reads the first line that is not empty, which must hold our columns. Returns the number of lines read."""
    for number in itertools.count(1):
        line = file.readline(_HEADER_CHARACTERS_MAX)
        if not line:
            raise SourceError(f"{path} is empty: a CSV file with the columns {', '.join(COLUMNS)} is expected.")
        # A UTF-8 BOM decoded as ISO-8859-1: the rest of the file is not UTF-8.
        line = line.removeprefix("\xef\xbb\xbf")
        if line.strip():
            break
    cells = _split(line)
    if tuple(cells) != COLUMNS:
        raise SourceError(f"{path} has the wrong columns: {_found(line, cells)}; {', '.join(COLUMNS)} are expected.")
    return number


def _found(line: str, cells: list[str]) -> str:
    if line.startswith("PK\x03\x04"):
        return "it is a workbook or a zip archive, save it as CSV first"
    if "\0" in line:
        return "it is no text in UTF-8 or ISO-8859-1"
    separator = next((name for sign, name in ((";", "semicolons"), ("\t", "tabs")) if line.count(sign) >= 7), None)
    if separator:
        return f"its cells are separated by {separator}, not by commas"
    missing = [name for name in COLUMNS if name not in cells]
    doubled = sorted({cell for cell in cells if cells.count(cell) > 1})
    if missing:
        return f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
    if doubled:
        return f"{', '.join(doubled)} appears twice"
    return "they are in another order, or there are other columns beside them"


def _records(file: TextIO, first_line: int) -> Iterator[Record]:
    waiting: list[str] = []  # lines that were read ahead for a quoted cell and put back
    number = first_line
    while line := waiting.pop(0) if waiting else file.readline():
        taken = 1
        if not line.isspace():
            record, taken = _record(number, line, waiting, file)
            yield record._replace(problem="holds a NUL character") if "\0" in line else record
        number += taken


def _record(number: int, line: str, waiting: list[str], file: TextIO) -> tuple[Record, int]:
    """The record that begins with `line`, and how many lines it has. Lines read beyond it are put into `waiting`."""
    if '"' not in line:
        return Record(number, [cell.strip() for cell in line.split(",")]), 1
    lines = [line]
    while len(lines) <= _QUOTED_LINES_MAX:
        try:
            cells = _closed(lines)
        except csv.Error as error:  # raised only for a cell of more than 128 KiB
            waiting[:0] = lines[1:]
            return Record(number, _split_plainly(line), f"a cell is too long ({error})"), 1
        if cells is not None and not (len(cells) != len(COLUMNS) and _swallowed(lines[1:])):
            return Record(number, cells), len(lines)
        more = "" if cells is not None else waiting.pop(0) if waiting else file.readline()
        if not more:
            break
        lines.append(more)
    waiting[:0] = lines[1:]
    return Record(number, _split_plainly(line), "a quote is opened and never closed"), 1


def _closed(lines: list[str]) -> list[str] | None:
    """The trimmed cells of a record on these lines; None while a quote is still open."""
    parsed = list(csv.reader([*lines, _AFTER]))
    return [cell.strip() for cell in parsed[0]] if parsed[-1] == [_AFTER] else None


def _swallowed(lines: list[str]) -> bool:
    """Whether one of these lines is a row of its own: then the quote before them is an error, not a cell."""
    return any(len(_split(line)) == len(COLUMNS) for line in lines)


def _split(line: str) -> list[str]:
    """The cells of one line, without the lines that follow."""
    try:
        return [cell.strip() for cell in next(csv.reader([line]), [])]
    except csv.Error:
        return _split_plainly(line)


def _split_plainly(line: str) -> list[str]:
    return [cell.strip().strip('"').strip() for cell in line.split(",")]
