"""The page of what is set up for a store: markets, sellers, stock; read from their owners, and shown if their release has the routes."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, NamedTuple

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict

from console.api.filters import linked
from console.api.orders import seen_stores
from console.api.refusals import refusal
from console.api.rendering import query
from console.api.serving import Pages, demand
from console.domain.people import Person
from console.owners import Answer
from contracts.base import Code


class Listed(NamedTuple):
    """A list of an owner."""

    owner: str
    path: str
    scope: str


SHOWN: Final[Mapping[str, Listed]] = {
    "markets": Listed("orders", "/v1/markets", "orders.view"),
    "sellers": Listed("invoicing", "/v1/sellers", "invoices.view"),
    "stock": Listed("fulfillment", "/v1/stock", "fulfillment.view"),
}
ROWS: Final = 50


class MarketsAsked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    store: Code | Literal[""] = ""
    cursor: str | None = None
    """A place in the list of stock, which is long."""


def add_routes(router: APIRouter, pages: Pages) -> None:
    SignedIn = Annotated[Person, Depends(pages.person)]

    @router.get("/markets")
    async def markets(asked: Annotated[MarketsAsked, Query()], person: SignedIn) -> Response:
        demand(person, SHOWN["markets"].scope)
        stores = await seen_stores(pages, person)
        if asked.store and not person.sees(asked.store):
            raise refusal("store_unknown", f"{asked.store} is none of your stores")
        store = asked.store or next(iter(stores), "")
        lists = [
            name for name, one in SHOWN.items()
            if store and person.at(store).may(one.scope) and await pages.bar.offered(one.owner, one.path)
        ]  # fmt: skip
        answers = await asyncio.gather(*(_read(pages, SHOWN[name], store, person, asked) for name in lists))
        return pages.page(
            "markets.html", person=person, asked=asked, store=store, stores=stores, link=linked("/markets", asked),
            lists=dict(zip(lists, answers, strict=True)), owners=SHOWN, items=_items,
        )  # fmt: skip


async def _read(pages: Pages, one: Listed, store: str, person: Person, asked: MarketsAsked) -> Answer:
    wanted = {"limit": ROWS, "cursor": asked.cursor if one is SHOWN["stock"] else None}
    return await pages.owners.read(one.owner, f"{one.path}?{query(wanted)}", store, person)


def _items(answer: Answer) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = answer.body["items"] if answer.state == "answered" else ()
    return found
