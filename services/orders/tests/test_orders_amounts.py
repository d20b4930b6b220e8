"""The amounts of lines add up to the minor unit, with any discounts, cancelled pieces, shipping, taxes and parts. Promise 3."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from orders_play import Play, content, line, market

from contracts.invoicing import Issue, TaxPart
from contracts.money import vat_by_rate
from contracts.payments import Authorize, Capture
from contracts.snapshot import Line, OrderContent, Quantities, Tax, TaxCollection, Totals
from orders.domain.content.amounts import amounts, grand_minor, payable, ships_anything
from orders.domain.processes.settle import SettleData

AMOUNTS = st.integers(0, 10_000) | st.integers(0, 10**12)
RATES = st.sampled_from(["0", "5.5", "8.1", "17", "20.00", "25.5"])


@st.composite
def orders(draw: DrawFn) -> OrderContent:
    """Any order that the contract accepts: parts of the discount on lines and beyond them, gross or net, taxes stated or by
    rate, pieces cancelled with or without an amount."""
    net = draw(st.booleans())
    lines, items = [], 0
    for n in range(draw(st.integers(1 if net else 0, 6))):
        total = draw(AMOUNTS)
        items += total
        ordered = draw(st.integers(0, 5))
        lines.append(
            Line(
                external_line_id=str(n + 1),
                sku=f"S{n}",
                line_total_minor=total,
                discount_minor=draw(st.integers(0, total)) if draw(st.booleans()) else 0,
                quantity=Quantities(ordered=ordered, cancelled=draw(st.integers(0, ordered))),
                requires_shipping=draw(st.booleans()),
                kind=draw(st.sampled_from(["goods", "goods", "gift_card", "service", "fee", "tip"])),
                fulfilled_by=draw(st.sampled_from([None, "merchant", "marketplace"])),
            )
        )
    discount = draw(st.integers(sum(one.discount_minor for one in lines), items))
    shipping = draw(st.just(0) | AMOUNTS)
    totals = Totals(shipping_minor=shipping, discount_minor=discount)
    base: dict[str, Any] = {
        "external_order_id": "A-1", "placed_at": datetime(2026, 1, 2, tzinfo=UTC), "currency": "EUR",
        "price_basis": "net" if net else "gross", "fulfilled_by": draw(st.sampled_from(["merchant", "marketplace"])),
    }  # fmt: skip
    after = OrderContent(**base, lines=tuple(lines), totals=totals).discounted()
    lines = [draw(finished(one, cost)) for one, cost in zip(lines, after, strict=True)]
    shipping_tax = draw(taxes(shipping))
    tax = sum(one.amount_minor or 0 for each in [*(one.tax for one in lines), shipping_tax] for one in each)
    if net:  # rates that are stated without an amount make something, too
        open_rates = [
            one for each in [*(one.tax for one in lines), shipping_tax] for one in each if one.amount_minor is None
        ]
        tax += draw(AMOUNTS) if any(one.rate and float(one.rate) for one in open_rates) else 0
    totals = totals.model_copy(
        update={
            "shipping_tax": shipping_tax,
            "tax_minor": tax if net else None,
            "grand_minor": items + shipping - discount + (tax if net else 0),
        }
    )
    return OrderContent(**base, lines=tuple(lines), totals=totals)


@st.composite
def finished(draw: DrawFn, one: Line, cost: int) -> Line:
    """The line with its taxes, and with the cancelled part stated or not."""
    change: dict[str, Any] = {"tax": draw(taxes(cost))}
    if one.pieces and one.quantity.cancelled and draw(st.booleans()):
        change["cancelled_minor"] = draw(st.integers(0, cost))
    return one.model_copy(update=change)


@st.composite
def taxes(draw: DrawFn, cost: int) -> tuple[Tax, ...]:
    match draw(st.sampled_from(["rate", "amount", "two rates", "two amounts", "none"])) if cost else "none":
        case "rate":
            return (Tax(rate=draw(RATES)),)
        case "amount":
            return (Tax(rate=draw(RATES | st.none()), amount_minor=draw(st.integers(0, cost // 3))),)
        case "two rates":
            return (Tax(rate=draw(RATES)), Tax(rate=draw(RATES)))
        case "two amounts":
            return tuple(
                Tax(rate=draw(RATES | st.none()), amount_minor=draw(st.integers(0, cost // 3))) for _ in range(2)
            )
        case _:
            return (Tax(rate="0"),)


def cost_of(told: OrderContent) -> dict[str, int]:
    """line id -> what still counts of it in the order's price basis; worked out apart, in fractions."""
    costs = {}
    for one, after in zip(told.lines, told.discounted(), strict=True):
        left = Fraction(one.pieces, one.quantity.ordered) if one.pieces else Fraction(0)
        exact = after - one.cancelled_minor if one.cancelled_minor is not None and one.pieces else after * left
        costs[one.external_line_id] = int(exact + Fraction(1, 2))
    return costs


