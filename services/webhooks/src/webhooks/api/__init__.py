"""HTTP of webhooks: one file for each subject."""

from fastapi import APIRouter

from chassis.declare.app import App
from webhooks.api import attempts, endpoints, feed, replays
from webhooks.api.problems import PROBLEMS

__all__ = ["PROBLEMS", "routes"]


def routes(app: App) -> APIRouter:
    ours = APIRouter()
    for subject in (feed, endpoints, attempts, replays):
        ours.routes.extend(subject.routes(app).routes)
    return ours
