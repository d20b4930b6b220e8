"""Markets, sellers and stock as their owners answer them, for tests: answers of the services' own models."""

from __future__ import annotations

from contracts.orders import MarketTerms, MethodCurrency, PaymentMethod
from fulfillment.responses import StockShown
from invoicing.responses import SellerShown
from orders.responses.markets import MarketShown

ROUTES = {"/v1/markets": {}, "/v1/sellers": {}, "/v1/stock": {}}
TERMS = MarketTerms(
    code="de",
    currency="EUR",
    approval="manual",
    approve_below_minor=50_00,
    locations=("main", "annex"),
    payment_methods=(
        PaymentMethod(code="card", gateway="stripe", account="second", countries=("FR",)),
        PaymentMethod(
            code="invoice",
            title="By invoice",
            gateway="manual",
            surcharge_percent="1.5",
            currencies=(MethodCurrency(currency="EUR", max_minor=77_70, surcharge_minor=2_25),),
        ),
    ),
)
MARKET = MarketShown(code="de", version=4, channel="amazon", account="eu", terms=TERMS).model_dump(mode="json")
SELLER = SellerShown(code="shop", version=1, name="Shop Ltd", vat_number="GB1", time_zone="Europe/London").model_dump(
    mode="json"
)
STOCK = StockShown(location="main", sku="MUG", on_hand=1_200, reserved=200, available=1_000, version=1).model_dump(
    mode="json"
)
