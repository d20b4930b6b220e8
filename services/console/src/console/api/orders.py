"""The page of lists: tabs, filters, search, rows."""

from collections.abc import Sequence
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Depends, Query, Response
from sqlalchemy import select

from console import freshness, listing
from console.api.cells import catching_up
from console.api.rendering import query
from console.api.serving import Pages, refusal
from console.domain import bulk
from console.domain.people import PERSONAL, Person
from console.listing import COLUMNS, VIEWS, Asked, Column
from console.tables import stores
from contracts.orders import FulfillmentStatus, PaymentStatus

EXPORT = "orders.export"
STATUSES = ("pending", "placing", "placed", "editing", "approved", "cancelled")


def add_routes(router: APIRouter, pages: Pages) -> None:
    SignedIn = Annotated[Person, Depends(pages.person)]

    @router.get("/orders")
    async def orders(asked: Annotated[Asked, Query()], person: SignedIn) -> Response:
        known = await seen_stores(pages, person)
        store = store_of(asked, known)
        read = pages.app.read
        here = person.at(store)
        found = await listing.find(read, store or "", asked, personal=here.may(PERSONAL))
        behind = await catching_up(pages.app, found.rows)
        counts = await listing.count_views(read, store or "")
        current_to, stale = await freshness.current_to(pages.app)
        return pages.page(
            "orders.html", person=person, asked=asked, store=store, stores=known, found=found, counts=counts, views=VIEWS,
            columns=[column for column in get_args(Column) if column in (asked.column or COLUMNS)],
            all_columns=get_args(Column), current_to=current_to, stale=stale, link=_linked(asked), statuses=STATUSES,
            catching_up=behind,
            filtered=_filtered(asked), acts=bool(bulk.offered(here)), exports=here.may(EXPORT),
            personal=here.may(PERSONAL),
            payment_statuses=get_args(PaymentStatus), fulfillment_statuses=get_args(FulfillmentStatus),
            waiting_words=get_args(listing.Waiting), count_max=listing.COUNT_MAX,
        )  # fmt: skip


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
    same = asked.model_dump(mode="json", exclude_defaults=True, exclude={"cursor"})

    def link(path: str = "/orders", **change: Any) -> str:
        wanted = query(same | change)
        return f"{path}?{wanted}" if wanted else path

    return link
