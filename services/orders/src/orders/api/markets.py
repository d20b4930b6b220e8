"""Routes of markets."""

from typing import Annotated

from asyncpg import Connection
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, model_validator
from sqlalchemy import select

from chassis.declare.app import App, Principal
from chassis.http.bodies import as_json
from chassis.http.commands import CONDITIONAL, etag, precondition
from chassis.http.paging import Cursor, Cursors, Limit, Page
from chassis.http.problems import Invalid, Problem, answers, invalid, respond
from chassis.http.strict import Strict
from contracts.base import Code, Country
from contracts.limits import MINOR_MAX
from contracts.money import Currency
from contracts.orders import MarketTerms
from orders import store
from orders.api.problems import PROBLEMS
from orders.domain.content import methods
from orders.responses.markets import MarketShown, MarketWritten, PaymentOffer, PaymentOffers
from orders.tables import markets

MARKETS = Cursors("markets", Code)
SHOWN = [column for column in markets.c if column.name != "store_id"]


class MarketBody(BaseModel, extra="forbid"):
    channel: Code | None = None
    account: Code | None = None
    terms: Annotated[MarketTerms, Strict()]

    @model_validator(mode="after")
    def _names_one_account_or_none(self) -> "MarketBody":
        if (self.channel is None) != (self.account is None):
            raise ValueError("channel and account come together or not at all")
        return self


def add_routes(router: APIRouter, app: App) -> None:
    view, edit = app.principal("orders.view"), app.principal("orders.edit")

    @router.put(
        "/markets/{code}", response_model=MarketWritten, dependencies=CONDITIONAL, openapi_extra=answers("market_taken")
    )
    async def put_market(
        request: Request, who: Annotated[Principal, Depends(edit)], code: Code, body: MarketBody
    ) -> Response:
        """Write a market whole. The orders that wait because of it start."""
        if body.terms.code != code:
            raise invalid(Invalid("body", "/terms/code", f"Value error, it must be {code}, as in the path"))
        market = store.Market(store=who.store_id, channel=body.channel, account=body.account, terms=body.terms)

        async def write(tx: Connection) -> int:
            precondition(request, await store.market_version(tx, who.store_id, code))
            return await store.put_market(tx, market)

        try:
            version = await app.write(write)
        except ValueError as error:
            raise Problem(409, "market_taken", "Another market is found by this", str(error)) from None
        return respond(as_json(200, {**market.model_dump(mode="json"), "version": version}, etag(version)))

    @router.get("/markets/{code}", response_model=MarketShown, openapi_extra=answers("market_unknown"))
    async def read_market(who: Annotated[Principal, Depends(view)], code: Code) -> Response:
        rows = await app.read(select(*SHOWN).where(markets.c.store_id == who.store_id, markets.c.code == code))
        if not rows:
            raise Problem(404, "market_unknown", PROBLEMS["market_unknown"].title, f"this store has no market {code}")
        return respond(as_json(200, dict(rows[0]), etag(rows[0]["version"])))

    @router.get(
        "/markets/{code}/payment-methods", response_model=PaymentOffers, openapi_extra=answers("market_unknown")
    )
    async def offer_methods(
        who: Annotated[Principal, Depends(view)],
        code: Code,
        currency: Currency,
        amount_minor: Annotated[int, Query(ge=0, le=MINOR_MAX)],
        country: Country | None = None,
    ) -> PaymentOffers:
        """For a storefront: how an order of this total may be paid, and what each payment method adds to it. `amount_minor` is the
        total without a surcharge, tax included; `country` that of the billing address, else of delivery."""
        rows = await app.read(select(markets.c.terms).where(markets.c.store_id == who.store_id, markets.c.code == code))
        if not rows:
            raise Problem(404, "market_unknown", PROBLEMS["market_unknown"].title, f"this store has no market {code}")
        terms = MarketTerms.model_validate(rows[0]["terms"])
        return PaymentOffers(
            items=[
                PaymentOffer(
                    code=one.method.code, title=one.method.title or one.method.code, gateway=one.method.gateway,
                    fits=one.why_not is None, why_not=one.why_not, surcharge_minor=one.surcharge_minor,
                    total_minor=amount_minor + one.surcharge_minor,
                )
                for one in methods.offers(terms, currency, country, amount_minor)
            ]
        )  # fmt: skip

    @router.get("/markets", response_model=Page[MarketShown])
    async def list_markets(
        who: Annotated[Principal, Depends(view)], limit: Limit = 50, cursor: Cursor = None
    ) -> Response:
        """The store's markets, by code."""
        query = select(*SHOWN).where(markets.c.store_id == who.store_id)
        if (start := MARKETS.after(cursor)) is not None:
            query = query.where(markets.c.code > start[0])
        rows = [dict(row) for row in await app.read(query.order_by(markets.c.code).limit(limit + 1))]
        return respond(as_json(200, MARKETS.page(rows, limit, lambda row: (row["code"],))))
