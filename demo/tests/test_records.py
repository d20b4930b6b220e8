"""Files as people have them: encodings, quotes, line ends, wrong files."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.records import SourceError, records
from demo.source import read
from demo.tests.conftest import HEADER, Reader, row


def test_a_bom_is_not_part_of_the_first_column(read_rows: Reader) -> None:
    assert len(read_rows(row(), encoding="utf-8-sig").order_documents) == 1


def test_a_file_that_is_not_utf_8_is_read_as_iso_8859_1(read_rows: Reader) -> None:
    book = read_rows(row(description="CAFÉ £"), encoding="iso-8859-1")
    assert book.documents[0].rows[0].description == "CAFÉ £"


def test_utf_8_is_read_as_utf_8(read_rows: Reader) -> None:
    assert read_rows(row(description="CAFÉ £")).documents[0].rows[0].description == "CAFÉ £"


def test_a_late_byte_that_is_no_utf_8_decides_for_the_whole_file(tmp_path: Path) -> None:
    """The byte comes after the first chunk, and the file's BOM is then text."""
    path = tmp_path / "orders.csv"
    good = row(description="ZOË").encode() + b"\n"
    rows = good * (2_000_000 // len(good))
    path.write_bytes(
        b"\xef\xbb\xbf" + HEADER.encode() + b"\n" + rows + row(description="?").encode().replace(b"?", b"\xa3")
    )
    book = read(path)
    assert book.documents[0].rows[-1].description == "£"
    assert book.documents[0].rows[0].description == "ZOÃ\x8b"  # one invalid byte makes the whole file ISO-8859-1


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_line_end_will_do(read_rows: Reader, end: str) -> None:
    assert read_rows(row("1"), row("2"), end=end).rows == 2


def test_the_last_line_needs_no_end(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(f'{HEADER}\n{row("1")}\n{row("2", description="""A "B" """)}\n"3",A,"B",1,12/1/10 8:26,1,,"EIRE"')
    assert [document.invoice_no for document in read(path).order_documents] == ["1", "2", "3"]


def test_empty_lines_are_skipped_and_still_counted_as_lines(read_rows: Reader) -> None:
    book = read_rows("", "   ", row(quantity="?"), "\t", "")
    assert book.rows == 1
    assert book.broken[0].line == 4


def test_a_line_of_commas_is_a_row_without_invoice_number(read_rows: Reader) -> None:
    book = read_rows(",,,,,,,", row())
    assert (book.rows, book.rows_without_number, book.left_out) == (2, 1, {"broken_row": 1})


def test_cells_are_trimmed(read_rows: Reader) -> None:
    book = read_rows(" 1 , 85123A,  A  B ,\t6 , 12/1/10 8:26 , 2.55,\u00a017850 , United Kingdom ")
    document = book.order_documents[0]
    assert (document.invoice_no, document.customer_id, document.country) == ("1", "17850", "United Kingdom")
    assert document.rows[0].description == "A  B"


def test_quoted_cells_may_hold_commas_quotes_and_line_breaks(read_rows: Reader) -> None:
    book = read_rows('1,A,"RED, ""BIG""\nAND\r\nROUND",6,12/1/10 8:26,2.55,,EIRE', row("2", quantity="?"))
    assert book.documents[0].rows[0].description == 'RED, "BIG"\nAND\r\nROUND'
    assert book.broken[0].line == 5  # the row after the one on lines 2 to 4


def test_a_quote_inside_of_a_cell_is_a_letter(read_rows: Reader) -> None:
    assert read_rows(row(description='12" RULER')).documents[0].rows[0].description == '12" RULER'


@pytest.mark.parametrize("rows_after", [0, 1, 10, 200])
def test_a_quote_never_closed_costs_one_row_and_not_the_rest_of_the_file(read_rows: Reader, rows_after: int) -> None:
    after = [row(str(n)) for n in range(100, 100 + rows_after)]
    book = read_rows(row("1"), row("2", description='"BROKEN'), *after)
    assert book.left_out == {"broken_row": 1}
    assert len(book.order_documents) == 1 + rows_after
    assert [str(broken) for broken in book.broken] == ["line 3: a quote is opened and never closed"]


def test_a_quote_closed_by_a_later_rows_quote_costs_one_row(read_rows: Reader) -> None:
    book = read_rows(row("1", description='"BROKEN'), row("2"), row("3", description='"RED, BLUE"'), row("4"))
    assert [document.invoice_no for document in book.order_documents] == ["2", "3", "4"]
    assert book.rows == 4


def test_a_quoted_row_of_several_lines_and_too_few_cells_is_one_broken_row(read_rows: Reader) -> None:
    book = read_rows('1,A,"RED\nBLUE",6,12/1/10 8:26,2.55', row("2"))
    assert (book.rows, book.left_out) == (2, {"broken_row": 1})
    assert str(book.broken[0]) == "line 2: 6 cells where 8 are expected"


def test_an_endless_cell_is_a_broken_row(read_rows: Reader) -> None:
    book = read_rows(row("1", description='"' + "x" * 200_000 + '"'), row("2"))
    assert [document.invoice_no for document in book.order_documents] == ["2"]
    assert "too long" in str(book.broken[0])


def test_a_nul_character_is_a_broken_row(read_rows: Reader) -> None:
    book = read_rows(row("1", description="A\0B"), row("2"))
    assert [document.invoice_no for document in book.order_documents] == ["2"]
    assert "NUL" in str(book.broken[0])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"\r\n \r\n", "is empty"),
        (HEADER.replace(",", ";").encode(), "separated by semicolons"),
        (HEADER.replace(",", "\t").encode(), "separated by tabs"),
        (HEADER.replace("Quantity", "Qty").encode(), "Quantity is missing"),
        (b"a,b,c", "are missing"),
        (HEADER.encode() + b",InvoiceNo", "InvoiceNo appears twice"),
        (HEADER.encode() + b",Channel", "other columns beside them"),
        (b"Country," + HEADER.removesuffix(",Country").encode(), "another order"),
        (b"PK\x03\x04\x14\x00\x06\x00\x08", "save it as CSV"),
        (HEADER.encode("utf-16"), "no text in UTF-8"),
        (b"x" * 50_000, "wrong columns"),
    ],
)
def test_a_file_with_other_columns_is_refused_in_one_sentence(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "other.csv"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=says) as refused:
        read(path)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(f"{path} ")
    assert str(refused.value).endswith(".")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(SourceError, match="cannot be read"):
            read(path)


def test_a_file_of_a_header_alone_has_no_orders(read_rows: Reader) -> None:
    book = read_rows()
    assert (book.rows, book.documents, book.left_out, book.broken) == (0, (), {}, ())


def test_the_header_may_be_quoted_and_follow_empty_lines(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    quoted = ",".join(f'"{name}" ' if name != "Country" else f'"{name}"' for name in HEADER.split(","))
    path.write_text(f"\n\n{quoted}\n{row(quantity='?')}\n")
    assert [record.line for record in records(path)] == [4]


def test_a_repeated_header_is_a_broken_document(read_rows: Reader) -> None:
    book = read_rows(row("1"), HEADER, row("2"))
    assert book.left_out == {"broken_row": 1}
    assert str(book.broken[0]).startswith("line 3, Quantity: 'Quantity' is no whole number")
