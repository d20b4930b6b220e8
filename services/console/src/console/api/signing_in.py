"""Signing in at the identity provider or by a one-time link, and out."""

import hmac
import re
from collections.abc import Awaitable
from typing import Annotated, Final, TypeVar
from urllib.parse import unquote

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, ConfigDict

from chassis.http.problems import Problem
from console import sessions
from console.api.refusals import refusal
from console.api.serving import NEXT, SESSION, Pages, delete_cookie, form, own_address, page_of_form, set_cookie
from console.domain.id_tokens import TokenInvalid
from console.identity_provider import (
    CALLBACK,
    LATER,
    CodeOutdated,
    Flow,
    IdentityProvider,
    ProviderSilent,
    ProviderUnusable,
)
from console.people import Identity

Asked = TypeVar("Asked")
HOME: Final = "/orders"
BEGIN: Final = "/sign-in/begin"
FLOW: Final = "__Host-sign-in"
"""The sign-in at the provider that this browser has begun."""
FLOW_SECONDS: Final = 600
ERROR: Final = re.compile(r"[a-z_]{1,40}")
"""Codes of errors of a provider (RFC 6749, 4.1.2.1). Its descriptions are not shown: any site can make a link with one."""


REFUSED: Final = frozenset({
    "access_denied", "login_required", "interaction_required", "account_selection_required", "consent_required",
})  # fmt: skip
"""The provider, or the person there, does not want this sign-in: RFC 6749, 4.1.2.1, and OpenID Connect Core, 3.1.2.6."""


def add_routes(router: APIRouter, pages: Pages) -> None:
    provider = IdentityProvider(pages.settings) if pages.settings.oidc_issuer else None

    @router.get("/sign-in")
    async def ask(token: str = "") -> Response:
        """A link is used by the button of this page: a program that follows links uses up none."""
        invited = await sessions.invited(pages.app, token, pages.clock()) if token else None
        return pages.page(
            "sign-in.html", person=None, token=token, invited=invited, minutes=sessions.LINK_MINUTES,
            provider=provider and provider.name, idle_minutes=pages.limits.idle_minutes,
        )  # fmt: skip

    @router.post("/sign-in")
    async def sign_in(request: Request) -> Response:
        token = (await form(request)).get("token", "")
        session = await sessions.begin(pages.app, token, request.cookies.get(SESSION, ""), pages.clock())
        if session is None:
            raise refusal("link_used", "a link works once, for 10 minutes")
        return _signed_in(request, session)

    @router.post("/sign-out")
    async def sign_out(request: Request) -> Response:
        id_token = await sessions.end(pages.app, request.cookies.get(SESSION, ""), pages.clock())
        further = await provider.sign_out_url(id_token) if provider and id_token else None
        answer: Response = RedirectResponse("/sign-in", 303)
        if (
            provider and further
        ):  # a link, no redirect: `form-action` of the policy allows a form no redirect to another site
            answer = pages.page("signed-out.html", person=None, provider=provider.name, further=further)
        delete_cookie(answer, SESSION)
        return answer

    @router.post("/discard-form")
    async def discard(request: Request) -> Response:
        """Deletes the form that was sent when the session was over."""
        await sessions.sent(pages.app, request.cookies.get(SESSION, ""))
        return RedirectResponse(page_of_form(request) or HOME, 303)

    if provider is not None:
        _add_provider(router, pages, provider)


class Came(BaseModel):
    """With what a provider sends a browser back: RFC 6749, 4.1.2, and RFC 9207. Providers add parameters of their own."""

    model_config = ConfigDict(extra="allow")

    state: str = ""
    code: str = ""
    error: str = ""
    iss: str = ""


def _add_provider(router: APIRouter, pages: Pages, provider: IdentityProvider) -> None:
    @router.get(BEGIN)
    async def begin() -> Response:
        flow = Flow.new()
        answer = RedirectResponse(await _answered(provider.begin(flow)), 303)
        set_cookie(answer, FLOW, str(flow), FLOW_SECONDS)
        return answer

    @router.get(CALLBACK)
    async def callback(request: Request, came: Annotated[Came, Query()]) -> Response:
        flow = Flow.read(request.cookies.get(FLOW, ""))
        if flow is None or not hmac.compare_digest(flow.state.encode(), came.state.encode()):
            raise refusal("sign_in_outdated", "this browser has begun no such sign-in")
        try:
            who, id_token = await _answered(_ended(provider, pages.settings.oidc_issuer, flow, came))
            old = request.cookies.get(SESSION, "")
            answer: Response = _signed_in(request, await sessions.enter(pages.app, who, id_token, old, pages.clock()))
        except Problem as problem:
            answer = pages.problem(request, problem)
        delete_cookie(answer, FLOW)  # a sign-in ends once, also by an error
        return answer


async def _ended(provider: IdentityProvider, issuer: str, flow: Flow, came: Came) -> tuple[Identity, str]:
    if came.iss and came.iss != issuer:
        raise TokenInvalid("another identity provider has answered")
    if came.error:
        raise _of_error(came.error if ERROR.fullmatch(came.error) else "an error without a name")
    return await provider.end(came.code, flow)


def _of_error(error: str) -> Exception:
    if error in LATER:
        return ProviderSilent(f"it answers {error}")
    if error in REFUSED:
        return refusal("sign_in_refused", f"it answers {error}")
    return ProviderUnusable(f"it refuses the console: {error}")


async def _answered(asked: Awaitable[Asked]) -> Asked:
    """Returns what the provider answers. Raises Problem."""
    try:
        return await asked
    except ProviderSilent as error:
        raise refusal("provider_silent", str(error)) from None
    except ProviderUnusable as error:
        raise refusal("provider_unusable", str(error)) from None
    except CodeOutdated:
        raise refusal("sign_in_outdated", "its code was used, or is too old") from None
    except TokenInvalid as error:
        raise refusal("id_token_invalid", str(error)) from None


def _signed_in(request: Request, session: str) -> Response:
    answer = RedirectResponse(own_address(unquote(request.cookies.get(NEXT, ""))) or HOME, 303)
    set_cookie(answer, SESSION, session)
    delete_cookie(answer, NEXT)
    return answer