@given(told=orders())
def test_what_is_paid_is_what_was_sold_less_what_is_cancelled(told: OrderContent) -> None:
    rows = {row.line_id: row for row in payable(told)}
    costs = cost_of(told) | ({"shipping": told.totals.shipping_minor or 0} if told.totals.shipping_minor else {})
    assert rows.keys() == {one.external_line_id for one in told.lines if one.pieces} | ({"shipping"} & costs.keys())
    for line_id, row in rows.items():
        net = row.amount_minor - (row.vat_minor or 0) if told.price_basis == "net" else row.amount_minor
        assert net == costs[line_id]
        assert 0 <= (row.vat_minor or 0) <= row.amount_minor
        assert not row.taxes or sum(tax.vat_minor for tax in row.taxes) == row.vat_minor
    assert grand_minor(told) == sum(row.amount_minor for row in rows.values())
    assert any(row.ships for row in rows.values()) == ships_anything(told)
    assert not amounts(told).untaxed


@given(told=orders())
def test_without_cancelled_pieces_the_lines_add_up_to_the_grand_total(told: OrderContent) -> None:
    lines = tuple(
        one.model_copy(update={"quantity": Quantities(ordered=max(one.quantity.ordered, 1)), "cancelled_minor": None})
        for one in told.lines
    )
    told = told.model_copy(update={"lines": lines})
    assert grand_minor(told) == told.totals.grand_minor
    if told.price_basis == "net":
        assert sum(row.vat_minor or 0 for row in payable(told)) == told.totals.tax_minor


@given(told=orders())
def test_stated_taxes_are_those_of_the_lines(told: OrderContent) -> None:
    """Never spread again: only a cancelled part takes its share of a line's tax off."""
    by_id = {one.external_line_id: one for one in told.lines}
    for row in payable(told):
        if (one := by_id.get(row.line_id)) is None or any(tax.amount_minor is None for tax in one.tax):
            continue
        stated = sum(tax.amount_minor or 0 for tax in one.tax)
        if one.pieces == one.quantity.ordered and one.cancelled_minor is None:
            assert row.vat_minor == stated
        else:
            assert row.vat_minor is not None and row.vat_minor <= stated


@given(told=orders(), data=st.data())
def test_captures_per_shipment_add_up_to_what_was_authorized_in_any_order(
    told: OrderContent, data: st.DataObject
) -> None:
    """Promise 3: per line and in all, wherever the lines lie and whichever shipment leaves first."""
    if not ships_anything(told) or not grand_minor(told):
        return
    play = Play().receives(told, market(capture="per_shipment")).reserved().authorized()
    at = {row.line_id: data.draw(st.sampled_from(["a", "b", "c"])) for row in payable(told) if row.ships}
    play.started(at)
    for location in data.draw(st.permutations(sorted(play.parcels))):
        play.shipped(location)
    taken: dict[str, list[int]] = {}
    for command in play.commands:
        if isinstance(command, Capture):
            for one in command.lines:
                sums = taken.setdefault(one.line_id, [0, 0])
                sums[0], sums[1] = sums[0] + one.quantity, sums[1] + one.amount_minor
    wanted = {one.line_id: [one.quantity, one.amount_minor] for one in play.last(Authorize).lines}
    assert all(taken.get(line_id, [0, 0]) in (sums, [0, 0]) for line_id, sums in wanted.items())
    assert sum(sums[1] for sums in taken.values()) == grand_minor(told)
    for command in [*play.commands]:
        if isinstance(command, Capture):
            play.captured(command)
    vats: dict[str, int] = {}
    for command in play.commands:
        if isinstance(command, Issue):
            for wanted in command.lines:
                vats[wanted.line_id] = vats.get(wanted.line_id, 0) + (wanted.vat_minor or 0)
    assert all(
        vats.get(row.line_id, 0) == row.vat_minor for row in payable(told) if row.vat_minor and row.line_id in vats
    )


