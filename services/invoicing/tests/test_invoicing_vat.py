"""The VAT of a document: golden figures of the sources, and sums that hold for any document."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.invoicing import InvoiceLineWanted
from contracts.money import vat_on_net
from invoicing.domain.vat import Assessed, assess, canonical


def wanted(*amounts: tuple[int, str] | tuple[int, str, int]) -> tuple[InvoiceLineWanted, ...]:
    """(captured, rate[, net]) per line."""
    return tuple(
        InvoiceLineWanted(
            line_id=str(n),
            title="Thing",
            quantity=1,
            amount_minor=a[0],
            rate=a[1],
            net_minor=a[2] if len(a) == 3 else None,
        )
        for n, a in enumerate(amounts, 1)
    )


def figures(assessed: Assessed) -> list[tuple[str, int, int, int]]:
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
    assert figures(assess(wanted((gross, rate)), "gross")) == [(canonical(rate), gross - vat, vat, gross)]


def test_vat_is_computed_once_per_rate_not_per_line() -> None:
    """3 x 19.99 @ 17 %: 8.71 on the sum, 8.70 if each line were rounded."""
    assessed = assess(wanted((1999, "17"), (1999, "17"), (1999, "17")), "gross")
    assert figures(assessed) == [("17", 5126, 871, 5997)]
    assert [(line.net_minor, line.vat_minor) for line in assessed.lines] == [(1709, 290), (1709, 290), (1708, 291)]


def test_two_lines_of_one_pay_29_cents_not_30() -> None:
    assessed = assess(wanted((100, "17"), (100, "17")), "gross")
    assert figures(assessed) == [("17", 171, 29, 200)]
    assert [line.vat_minor for line in assessed.lines] == [14, 15]


def test_a_net_of_1000_over_three_equal_lines_is_334_333_333() -> None:
    assessed = assess(wanted((400, "20"), (400, "20"), (400, "20")), "gross")
    assert [line.net_minor for line in assessed.lines] == [334, 333, 333]
    assert sum(line.vat_minor for line in assessed.lines) == 200


def test_shipping_is_a_line_like_any_other() -> None:
    """UCI 536544: 552,114 of which 56,977 shipping, one rate: VAT 82,230 on the whole."""
    assessed = assess(wanted((552114 - 56977, "17.5"), (56977, "17.5")), "gross")
    assert figures(assessed) == [("17.5", 552114 - 82230, 82230, 552114)]
    assert [line.gross_minor for line in assessed.lines] == [552114 - 56977, 56977]


def test_rates_compare_as_numbers() -> None:
    assessed = assess(wanted((100, "20"), (100, "20.00"), (100, "20.0")), "gross")
    assert figures(assessed) == [("20", 250, 50, 300)]
    assert {line.rate for line in assessed.lines} == {"20"}


@pytest.mark.parametrize(
    ("told", "canon"),
    [("20.00", "20"), ("0", "0"), ("0.00", "0"), ("25.5", "25.5"), ("8.10", "8.1"), ("05", "5"), ("10", "10")],
)
def test_a_rate_has_one_spelling(told: str, canon: str) -> None:
    assert canonical(told) == canon


def test_groups_stand_in_the_order_of_their_first_line() -> None:
    assessed = assess(wanted((300, "3"), (1700, "17"), (103, "3.0")), "gross")
    assert [group.rate for group in assessed.groups] == ["3", "17"]
    assert [line.line_id for line in assessed.lines] == ["1", "2", "3"]


def test_a_line_of_nothing_stays_on_the_document() -> None:
    assessed = assess(wanted((0, "20"), (1200, "20"), (0, "7")), "gross")
    assert [(line.gross_minor, line.net_minor, line.vat_minor) for line in assessed.lines] == [
        (0, 0, 0),
        (1200, 1000, 200),
        (0, 0, 0),
    ]
    assert figures(assessed) == [("20", 1000, 200, 1200), ("7", 0, 0, 0)]


def test_net_prices_pay_vat_on_the_sum_of_the_nets() -> None:
    assessed = assess(wanted((11700, "17", 10000)), "net")
    assert figures(assessed) == [("17", 10000, 1700, 11700)]


def test_net_prices_keep_the_nets_that_were_told() -> None:
    """3 x 19.99 net @ 17 %: VAT 10.19 on the sum, spread over the lines."""
    assessed = assess(wanted((2339, "17", 1999), (2339, "17", 1999), (2338, "17", 1999)), "net")
    assert figures(assessed) == [("17", 5997, 1019, 7016)]
    assert [line.net_minor for line in assessed.lines] == [1999, 1999, 1999]
    assert sorted(line.vat_minor for line in assessed.lines) == [339, 340, 340]


def test_a_marketplace_that_rounds_net_prices_per_line_is_invoiced_what_it_captured() -> None:
    """3 x 19.99 net @ 17 % with 3.40 each: 70.17 was captured, not 70.16, so the gross rules."""
    assessed = assess(wanted((2339, "17", 1999), (2339, "17", 1999), (2339, "17", 1999)), "net")
    assert figures(assessed) == [("17", 5997, 1020, 7017)]
    assert [line.gross_minor for line in assessed.lines] == [2339, 2339, 2339]


def test_tax_that_was_spread_over_lines_without_regard_to_rates_is_set_right() -> None:
    """Captured 11.00 each for a book @ 3 % and a mug @ 17 % of 10.00 net: the document is right, each line's share is not."""
    assessed = assess(wanted((1100, "3", 1000), (1100, "17", 1000)), "net")
    assert figures(assessed) == [("3", 1000, 30, 1030), ("17", 1000, 170, 1170)]


