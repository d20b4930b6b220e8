"""HTTP routes: what is covered of Dintero's Shopping API. Start reading here."""

from fastapi import APIRouter

from chassis.declare.app import App
from dintero_compat.api import completing, drafting, listing, ordering, paying, tokens, uncovered
from dintero_compat.api.desk import Desk
from dintero_compat.refusals import PROBLEMS

__all__ = ["PROBLEMS", "routes"]


def routes(app: App) -> APIRouter:
    desk = Desk(app)

    def lifespan(_: object) -> object:
        return desk.owners.running()

    router = APIRouter(prefix="/v1/accounts/{aid}/shopping", tags=["shopping"])
    drafting.add_routes(router, desk)
    completing.add_routes(router, desk)
    listing.add_routes(router, desk)
    ordering.add_routes(router, desk)
    paying.add_routes(router, desk)
    uncovered.add_routes(router, desk)  # the last one: it answers what no other does
    whole = APIRouter(lifespan=lifespan)  # type: ignore[arg-type]
    whole.include_router(tokens.routes(desk))
    whole.include_router(router)
    return whole
