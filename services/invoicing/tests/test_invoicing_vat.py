"""The VAT of a document: golden figures of the sources, and sums that hold for any document."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.invoicing import InvoiceLineWanted, TaxPart
from contracts.money import canonical
from contracts.vat import Assessed, assess


def wanted(*lines: tuple[int, str | None] | tuple[int, str | None, int]) -> tuple[InvoiceLineWanted, ...]:
    """(captured, rate[, stated VAT]) per line."""
    return tuple(
        InvoiceLineWanted(
            line_id=str(n),
            title="Thing",
            quantity=1,
            amount_minor=line[0],
            rate=line[1],
            vat_minor=line[2] if len(line) == 3 else None,
        )
        for n, line in enumerate(lines, 1)
    )


def several(amount: int, *taxes: tuple[str | None, int]) -> InvoiceLineWanted:
    """A line with several taxes: (rate, VAT) each."""
    return InvoiceLineWanted(
        line_id="1",
        title="Thing",
        quantity=1,
        amount_minor=amount,
        rate=None,
        vat_minor=sum(vat for _, vat in taxes),
        taxes=tuple(TaxPart(rate=rate, vat_minor=vat) for rate, vat in taxes),
    )


def figures(assessed: Assessed) -> list[tuple[str | None, int, int, int]]:
    return [(group.rate, group.net_minor, group.vat_minor, group.gross_minor) for group in assessed.groups]


@pytest.mark.parametrize(
    ("gross", "rate", "vat"),
    [
        (59800, "25", 11960),  # Dintero's sample order
        (39800, "25", 7960),  # theirs, too
        (27920, "25", 5584),  # and their tax line
        (11700, "17", 1700),
        (1999, "25.5", 406),
        (10003, "17", 1453),  # cannot be written as n + round(n x r): net-first would miss it
        (13912, "17.5", 2072),  # UCI 536365, United Kingdom in December 2010
        (725708, "17.5", 108084),  # UCI 536876
        (1500, "17.5", 223),  # UCI 536779, bank charges alone
        (85586, "0", 0),  # UCI 536370, France
        (1, "20", 0),
        (0, "20", 0),
    ],
)
def test_vat_is_what_a_gross_amount_contains(gross: int, rate: str, vat: int) -> None:
    assert figures(assess(wanted((gross, rate)))) == [(canonical(rate), gross - vat, vat, gross)]


def test_vat_is_computed_once_per_rate_not_per_line() -> None:
    """3 x 19.99 @ 17 %: 8.71 on the sum, 8.70 if each line were rounded."""
    assessed = assess(wanted((1999, "17"), (1999, "17"), (1999, "17")))
    assert figures(assessed) == [("17", 5126, 871, 5997)]
    assert [(line.net_minor, line.vat_minor) for line in assessed.lines] == [(1709, 290), (1709, 290), (1708, 291)]


def test_two_lines_of_one_pay_29_cents_not_30() -> None:
    assessed = assess(wanted((100, "17"), (100, "17")))
    assert figures(assessed) == [("17", 171, 29, 200)]
    assert [line.vat_minor for line in assessed.lines] == [14, 15]


def test_a_net_of_1000_over_three_equal_lines_is_334_333_333() -> None:
    assessed = assess(wanted((400, "20"), (400, "20"), (400, "20")))
    assert [line.net_minor for line in assessed.lines] == [334, 333, 333]
    assert sum(line.vat_minor for line in assessed.lines) == 200


def test_shipping_is_a_line_like_any_other() -> None:
    """UCI 536544: 552,114 of which 56,977 shipping, one rate: VAT 82,230 on the whole."""
    assessed = assess(wanted((552114 - 56977, "17.5"), (56977, "17.5")))
    assert figures(assessed) == [("17.5", 552114 - 82230, 82230, 552114)]
    assert [line.gross_minor for line in assessed.lines] == [552114 - 56977, 56977]


def test_rates_compare_as_numbers() -> None:
    assessed = assess(wanted((100, "20"), (100, "20.00"), (100, "20.0")))
    assert figures(assessed) == [("20", 250, 50, 300)]
    assert {line.rate for line in assessed.lines} == {"20"}


@pytest.mark.parametrize(
    ("told", "canon"),
    [("20.00", "20"), ("0", "0"), ("0.00", "0"), ("25.5", "25.5"), ("8.10", "8.1"), ("05", "5"), ("10", "10")],
)
def test_a_rate_has_one_spelling(told: str, canon: str) -> None:
    assert canonical(told) == canon


def test_groups_stand_in_the_order_of_their_first_line() -> None:
    assessed = assess(wanted((300, "3"), (1700, "17"), (103, "3.0")))
    assert [group.rate for group in assessed.groups] == ["3", "17"]
    assert [line.line_id for line in assessed.lines] == ["1", "2", "3"]


def test_a_line_of_nothing_stays_on_the_document() -> None:
    assessed = assess(wanted((0, "20"), (1200, "20"), (0, "7")))
    assert [(line.gross_minor, line.net_minor, line.vat_minor) for line in assessed.lines] == [
        (0, 0, 0),
        (1200, 1000, 200),
        (0, 0, 0),
    ]
    assert figures(assessed) == [("20", 1000, 200, 1200), ("7", 0, 0, 0)]


def test_stated_vat_is_kept_and_not_computed_again() -> None:
    """100.00 + 8.25 and 50.00 + 0.00 at one rate: each line keeps its own tax."""
    assessed = assess(wanted((10825, "8.25", 825), (5000, "8.25", 0)))
    assert figures(assessed) == [("8.25", 15000, 825, 15825)]
    assert [(line.net_minor, line.vat_minor, line.gross_minor) for line in assessed.lines] == [
        (10000, 825, 10825),
        (5000, 0, 5000),
    ]


def test_stated_and_computed_vat_of_one_rate_are_one_group() -> None:
    assessed = assess(wanted((1999, "17", 291), (1999, "17"), (1999, "17.0")))
    assert figures(assessed) == [("17", 5997 - 291 - 581, 291 + 581, 5997)]
    assert assessed.lines[0].vat_minor == 291


def test_vat_that_no_rate_fits_stands_in_a_group_without_one() -> None:
    assessed = assess(wanted((500, None, 500), (1200, "20")))
    assert figures(assessed) == [(None, 0, 500, 500), ("20", 1000, 200, 1200)]


def test_state_and_county_tax_apply_to_one_net() -> None:
    assessed = assess((several(10825, ("6.00", 600), ("2.25", 225)),))
    assert figures(assessed) == [("6", 10000, 600, 10600), ("2.25", 10000, 225, 10225)]
    (line,) = assessed.lines
    assert (line.rate, line.net_minor, line.vat_minor, line.gross_minor) == (None, 10000, 825, 10825)
    assert [(tax.rate, tax.net_minor, tax.vat_minor) for tax in line.taxes] == [("6", 10000, 600), ("2.25", 10000, 225)]


@pytest.mark.parametrize(
    ("amount", "taxes", "nets"),
    [
        (22600, [("19", 1900), ("7", 700)], [10000, 10000]),
        (1999 + 535, [("19", 319), ("7", 35)], [1680, 500]),
        (15000 + 1900, [("19", 1900), ("0", 0)], [10000, 5000]),
    ],
)
def test_the_taxes_of_a_bundle_share_its_net(amount: int, taxes: list[tuple[str | None, int]], nets: list[int]) -> None:
    assessed = assess((several(amount, *taxes),))
    assert [tax.net_minor for tax in assessed.lines[0].taxes] == nets
    assert sum(group.net_minor for group in assessed.groups) == assessed.lines[0].net_minor


def test_a_tax_that_no_rate_fits_applies_to_the_whole_line() -> None:
    assessed = assess((several(1500, ("10", 100), (None, 400)),))
    assert figures(assessed) == [("10", 1000, 100, 1100), (None, 1000, 400, 1400)]


RATES = st.sampled_from(
    ["0", "3", "5.5", "7", "8.1", "13.5", "17", "17.00", "17.5", "19", "20", "20.0", "21", "25", "25.5", "99.9999"]
)
AMOUNTS = st.integers(0, 10**7) | st.integers(0, 20)


@given(lines=st.lists(st.tuples(AMOUNTS, RATES), min_size=1, max_size=12))
def test_any_gross_document_adds_up_and_is_within_half_a_cent_of_the_law(lines: list[tuple[int, str]]) -> None:
    assessed = assess(wanted(*lines))
    assert_adds_up(assessed, sum(amount for amount, _ in lines))
    assert [line.gross_minor for line in assessed.lines] == [amount for amount, _ in lines]
    for group in assessed.groups:
        percent = Fraction(group.rate)
        assert abs(group.vat_minor - group.gross_minor * percent / (100 + percent)) <= Fraction(1, 2)


@given(data=st.data(), count=st.integers(1, 12))
def test_any_document_with_stated_taxes_adds_up_to_what_was_captured(data: st.DataObject, count: int) -> None:
    lines: list[InvoiceLineWanted] = []
    for n in range(count):
        amount, rate = data.draw(AMOUNTS), data.draw(RATES)
        vats = data.draw(st.lists(st.integers(0, amount // 3), max_size=3))
        if len(vats) > 1:
            rates = data.draw(st.lists(RATES | st.none(), min_size=len(vats), max_size=len(vats)))
            line = several(amount, *zip(rates, vats, strict=True))
        else:
            (line,) = wanted((amount, rate, *vats))
        lines.append(line.model_copy(update={"line_id": str(n)}))
    assessed = assess(lines)
    assert sum(line.gross_minor for line in assessed.lines) == sum(line.amount_minor for line in lines)
    assert all(line.net_minor + line.vat_minor == line.gross_minor and line.net_minor >= 0 for line in assessed.lines)
    assert sum(group.vat_minor for group in assessed.groups) == sum(line.vat_minor for line in assessed.lines)
    assert all(group.net_minor + group.vat_minor == group.gross_minor for group in assessed.groups)
    for line, asked in zip(assessed.lines, lines, strict=True):
        assert asked.vat_minor in (None, line.vat_minor)
        assert [tax.vat_minor for tax in line.taxes] == [tax.vat_minor for tax in asked.taxes]
    if not any(line.taxes for line in assessed.lines):
        assert_adds_up(assessed, sum(line.amount_minor for line in lines))


def assert_adds_up(assessed: Assessed, captured: int) -> None:
    for group in assessed.groups:
        lines = [line for line in assessed.lines if line.rate == group.rate]
        assert sum(line.net_minor for line in lines) == group.net_minor
        assert sum(line.vat_minor for line in lines) == group.vat_minor
        assert sum(line.gross_minor for line in lines) == group.gross_minor == group.net_minor + group.vat_minor
    assert len({group.rate for group in assessed.groups}) == len(assessed.groups)
    assert sum(group.gross_minor for group in assessed.groups) == captured
    assert all(line.net_minor + line.vat_minor == line.gross_minor for line in assessed.lines)
