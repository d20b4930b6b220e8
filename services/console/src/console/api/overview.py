"""The first page: what comes in and goes out, what waits, and who is silent; for people of all stores."""

from collections.abc import Mapping
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import RedirectResponse
from markupsafe import Markup
from sqlalchemy import select

from chassis.svg import Line, plot
from console import overview
from console.api.navigation import SECTIONS
from console.api.serving import Pages
from console.domain.operations import UnderWay
from console.domain.overview import WINDOWS, Drawn, Span
from console.domain.people import Person
from console.freshness import STALE_AFTER
from console.tables import stores

SCOPE: Final = "operations.view"
STEPS_SHOWN: Final = 12
PATHS: Final[Mapping[str, str]] = {section.name: section.path for section in SECTIONS}
"""The lists that a figure can link to."""


def add_routes(router: APIRouter, pages: Pages) -> None:
    SignedIn = Annotated[Person, Depends(pages.person)]

    @router.get("/")
    async def home(person: SignedIn, span: Annotated[Span, Query()] = "1h") -> Response:
        if not person.may(SCOPE):
            return RedirectResponse("/orders", 303)
        now = pages.clock()
        shown = await overview.read(pages.app, now)
        plots = [(one, drawing(one)) for one in await overview.plots(pages.app, WINDOWS[span], now)]
        return pages.page(
            "overview.html", person=person, shown=shown, plots=plots, span=span, windows=WINDOWS,
            stale=shown.polled_at is None or now - shown.polled_at > STALE_AFTER, paths=PATHS, steps_shown=STEPS_SHOWN,
            list_of=_list_of, any_orders=bool(await pages.app.read(select(stores.c.store_id).limit(1))),
            owners=pages.settings.owners,
        )  # fmt: skip


def drawing(one: Drawn) -> Markup:
    lines = [Line(label, values) for label, values in one.lines.items()]
    return Markup(plot(one.plot.title, one.summary, lines, one.marks))


def _list_of(one: UnderWay) -> str | None:
    """Returns the list that has what is under way; None if no page has it."""
    if "processes" in PATHS and one.service == "orders":
        return PATHS["processes"]
    return None
