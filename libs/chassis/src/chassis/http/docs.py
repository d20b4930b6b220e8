"""Serves interactive pages of a service's API at `/docs`: Swagger UI from a package, so that no page loads from elsewhere."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Final

from fastapi.openapi.docs import get_swagger_ui_html
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

ASSETS: Final = Path(str(files("fastapi_standalone_docs") / "static"))
"""Swagger UI (Apache-2.0) and an icon; the package's own code is not used."""


def pages(name: str) -> Starlette:
    """Returns the application to mount at `/docs` of a service. It needs no API key: a person enters one on the page."""
    html = get_swagger_ui_html(
        openapi_url="../openapi.json",
        title=f"Tradewind {name}",
        swagger_js_url="assets/swagger/swagger-ui-bundle.js",
        swagger_css_url="assets/swagger/swagger-ui.css",
        swagger_favicon_url="assets/fastapi/favicon.png",
    )

    async def page(request: Request) -> Response:
        return html

    return Starlette(routes=[Route("/", page), Mount("/assets", StaticFiles(directory=ASSETS))])
