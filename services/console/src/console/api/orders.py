"""The page of lists: tabs, filters, search, rows."""

from collections.abc import Sequence
from typing import Annotated, Any, get_args
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import select

from console import freshness, listing
from console.api.cells import catching_up
from console.api.refusals import refusal
from console.api.rendering import query
from console.api.serving import Pages, Part
from console.domain import bulk, words
from console.domain.people import PERSONAL, Person
from console.listing import COLUMNS, VIEWS, Asked, Column, Found
from console.live import rows
from console.tables import stores
from contracts.orders import FulfillmentStatus, PaymentStatus

EXPORT = "orders.export"
STATUSES = ("pending", "placing", "placed", "editing", "approved", "cancelled")


def add_routes(router: APIRouter, pages: Pages) -> None:
    SignedIn = Annotated[Person, Depends(pages.person)]

    @router.get("/orders")
    async def orders(asked: Annotated[Asked, Query()], person: SignedIn, part: Part = "") -> Response:
        known = await seen_stores(pages, person)
        store = store_of(asked, known)
        read = pages.app.read
        here = person.at(store)
        position = await rows.position(pages.app)
        found = await listing.find(read, store or "", asked, personal=here.may(PERSONAL))
        if asked.jump and (only := _of_this_number(asked, found)) is not None:
            return RedirectResponse(f"/orders/{only}", 303)
        behind = await catching_up(pages.app, found.rows)
        counts = await listing.count_views(read, store or "")
        current_to, stale = await freshness.current_to(pages.app)
        return pages.page(
            "orders.html", part=part, person=person, asked=asked, store=store, stores=known, found=found, counts=counts,
            views=VIEWS,
            columns=[column for column in get_args(Column) if column in (asked.column or COLUMNS)],
            all_columns=get_args(Column), current_to=current_to, stale=stale, link=_linked(asked), statuses=STATUSES,
            catching_up=behind, position=query({rows.NAME: position}),
            filtered=_filtered(asked), acts=bool(bulk.offered(here)), exports=here.may(EXPORT),
            personal=here.may(PERSONAL),
            payment_statuses=get_args(PaymentStatus), fulfillment_statuses=get_args(FulfillmentStatus),
            waiting_words=get_args(listing.Waiting), count_max=listing.COUNT_MAX,
        )  # fmt: skip

    @router.get("/orders/next")
    async def next_order(asked: Annotated[Asked, Query()], person: SignedIn) -> Response:
        """Opens the first order of a list: of a view that waits for a person, the one that waits longest."""
        store = store_of(asked, await seen_stores(pages, person))
        found = await listing.find(pages.app.read, store or "", asked, personal=person.at(store).may(PERSONAL))
        first = next(iter(found.rows), None)
        return RedirectResponse(f"/orders/{first['order_id']}" if first else _linked(asked)(), 303)


def _of_this_number(asked: Asked, found: Found) -> UUID | None:
    """Returns the only order whose number is what is searched, without case and accents."""
    number = words.folded(asked.q)
    same = [row["order_id"] for row in found.rows if words.folded(row["number"]) == number]
    return same[0] if len(same) == 1 else None


async def seen_stores(pages: Pages, person: Person) -> list[str]:
    """Returns the stores that have orders and that a person may see, in their order."""
    rows = await pages.app.read(select(stores.c.store_id).order_by(stores.c.store_id))
    return [row["store_id"] for row in rows if person.sees(row["store_id"])]


def store_of(asked: Asked, known: Sequence[str]) -> str | None:
    """Returns the store of the list; None if there is none yet. Raises Problem 404."""
    if asked.store is not None and asked.store not in known:
        raise refusal("store_unknown", f"{asked.store} is none of your stores")
    return asked.store or next(iter(known), None)


def _filtered(asked: Asked) -> int:
    """Returns how many filters are set besides view, store and search."""
    names = (
        "status",
        "payment",
        "fulfillment",
        "waiting",
        "channel",
        "market",
        "country",
        "currency",
        "step",
        "tag",
        "since",
        "until",
    )
    return sum(bool(getattr(asked, name)) for name in (*names, "archived"))


def _linked(asked: Asked) -> Any:
    """Returns a function that makes the address of the same list, or of a page about it, with something changed; from the first
    page of the list on."""
    same = asked.model_dump(mode="json", exclude_defaults=True, exclude={"cursor", "jump"})

    def link(path: str = "/orders", **change: Any) -> str:
        wanted = query(same | change)
        return f"{path}?{wanted}" if wanted else path

    return link
