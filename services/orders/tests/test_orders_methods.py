"""Payment methods of a market: the one that an order has always fits, and its surcharge is a line that loses no minor unit. Promise 3."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orders_play import Play, content, costs, line, market
from test_orders_amounts import orders

from contracts.fulfillment import Reserve
from contracts.invoicing import Issue
from contracts.money import EXPONENTS
from contracts.orders import SURCHARGE_LINE, LineEdit, MethodCurrency, PaymentMethod, Place, Received
from contracts.payments import Authorize, Capture, Refund
from contracts.personal import masked
from contracts.snapshot import Address, OrderContent, Tax
from orders.domain.content import methods
from orders.domain.content.amounts import grand_minor, payable

CARD = PaymentMethod(code="card", gateway="stripe", account="second", capture="on_placement", countries=("FR", "DE"))
INVOICE = PaymentMethod(
    code="invoice", title="By invoice", gateway="manual", surcharge_percent="1.5",
    currencies=(MethodCurrency(currency="EUR", max_minor=200_00, surcharge_minor=2_00),),
)  # fmt: skip
TERMS: dict[str, Any] = {"payment_methods": (CARD, INVOICE), "capture": "on_approval"}
MONEY = {EXPONENTS[currency]: currency for currency in ("JPY", "EUR", "TND")}
PERCENTS = st.sampled_from(["0", "0.0001", "0.5", "1.5", "2.9", "33.3333", "99.9999"])
CARD_NUMBER = "4242 4242 4242 4242"


def by(code: str | None, *lines: Any, **more: Any) -> OrderContent:
    return content(*lines, payment_method=code, **more)


# -- which one --------------------------------------------------------------------------------------------------------


@st.composite
def listed(draw: st.DrawFn) -> tuple[PaymentMethod, ...]:
    def one(code: int) -> PaymentMethod:
        currencies = draw(st.lists(st.sampled_from(["EUR", "JPY", "TND"]), unique=True, max_size=2))
        minor = st.none() | st.integers(0, 2_000) | st.integers(0, 10**13)
        return PaymentMethod(
            code=f"m{code}", gateway="test", surcharge_percent=draw(st.none() | PERCENTS),
            countries=tuple(draw(st.lists(st.sampled_from(["FR", "DE"]), unique=True, max_size=1))),
            currencies=tuple(
                MethodCurrency(currency=each, max_minor=draw(minor), surcharge_minor=draw(minor)) for each in currencies
            ),
        )  # fmt: skip

    return tuple(one(n) for n in range(draw(st.integers(1, 4))))


@given(
    told=orders(), offered=listed(), country=st.sampled_from(["FR", "DE", None]), currency=st.sampled_from([*MONEY.values()]),
    named=st.sampled_from([None, None, "m0", "m1", "other"]), here=st.booleans(),
)  # fmt: skip
def test_the_method_of_an_order_always_fits_and_is_the_first_that_does(
    told: OrderContent,
    offered: tuple[PaymentMethod, ...],
    country: str | None,
    currency: str,
    named: str | None,
    here: bool,
) -> None:
    place = Address(country=country) if country else None
    told = told.model_copy(update={"currency": currency, "bill_to": place, "payment_method": named})
    if not any(one.pieces for one in told.lines):
        return
    terms = market(payment_methods=offered)
    after, has = methods.chosen(told, terms, here)
    fitting = []
    for method in offered:
        total = grand_minor(told) or 0
        if here:
            total += methods.surcharge_minor(method, currency, total)
        limits = {one.currency: one.max_minor for one in method.currencies}
        takes = (not limits or currency in limits) and (not method.countries or country in method.countries)
        most = limits.get(currency)
        if takes and (most is None or total <= most) and named in (None, method.code):
            fitting.append((method.code, total))
    if fitting:
        assert (has.payment_method, grand_minor(after)) == fitting[0] and not has.payment_methods
        assert methods.why_not(after, has) is None
    else:
        why = methods.why_not(after, has)
        known = named is None or named in {one.code for one in offered}
        assert why is not None and why[0] == ("payment_method_refused" if known else "payment_method_unknown")
        assert after == told and has == terms


@pytest.mark.parametrize(
    ("told", "terms", "code", "gateway"),
    [
        (by(None), {}, "card", "stripe"),
        (by("invoice"), {}, "invoice", "manual"),
        (by(None, ship_to=Address(country="US")), {}, "invoice", "manual"),
        (by(None, bill_to=Address(country="US")), {}, "invoice", "manual"),
        (by("card"), {"payment_methods": (), "payment_method": "card", "gateway": "test"}, "card", "test"),
        (by(None), {"payment_methods": (), "gateway": "test"}, None, "test"),
    ],
    ids=["first", "named", "delivered elsewhere", "billed elsewhere", "short form with a code", "short form"],
)
def test_an_order_has_the_method_that_it_names_or_the_first_that_fits(
    play: Play, told: OrderContent, terms: dict[str, Any], code: str | None, gateway: str
) -> None:
    play.receives(told, market(**TERMS | terms)).then(Received, asks=[Reserve])
    assert play.order.market is not None and play.order.market.payment_method == code
    assert play.reserved().last(Authorize).gateway == gateway


@pytest.mark.parametrize(
    ("told", "code", "detail"),
    [
        (by("gold"), "payment_method_unknown", "the market m has no payment method gold"),
        (by("card", ship_to=None), "payment_method_refused", "card: it takes orders to FR, DE, not to an unknown country"),
        (by("invoice", line(total=200_01)), "payment_method_refused",
         "invoice: it takes at most 200.00 EUR, the order costs 200.01"),
        (by(None, currency="USD", ship_to=None), "payment_method_refused",
         "card: it takes orders to FR, DE, not to an unknown country; invoice: it takes EUR, not USD"),
    ],
    ids=["unknown", "country", "amount", "all"],
)  # fmt: skip
def test_an_order_that_no_method_takes_waits_and_says_why(
    play: Play, told: OrderContent, code: str, detail: str
) -> None:
    play.receives(told, market(**TERMS))
    assert {name: one.detail for name, one in play.order.exceptions.items()} == {code: detail}
    assert not play.sent and play.order.status == "pending"


def test_a_limit_counts_with_the_surcharge(play: Play) -> None:
    """195.00 and 1.5 % and 2.00 are 199.93; 196.00 makes 200.94."""
    play.placed_over_http(by("invoice", line(total=195_00)), market(**TERMS))
    assert play.order.grand_minor == 199_93 and not play.order.exceptions
    refused = Play().placed_over_http(by("invoice", line(total=196_00)), market(**TERMS))
    assert [*refused.order.exceptions] == ["payment_method_refused"] and refused.order.grand_minor == 196_00


def test_a_corrected_market_starts_the_order_with_its_surcharge(play: Play) -> None:
    play.placed_over_http(by("invoice", line(total=300_00)), market(**TERMS))
    assert [*play.order.exceptions] == ["payment_method_refused"]
    dearer = INVOICE.model_copy(update={"currencies": (MethodCurrency(currency="EUR", surcharge_minor=3_00),)})
    play.markets = dict.fromkeys(play.markets, market(payment_methods=(dearer,)))
    play.wakes(0)
    assert not play.order.exceptions and play.sent[0].TYPE == "fulfillment.reserve"
    assert costs(play.sold)[SURCHARGE_LINE] == (1, 7_50)


def test_the_method_of_an_order_that_has_started_stays(play: Play) -> None:
    """Waiting for stock, it takes over other terms of the market; a newer snapshot that names another method only informs."""
    play.receives(by(None), market(**TERMS, on_short="wait")).short()
    play.markets = dict.fromkeys(
        play.markets, market(payment_methods=(INVOICE,), on_short="wait", locations=("annex",))
    )
    play.wakes()
    assert play.last(Reserve).locations == ("annex",)
    play.receives(by("invoice"), seconds=1)
    assert not play.order.exceptions
    authorize = play.reserved().last(Authorize)
    assert (authorize.gateway, authorize.account, authorize.capture) == ("stripe", "second", True)


def test_a_method_decides_when_money_is_taken(play: Play) -> None:
    play.receives(by("invoice"), market(**TERMS)).reserved()
    assert play.last(Authorize).capture is False
    play.authorized()
    assert play.last(Capture).lines[0].amount_minor == 10_00  # on approval, by the market


# -- the surcharge ----------------------------------------------------------------------------------------------------


@given(told=orders(), fixed=st.integers(0, 10**6), percent=PERCENTS, currency=st.sampled_from([*MONEY.values()]))
def test_a_surcharge_is_exact_and_changes_no_other_line(
    told: OrderContent, fixed: int, percent: str, currency: str
) -> None:
    told = told.model_copy(update={"currency": currency})
    before = grand_minor(told) or 0
    method = PaymentMethod(
        code="m", gateway="test", surcharge_percent=percent,
        currencies=(MethodCurrency(currency=currency, surcharge_minor=fixed),),
    )  # fmt: skip
    after, has = methods.chosen(told, market(payment_methods=(method,)), True)
    extra = methods.surcharge_minor(method, currency, before)
    assert abs(extra - (fixed + Fraction(before) * Fraction(percent) / 100) * bool(before)) <= Fraction(1, 2)
    if not any(one.pieces for one in told.lines):
        assert after == told
        return
    assert has.payment_method == "m" and grand_minor(after) == before + extra
    ours = [row for row in payable(after) if row.line_id == SURCHARGE_LINE]
    assert sum(row.amount_minor for row in ours) == extra and len(ours) == bool(extra)
    assert {row.line_id: row.amount_minor for row in payable(after) if row not in ours} == {
        row.line_id: row.amount_minor for row in payable(told)
    }
    assert methods.is_placed_as(told, after)
    assert methods.chosen(after, market(payment_methods=(method,)), True).content == after, "twice is once"
    dearer = told.model_copy(update={"external_number": "another"})
    assert not methods.is_placed_as(dearer, after)


@pytest.mark.parametrize(("currency", "extra"), [("JPY", 15), ("EUR", 15), ("TND", 15)])
def test_a_percentage_is_rounded_half_up_to_the_minor_unit(currency: str, extra: int) -> None:
    method = PaymentMethod(code="m", gateway="test", surcharge_percent="1.45")
    assert methods.surcharge_minor(method, currency, 1_000) == extra  # 14.5


def test_a_free_order_costs_nothing_more() -> None:
    assert methods.surcharge_minor(INVOICE, "EUR", 0) == 0


def test_a_surcharge_is_authorized_captured_invoiced_with_vat_and_refunded_as_a_line(play: Play) -> None:
    told = by("invoice", line(total=100_00), shipping=5_00)
    play.placed_over_http(told, market(**TERMS)).reserved()
    extra = 2_00 + 1_58  # 1.5 % of 105.00 is 1.575
    assert [(one.line_id, one.quantity, one.amount_minor) for one in play.last(Authorize).lines] == [
        ("1", 1, 100_00), (SURCHARGE_LINE, 1, extra), ("shipping", 0, 5_00),
    ]  # fmt: skip
    play.authorized().captured()
    [invoiced] = [one for one in play.last(Issue).lines if one.line_id == SURCHARGE_LINE]
    assert (invoiced.title, invoiced.amount_minor, invoiced.rate) == ("By invoice", extra, "17")
    play.issued().refunds((SURCHARGE_LINE, 1))
    assert [(one.line_id, one.amount_minor) for one in play.last(Refund).lines] == [(SURCHARGE_LINE, extra)]


def test_the_vat_of_a_surcharge_is_in_the_stated_total_of_taxes() -> None:
    goods = line(total=100_00, tax=(Tax(rate="17"),))
    for basis, tax in (("gross", 14_53), ("net", 17_00)):
        told = by("invoice", goods, tax_minor=tax, price_basis=basis, grand=100_00 if basis == "gross" else 117_00)
        after = methods.chosen(told, market(**TERMS), True).content
        rows = {row.line_id: row for row in payable(after)}
        extra = rows[SURCHARGE_LINE]
        assert extra.amount_minor == (3_50 if basis == "gross" else 3_76), basis  # 2.00 and 1.5 % of 117.00
        assert extra.vat_minor == (51 if basis == "gross" else 55) and extra.rate in ("17", "17.0", "17.00"), basis
        assert after.totals.tax_minor == tax + extra.vat_minor
        assert rows["1"] == {row.line_id: row for row in payable(told)}["1"]


def test_the_total_of_a_snapshot_stays_as_the_buyer_has_paid_it(play: Play) -> None:
    play.receives(by("invoice"), market(**TERMS))
    assert play.order.grand_minor == 10_00
    stated = by("invoice", line(), line(SURCHARGE_LINE, 1_23, kind="fee", sku=None))
    for play in (Play().receives(stated, market(**TERMS)), Play().placed_over_http(stated, market(**TERMS))):
        assert costs(play.sold) == {"1": (1, 10_00), SURCHARGE_LINE: (1, 1_23)}


@pytest.mark.parametrize("named", ["invoice", None])
def test_the_same_request_again_is_the_same_order(play: Play, named: str | None) -> None:
    terms = market(payment_methods=(INVOICE,))
    play.placed_over_http(by(named), terms).placed_over_http(by(named), terms, "again").nothing()
    assert play.refusal is None
    play.placed_over_http(by("card"), terms, "another").nothing()
    assert play.refusal is not None and play.refusal.code == "order_exists"


def test_a_changed_request_before_the_start_has_the_surcharge_of_what_it_states(play: Play) -> None:
    terms = market(payment_methods=(INVOICE,))
    play.placed_over_http(by(None, payment_state="pending"), terms)
    assert costs(play.sold)[SURCHARGE_LINE] == (1, 2_15) and play.order.status == "pending"
    play.placed_over_http(by(None, line(total=20_00)), terms, "again")
    assert costs(play.sold) == {"1": (1, 20_00), SURCHARGE_LINE: (1, 2_30)} and play.order.status == "placing"


def test_an_order_of_which_only_the_surcharge_is_left_is_cancelled(play: Play) -> None:
    play.placed_over_http(by("invoice"), market(**TERMS)).reserved().authorized()
    play.opens_an_edit(LineEdit(line_id="1", quantity=0)).confirms()
    assert play.order.undo is not None


def test_an_order_that_has_no_room_for_the_line_of_a_surcharge_is_not_paid_by_its_method(play: Play) -> None:
    lines = [line(str(n), 1) for n in range(1_000)]
    play.placed_over_http(by("invoice", *lines), market(**TERMS))
    assert "would exceed a limit" in play.order.exceptions["payment_method_refused"].detail


# -- the token --------------------------------------------------------------------------------------------------------


def test_the_token_reaches_the_first_authorization_and_no_later_one(play: Play) -> None:
    slow = CARD.model_copy(update={"capture": "manual"})
    play.receives(by("card", payment_token="pm_1"), market(payment_methods=(slow,))).reserved()
    assert play.last(Authorize).payment_token == "pm_1"
    play.authorized().started().receives(by("card"), seconds=1)
    assert play.sold.payment_token == "pm_1", "it need not be stated again"
    play.opens_an_edit(LineEdit(line_id="1", unit_price_minor=12_00)).confirms().suspended()
    later = play.last(Authorize)
    assert later.lines[0].amount_minor == 2_00 and later.payment_token is None and later.account == "second"


def test_a_card_number_starts_nothing_and_is_stored_nowhere(play: Play) -> None:
    play.receives(by("card", payment_token=CARD_NUMBER), market(**TERMS))
    assert [*play.order.exceptions] == ["payment_token_refused"] and not play.sent
    written = "".join(one.model_dump_json() for one in play.events) + play.order.model_dump_json()
    assert "4242" not in written
    play.receives(by("card", payment_token="pm_1"), seconds=1)
    assert not play.order.exceptions and play.order.status == "placing"


def test_a_token_is_masked_where_personal_values_are() -> None:
    place = Place(
        order_id="00000032-0000-4000-8000-000000000001", store_id="st_1", operation_id="00000032-0000-4000-8000-000000000001",
        actor="x", channel="api", account="shop", order=by("card", payment_token="pm_1"),
    )  # type: ignore[arg-type]  # fmt: skip
    assert masked(place)["order"]["payment_token"] == "***"
