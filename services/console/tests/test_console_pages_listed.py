"""Every page of the console is among those that axe examines and `make screenshots` takes."""

from __future__ import annotations

from collections import Counter
from typing import Any

from fastapi.routing import APIRoute

from chassis.process.app import App
from console.api import routes
from console.assets import Assets
from console.handlers import SERVICE
from console.settings import Settings
from tests.console_pages import NO_PAGES, PAGES

PROVIDER: dict[str, Any] = {
    "oidc_issuer": "https://id.example.com", "oidc_client_id": "console", "oidc_client_secret": "x",
    "public_url": "https://console.example.com",
}  # fmt: skip


def test_each_route_that_answers_a_get_is_a_page_that_is_examined_or_none() -> None:
    app = App(SERVICE, Settings(database_url="postgresql://127.0.0.1:1/none", **PROVIDER), "api")
    known = {one.path for one in routes(app).routes if isinstance(one, APIRoute) and "GET" in one.methods}
    shown = {page.shows for page in PAGES}
    assert known - shown - NO_PAGES.keys() == set(), "add a line to tests/console_pages.py"
    assert shown - known == set() and NO_PAGES.keys() - known == set(), "a route that is no more"
    assert shown & NO_PAGES.keys() == set()


def test_a_picture_has_a_name_of_its_own() -> None:
    assert [name for name, count in Counter(page.name for page in PAGES).items() if count > 1] == []


def test_only_colours_depend_on_light_and_dark() -> None:
    """So axe examines the structure of a page once, and its colours in both."""
    styles = next(one.content for name, one in Assets().by_hashed_name.items() if name.endswith(".css"))
    assert b"light-dark(" in styles and b"prefers-color-scheme" not in styles