def test_net_prices_that_are_not_told_leave_the_gross_to_rule() -> None:
    assessed = assess(wanted((1170, "17", 1000), (1170, "17")), "net")
    assert figures(assessed) == [("17", 2000, 340, 2340)]


RATES = st.sampled_from(
    ["0", "3", "5.5", "7", "8.1", "13.5", "17", "17.00", "17.5", "19", "20", "20.0", "21", "25", "25.5", "99.9999"]
)
AMOUNTS = st.integers(0, 10**7) | st.integers(0, 20)


@given(lines=st.lists(st.tuples(AMOUNTS, RATES), min_size=1, max_size=12))
def test_any_gross_document_adds_up_and_is_within_half_a_cent_of_the_law(lines: list[tuple[int, str]]) -> None:
    assessed = assess(wanted(*lines), "gross")
    assert_adds_up(assessed, sum(amount for amount, _ in lines))
    assert [line.gross_minor for line in assessed.lines] == [amount for amount, _ in lines]
    for group in assessed.groups:
        percent = Fraction(group.rate)
        assert abs(group.vat_minor - group.gross_minor * percent / (100 + percent)) <= Fraction(1, 2)


@given(lines=st.lists(st.tuples(AMOUNTS, RATES), min_size=1, max_size=12), off=st.integers(0, 3), by_line=st.booleans())
def test_any_net_document_adds_up_to_what_was_captured(lines: list[tuple[int, str]], off: int, by_line: bool) -> None:
    """Tax on each line or on each rate, and captures that are a few cents beside it."""
    if by_line:
        told = [(net + vat_on_net(net, rate), rate, net) for net, rate in lines]
    else:
        told = []
        for rate in dict.fromkeys(canonical(rate) for _, rate in lines):
            nets = [net for net, other in lines if canonical(other) == rate]
            told += [(net, rate, net) for net in nets[1:]]
            told.append((nets[0] + vat_on_net(sum(nets), rate), rate, nets[0]))
    told[0] = (told[0][0] + off, told[0][1], told[0][2])
    captured = sum(amount for amount, _, _ in told)
    assessed = assess(wanted(*told), "net")
    assert_adds_up(assessed, captured)
    exact_on_net = all(
        abs(group.vat_minor - group.net_minor * Fraction(group.rate) / 100) <= Fraction(1, 2)
        for group in assessed.groups
    )
    exact_in_gross = all(
        abs(group.vat_minor - group.gross_minor * Fraction(group.rate) / (100 + Fraction(group.rate))) <= Fraction(1, 2)
        for group in assessed.groups
    )
    assert exact_in_gross or exact_on_net
    if not by_line and off == 0:
        assert exact_on_net
        assert [line.net_minor for line in assessed.lines] == [net for _, _, net in told]


def assert_adds_up(assessed: Assessed, captured: int) -> None:
    for group in assessed.groups:
        lines = [line for line in assessed.lines if line.rate == group.rate]
        assert sum(line.net_minor for line in lines) == group.net_minor
        assert sum(line.vat_minor for line in lines) == group.vat_minor
        assert sum(line.gross_minor for line in lines) == group.gross_minor == group.net_minor + group.vat_minor
    assert len({group.rate for group in assessed.groups}) == len(assessed.groups)
    assert sum(group.gross_minor for group in assessed.groups) == captured
    assert all(line.net_minor + line.vat_minor == line.gross_minor for line in assessed.lines)
