"""The pages of the console. They need no JavaScript."""

from datetime import UTC, datetime

from fastapi import APIRouter, Request, Response

from chassis.declare.app import App
from chassis.http.problems import Problem
from console.api import (
    deliveries,
    differences,
    endpoint_form,
    exports,
    gift_cards,
    jobs,
    ledger,
    live,
    markets,
    messages,
    order,
    orders,
    overview,
    parked,
    parked_group,
    parked_message,
    payment_lists,
    payments,
    people,
    processes,
    replays,
    settlements,
    signing_in,
    topics,
    trail,
    webhooks,
)
from console.api.refusals import PROBLEMS
from console.api.serving import Pages, route_of

__all__ = ["PROBLEMS", "routes"]

IMMUTABLE = "public, max-age=31536000, immutable"


def now() -> datetime:
    return datetime.now(UTC)


def routes(app: App) -> APIRouter:
    pages = Pages(app, now)

    def lifespan(_: object) -> object:
        return pages.running()

    router = APIRouter(route_class=route_of(pages), include_in_schema=False, lifespan=lifespan)  # type: ignore[arg-type]

    @router.get("/assets/{name}")
    async def asset(name: str) -> Response:
        found = pages.assets.by_hashed_name.get(name)
        if found is None:
            raise Problem(404, "resource_unknown", "Not found", "no file has this name")
        return Response(found.content, media_type=found.media_type, headers={"cache-control": IMMUTABLE})

    signing_in.add_routes(router, pages)
    overview.add_routes(router, pages)
    orders.add_routes(router, pages)
    order.add_routes(router, pages)
    ledger.add_routes(router, pages)
    payments.add_routes(router, pages)
    settlements.add_routes(router, pages)
    differences.add_routes(router, pages)
    payment_lists.add_routes(router, pages)
    gift_cards.add_routes(router, pages)
    processes.add_routes(router, pages)
    messages.add_routes(router, pages)
    live.add_routes(router, pages)
    topics.add_routes(router, pages)
    exports.add_routes(router, pages)
    jobs.add_routes(router, pages)
    people.add_routes(router, pages)
    endpoint_form.add_routes(router, pages)  # before the page of one endpoint: its path fits, too
    webhooks.add_routes(router, pages)
    replays.add_routes(router, pages)
    deliveries.add_routes(router, pages)
    trail.add_routes(router, pages)
    markets.add_routes(router, pages)
    parked.add_routes(router, pages)
    parked_group.add_routes(router, pages)
    parked_message.add_routes(router, pages)

    @router.get("/{path:path}")
    async def anything_else(request: Request, path: str) -> Response:
        raise Problem(404, "resource_unknown", "Not found", "the console has no page at this address")

    return router
