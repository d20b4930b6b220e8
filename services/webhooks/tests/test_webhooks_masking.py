"""No secret of an endpoint is stored with an answer that repeats it."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import ip_network
from urllib.parse import quote
from uuid import uuid4

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from webhooks_delivery import serving

from webhooks.delivery.masking import masked, spellings
from webhooks.delivery.outgoing import KEPT_CHARACTERS_MAX, Outgoing
from webhooks.delivery.sender import Sender
from webhooks.domain.config import Config, HeadersAuth
from webhooks.domain.endpoint import Endpoint, Secret
from webhooks.domain.signing import new_secret
from webhooks.vault import Vault

SPELT: tuple[Callable[[str], str], ...] = (
    str, lambda secret: json.dumps(secret)[1:-1], lambda secret: json.dumps(secret)[1:-1].replace("/", r"\/"), html.escape,
    lambda secret: quote(secret, safe=""),
)  # fmt: skip


@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=4, max_size=40),
    st.sampled_from(["", "Bearer ", "whsec_"]),
    st.sampled_from(SPELT),
    st.text(max_size=20),
)
def test_no_spelling_of_a_secret_is_left(
    credentials: str, scheme: str, spell: Callable[[str], str], around: str
) -> None:
    hidden = spellings([scheme + credentials, "another-secret"])
    for repeated in (scheme + credentials, credentials):
        assert masked(f"{around}\n{spell(repeated)}\n", hidden).endswith("***\n")


def test_a_value_that_is_too_short_to_be_a_secret_garbles_no_answer() -> None:
    assert masked("version 1", spellings(["1"])) == "version 1"


@pytest.mark.asyncio
async def test_an_answer_is_stored_without_the_headers_and_secrets_that_it_repeats() -> None:
    vault, endpoint_id, secret, key = Vault(["k" * 32]), uuid4(), new_secret(), 'pass/"word" <&>'

    async def repeat(request: web.Request) -> web.Response:
        filler = "x" * (KEPT_CHARACTERS_MAX - 60)  # the value ends behind what is stored
        answer = {"filler": filler, "you sent": request.headers["x-api-key"], "key": secret}
        return web.json_response(answer, status=401)

    auth = HeadersAuth(headers={"x-api-key": vault.seal(endpoint_id, key)})
    made = Secret(id=uuid4(), sealed=vault.seal(endpoint_id, secret), created_at=datetime.now(UTC))
    async with serving(repeat) as url, Sender([ip_network("127.0.0.0/8")]) as sender:
        outgoing = Outgoing(endpoint_id, Endpoint(config=Config(url=url, auth=auth), secrets=(made,)), vault)
        answer = await outgoing.send(sender, outgoing.signed(b"{}", "msg_1", datetime.now(UTC)))
    assert answer.body.endswith('"you sent": "***", "key": "***"}')