@given(total=st.integers(1, 10_000), parts=st.lists(st.integers(1, 5), min_size=1, max_size=5))
def test_a_line_that_ships_in_parts_is_taken_in_parts_that_add_up(total: int, parts: list[int]) -> None:
    told = content(line("1", total, quantity=sum(parts)))
    play = Play().receives(told, market(capture="per_shipment")).reserved().authorized().started()
    whole = play.parcels["main"][0]
    play.parcels = {f"part{n}": (whole.model_copy(update={"quantity": part}),) for n, part in enumerate(parts)}
    for name in play.parcels:
        play.shipped(name)
    taken = [one for command in play.commands if isinstance(command, Capture) for one in command.lines]
    assert sum(one.amount_minor for one in taken) == total
    settles = [run.data for run in play.order.runs.values() if isinstance(run.data, SettleData)]
    for data, part in zip(settles, parts, strict=True):
        assert data.lines[0].quantity == part
        assert abs(data.lines[0].amount_minor - total * part / sum(parts)) <= 1


def test_a_discount_beyond_the_lines_parts_is_spread_by_largest_remainder() -> None:
    told = content(line("1", 10_00), line("2", 10_00, discount_minor=1_00), line("3", 10_00), discount=1_01 + 1_00)
    assert [row.amount_minor for row in payable(told)] == [9_65, 8_69, 9_65]


def test_a_tax_on_nothing_is_still_paid() -> None:
    told = content(line("1", 0), line("2", 0), price_basis="net", tax_minor=5)
    assert [(row.amount_minor, row.vat_minor, row.rate) for row in payable(told)] == [(5, 5, "17"), (0, 0, "17")]


# -- cancelled pieces -------------------------------------------------------------------------------------------------


def gone(line_id: str, total: int, ordered: int, cancelled: int, **more: Any) -> Line:
    return line(line_id, total, **more).model_copy(
        update={"quantity": Quantities(ordered=ordered, cancelled=cancelled)}
    )


def test_one_of_two_pieces_of_a_discounted_line_is_paid() -> None:
    """2 x 48.00 less 20 %, one cancelled: 38.40."""
    told = content(gone("1", 96_00, 2, 1, discount_minor=19_20), discount=19_20)
    assert [(row.quantity, row.amount_minor) for row in payable(told)] == [(1, 38_40)]


@pytest.mark.parametrize("basis", ["gross", "net"])
def test_a_cancelled_line_is_neither_paid_nor_shipped(basis: str) -> None:
    tax = {"price_basis": "net", "tax_minor": 5_95} if basis == "net" else {}
    told = content(line("1", 10_00), gone("2", 25_00, 1, 1), gone("3", 0, 0, 0), **tax)
    (row,) = payable(told)
    assert (row.line_id, row.amount_minor) == ("1", 11_70 if basis == "net" else 10_00)


@pytest.mark.parametrize(
    ("total", "ordered", "kept"),
    [(1, 2, [1]), (100, 3, [67, 33]), (1_000, 3, [667, 333]), (7, 4, [5, 4, 2]), (5, 5, [4, 3, 2, 1])],
)
def test_the_pieces_left_cost_their_share_rounded_half_up(total: int, ordered: int, kept: list[int]) -> None:
    """In the smallest unit of any currency: yen, cent, millime."""
    for n, share in enumerate(kept, 1):
        assert grand_minor(content(gone("1", total, ordered, n))) == share


def test_a_stated_cancelled_amount_counts_and_a_stated_0_means_that_the_total_leaves_it_out() -> None:
    assert grand_minor(content(gone("1", 96_00, 2, 1, cancelled_minor=50_00))) == 46_00
    assert grand_minor(content(gone("1", 48_00, 2, 1, cancelled_minor=0))) == 48_00


