"""The demo's payment methods, by rule: who pays by card at the server in Stripe's shapes, by transfer, or at the marketplace."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from typing import Any, Final, Literal
from uuid import UUID

from demo.retail import RetailOrder
from demo.trouble import trouble_of

Method = Literal["test", "card", "transfer", "marketplace"]
GATEWAYS: Final[Mapping[Method, str]] = {
    "test": "test", "card": "stripe", "transfer": "manual", "marketplace": "marketplace",
}  # fmt: skip
"""Method -> its gateway."""
WITHOUT_CARD: Final[Collection[Method]] = ("test", "transfer", "marketplace")
"""Those of a system that runs elsewhere: no server in Stripe's shapes is beside it."""
ACCOUNT: Final = "demo"
TOKEN: Final = "pm_card_visa"
CARD_MINOR_MAX: Final = 99_999_999
"""Stripe's largest amount."""

_BY_DIGIT: Final[tuple[Method, ...]] = (*("card",) * 4, *("transfer",) * 2, *("marketplace",) * 2, *("test",) * 8)
_OF_THE_TEST_GATEWAY: Final = ("declined", "late", "timed_out")


def method_of(key: UUID, order: RetailOrder, methods: Collection[Method] = tuple(GATEWAYS)) -> Method:
    """The payment method of an order, by the last digit of the third group of its id's hex digits.

    It is `test` instead if the id brings trouble that the test gateway makes, if the amount is above Stripe's limit, and if
    `methods` lacks it.
    """
    method = _BY_DIGIT[int(str(key)[17], 16)]
    is_too_large = method == "card" and order.total_minor > CARD_MINOR_MAX
    if trouble_of(key) in _OF_THE_TEST_GATEWAY or is_too_large or method not in methods:
        return "test"
    return method


def payment_of(method: Method) -> dict[str, str]:
    """What a snapshot states of it."""
    stated: dict[str, str] = {"payment_method": method}
    return stated | {"payment_token": TOKEN} if method == "card" else stated


def tables(base: Mapping[str, Mapping[str, Any]], methods: Collection[Method]) -> dict[str, Mapping[str, Any]]:
    """`base`, an installation's configuration tables, with the payment methods in each market."""
    rows = [
        {"code": method, "gateway": gateway, **({"account": ACCOUNT} if method == "card" else {})}
        for method, gateway in GATEWAYS.items()
        if method in methods
    ]
    markets = [{**one, "terms": {**one["terms"], "payment_methods": rows}} for one in base["orders"]["markets"]]
    return {**base, "orders": {**base["orders"], "markets": markets}}


class Credentials:
    """The credentials of the store's account at the server in Stripe's shapes: variables, whose values are made for one run."""

    def __init__(self) -> None:
        self.api_key, self.webhook_secret = f"sk_test_{secrets.token_hex(12)}", f"whsec_{secrets.token_hex(12)}"

    @property
    def environment(self) -> dict[str, str]:
        return {"DEMO_STRIPE_API_KEY": self.api_key, "DEMO_STRIPE_WEBHOOK_SECRET": self.webhook_secret}

    def account(self, store_id: str, url: str) -> dict[str, Any]:
        """The file of `python -m payments apply`. url: of the server."""
        account = {
            "store": store_id, "gateway": "stripe", "account": ACCOUNT, "url": url,
            "credentials": {"api_key": "env:DEMO_STRIPE_API_KEY"}, "webhook_secret": "env:DEMO_STRIPE_WEBHOOK_SECRET",
        }  # fmt: skip
        return {"gateway_accounts": [account]}
