"""HTTP of payments: one file for each subject."""

from fastapi import APIRouter

from chassis.declare.app import App
from payments.api import (
    accounts,
    actions,
    differences,
    disputes,
    events,
    gift_cards,
    ledgers,
    reconciliations,
    records,
    reversals,
    sessions,
    settlements,
)
from payments.api.problems import PROBLEMS

__all__ = ["PROBLEMS", "routes"]


def routes(app: App) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["payments"])
    for subject in (
        ledgers, accounts, reversals, records, gift_cards, settlements, reconciliations, differences, events, actions, sessions,
        disputes,
    ):  # fmt: skip
        subject.add_routes(router, app)
    return router
