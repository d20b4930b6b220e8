"""HTTP of payments: one file for each subject."""

from fastapi import APIRouter

from chassis.declare.app import App
from payments.api import accounts, actions, events, gift_cards, ledgers, records, sessions, settlements
from payments.api.problems import PROBLEMS

__all__ = ["PROBLEMS", "routes"]


def routes(app: App) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["payments"])
    for subject in (ledgers, accounts, records, gift_cards, settlements, events, actions, sessions):
        subject.add_routes(router, app)
    return router
