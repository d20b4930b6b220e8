"""From a file's bytes to trimmed cells with line numbers, whatever a spreadsheet or an editor did to the file.

Why not one `csv.reader` over the file: a single quote that is never closed would swallow the rest of the file into one
cell. Here it costs one row. Most lines hold no quote at all and are split directly, which is also faster.
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
"""A quoted cell may hold line breaks, but not more than this: beyond it, its closing quote is missing."""
_HEADER_CHARACTERS_MAX: Final = 10_000
_CHUNK_BYTES: Final = 1 << 20
_AFTER: Final = "\x01"
"""A line put behind a record: if the csv reader gives it back as a record of its own, no quote was left open."""


class SourceError(Exception):
    """The file cannot be used at all. The message is one sentence for the person who named the file."""


class Record(NamedTuple):
    """One row of the file. `line` counts from 1, the header included, and is where the row begins."""

    line: int
    cells: list[str]
    problem: str | None = None
    """Set where the cells cannot be told apart."""


def records(path: Path) -> Iterator[Record]:
    """All rows after the header, trimmed, without empty lines. Raises SourceError before the first one is given."""
    try:
        with path.open(encoding=_encoding(path), newline="") as file:
            header_lines = _read_header(file, path)
            yield from _records(file, header_lines + 1)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}.") from error


def _encoding(path: Path) -> str:
    """UTF-8 if every byte of the file agrees, else ISO-8859-1, which any byte does."""
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
    """Take the first line that is not empty, which must name our columns. Returns how many lines were read."""
    for number in itertools.count(1):
        line = file.readline(_HEADER_CHARACTERS_MAX)
        if not line:
            raise SourceError(f"{path} is empty: a CSV file with the columns {', '.join(COLUMNS)} is expected.")
        # A BOM read as ISO-8859-1: the file says UTF-8 but is not.
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
        return f"{', '.join(doubled)} stands there twice"
    return "they stand in another order, or others stand beside them"


def _records(file: TextIO, first_line: int) -> Iterator[Record]:
    waiting: list[str] = []  # lines that were read ahead for a quoted cell and given back
    number = first_line
    while line := waiting.pop(0) if waiting else file.readline():
        taken = 1
        if not line.isspace():
            record, taken = _record(number, line, waiting, file)
            yield record._replace(problem="holds a NUL character") if "\0" in line else record
        number += taken


def _record(number: int, line: str, waiting: list[str], file: TextIO) -> tuple[Record, int]:
    """The record that begins with `line`, and the lines it takes. Lines that were read in vain go to `waiting`."""
    if '"' not in line:
        return Record(number, [cell.strip() for cell in line.split(",")]), 1
    lines = [line]
    while len(lines) <= _QUOTED_LINES_MAX:
        try:
            cells = _closed(lines)
        except csv.Error as error:  # only a cell of more than 128 KiB
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
    """Whether these lines look like rows of their own: then the quote before them is a mistake, not a cell."""
    return any(len(_split(line)) == len(COLUMNS) for line in lines)


def _split(line: str) -> list[str]:
    """The cells of one line taken by itself."""
    try:
        return [cell.strip() for cell in next(csv.reader([line]), [])]
    except csv.Error:
        return _split_plainly(line)


def _split_plainly(line: str) -> list[str]:
    return [cell.strip().strip('"').strip() for cell in line.split(",")]
