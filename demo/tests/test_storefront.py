"""Which orders of the demo are paid before they are sent: by the rule of the demo, and by its oracle."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, cast
from uuid import UUID

import aiohttp
import pytest
from aiohttp import web

from contracts.ids import order_id
from demo.expected import Prepaid, trial_balance
from demo.oracle import expect
from demo.payment_methods import GATEWAYS, WITHOUT_CARD
from demo.retail import ACCOUNT, CHANNEL, RetailOrder, orders_of, run_orders
from demo.source import Book
from demo.storefront import TABLES, Session, Storefront, open_sessions, session_of, sessions_of
from demo.tests.conftest import Reader, row
from demo.trouble import trouble_of
from devservices.errors import DevservicesError
from gatewayservers.serving import listening
from payments.api.origins import OrderOrigin
from payments.api.sessions import SessionBody
from payments.gateways.accounts import AccountsFile
from system.installation import STORE, Installation

KEY, SESSION = UUID(int=7), UUID(int=8)


@pytest.mark.parametrize("with_stripe", [True, False])
def test_the_sessions_are_those_that_the_oracle_expects(
    sample: Book, sample_orders: list[RetailOrder], with_stripe: bool
) -> None:
    methods = tuple(GATEWAYS) if with_stripe else WITHOUT_CARD
    run, expected = run_orders(sample_orders, 1_500), expect(sample, STORE, 1_500, with_stripe=with_stripe)
    sessions = sessions_of(run, order_id, methods)
    paid = {key: session for key, session in sessions.items() if trouble_of(key) != "declined"}
    assert 0 < len(paid) < len(sessions), "the gateway declines some"
    assert {key: (GATEWAYS[method], pence) for key, (method, pence, _) in paid.items()} == {
        UUID(order.order_id): (order.gateway, order.prepaid.prepaid_minor)
        for order in expected
        if order.prepaid.prepayments
    }


def test_the_sample_has_sessions_of_every_kind(sample: Book) -> None:
    paid = [order for order in expect(sample, STORE) if order.prepaid.prepayments]
    assert Counter(order.gateway for order in paid) == {"test": 24, "stripe": 11}
    assert sum(order.prepaid.prepaid_minor for order in paid) == 1_424_754
    assert Counter(order.prepaid.given_back_minor for order in paid) == {0: 11, 100: 22, 23_516: 1, 12_820: 1}
    assert {order.trouble for order in paid} > {"", "out_of_stock", "refunded", "line_cancelled", "edited"}
    assert any(order.card_minor for order in paid)


def test_what_is_paid_for_an_order_that_is_out_of_stock_is_given_back(sample: Book) -> None:
    for order in expect(sample, STORE, 2_000):
        given_back, paid = order.prepaid.given_back_minor, order.prepaid.prepaid_minor
        if order.trouble == "out_of_stock":
            assert given_back == paid
        elif order.prepaid.prepayments:
            assert paid - given_back == order.total_minor - order.card_minor > 0
        assert order.trouble != "declined" or order.prepaid == Prepaid()


def test_the_books_have_the_account_only_if_anything_was_paid_there(sample: Book) -> None:
    expected = expect(sample, STORE)
    assert trial_balance(expected)["prepayments"] == 0
    others = [order for order in expected if not order.prepaid.prepayments]
    assert "prepayments" not in trial_balance(others)


def test_a_cart_costs_at_most_what_a_card_pays(read_rows: Reader) -> None:
    """999,998.99 and a pound are the most that Stripe takes; a penny more is paid without the pound."""
    digits = UUID("00000063-0001-5000-8008-000000000000")
    for price, pence in (("999998.99", 99_999_999), ("999999.00", 99_999_900)):
        [order] = orders_of(read_rows(row(quantity="1", price=price)))
        assert session_of(digits, order, tuple(GATEWAYS)) == ("card", pence, order.external_order_id)


def test_buyers_are_sent_back_to_an_origin_of_the_store() -> None:
    [storefront] = AccountsFile.model_validate(TABLES).storefronts
    assert (storefront.store, storefront.origins) == (STORE, ("https://shop.example",))


class Answering:
    """Payments, which answers with these statuses; in place of an installation."""

    def __init__(self, *statuses: int) -> None:
        self.statuses, self.got = [*statuses], list[tuple[str, str, Any]]()

    @contextlib.asynccontextmanager
    async def client(self, service: str, connections: int = 1) -> AsyncIterator[aiohttp.ClientSession]:
        assert service == "payments"

        async def answered(request: web.Request) -> web.Response:
            self.got.append((request.path, request.headers["idempotency-key"], await request.json()))
            return web.Response(status=self.statuses.pop(0), text="no")

        app = web.Application()
        app.router.add_post("/v1/{tail:.*}", answered)
        async with listening(app) as url, aiohttp.ClientSession(url) as client:
            yield client


async def test_a_session_is_opened_at_the_gateway_of_its_method() -> None:
    payments = Answering(201, 201)
    await open_sessions(
        cast(Installation, payments), {KEY: Session("card", 500, "7"), SESSION: Session("test", 600, "8")}
    )
    bodies = [SessionBody.model_validate(body) for _, _, body in payments.got]
    assert sorted((one.order_id, one.gateway, one.account, one.amount_minor, one.currency) for one in bodies) == [
        (KEY, "stripe", "demo", 500, "GBP"), (SESSION, "test", None, 600, "GBP"),
    ]  # fmt: skip
    assert {one.order_id: one.origin for one in bodies} == {
        key: OrderOrigin(channel=CHANNEL, account=ACCOUNT, external_order_id=number)
        for key, number in ((KEY, "7"), (SESSION, "8"))
    }
    with pytest.raises(DevservicesError, match="refused a session: no"):
        await open_sessions(cast(Installation, Answering(409)), {KEY: Session("card", 500, "7")})


async def test_money_is_given_back_with_one_key_until_that_is_answered() -> None:
    payments = Answering(503, 200, 409)
    shop = Storefront(cast(Installation, payments))
    async with payments.client("payments") as client:
        for _ in range(2):
            await shop._give_back(client, SESSION)
        assert payments.got == [(f"/v1/payment-sessions/{SESSION}/return", f"return-{SESSION}", {})] * 2
        with pytest.raises(DevservicesError, match="did not give back: no"):
            await shop._give_back(client, SESSION)
