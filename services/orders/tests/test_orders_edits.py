"""An edit changes the content of an order and nothing else: lines add up, prices follow the pieces, what is undone comes back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from orders_play import content, costs, line, uid
from test_orders_amounts import orders

from contracts.limits import MINOR_MAX
from contracts.orders.edits import EDIT_CODES, EditChanges, LineEdit, NewLine
from contracts.payments import MoneyLine
from contracts.snapshot import Address, Cancellation, OrderContent, Quantities, Tax
from orders.api.edits import current_lines
from orders.domain.content.amounts import amounts, grand_minor, itemized, payable
from orders.domain.content.edits import applied
from orders.domain.content.facts import AuthorizationFact, ShipmentFact
from orders.domain.content.previews import difference, money, obstacles, total

RED = NewLine(sku="RED", title="Red", quantity=2, unit_price_minor=7_00, tax=(Tax(rate="19"),))


def discounted() -> OrderContent:
    """Case A01: two pieces at 48.00 with 20 % off each."""
    two = line("1", 96_00, sku="A", quantity=2, unit_price_minor=48_00, discount_minor=19_20, tax=(Tax(rate="19"),))
    return content(two, discount=19_20)


def edited(told: OrderContent, *edits: LineEdit, **more: Any) -> OrderContent:
    after, reasons = applied(told, EditChanges(lines=edits, **more))
    assert not reasons
    return after


def codes(told: OrderContent, *edits: LineEdit, **more: Any) -> list[tuple[str, tuple[str, ...]]]:
    return [(one.code, one.lines) for one in applied(told, EditChanges(lines=edits, **more)).reasons]


def authorization(name: str, **lines: int) -> AuthorizationFact:
    return AuthorizationFact(authorization_id=uid(name), authorized=lines)


# -- the case ---------------------------------------------------------------------------------------------------------


def test_fewer_pieces_of_a_discounted_line_keep_their_share_of_the_discount() -> None:
    """A01: the discount of the piece that goes does not stay on the other one."""
    before = discounted()
    after = edited(before, LineEdit(line_id="1", quantity=1))
    change = difference(before, after)
    assert change.total_after == 38_40 and change.total_after - change.total_before == -38_40
    assert change.to_release == {"1": 1} and change.to_reserve == {}
    assert itemized(edited(after, LineEdit(line_id="1", unit_price_minor=48_00))).totals.discount_minor == 9_60
    captured = {"1": (2, 76_80)}
    plan = money(change, captured, [])
    assert plan.refund == (MoneyLine(line_id="1", quantity=1, amount_minor=38_40),)
    assert plan.authorize == () and plan.void == ()


def test_before_money_is_captured_it_is_voided() -> None:
    before = discounted()
    change = difference(before, edited(before, LineEdit(line_id="1", quantity=1)))
    plan = money(change, {}, [authorization("a", **{"1": 76_80})])
    assert plan.void == ((uid("a"), (MoneyLine(line_id="1", quantity=0, amount_minor=38_40),)),)
    assert plan.authorize == () and plan.refund == ()


# -- each change ------------------------------------------------------------------------------------------------------


def test_pieces_that_come_back_cost_what_they_did() -> None:
    told = content(line("1", 10_00, quantity=3), line("2", 5_00), discount=1_01)
    fewer = edited(told, LineEdit(line_id="1", quantity=2))
    assert costs(fewer)["1"] == (2, 6_22) and costs(fewer)["2"] == costs(told)["2"]
    assert edited(fewer, LineEdit(line_id="1", quantity=3)) == told


def test_more_pieces_cost_as_much_each_and_have_the_discount_of_each() -> None:
    after = edited(discounted(), LineEdit(line_id="1", quantity=5))
    assert costs(after) == {"1": (5, 192_00)} and after.totals.discount_minor == 48_00
    assert after.lines[0].quantity.ordered == 5


def test_a_price_is_that_of_a_piece_and_a_discount_that_of_the_line() -> None:
    after = edited(discounted(), LineEdit(line_id="1", quantity=3, unit_price_minor=40_00, discount_minor=1_00))
    assert costs(after) == {"1": (3, 119_00)} and after.lines[0].unit_price_minor == 40_00
    assert costs(edited(after, LineEdit(line_id="1", discount_minor=0))) == {"1": (3, 120_00)}


def test_a_new_price_is_for_the_pieces_that_are_left() -> None:
    told = edited(content(line("1", 9_00, quantity=3)), LineEdit(line_id="1", quantity=2))
    after = edited(told, LineEdit(line_id="1", unit_price_minor=2_50))
    assert costs(after) == {"1": (2, 5_00)} and after.lines[0].quantity == Quantities(ordered=3, cancelled=1)
    assert costs(edited(after, LineEdit(line_id="1", quantity=1))) == {"1": (1, 2_50)}
    assert costs(edited(after, LineEdit(line_id="1", quantity=4))) == {"1": (4, 10_00)}


def test_a_removed_line_takes_its_part_of_the_shipping_charge_along_and_stays_on_record() -> None:
    told = content(line("1"), line("2", 5_00, shipping_minor=2_00), shipping=3_00)
    after = edited(told, LineEdit(line_id="2", quantity=0))
    assert costs(after) == {"1": (1, 10_00), "shipping": (0, 1_00)}
    assert [one.pieces for one in after.lines] == [1, 0]


def test_a_line_is_added_and_one_is_replaced() -> None:
    told = content(line("1"), line("2", 5_00))
    after = edited(told, LineEdit(line_id="1", replace_by=RED), add=(RED.model_copy(update={"line_id": "x"}),))
    assert costs(after) == {"2": (1, 5_00), "3": (2, 14_00), "x": (2, 14_00)}
    change = difference(told, after)
    assert change.to_reserve == {"3": 2, "x": 2} and change.to_release == {"1": 1}


def test_the_shipping_charge_is_what_it_is_set_to() -> None:
    told = content(line("1"), line("2", 5_00, shipping_minor=2_00), shipping=3_00)
    fewer = edited(told, LineEdit(line_id="2", quantity=0))
    for order in (told, fewer, content()):
        assert costs(edited(order, shipping_minor=4_50))["shipping"] == (0, 4_50)
    assert "shipping" not in costs(edited(told, shipping_minor=0))


def test_an_address_changes_no_amount() -> None:
    there = Address(name="Bo", line1="2 Way", city="Lyon", country="FR")
    after = edited(discounted(), ship_to=there)
    assert after == discounted().model_copy(update={"ship_to": there})


def test_a_net_line_is_taxed_by_its_rate() -> None:
    told = content(line("1", 10_00, quantity=2), line("2", 5_00), price_basis="net", tax_minor=2_55)
    after = edited(told, LineEdit(line_id="1", unit_price_minor=6_00), add=(RED,), shipping_minor=1_00)
    assert costs(after) == {"1": (2, 14_04), "2": (1, 5_85), "3": (2, 16_66), "shipping": (0, 1_19)}


def test_a_bundle_keeps_the_proportion_of_its_taxes() -> None:
    bundle = line("1", 10_00, tax=(Tax(rate="7", amount_minor=30), Tax(rate="19", amount_minor=90)))
    row = payable(edited(content(bundle), LineEdit(line_id="1", unit_price_minor=20_00)))[0]
    assert [tax.vat_minor for tax in row.taxes] == [60, 1_80] and row.vat_minor == 2_40


# -- why not ----------------------------------------------------------------------------------------------------------


def test_a_line_that_does_not_exist_or_is_gone_cannot_be_changed() -> None:
    told = content(line("1"), line("2", cancellation=Cancellation(executed=True)))
    assert codes(told, LineEdit(line_id="9", quantity=1)) == [("line_unknown", ("9",))]
    assert codes(told, LineEdit(line_id="2", quantity=1)) == [("line_cancelled", ("2",))]


@pytest.mark.parametrize(
    ("told", "code"),
    [
        ({"line_id": "1"}, "line_exists"),
        ({"line_id": "shipping"}, "line_exists"),
        ({"unit_price_minor": None}, "price_missing"),
        ({"sku": None}, "sku_missing"),
        ({"discount_minor": 14_01}, "discount_exceeds"),
        ({"unit_price_minor": MINOR_MAX}, "total_exceeds"),
    ],
)
def test_a_new_line_that_cannot_be_sold(told: dict[str, Any], code: str) -> None:
    assert [found for found, _ in codes(content(), add=(RED.model_copy(update=told),))] == [code]


def why_not(before: OrderContent, after: OrderContent, *shipped: dict[str, int], ships_more: bool = True) -> list[Any]:
    parcels = [
        ShipmentFact(shipment_id=uid(str(n)), location="m", status="shipped", lines=one)
        for n, one in enumerate(shipped)
    ]
    return [(one.code, one.lines) for one in obstacles(before, after, parcels, ships_more=ships_more)]


def test_what_has_shipped_cannot_be_changed() -> None:
    told = content(line("1", 10_00, quantity=3), line("2"))
    for edit, refused in (
        (LineEdit(line_id="1", quantity=1), True),
        (LineEdit(line_id="1", quantity=2), False),
        (LineEdit(line_id="1", quantity=4), False),
        (LineEdit(line_id="1", unit_price_minor=1_00), True),
        (LineEdit(line_id="2", quantity=0), False),
    ):
        found = why_not(told, edited(told, edit), {"1": 2})
        assert found == ([("order_shipped", ("1",))] if refused else [])
    there = Address(name="Bo", line1="2 Way", city="Lyon", country="FR")
    assert why_not(told, edited(told, ship_to=there), {"1": 2}) == [("order_shipped", ("1",))]


def test_what_has_shipped_from_here_is_not_made_the_marketplaces_to_ship() -> None:
    told = content(line("1", 10_00, quantity=3), line("2"))
    for line_id, refused in (("1", True), ("2", False)):
        lines = tuple(
            one.model_copy(update={"fulfilled_by": "marketplace"}) if one.external_line_id == line_id else one
            for one in told.lines
        )
        found = why_not(told, told.model_copy(update={"lines": lines}), {"1": 2})
        assert found == ([("order_shipped", ("1",))] if refused else [])


def test_goods_join_no_order_that_ships_nothing_more() -> None:
    told = content()
    assert why_not(told, edited(told, LineEdit(line_id="1", quantity=2)), ships_more=False) == [
        ("order_fulfilled", ("1",))
    ]
    assert why_not(told, told) == [("edit_empty", ())]


def test_what_a_marketplace_states_can_be_impossible_too() -> None:
    told = content(line("1"), line("2"))
    assert why_not(told, content(line("1", sku="B"), line("2"))) == [("sku_differs", ("1",))]
    assert why_not(told, content(line("1"), line("2", tax=()))) == [("tax_missing", ("2",))]
    assert why_not(told, content(line("1"), line("2", sku=None))) == [("sku_differs", ("2",)), ("sku_missing", ("2",))]
    assert why_not(told, content(line("1"), line("2", None), grand=None)) == [("price_missing", ())]
    assert why_not(told, content(line("1"), line("2"), currency="JPY")) == [("currency_differs", ())]


def test_every_code_is_listed_and_has_a_test() -> None:
    with open(__file__, encoding="utf-8") as file:
        text = file.read()
    assert not [code for code in EDIT_CODES if f'"{code}"' not in text]


# -- properties -------------------------------------------------------------------------------------------------------


@st.composite
def sold(draw: DrawFn) -> OrderContent:
    return draw(orders()).model_copy(update={"currency": draw(st.sampled_from(["EUR", "JPY", "KWD"]))})


@st.composite
def changes(draw: DrawFn, told: OrderContent) -> EditChanges:
    """Any edit of the lines that have pieces."""
    edits, prices = [], st.none() | st.integers(0, 10_000)
    for one in told.lines:
        if not one.pieces or not draw(st.booleans()):
            continue
        quantity = draw(st.none() | st.integers(0, 7))
        if quantity == 0 or draw(st.integers(0, 9)) == 0:
            edits.append(LineEdit(line_id=one.external_line_id, replace_by=draw(st.none() | st.just(RED))))
            edits[-1] = edits[-1] if edits[-1].replace_by else edits[-1].model_copy(update={"quantity": 0})
            continue
        price = draw(prices)
        discount = draw(st.integers(0, price)) if price is not None and quantity != 0 and draw(st.booleans()) else None
        edits.append(
            LineEdit(line_id=one.external_line_id, quantity=quantity, unit_price_minor=price, discount_minor=discount)
        )
    add = tuple(RED for _ in range(draw(st.integers(0, 2))))
    return EditChanges(lines=tuple(edits), add=add, shipping_minor=draw(prices))


@given(told=sold())
def test_an_itemized_order_costs_the_same_line_by_line(told: OrderContent) -> None:
    assert payable(itemized(told)) == payable(told)


@given(data=st.data(), told=sold())
def test_the_lines_of_an_edited_order_add_up_and_the_others_keep_their_amounts(
    data: st.DataObject, told: OrderContent
) -> None:
    wanted = data.draw(changes(told))
    after, reasons = applied(told, wanted)
    if reasons:
        assert {one.code for one in reasons} <= {"total_exceeds", "discount_exceeds"}
        return
    OrderContent.model_validate_json(after.model_dump_json())
    assert grand_minor(after) == sum(row.amount_minor for row in payable(after))
    by_id = {one.line_id: one for one in wanted.lines}
    now, before = {row.line_id: row for row in payable(after)}, {row.line_id: row for row in payable(told)}
    for line_id, row in before.items():
        if line_id in by_id:
            edit, pieces = by_id[line_id], now[line_id].quantity if line_id in now else 0
            expected = 0 if edit.replace_by else row.quantity if edit.quantity is None else edit.quantity
            assert pieces == expected
        elif line_id != "shipping":
            assert now[line_id] == row
    for line_id, edit in by_id.items():
        if edit.unit_price_minor is not None and line_id in now and told.price_basis == "gross":
            net_of_discount = edit.unit_price_minor * now[line_id].quantity - (edit.discount_minor or 0)
            assert now[line_id].amount_minor == net_of_discount or edit.discount_minor is None
    if wanted.shipping_minor is not None and told.price_basis == "gross":
        assert (now["shipping"].amount_minor if "shipping" in now else 0) == wanted.shipping_minor
    assert set(amounts(after).untaxed) <= set(by_id) | {"shipping"}


@given(data=st.data(), told=sold())
def test_money_comes_to_what_each_line_costs(data: st.DataObject, told: OrderContent) -> None:
    """With any amount captured, and any authorization of the rest."""
    after, reasons = applied(told, data.draw(changes(told)))
    if reasons:
        return
    rows = payable(told)
    first = {row.line_id: data.draw(st.integers(0, row.amount_minor)) for row in rows}
    rest = {row.line_id: row.amount_minor - first[row.line_id] for row in rows}
    captured = {name: (0, data.draw(st.integers(0, amount))) for name, amount in first.items()}
    holds = [
        AuthorizationFact(authorization_id=uid("a"), authorized=first, captured={name: taken for name, (_, taken) in captured.items()}),
        AuthorizationFact(authorization_id=uid("b"), authorized=rest),
    ]  # fmt: skip
    plan = money(difference(told, after), captured, holds)
    paid = {name: taken for name, (_, taken) in captured.items()}
    for hold in holds:
        for name, amount in hold.left_by_line.items():
            paid[name] = paid.get(name, 0) + amount
    for one in plan.authorize:
        paid[one.line_id] = paid.get(one.line_id, 0) + one.amount_minor
    for lines in (*(lines for _, lines in plan.void), plan.refund):
        for one in lines:
            paid[one.line_id] -= one.amount_minor
    assert {name: amount for name, amount in paid.items() if amount} == {
        row.line_id: row.amount_minor for row in payable(after) if row.amount_minor
    }
    by_id = {hold.authorization_id: hold.left_by_line for hold in holds}
    for authorization_id, lines in plan.void:
        assert all(one.amount_minor <= by_id[authorization_id][one.line_id] for one in lines)
    assert total(plan.refund) <= sum(taken for _, taken in captured.values())


@given(told=sold())
def test_an_edit_that_changes_nothing_moves_no_money_and_no_piece(told: OrderContent) -> None:
    same = tuple(LineEdit(line_id=one.external_line_id, quantity=one.pieces) for one in told.lines if one.pieces)
    after, reasons = applied(told, EditChanges(lines=same))
    assert after == told and not reasons
    change = difference(told, after)
    rows = {row.line_id: row.amount_minor for row in payable(told)}
    plan = money(change, {}, [authorization("a", **rows)])
    assert not (plan.authorize or plan.void or plan.refund or change.to_reserve or change.to_release)
    assert all(one.amount_before == one.amount_after for one in change.lines)


def test_the_lines_of_an_order_without_prices_are_shown_without_amounts() -> None:
    priced = content()
    assert [line.amount_minor for line in current_lines(priced)] == [line.amount_minor for line in payable(priced)]
    unpriced = priced.model_copy(
        update={"lines": tuple(line.model_copy(update={"line_total_minor": None}) for line in priced.lines)}
    )
    assert not unpriced.priced
    assert [(line.line_id, line.amount_minor) for line in current_lines(unpriced)] == [
        (line.external_line_id, None) for line in priced.lines
    ]


def test_a_new_price_of_fewer_pieces_keeps_their_share_of_the_discount() -> None:
    sold = content(line("1", 10_00, quantity=2, discount_minor=2_00), discount=2_00)
    for pieces, paid in ((1, 5_00), (2, 10_00), (4, 20_00)):  # 6.00 less 1.00 each
        found = applied(sold, EditChanges(lines=(LineEdit(line_id="1", quantity=pieces, unit_price_minor=6_00),)))
        assert not found.reasons and [one.amount_minor for one in payable(found.content)] == [paid]
