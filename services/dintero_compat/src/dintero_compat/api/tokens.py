"""The token of a client: its API key again. Clients of Dintero ask for a token with an id and a secret first."""

import base64
import binascii
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict

from chassis.http.problems import answers, known
from dintero_compat.accounts import AID_PATTERN
from dintero_compat.api.desk import Desk
from dintero_compat.responses import Token

EXPIRES_SECONDS = 7_200
"""The client asks again then; the key itself does not expire."""


class TokenBody(BaseModel):
    model_config = ConfigDict(extra="ignore")

    grant_type: Literal["client_credentials"] = "client_credentials"


def routes(desk: Desk) -> APIRouter:
    router = APIRouter(prefix="/v1/accounts/{aid}", tags=["authenticate"])
    asked, view = desk.asked("orders.view"), desk.app.principal("orders.view", one_store=False)

    @router.post(
        "/auth/token",
        response_model=Token,
        openapi_extra=answers("api_key_missing", "api_key_unknown", "scope_missing", "account_unknown"),
    )
    async def get_token(
        request: Request, aid: Annotated[str, Path(pattern=AID_PATTERN)], body: TokenBody
    ) -> dict[str, Any]:
        """Exchange `Authorization: Basic <client id>:<API key>` for a token: the same API key. The client id is not read."""
        key = _secret(request.headers.get("authorization", ""))
        headers = [pair for pair in request.scope["headers"] if pair[0] != b"authorization"]
        with_key = Request({**request.scope, "headers": [*headers, (b"authorization", f"Bearer {key}".encode())]})
        await asked(aid, await view(with_key, None))
        return {"access_token": key, "token_type": "Bearer", "expires_in": EXPIRES_SECONDS}

    return router


def _secret(header: str) -> str:
    """Returns the secret of a header of Basic authentication. Raises Problem 401."""
    scheme, _, text = header.partition(" ")
    if scheme.casefold() != "basic":
        raise known("api_key_missing", "send `Authorization: Basic`, of a client id and an API key")
    try:
        found = base64.b64decode(text.strip(), validate=True).decode("ascii").partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        raise known("api_key_missing", "the header is no base64 of `<client id>:<API key>`") from None
    if not found:
        raise known("api_key_missing", "the API key is missing behind the colon")
    return found
