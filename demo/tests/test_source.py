"""Which documents are orders, which are left out, and under which reason."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from demo.source import read, vat_rate
from demo.tests.conftest import SAMPLE, Reader, row


@pytest.mark.parametrize("invoice", ["C1", "c1", "C", "CX"])
def test_a_number_that_begins_with_c_is_a_cancellation(read_rows: Reader, invoice: str) -> None:
    assert read_rows(row(invoice, quantity="-1")).left_out == {"cancellation": 1}


@pytest.mark.parametrize("invoice", ["A563185", "1-2", "1.0", "+1", "#1", "1 2", "٣", "²"])
def test_a_number_that_is_not_all_digits_is_another_document(read_rows: Reader, invoice: str) -> None:
    assert read_rows(row(invoice)).left_out == {"other_document": 1}


@pytest.mark.parametrize("quantity", ["0", "-1", "-0", "-80995"])
def test_any_quantity_below_one_is_a_stock_correction(read_rows: Reader, quantity: str) -> None:
    assert read_rows(row(), row(quantity=quantity)).left_out == {"stock_correction": 1}


def test_any_price_below_zero_leaves_the_document_out(read_rows: Reader) -> None:
    assert read_rows(row(), row(price="-0.01")).left_out == {"negative_price": 1}


@pytest.mark.parametrize("price", ["0", "0.00", "-0", "0.001"])
def test_a_free_row_is_an_order(read_rows: Reader, price: str) -> None:
    assert read_rows(row(price=price)).left_out == {}


def test_the_first_reason_that_fits_counts(read_rows: Reader) -> None:
    book = read_rows(
        row("C1", quantity="?"),
        row("C2", quantity="-1", price="-1"),
        row("A3", quantity="-1", price="-1"),
        row("4", quantity="-1", price="-1"),
        row("5", price="-1"),
    )
    assert [document.left_out for document in book.documents] == [
        "broken_row",
        "cancellation",
        "other_document",
        "stock_correction",
        "negative_price",
    ]


def test_reasons_are_listed_in_the_order_they_are_tried(read_rows: Reader) -> None:
    book = read_rows(row("5", price="-1"), row("C1"), row("6", quantity=""), row("7", price="-1"))
    assert list(book.left_out.items()) == [("broken_row", 1), ("cancellation", 1), ("negative_price", 2)]


def test_rows_of_one_number_are_one_document_in_any_position(read_rows: Reader) -> None:
    book = read_rows(row("2", "A"), row("1", "B"), row(" 2 ", "C"), row("1", "D"), row("2", "E"))
    assert [document.invoice_no for document in book.documents] == ["2", "1"]
    assert [(r.place, r.stock_code) for r in book.documents[0].rows] == [(1, "A"), (2, "C"), (3, "E")]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (row(quantity="6.0"), "line 2, Quantity: '6.0' is no whole number"),
        (row(quantity='"1,200"'), "line 2, Quantity: '1,200' is no whole number"),
        (row(quantity="1e2"), "line 2, Quantity: '1e2' is no whole number"),
        (row(quantity="1_000"), "line 2, Quantity: '1_000' is no whole number"),
        (row(quantity="٣"), "line 2, Quantity: '٣' is no whole number"),
        (row(quantity=""), "line 2, Quantity: nothing is no whole number"),
        (row(quantity="9" * 12), "line 2, Quantity: is too large"),
        (row(quantity="9" * 5000), "line 2, Quantity: '9999"),
        (row(price=""), "line 2, UnitPrice: nothing is no decimal number"),
        (row(price="free"), "line 2, UnitPrice: 'free' is no decimal number"),
        (row(price='"2,55"'), "line 2, UnitPrice: '2,55' is no decimal number"),
        (row(price="£2.55"), "line 2, UnitPrice: '£2.55' is no decimal number"),
        (row(price="1E+2"), "line 2, UnitPrice: '1E+2' is no decimal number"),
        (row(price="nan"), "line 2, UnitPrice: 'nan' is no decimal number"),
        (row(price="Infinity"), "line 2, UnitPrice: 'Infinity' is no decimal number"),
        (row(price="."), "line 2, UnitPrice: '.' is no decimal number"),
        (row(price="9" * 20), "line 2, UnitPrice: is too large"),
        (row(price="9" * 12, quantity="9999999"), "line 2, UnitPrice: the amounts of its invoice are too large"),
        (row(date=""), "line 2, InvoiceDate: nothing is no time"),
        (row(date="2010-12-01 08:26:00"), "line 2, InvoiceDate: '2010-12-01 08:26:00' is no time"),
        (row(date="13/1/10 8:26"), "line 2, InvoiceDate: '13/1/10 8:26' is no time"),
        (row(date="2/29/10 8:26"), "line 2, InvoiceDate: '2/29/10 8:26' is no time"),
        (row(date="12/1/10 24:00"), "line 2, InvoiceDate: '12/1/10 24:00' is no time"),
        (row(date="12/1/10"), "line 2, InvoiceDate: '12/1/10' is no time"),
        (row(date="12/1/110 8:26"), "line 2, InvoiceDate: '12/1/110 8:26' is no time"),
        (row(date="12/1/9999 8:26"), "line 2, InvoiceDate: '12/1/9999 8:26' is no time"),
        (row(date="12/1/10 8:26:00"), "line 2, InvoiceDate: '12/1/10 8:26:00' is no time"),
        (row(code=""), "line 2, StockCode: is empty"),
        (row(code="x" * 200), "line 2, StockCode: is longer than 180 characters"),
        (row() + ",", "line 2: 9 cells where 8 are expected"),
        ("1,85123A", "line 2: 2 cells where 8 are expected"),
        ("1", "line 2: 1 cell where 8 are expected"),
        (row(invoice=""), "line 2, InvoiceNo: is empty"),
        (",", "line 2, InvoiceNo: is empty"),
    ],
)
def test_a_broken_row_is_named_with_line_column_and_what_is_wrong(read_rows: Reader, line: str, says: str) -> None:
    book = read_rows(line, row("2"))
    assert book.left_out == {"broken_row": 1}
    assert len(book.broken) == 1
    assert str(book.broken[0]).startswith(says)
    assert [document.invoice_no for document in book.order_documents] == ["2"]


def test_a_broken_row_leaves_its_whole_document_out(read_rows: Reader) -> None:
    book = read_rows(row("1"), row("1", price="?"), row("1", date="?"))
    assert book.left_out == {"broken_row": 1}
    assert [broken.line for broken in book.broken] == [3, 4]
    assert book.documents[0].row_count == 3


def test_one_document_has_one_customer_and_one_country(read_rows: Reader) -> None:
    book = read_rows(row("1"), row("1", customer=""), row("2"), row("2", country="France"), row("3"), row("3"))
    assert book.left_out == {"broken_row": 2}
    assert [str(broken) for broken in book.broken] == [
        "line 3, CustomerID: nothing, but '17850' in an earlier row of invoice '1'",
        "line 5, Country: 'France', but 'United Kingdom' in an earlier row of invoice '2'",
    ]


def test_rows_without_number_count_one_each(read_rows: Reader) -> None:
    book = read_rows(row(invoice=""), row(invoice=" "), row("1", price="?"))
    assert book.left_out == {"broken_row": 3}
    assert len(book.documents) == 1


def test_the_first_five_broken_rows_are_named_then_the_count(read_rows: Reader) -> None:
    def named(count: int) -> list[str]:
        return read_rows(*(row(str(n), price="?") for n in range(count))).broken_named()

    assert named(0) == []
    assert len(named(5)) == 5
    assert named(6)[5:] == ["and 1 more broken row"]
    assert named(9)[4].startswith("line 6, UnitPrice")
    assert named(9)[5:] == ["and 4 more broken rows"]


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("12/1/10 8:26", datetime(2010, 12, 1, 8, 26, tzinfo=UTC)),
        ("12/1/2010 08:26", datetime(2010, 12, 1, 8, 26, tzinfo=UTC)),
        ("7/4/2011 0:05", datetime(2011, 7, 3, 23, 5, tzinfo=UTC)),  # summer time
        ("3/27/11 0:59", datetime(2011, 3, 27, 0, 59, tzinfo=UTC)),  # the last minute of winter
        ("3/27/11 2:00", datetime(2011, 3, 27, 1, 0, tzinfo=UTC)),  # the first of summer
        ("10/30/11 1:30", datetime(2011, 10, 30, 0, 30, tzinfo=UTC)),  # occurs twice: the first
        ("10/30/11 2:00", datetime(2011, 10, 30, 2, 0, tzinfo=UTC)),
        ("2/29/12 23:59", datetime(2012, 2, 29, 23, 59, tzinfo=UTC)),
    ],
)
def test_times_are_londons(read_rows: Reader, text: str, utc: datetime) -> None:
    assert read_rows(row(date=text)).documents[0].placed_at == utc


def test_an_order_is_placed_at_the_earliest_time_of_its_rows(read_rows: Reader) -> None:
    book = read_rows(row(date="12/1/10 9:00"), row(date="12/1/10 8:59"), row(date="12/2/10 8:00"))
    assert book.documents[0].placed_at == datetime(2010, 12, 1, 8, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    ("day", "rate"),
    [
        (datetime(2008, 11, 30, 23, 59, tzinfo=UTC), None),
        (datetime(2008, 12, 1, tzinfo=UTC), "15.00"),
        (datetime(2009, 12, 31, 23, 59, tzinfo=UTC), "15.00"),
        (datetime(2010, 1, 1, tzinfo=UTC), "17.50"),
        (datetime(2011, 1, 3, 23, 59, tzinfo=UTC), "17.50"),
        (datetime(2011, 1, 4, tzinfo=UTC), "20.00"),
        (datetime(2026, 7, 1, tzinfo=UTC), "20.00"),
    ],
)
def test_the_vat_rate_of_the_united_kingdom_follows_the_day(day: datetime, rate: str | None) -> None:
    assert vat_rate("United Kingdom", day) == rate
    assert vat_rate("EIRE", day) == vat_rate("Channel Islands", day) == vat_rate("", day) == "0.00"


def test_an_order_before_the_first_vat_rate_is_a_broken_row(read_rows: Reader) -> None:
    book = read_rows(row("1", date="11/30/08 23:59"), row("2", date="12/1/08 0:00"), row("3", date="1/1/99 0:00"))
    assert book.left_out == {"broken_row": 2}
    assert str(book.broken[0]).startswith("line 2, InvoiceDate: is before 1 December 2008")


def test_elsewhere_any_year_will_do(read_rows: Reader) -> None:
    assert read_rows(row(date="1/1/99 0:00", country="France")).left_out == {}


def test_reading_twice_gives_the_same() -> None:
    assert read(SAMPLE) == read(SAMPLE)
