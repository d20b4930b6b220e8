"""What lines cost adds up to the grand total to the penny, whatever discounts, shipping, taxes and parts. Promise 3."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from orders_play import Play, content, line, market

from contracts.payments import Authorize, Capture
from contracts.snapshot import Line, OrderContent, Quantities, Tax, Totals
from orders.domain.amounts import payable, ships_anything

AMOUNTS = st.integers(0, 10_000) | st.integers(0, 10**12)
RATES = st.sampled_from(["0", "5.5", "8.1", "17", "20.00", "25.5"])


@st.composite
def orders(draw: DrawFn) -> OrderContent:
    """Any order that the contract takes: parts of the discount on lines and beyond them, gross or net."""
    lines, items = [], 0
    for n in range(draw(st.integers(0, 6))):
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
                tax=(Tax(rate=draw(RATES)),) if draw(st.booleans()) else (),
                requires_shipping=draw(st.booleans()),
            )
        )
    discount = draw(st.integers(sum(one.discount_minor for one in lines), items))
    shipping = draw(st.just(0) | AMOUNTS)
    net = draw(st.booleans()) and bool(lines or shipping)
    tax = draw(AMOUNTS) if net else 0
    return OrderContent(
        external_order_id="A-1",
        placed_at=datetime(2026, 1, 2, tzinfo=UTC),
        currency="EUR",
        price_basis="net" if net else "gross",
        fulfilled_by=draw(st.sampled_from(["merchant", "marketplace"])),
        lines=tuple(lines),
        totals=Totals(
            shipping_minor=shipping,
            shipping_tax=(Tax(rate=draw(RATES)),) if draw(st.booleans()) else (),
            discount_minor=discount,
            tax_minor=tax if net else None,
            grand_minor=items + shipping - discount + tax,
        ),
    )


@given(told=orders())
def test_the_lines_add_up_to_the_grand_total(told: OrderContent) -> None:
    rows = payable(told)
    assert sum(row.amount_minor for row in rows) == told.totals.grand_minor
    assert all(row.amount_minor >= 0 for row in rows)
    assert len({row.line_id for row in rows}) == len(rows)
    assert any(row.ships for row in rows) == ships_anything(told)
    if told.price_basis == "net":
        nets = [row.net_minor for row in rows]
        assert all(net is not None and 0 <= net <= row.amount_minor for net, row in zip(nets, rows, strict=True))
        assert sum(net or 0 for net in nets) + (told.totals.tax_minor or 0) == told.totals.grand_minor
    else:
        assert {row.net_minor for row in rows} <= {None}


@given(told=orders())
def test_a_line_is_never_discounted_below_nothing(told: OrderContent) -> None:
    by_id = {one.external_line_id: one for one in told.lines}
    for row in payable(told):
        if (one := by_id.get(row.line_id)) is not None:
            before = (one.line_total_minor or 0) - one.discount_minor
            assert 0 <= (row.amount_minor if row.net_minor is None else row.net_minor) <= before


@given(told=orders(), data=st.data())
def test_captures_per_shipment_add_up_to_what_was_authorized_in_any_order(
    told: OrderContent, data: st.DataObject
) -> None:
    """Promise 3: per line and in all, wherever the lines lie and whichever shipment leaves first."""
    if not ships_anything(told) or not told.totals.grand_minor:
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
    assert sum(sums[1] for sums in taken.values()) == told.totals.grand_minor


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
    for run, part in zip([run for run in play.order.runs.values() if run.kind == "settle"], parts, strict=True):
        assert run.lines[0].quantity == part
        assert abs(run.lines[0].amount_minor - total * part / sum(parts)) <= 1


def test_a_discount_beyond_the_lines_parts_is_spread_by_largest_remainder() -> None:
    told = content(line("1", 10_00), line("2", 10_00, discount_minor=1_00), line("3", 10_00), discount=1_01 + 1_00)
    assert [row.amount_minor for row in payable(told)] == [9_65, 8_69, 9_65]


def test_a_tax_on_nothing_is_still_paid() -> None:
    told = content(line("1", 0), line("2", 0), price_basis="net", tax_minor=5)
    assert [(row.amount_minor, row.net_minor) for row in payable(told)] == [(5, 0), (0, 0)]


def test_shipping_follows_the_rate_of_the_goods_that_weigh_most_unless_it_is_told() -> None:
    told = content(line("1", 10_00), line("2", 20_00, tax=(Tax(rate="5.5"),)), shipping=4_95)
    assert [(row.line_id, row.rate) for row in payable(told)] == [("1", "17"), ("2", "5.5"), ("shipping", "5.5")]
    totals = told.totals.model_copy(update={"shipping_tax": (Tax(rate="20"),)})
    assert payable(told.model_copy(update={"totals": totals}))[-1].rate == "20"