def test_the_shipping_charge_shrinks_by_the_parts_of_lines_that_are_wholly_cancelled() -> None:
    lines = (gone("1", 10_00, 2, 1, shipping_minor=1_00), gone("2", 20_00, 1, 1, shipping_minor=2_00))
    told = content(*lines, shipping=5_00)
    assert [(row.line_id, row.amount_minor) for row in payable(told)] == [("1", 5_00), ("shipping", 3_00)]


def test_a_stated_tax_shrinks_with_its_line() -> None:
    """As Shopify's order 450789469: 598.94 sold, two of three lines gone, 199.65 left."""
    lines = [
        gone(str(n), 199_00, 1, int(n != 1), discount_minor=3_33 + (n == 0), tax=(Tax(rate="6", amount_minor=3_98),))
        for n in range(3)
    ]
    told = content(*lines, price_basis="net", discount=10_00, tax_minor=11_94)
    assert told.totals.grand_minor == 598_94 and grand_minor(told) == 199_65
    half = content(
        gone("1", 200_00, 2, 1, tax=(Tax(rate="6", amount_minor=12_01),)), price_basis="net", tax_minor=12_01
    )
    assert [(row.amount_minor, row.vat_minor) for row in payable(half)] == [(106_01, 6_01)]


# -- taxes ------------------------------------------------------------------------------------------------------------


def taxed(*lines: tuple[int, tuple[Tax, ...]], **more: Any) -> list[tuple[int, str | None, int | None]]:
    """(amount, rate, VAT) of each row."""
    told = content(*(line(str(n), total, tax=tax) for n, (total, tax) in enumerate(lines)), **more)
    assert not amounts(told).untaxed
    return [(row.amount_minor, row.rate, row.vat_minor) for row in payable(told)]


def untaxed(*lines: tuple[int, tuple[Tax, ...]], **more: Any) -> tuple[str, ...]:
    return amounts(content(*(line(str(n), total, tax=tax) for n, (total, tax) in enumerate(lines)), **more)).untaxed


def rate(*rates: str) -> tuple[Tax, ...]:
    return tuple(Tax(rate=one) for one in rates)


def vat(amount: int, rate: str | None = None) -> tuple[Tax, ...]:
    return (Tax(rate=rate, amount_minor=amount),)


def test_a_rate_follows_from_a_stated_amount() -> None:
    assert taxed((119_00, vat(19_00))) == [(119_00, "19", 19_00)]
    assert taxed((100_00, vat(8_25)), price_basis="net", tax_minor=8_25) == [(108_25, "8.25", 8_25)]
    assert taxed((5_00, vat(5_00))) == [(5_00, None, 5_00)]


def test_each_line_keeps_its_stated_tax() -> None:
    got = taxed((100_00, vat(8_25)), (50_00, vat(0)), price_basis="net", tax_minor=8_25)
    assert got == [(108_25, "8.25", 8_25), (50_00, "0", 0)]


def test_a_line_without_rate_and_amount_waits_unless_one_total_says_it() -> None:
    nothing: tuple[Tax, ...] = ()
    assert untaxed((119_00, nothing)) == ("0",)
    assert untaxed((119_00, (Tax(),))) == ("0",)
    assert untaxed((119_00, rate("19")), (1, nothing)) == ("1",)
    assert untaxed((100, nothing), (50, nothing), price_basis="net", tax_minor=8) == ("0", "1")
    assert untaxed((0, nothing)) == ()
    assert untaxed((119_00, nothing), tax_collection=TaxCollection(deemed_supplier=True)) == ()
    told = content(line("1", 119_00, tax=nothing))
    told = told.model_copy(update={"totals": told.totals.model_copy(update={"tax_minor": 19_00})})
    assert [(row.rate, row.vat_minor) for row in payable(told)] == [("19", 19_00)]
    assert taxed((100_00, nothing), price_basis="net", tax_minor=0) == [(100_00, "0", 0)]


def test_what_the_marketplace_remits_is_no_tax_of_the_seller() -> None:
    remitted = (Tax(rate="15", amount_minor=32_70, collected_by="marketplace"),)
    assert taxed((200_00, remitted), shipping=18_00) == [(200_00, "0", 0), (18_00, "0", 0)]
    both = (*remitted, Tax(rate="2", amount_minor=4_00))
    assert taxed((204_00, both)) == [(204_00, "2", 4_00)]


