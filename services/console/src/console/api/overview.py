"""The first page: what comes in and goes out, what waits, and who is silent; for people of all stores."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import RedirectResponse
from markupsafe import Markup
from sqlalchemy import select

from chassis.declare.app import App
from chassis.svg import Line, plot
from console import overview
from console.api.navigation import SECTIONS
from console.api.rendering import Templates
from console.api.serving import Pages
from console.domain.operations import UnderWay
from console.domain.overview import WINDOWS, Drawn, Span
from console.domain.people import Person
from console.freshness import STALE_AFTER
from console.live.operations import SCOPE, OperationsSource
from console.tables import stores

STEPS_SHOWN: Final = 12
FIGURES: Final = ("received", "completed", "invoiced", "processes", "lag", "outbox", "parked", "endpoints")
RETAINED: Final = ("payments", "return", "person")
"""What gateways refuse to give back of what was paid before the order."""
PATHS: Final[Mapping[str, str]] = {section.name: section.path for section in SECTIONS}
"""The lists that a figure can link to."""


def add_routes(router: APIRouter, pages: Pages) -> None:
    SignedIn = Annotated[Person, Depends(pages.person)]
    source = OperationsSource(pages.app, lambda: cells(pages.app, pages.templates, pages.clock()))
    pages.hub.add("operations", source)

    @router.get("/")
    async def home(person: SignedIn, span: Annotated[Span, Query()] = "1h") -> Response:
        if not person.may(SCOPE):
            return RedirectResponse("/orders", 303)
        now = pages.clock()
        shown = await overview.read(pages.app, now)
        plots = [(one, drawing(one)) for one in await overview.plots(pages.app, WINDOWS[span], now)]
        return pages.page(
            "overview.html", person=person, shown=shown, plots=plots, span=span, windows=WINDOWS,
            stale=_is_stale(shown.polled_at, now), paths=PATHS, figure_names=FIGURES, steps_shown=STEPS_SHOWN,
            list_of=_list_of, any_orders=bool(await pages.app.read(select(stores.c.store_id).limit(1))),
            owners=pages.settings.owners,
        )  # fmt: skip


async def cells(app: App, templates: Templates, now: datetime) -> Mapping[str, str]:
    """Returns the HTML of each figure, as the stream sends them to the pages that are open."""
    shown, macros = await overview.read(app, now), templates.macros("figures.html")
    found = {name: macros.figure(name, shown, PATHS).strip() for name in FIGURES}
    return found | {"asof": macros.asof(shown.polled_at, _is_stale(shown.polled_at, now)).strip()}


def _is_stale(polled_at: datetime | None, now: datetime) -> bool:
    return polled_at is None or now - polled_at > STALE_AFTER


def drawing(one: Drawn) -> Markup:
    lines = [Line(label, values) for label, values in one.lines.items()]
    return Markup(plot(one.plot.title, one.summary, lines, one.marks))


def _list_of(one: UnderWay) -> str | None:
    """Returns the list that has what is under way; None if no page has it."""
    if "processes" in PATHS and one.service == "orders":
        return PATHS["processes"]
    if (one.service, one.step, one.waiting) == RETAINED:
        return "/payments/sessions?prepayment=retained"
    return None
