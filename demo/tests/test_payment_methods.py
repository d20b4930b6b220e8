"""Which orders of the demo are paid where: by the rule of the demo, and by its oracle."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

from contracts.ids import order_id
from contracts.orders.market import MarketTerms
from demo.oracle import expect
from demo.payment_methods import GATEWAYS, WITHOUT_CARD, Credentials, method_of, payment_of, tables
from demo.retail import RetailOrder, id_of, orders_of, run_orders, snapshot
from demo.source import Book
from demo.tests.conftest import Reader, row
from payments.gateways.accounts import AccountsFile, resolved
from system.installation import STORE, TABLES


@pytest.mark.parametrize("with_stripe", [True, False])
def test_the_gateways_are_those_that_the_oracle_expects(
    sample: Book, sample_orders: list[RetailOrder], with_stripe: bool
) -> None:
    methods = tuple(GATEWAYS) if with_stripe else WITHOUT_CARD
    run = run_orders(sample_orders, 1_500)
    ruled = [GATEWAYS[method_of(id_of(order, STORE, order_id), order, methods)] for order in run]
    assert ruled == [order.gateway for order in expect(sample, STORE, 1_500, with_stripe=with_stripe)]
    assert ("stripe" in ruled) == with_stripe


def test_the_sample_has_every_change_and_gift_cards_at_every_gateway(sample: Book) -> None:
    expected, seen = expect(sample, STORE), defaultdict(set)
    for order in expected:
        seen[order.gateway].add(order.trouble)
        if 0 < order.by_card_minor < order.money.captured_minor:
            seen[order.gateway].add("gift_card")
    everywhere = {
        "", "out_of_stock", "cancelled", "refunded", "line_cancelled", "edited", "gift_card", "replaced_cheaper",
        "replaced_dearer",
    }  # fmt: skip
    assert seen == {
        "test": everywhere | {"declined", "late", "timed_out", "replaced_equal"},
        "stripe": everywhere,
        "manual": everywhere | {"replaced_equal"},
        "marketplace": everywhere,
    }
    assert Counter(order.gateway for order in expected) == {"test": 217, "stripe": 73, "manual": 48, "marketplace": 48}


@pytest.mark.parametrize(("pounds", "gateways"), [("999999.99", {"stripe", "test"}), ("1000000.00", {"test"})])
def test_what_stripe_does_not_take_is_paid_at_the_test_gateway(
    read_rows: Reader, pounds: str, gateways: set[str]
) -> None:
    book = read_rows(*(row(str(number), quantity="1", price=pounds) for number in range(60)))
    found = {order.gateway for order in expect(book, STORE)}
    assert found == gateways | {"manual", "marketplace"}
    by_rule = {GATEWAYS[method_of(id_of(order, STORE, order_id), order)] for order in orders_of(book)}
    assert by_rule == found


def test_a_snapshot_names_the_method_and_a_card_its_token(sample_orders: list[RetailOrder]) -> None:
    by_card = snapshot(sample_orders[0], payment=payment_of("card"))["order"]
    assert (by_card["payment_method"], by_card["payment_token"]) == ("card", "pm_card_visa")
    transferred = snapshot(sample_orders[0], payment=payment_of("transfer"))["order"]
    assert transferred["payment_method"] == "transfer" and "payment_token" not in transferred


def test_the_market_has_the_methods_and_the_other_tables_stay() -> None:
    for methods in (tuple(GATEWAYS), WITHOUT_CARD):
        made = tables(TABLES, methods)
        [market] = made["orders"]["markets"]
        terms = MarketTerms.model_validate(market["terms"])
        assert {one.code: one.gateway for one in terms.payment_methods} == {one: GATEWAYS[one] for one in methods}
        assert made["invoicing"] == TABLES["invoicing"]
    assert "payment_methods" not in TABLES["orders"]["markets"][0]["terms"], (
        "the tables of an installation are unchanged"
    )


def test_the_account_has_references_to_values_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    credentials = Credentials()
    for name, value in credentials.environment.items():
        monkeypatch.setenv(name, value)
    [account] = AccountsFile.model_validate(credentials.account(STORE, "http://127.0.0.1:1")).gateway_accounts
    assert resolved(account.credentials["api_key"]) == credentials.api_key != Credentials().api_key
    assert account.webhook_secret is not None and resolved(account.webhook_secret) == credentials.webhook_secret