def test_several_taxes_all_count() -> None:
    """6 % of the state and 2.25 % of the county, on the same 100.00."""
    state_and_county = rate("6", "2.25")
    for told in (
        content(line("1", 108_25, tax=state_and_county)),
        content(line("1", 100_00, tax=state_and_county), price_basis="net", tax_minor=8_25),
        content(line("1", 100_00, tax=(*vat(6_00, "6"), *vat(2_25))), price_basis="net", tax_minor=8_25),
    ):
        (row,) = payable(told)
        assert (row.amount_minor, row.rate, row.vat_minor) == (108_25, None, 8_25)
        assert row.taxes == (TaxPart(rate="6", vat_minor=6_00), TaxPart(rate="2.25", vat_minor=2_25))


def test_several_taxes_of_shipping_count() -> None:
    told = content(line("1", 100_00, tax=vat(0, "0")), price_basis="net", shipping=10_00, tax_minor=82)
    totals = told.totals.model_copy(update={"shipping_tax": (*vat(60, "6"), *vat(22, "2.25"))})
    shipping = payable(told.model_copy(update={"totals": totals}))[-1]
    assert (shipping.amount_minor, shipping.vat_minor, len(shipping.taxes)) == (10_82, 82, 2)


def test_a_stated_total_of_tax_is_shared_by_the_rates() -> None:
    """3 x 19.99 @ 17 % is 8.71 on the sum; a marketplace that rounds each line states 8.70."""
    for total in (8_71, 8_70):
        told = content(*(line(str(n), 19_99) for n in range(3)))
        told = told.model_copy(update={"totals": told.totals.model_copy(update={"tax_minor": total})})
        assert sum(row.vat_minor or 0 for row in payable(told)) == total
    got = taxed((10_00, rate("3")), (10_00, rate("17")), price_basis="net", tax_minor=2_00)
    assert got == [(10_30, "3", 30), (11_70, "17", 1_70)]


def test_shipping_takes_what_stated_taxes_leave_of_the_total() -> None:
    got = taxed((100_00, vat(20_00, "20")), shipping=5_00, price_basis="net", tax_minor=20_50)
    assert got == [(120_00, "20", 20_00), (5_50, "10", 50)]


def test_shipping_follows_the_rate_of_the_goods_that_weigh_most_unless_it_is_stated() -> None:
    told = content(line("1", 10_00), line("2", 20_00, tax=rate("5.5")), shipping=4_95)
    assert [(row.line_id, row.rate) for row in payable(told)] == [("1", "17"), ("2", "5.5"), ("shipping", "5.5")]
    totals = told.totals.model_copy(update={"shipping_tax": rate("20")})
    assert payable(told.model_copy(update={"totals": totals}))[-1].rate == "20"
    cancelled = content(line("1", 10_00), gone("2", 20_00, 1, 1, tax=rate("5.5")), shipping=4_95)
    assert payable(cancelled)[-1].rate == "17"
    spelt = content(
        line("1", 6_00, tax=rate("20")), line("2", 6_00, tax=rate("20.00")), line("3", 10_00), shipping=4_95
    )
    assert payable(spelt)[-1].rate == "20"
    equal = content(line("1", 10_00, tax=rate("9")), line("2", 10_00, tax=rate("10")), shipping=4_95)
    assert payable(equal)[-1].rate == "10"


@given(lines=st.lists(st.tuples(st.integers(0, 10**6), RATES), min_size=1, max_size=6), off=st.integers(-2, 2))
def test_any_stated_total_near_the_rates_is_kept(lines: list[tuple[int, str]], off: int) -> None:
    computed = sum(vat_by_rate(lines, "gross").values())
    told = content(*(line(str(n), total, tax=rate(percent)) for n, (total, percent) in enumerate(lines)))
    total = min(max(computed + off, 0), sum(total for total, percent in lines if float(percent)))
    told = told.model_copy(update={"totals": told.totals.model_copy(update={"tax_minor": total})})
    rows = payable(told)
    assert sum(row.vat_minor or 0 for row in rows) == total
    assert all(0 <= (row.vat_minor or 0) <= row.amount_minor for row in rows)
