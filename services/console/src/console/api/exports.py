"""A list as a CSV file, streamed."""

from datetime import UTC, datetime
from typing import Annotated, get_args

from fastapi import APIRouter, Depends, Query, Response

from console import exporting
from console.api.files import File, streamed
from console.api.orders import EXPORT, seen_stores, store_of
from console.api.refusals import refusal
from console.api.serving import Pages
from console.audit import Subject
from console.domain.people import PERSONAL, Person
from console.listing import COLUMNS, Asked, Column


class AskedFile(Asked):
    personal: bool = False
    """Whether the file has the personal columns."""


def add_routes(router: APIRouter, pages: Pages) -> None:
    SignedIn = Annotated[Person, Depends(pages.person)]

    @router.get("/exports/orders.csv")
    async def export(asked: Annotated[AskedFile, Query()], person: SignedIn) -> Response:
        store = store_of(asked, await seen_stores(pages, person))
        if store is None:
            raise refusal("store_unknown", "no store has orders yet")
        here = person.at(store)
        for scope in (EXPORT, *((PERSONAL,) if asked.personal else ())):
            if not here.may(scope):
                raise refusal("action_forbidden", f"it needs the scope {scope}")
        columns = [column for column in get_args(Column) if column in (asked.column or COLUMNS)]
        chunks = exporting.chunks(
            pages.app.read, store, asked, columns, personal=asked.personal, search_personal=here.may(PERSONAL)
        )
        what = f"{asked.model_dump(exclude_defaults=True, exclude={'cursor'}, mode='json')}"
        name = f"orders-{store}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.csv".replace(":", "-")
        file = File(Subject("export", store, store), "export", what, name, "rows")
        try:
            return await streamed(pages, person, file, chunks)
        except exporting.SearchTooWide:
            raise refusal("filter_too_wide", "more than 20,000 orders fit the search: add a word") from None
