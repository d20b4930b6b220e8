"""Signing in by a one-time link, and out."""

from typing import Any, Final
from urllib.parse import unquote

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from console import sessions
from console.api.serving import NEXT, SESSION, Pages, form, refusal

HOME: Final = "/orders"


def add_routes(router: APIRouter, pages: Pages) -> None:
    @router.get("/sign-in")
    async def ask(token: str = "") -> Response:
        """A link is used by the button of this page: a program that follows links uses up none."""
        return pages.page("sign-in.html", person=None, token=token, minutes=sessions.LINK_MINUTES)

    @router.post("/sign-in")
    async def sign_in(request: Request) -> Response:
        session = await sessions.begin(pages.app, (await form(request)).get("token", ""))
        if session is None:
            raise refusal("link_used", "a link works once, for 10 minutes")
        answer = RedirectResponse(_next(request), 303)
        answer.set_cookie(SESSION, session, path="/", secure=True, httponly=True, samesite="lax")
        answer.delete_cookie(NEXT, path="/", secure=True, httponly=True, samesite="lax")
        return answer

    @router.post("/sign-out")
    async def sign_out(request: Request) -> Response:
        await sessions.end(pages.app, request.cookies.get(SESSION, ""))
        answer = RedirectResponse("/sign-in", 303)
        answer.delete_cookie(SESSION, path="/", secure=True, httponly=True, samesite="lax")
        return answer


def _next(request: Request) -> str:
    """Returns where the person was going, if it is a page of ours."""
    wanted: Any = unquote(request.cookies.get(NEXT, ""))
    return wanted if wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable() else HOME
