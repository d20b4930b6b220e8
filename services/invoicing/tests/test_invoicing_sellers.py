"""Sellers: what may be written down, and what is missing before one can issue."""

from __future__ import annotations

import pytest
from invoicing_office import seller
from pydantic import ValidationError

from contracts.snapshot import Address
from invoicing.domain.sellers import SellerTerms
from invoicing.store import SellersFile


def test_a_seller_may_be_written_down_before_everything_is_known() -> None:
    assert SellerTerms(code="new").missing() == ("name", "address.line1", "address.country", "vat_number")


def test_prefixes_are_inv_and_cn_unless_told() -> None:
    assert (SellerTerms(code="new").invoice_prefix, SellerTerms(code="new").credit_prefix) == ("INV-", "CN-")


def test_prefixes_of_the_two_kinds_differ() -> None:
    with pytest.raises(ValidationError, match="must differ"):
        seller(invoice_prefix="X-", credit_prefix="X-")


@pytest.mark.parametrize("prefix", ["A1", "INV-2026", "7"])
def test_a_prefix_ends_in_no_digit_so_that_no_number_is_made_twice(prefix: str) -> None:
    """ "A" + 1000001 and "A1" + 000001 would both be A1000001."""
    with pytest.raises(ValidationError):
        seller(invoice_prefix=prefix)


@pytest.mark.parametrize("prefix", ["", "A", "2026-INV-", "AC/26/", "x" * 32])
def test_other_prefixes_will_do(prefix: str) -> None:
    assert seller(invoice_prefix=prefix).invoice_prefix == prefix


@pytest.mark.parametrize("prefix", ["é-", "A -", "x" * 33, "\x00-", "-\n"])
def test_a_prefix_is_short_and_plain(prefix: str) -> None:
    with pytest.raises(ValidationError):
        seller(invoice_prefix=prefix)


@pytest.mark.parametrize("zone", ["Europe", "Mars/Olympus", "", "../etc/passwd", "/UTC"])
def test_a_time_zone_is_one_of_the_iana_database(zone: str) -> None:
    with pytest.raises(ValidationError, match="no time zone"):
        seller(time_zone=zone)


def test_a_printed_seller_has_all_of_its_data() -> None:
    printed = seller().as_printed()
    assert (printed.code, printed.name, printed.vat_number) == ("acme", "Acme Ltd", "GB999999973")
    assert printed.address == Address(line1="1 Quay", city="London", country="GB")


def test_a_file_names_the_store_of_each_seller() -> None:
    file = SellersFile.model_validate({"sellers": [{"store": "st_1", "code": "acme", "name": "Acme"}], "markets": []})
    assert [(entry.store, entry.code) for entry in file.sellers] == [("st_1", "acme")]


@pytest.mark.parametrize(
    "entry",
    [
        {"code": "acme"},
        {"store": "st_1"},
        {"store": "st_1", "code": "acme", "vat_no": "GB1"},
        {"store": "a b", "code": "x"},
    ],
)
def test_a_file_with_a_mistake_is_refused(entry: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        SellersFile.model_validate({"sellers": [entry]})


@pytest.mark.parametrize(
    ("number_format", "reset", "why"),
    [
        ("{prefix}{yyyy}{number}", "yearly", "must not end in a digit"),
        ("{prefix}7{number}", "never", "must not end in a digit"),
        ("{yyyy}-{number}", "yearly", "{prefix} once"),
        ("{prefix}{prefix}{number}", "never", "{prefix} once"),
        ("{prefix}{yyyy}-{yyyy}-{number}", "yearly", "at most once"),
        ("{prefix}{yyyy}-{number}", "never", "yearly exactly if"),
        ("{prefix}{number}", "yearly", "yearly exactly if"),
        ("{prefix}", "never", "pattern"),
        ("{number}-{prefix}", "never", "pattern"),
        ("{prefix}{month}-{number}", "never", "pattern"),
        ("{prefix}{yyyy:>99}-{number}", "yearly", "pattern"),
        ("{prefix}-{number}\n", "never", "pattern"),
    ],
)
def test_a_format_that_could_repeat_a_number_is_refused(number_format: str, reset: str, why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        seller(number_format=number_format, number_reset=reset)


def test_a_format_names_prefix_year_and_number() -> None:
    terms = seller(number_format="{yyyy}/{prefix}{number}", number_reset="yearly", invoice_prefix="R.")
    assert (terms.series("invoice", 2026), terms.series("credit", 2027)) == ("2026/R.", "2027/CN-")
    assert terms.series_pattern("invoice") == "^[0-9]{4}/R[.]$"
