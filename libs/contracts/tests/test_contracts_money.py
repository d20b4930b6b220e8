"""Money: every cent is accounted for."""

from __future__ import annotations

import doctest
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from contracts import ids, money
from contracts.limits import MINOR_MAX
from contracts.money import (
    EXPONENTS,
    Currency,
    decimal_string,
    rate_of,
    round_half_up,
    split,
    vat_in_gross,
    vat_on_net,
)

amounts = st.integers(-MINOR_MAX, MINOR_MAX)
rates = st.decimals(0, 99, places=2).map(str)
weights = st.lists(st.integers(0, MINOR_MAX), min_size=1, max_size=40).filter(any)


@pytest.mark.parametrize("module", [money, ids])
def test_the_examples_in_the_docstrings_are_true(module: object) -> None:
    failed, tried = doctest.testmod(module)  # type: ignore[arg-type]
    assert tried and not failed


@given(amounts, weights)
def test_shares_add_up_to_the_total(total: int, weights: list[int]) -> None:
    assert sum(split(total, weights)) == total


@given(amounts, weights)
def test_no_share_is_a_whole_unit_away_from_its_exact_part(total: int, weights: list[int]) -> None:
    for share, weight in zip(split(total, weights), weights, strict=True):
        assert abs(share - Fraction(total * weight, sum(weights))) < 1


@given(amounts, weights)
def test_a_line_that_weighs_nothing_gets_nothing_and_no_share_has_the_wrong_sign(
    total: int, weights: list[int]
) -> None:
    for share, weight in zip(split(total, weights), weights, strict=True):
        assert weight or not share
        assert share * total >= 0


@given(amounts, weights)
def test_a_credit_mirrors_its_invoice(total: int, weights: list[int]) -> None:
    assert split(-total, weights) == [-share for share in split(total, weights)]


def test_of_equal_remainders_the_earlier_line_gets_the_odd_cent() -> None:
    assert split(2, [1, 1, 1]) == [1, 1, 0]
    assert split(10, [0, 1, 1, 1]) == [0, 4, 3, 3]


@pytest.mark.parametrize("weights", [[], [0], [0, 0], [1, -1], [-1]])
def test_nothing_is_shared_without_a_positive_weight(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="cannot share 5"):
        split(5, weights)


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30, places=3))
def test_halves_are_rounded_away_from_zero_whatever_the_size(value: Decimal) -> None:
    with localcontext(prec=60):
        assert round_half_up(value) == int(value.quantize(Decimal(1), ROUND_HALF_UP))


@given(st.fractions())
def test_rounding_is_symmetric_and_never_half_a_unit_off(value: Fraction) -> None:
    assert round_half_up(-value) == -round_half_up(value)
    assert abs(round_half_up(value) - value) <= Fraction(1, 2)


@given(st.integers(0, MINOR_MAX), rates)
def test_the_vat_of_a_gross_amount_lies_in_it_and_gives_it_back(gross: int, rate: str) -> None:
    vat = vat_in_gross(gross, rate)
    assert 0 <= vat <= gross
    assert abs(vat_on_net(gross - vat, rate) - vat) <= 1


@given(st.integers(0, MINOR_MAX), rates)
def test_vat_added_to_a_net_amount_is_found_again_in_the_gross_one(net: int, rate: str) -> None:
    vat = vat_on_net(net, rate)
    assert vat_in_gross(net + vat, rate) == vat


@given(amounts, st.sampled_from(sorted(EXPONENTS)))
def test_a_decimal_string_is_exact_and_never_in_scientific_notation(amount: int, currency: str) -> None:
    written = decimal_string(amount, currency)
    assert "E" not in written
    assert Decimal(written) * 10 ** EXPONENTS[currency] == amount


# ISO 4217 list one. CLDR, which libraries format with, has 0 for HUF, TWD, IDR, LAK or IQD, and is not used.
KNOWN = {
    "EUR": 2, "USD": 2, "GBP": 2, "SEK": 2, "CHF": 2,
    "HUF": 2, "TWD": 2, "IDR": 2, "LAK": 2, "MGA": 2, "MRU": 2, "UYU": 2,
    "JPY": 0, "KRW": 0, "ISK": 0, "CLP": 0, "VND": 0, "XAF": 0, "UGX": 0, "UYI": 0, "RWF": 0, "XPF": 0,
    "BHD": 3, "IQD": 3, "JOD": 3, "KWD": 3, "LYD": 3, "OMR": 3, "TND": 3,
    "CLF": 4, "UYW": 4,
}  # fmt: skip


def test_decimals_are_those_of_iso_4217() -> None:
    assert {code: EXPONENTS[code] for code in KNOWN} == KNOWN
    assert {code for code, n in EXPONENTS.items() if n == 3} == {code for code, n in KNOWN.items() if n == 3}
    assert {code for code, n in EXPONENTS.items() if n == 4} == {"CLF", "UYW"}
    assert all(len(code) == 3 and code.isascii() and code.isupper() for code in EXPONENTS)
    assert len(EXPONENTS) == sum(len(codes.split()) for codes in money._BY_EXPONENT.values()), "a code is listed twice"


@pytest.mark.parametrize("code", ["XXX", "XTS", "XAU", "DEM", "HRK", "eur", "EURO", "", "EUR\n", "€"])
def test_a_currency_that_is_not_active_is_refused(code: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Currency).validate_python(code)


@given(net=st.integers(2, 10**7), rate=st.decimals("0.01", "60", places=2))
def test_a_rate_that_follows_from_an_amount_gives_the_amount(net: int, rate: Decimal) -> None:
    vat = vat_on_net(net, str(rate))
    derived = rate_of(net, vat)
    assert derived is not None and vat_on_net(net, derived) == vat
    assert len(derived) <= len(str(rate)) or vat == 0


@pytest.mark.parametrize(("net", "vat"), [(0, 5), (100, 100), (2, 10)])
def test_no_rate_follows_from_more_tax_than_can_be(net: int, vat: int) -> None:
    assert rate_of(net, vat) is None
