"""Signing in at an identity provider: a real PostgreSQL, a real provider over HTTP; needs `CONSOLE_TEST_DATABASE_URL`."""

from __future__ import annotations

import base64
import hmac
import json
import os
import re
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
import pytest_asyncio
from console_world import STORE, Browser, Life, Publisher, foreign
from joserfc import jwt
from provider_world import CLIENT, SECRET, Provider, key

from chassis.process.app import App
from console import people
from console.handlers import SERVICE
from console.settings import Settings
from tests.databases import empty, migrated

URL = os.environ.get("CONSOLE_TEST_DATABASE_URL", "")
pytestmark = [pytest.mark.asyncio, pytest.mark.skipif(not URL, reason="CONSOLE_TEST_DATABASE_URL is not set")]
TABLES = ("order_rows", "stores", "people", "role_grants", "audit", "inbox", "parked", "parked_keys")
OPS: dict[str, Any] = {"role_grants": [{"group": "ops", "role": "operator", "stores": [STORE]}]}


@pytest_asyncio.fixture
async def provider() -> AsyncIterator[Provider]:
    provider = Provider()
    await provider.start()
    yield provider
    await provider.stop()


def settings(provider: Provider, **more: Any) -> Settings:
    """The provider has more time than by default: the machine of a test may be busy."""
    given: dict[str, Any] = {"oidc_issuer": provider.url, "oidc_client_id": CLIENT, "oidc_client_secret": SECRET}
    return Settings(database_url=URL, http_port=8600, **{"ask_seconds_max": 30, **given, **more})


@pytest_asyncio.fixture
async def app(provider: Provider) -> AsyncIterator[App]:
    await migrated(SERVICE, URL)
    app = App(SERVICE, settings(provider), "api")
    async with app.database.connection() as connection:
        await empty(connection, TABLES)
        await people.apply(connection, OPS)
    yield app
    await app.database.close()


@pytest.fixture
def browser(app: App) -> Browser:
    return Browser(app)


async def come_back(provider: Provider, browser: Browser, **more: str) -> Any:
    """Signs in at the provider; returns the answer of the console to the browser that comes back."""
    begun = await browser.get("/sign-in/begin")
    assert begun.status == 303, begun.text
    return await browser.get(provider.authorize(begun.location, **more))


async def sessions_of(app: App) -> int:
    return len(await app.fetch("select 1 from sessions where ended_at is null"))


# -- it works ---------------------------------------------------------------------------------------------------------


async def test_who_signs_in_at_the_provider_is_back_at_their_page_with_the_roles_of_their_groups(
    app: App, provider: Provider, browser: Browser
) -> None:
    await Publisher(app).publish(Life(number="MINE").received(), Life(number="FOREIGN", store_id="st_2").received())
    assert (await browser.get("/orders?status=placing")).location == "/sign-in"
    assert f"Sign in at {urlsplit(provider.url).netloc}" in (await browser.get("/sign-in")).text
    answer = await come_back(provider, browser)
    assert (answer.status, answer.location) == (303, "/orders?status=placing")
    page = await browser.get("/orders")
    assert "Ann Lee" in page.text and "operator, st_1" in page.text and "FOREIGN" not in page.text
    [row] = await app.fetch("select issuer, subject, name, groups from people")
    assert tuple(row) == (provider.url, "8f2c", "Ann Lee", ["ops"])


async def test_a_group_has_a_role_in_its_stores_and_another_role_elsewhere(
    app: App, provider: Provider, browser: Browser
) -> None:
    """Roles of one store do not hold in another: finance in st_2 and operator in st_1 is no finance in st_1."""
    grants = [*OPS["role_grants"], {"group": "money", "role": "finance", "stores": ["st_2"]}]
    await app.write(lambda tx: people.apply(tx, {"role_grants": grants}))
    mine, theirs = Life(number="MINE"), Life(number="THEIRS", store_id="st_2")
    await Publisher(app).publish(mine.received(), theirs.received())
    provider.person["groups"] = ["ops", "money", "none"]
    await come_back(provider, browser)
    refund = {"reason": "broken", "code": "damaged", "pieces:1": "1"}
    assert (await browser.post(f"/orders/{mine.order_id}/actions/refund", refund)).status == 403
    assert (await browser.post(f"/orders/{theirs.order_id}/actions/refund", refund)).status == 503, (
        "orders is not there"
    )
    assert (await browser.post(f"/orders/{mine.order_id}/actions/approve", {})).status == 503
    assert (await browser.post(f"/orders/{theirs.order_id}/actions/approve", {})).status == 403


async def test_what_a_person_may_is_read_at_each_request(app: App, provider: Provider, browser: Browser) -> None:
    await come_back(provider, browser)
    assert (await browser.get("/orders")).status == 200
    await app.write(lambda tx: people.apply(tx, {"role_grants": []}))
    page = await browser.get("/orders")
    assert page.status == 403 and "You have no role here" in page.text and "Sign out" in page.text
    await app.write(lambda tx: people.apply(tx, OPS))
    assert (await browser.get("/orders")).status == 200


async def test_groups_may_come_from_the_userinfo_endpoint_of_the_same_person(
    app: App, provider: Provider, browser: Browser
) -> None:
    del provider.person["groups"]
    provider.userinfo = {"sub": "8f2c", "groups": ["ops"], "name": "Someone else"}
    await come_back(provider, browser)
    page = await browser.get("/orders")
    assert page.status == 200 and "Ann Lee" in page.text
    provider.userinfo = {"sub": "another", "groups": ["ops"]}
    answer = await come_back(provider, Browser(app))
    assert answer.status == 502 and "another person" in answer.text


async def test_keys_are_asked_again_once_when_none_fits(app: App, provider: Provider, browser: Browser) -> None:
    await come_back(provider, browser)
    assert provider.asked.count("/keys") == 1
    await come_back(provider, browser)
    assert provider.asked.count("/keys") == 1, "keys are cached"
    provider.signing = key("k2")
    provider.published = [provider.signing]
    assert (await come_back(provider, browser)).status == 303
    assert provider.asked.count("/keys") == 2
    provider.signing = key("k3")  # which it does not publish
    answer = await come_back(provider, browser)
    assert answer.status == 502 and "does not publish" in answer.text
    assert provider.asked.count("/keys") == 3


async def test_a_session_begins_with_a_new_token_and_ends_the_one_that_the_browser_had(
    app: App, provider: Provider, browser: Browser
) -> None:
    browser.cookies["__Host-session"] = "planted"
    await come_back(provider, browser)
    first = browser.cookies["__Host-session"]
    assert first != "planted"
    await come_back(provider, browser)
    assert browser.cookies["__Host-session"] != first and await sessions_of(app) == 1
    browser.cookies["__Host-session"] = first
    assert (await browser.get("/orders")).status == 303


async def test_who_signs_out_can_sign_out_at_the_provider_too(app: App, provider: Provider, browser: Browser) -> None:
    await come_back(provider, browser)
    page = await browser.post("/sign-out", {})
    [found] = re.findall(rf'href="({re.escape(provider.url)}/end\?[^"]+)"', page.text)
    named = parse_qs(urlsplit(found.replace("&amp;", "&")).query)
    assert named["client_id"] == [CLIENT] and named["post_logout_redirect_uri"] == ["http://127.0.0.1:8600/sign-in"]
    assert jwt.decode(named["id_token_hint"][0], provider.signing).claims["sub"] == "8f2c"
    assert (await browser.get("/orders")).status == 303
    assert [row["id_token"] for row in await app.fetch("select id_token from sessions")] == [None]
    await come_back(provider, browser)
    await provider.stop()
    assert (await browser.post("/sign-out", {})).status in (200, 303), "the provider is not needed to sign out"
    assert (await browser.get("/orders")).status == 303


async def test_a_person_of_a_provider_that_is_not_set_any_more_is_out(
    app: App, provider: Provider, browser: Browser
) -> None:
    await come_back(provider, browser)
    other = App(SERVICE, Settings(database_url=URL), "api")
    elsewhere = Browser(other)
    elsewhere.cookies = browser.cookies
    assert (await elsewhere.get("/orders")).status == 303
    assert (await elsewhere.get("/sign-in/begin")).status == 404
    await other.database.close()


async def test_a_name_that_hides_or_turns_text_is_shown_without_it(
    app: App, provider: Provider, browser: Browser
) -> None:
    provider.person["name"] = "Ann\u202e\u0000\r\n  Lee\u200b" + "x" * 300
    await come_back(provider, browser)
    [row] = await app.fetch("select name from people")
    assert row["name"] == ("Ann Lee " + "x" * 300)[:100]


# -- it is refused ----------------------------------------------------------------------------------------------------


def forged(header: dict[str, str], claims: dict[str, Any], secret: bytes | None) -> str:
    """Returns a token of an algorithm that no library of ours signs with. secret: of HS256; None: no signature."""
    text = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
    signature = b"" if secret is None else hmac.digest(secret, text.encode(), "sha256")
    return f"{text}.{base64url(signature)}"


def base64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def of_no_algorithm(provider: Provider) -> Any:
    return lambda claims: forged({"alg": "none", "kid": "k1"}, claims, None)


def of_the_public_key(provider: Provider) -> Any:
    return lambda claims: forged({"alg": "HS256", "kid": "k1"}, claims, provider.signing.as_pem(private=False))


def of_another_key_of_the_same_name(provider: Provider) -> Any:
    return lambda claims: jwt.encode({"alg": "ES256", "kid": "k1"}, claims, key("k1"))


NOW = int(time.time())


@pytest.mark.parametrize(
    ("claims", "named"),
    [
        ({"nonce": "of another sign-in"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"aud": "another client"}, "aud"),
        ({"aud": ["another client", "console"], "azp": "another client"}, "azp"),
        ({"aud": ["another client", "console"]}, "azp"),
        ({"aud": None}, "aud"),
        ({"iss": "https://evil.test"}, "iss"),
        ({"exp": NOW - 3600}, "expired"),
        ({"exp": None}, "exp"),
        ({"iat": NOW + 3600}, "of the future"),
        ({"nbf": NOW + 3600}, "of the future"),
        ({"at_hash": "of another access token"}, "at_hash"),
        ({"sub": None}, "sub"),
        ({"sub": "a\r\nb"}, "subject"),
        ({"sub": "é"}, "subject"),
        ({"sub": "x" * 256}, "subject"),
    ],
)
async def test_a_token_with_a_wrong_claim_signs_nobody_in(
    app: App, provider: Provider, browser: Browser, claims: dict[str, Any], named: str
) -> None:
    provider.claims = claims
    answer = await come_back(provider, browser)
    assert answer.status == 502 and named in answer.text and await sessions_of(app) == 0
    assert "one-time" in answer.text or "clocks" in answer.text, "what to do is on the page"
    assert (await browser.get("/orders")).status == 303


@pytest.mark.parametrize("encode", [of_no_algorithm, of_the_public_key, of_another_key_of_the_same_name])
async def test_a_token_that_the_provider_has_not_signed_signs_nobody_in(
    app: App, provider: Provider, browser: Browser, encode: Any
) -> None:
    provider.encode = encode(provider)
    answer = await come_back(provider, browser)
    assert answer.status == 502 and await sessions_of(app) == 0, answer.text


@pytest.mark.parametrize("text", ["", "a.b.c", "not a token", "." * 3, "é"])
async def test_what_is_no_token_signs_nobody_in(app: App, provider: Provider, browser: Browser, text: str) -> None:
    provider.encode = lambda claims: text
    answer = await come_back(provider, browser)
    assert answer.status == 502 and await sessions_of(app) == 0


async def test_clocks_may_be_a_minute_apart(app: App, provider: Provider, browser: Browser) -> None:
    for accepted in (("iat", 50), ("nbf", 50), ("exp", -20)):  # the browser may take as long as is left of the minute
        provider.claims = {name: int(time.time()) + ahead for name, ahead in [accepted]}
        assert (await come_back(provider, Browser(app))).status == 303, accepted
    for claims in ({"iat": int(time.time()) + 600}, {"exp": int(time.time()) - 70}):
        provider.claims = claims
        answer = await come_back(provider, Browser(app))
        assert answer.status == 502 and "compare the clocks" in answer.text, claims


async def test_a_code_signs_in_once(app: App, provider: Provider, browser: Browser) -> None:
    begun = await browser.get("/sign-in/begin")
    flow = browser.cookies["__Host-sign-in"]
    back = provider.authorize(begun.location)
    assert (await browser.get(back)).status == 303
    assert (await browser.get(back)).status == 400, "this sign-in has ended"
    browser.cookies["__Host-sign-in"] = flow
    answer = await browser.get(back)
    assert answer.status == 400 and "its code was used" in answer.text
    assert await sessions_of(app) == 1


async def test_a_sign_in_that_another_browser_began_is_refused(app: App, provider: Provider, browser: Browser) -> None:
    """An attacker who sends their own code to a person would have the person work in the attacker's name."""
    attacker = Browser(app)
    back = provider.authorize((await attacker.get("/sign-in/begin")).location)
    assert (await browser.get(back)).status == 400
    await browser.get("/sign-in/begin")  # it has begun one of its own
    answer = await browser.get(back)
    assert answer.status == 400 and "no such sign-in" in answer.text and await sessions_of(app) == 0
    assert provider.asked.count("/token") == 0


async def test_a_code_of_another_sign_in_fails_by_its_verifier(app: App, provider: Provider, browser: Browser) -> None:
    """An attacker who reads the code of a person cannot use it with a state of their own: the verifier is another."""
    stolen = parse_qs(urlsplit(provider.authorize((await browser.get("/sign-in/begin")).location)).query)["code"][0]
    attacker = Browser(app)
    answer = await come_back(provider, attacker, code=stolen)
    assert answer.status == 400 and await sessions_of(app) == 0


async def test_an_answer_of_another_provider_is_refused(app: App, provider: Provider, browser: Browser) -> None:
    answer = await come_back(provider, browser, iss="https://evil.test")
    assert answer.status == 502 and provider.asked.count("/token") == 0


@pytest.mark.parametrize(
    ("error", "status", "shown"),
    [
        ("access_denied", 403, "has not signed you in"),
        ("temporarily_unavailable", 503, "does not answer"),
        ("invalid_scope", 502, "cannot be used"),
        ("<script>alert(1)</script>", 502, "an error without a name"),
    ],
)
async def test_an_error_of_the_provider_is_a_page_with_what_to_do(
    provider: Provider, browser: Browser, error: str, status: int, shown: str
) -> None:
    answer = await come_back(provider, browser, error=error, error_description="Call +1 555 and state your password")
    assert answer.status == status and shown in answer.text
    assert "+1 555" not in answer.text and "<script" not in foreign(answer.text)
    assert 'href="/sign-in"' in answer.text


@pytest.mark.parametrize(
    ("error", "status", "shown"),
    [
        ("invalid_grant", 400, "too old"),
        ("invalid_client", 502, "invalid_client"),
        ("server_error", 503, "server_error"),
    ],
)
async def test_an_error_for_a_code_is_a_page_with_what_to_do(
    provider: Provider, browser: Browser, error: str, status: int, shown: str
) -> None:
    provider.error = error
    answer = await come_back(provider, browser)
    assert answer.status == status and shown in answer.text


@pytest.mark.parametrize(
    ("described", "shown"),
    [
        ({"issuer": "https://evil.test"}, "another issuer"),
        ({"token_endpoint": "http://evil.test/token"}, "not what OpenID Connect describes"),
        ({"authorization_endpoint": "javascript:alert(1)"}, "not what OpenID Connect describes"),
        ({"jwks_uri": None}, "not what OpenID Connect describes"),
    ],
)
async def test_a_description_that_is_wrong_is_a_page_with_what_to_do(
    provider: Provider, browser: Browser, described: dict[str, Any], shown: str
) -> None:
    provider.described = described
    answer = await browser.get("/sign-in/begin")
    assert answer.status == 502 and shown in answer.text and "CONSOLE_OIDC_" in answer.text


async def test_an_answer_without_an_id_token_signs_nobody_in(provider: Provider, browser: Browser) -> None:
    provider.more_tokens = {"id_token": None}
    answer = await come_back(provider, browser)
    assert answer.status == 502 and "openid" in answer.text


# -- it is down -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hangs", [True, False])
async def test_while_the_provider_is_down_or_hangs_a_page_says_so_and_links_go_on_working(
    app: App, provider: Provider, hangs: bool
) -> None:
    asking = App(SERVICE, settings(provider, ask_seconds_max=0.3), "api")
    browser = Browser(asking)
    provider.hangs = hangs
    if not hangs:
        await provider.stop()
    answer = await browser.get("/sign-in/begin")  # a provider that hangs never answers: the time limit does
    assert answer.status == 503 and "does not answer" in answer.text and "python -m console sign-in" in answer.text
    assert answer.headers["retry-after"] == "1"
    assert (await browser.get("/sign-in")).status == 200
    assert (await browser.sign_in()).status == 303
    assert (await browser.get("/orders")).status == 200
    await asking.database.close()


# -- settings and grants ----------------------------------------------------------------------------------------------


async def test_a_grants_file_replaces_all_grants_or_changes_nothing(app: App) -> None:
    async def groups() -> list[str]:
        return [row["group_name"] for row in await app.fetch("select group_name from role_grants order by 1")]

    for wrong in (
        {"role_grants": [{"group": "a", "role": "king"}]},
        {"role_grants": [{"group": "a", "role": "viewer"}, {"group": "a", "role": "viewer", "stores": ["st_1"]}]},
        {"role_grants": [{"group": "a", "role": "viewer", "stores": []}]},
        {"role_grants": [{"group": "a", "role": "viewer", "store": "st_1"}]},
        {"roles": []},
    ):
        with pytest.raises(ValueError):
            await app.write(lambda tx, wrong=wrong: people.apply(tx, wrong))  # type: ignore[misc]
    assert await groups() == ["ops"]
    await app.write(lambda tx: people.apply(tx, {"role_grants": [{"group": "b", "role": "viewer"}]}))
    assert await groups() == ["b"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"oidc_issuer": "http://id.example.com", "oidc_client_id": "c"},
        {"oidc_issuer": "https://id.example.com"},
        {"oidc_issuer": "https://id.example.com", "oidc_client_id": "c", "oidc_scopes": "profile"},
        {"oidc_issuer": "ftp://id.example.com", "oidc_client_id": "c"},
    ],
)
async def test_settings_that_would_sign_in_unsafely_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError):
        Settings(database_url="postgresql://x", **wrong)  # type: ignore[arg-type]


async def test_no_secret_is_printed() -> None:
    settings = Settings(
        database_url="postgresql://x",
        oidc_issuer="https://id.example.com",
        oidc_client_id="c",
        oidc_client_secret="hidden",
    )
    assert "hidden" not in repr(settings) and "hidden" not in str(settings)


@pytest.mark.parametrize("wanted", ["//evil.test", "/\\evil.test", "https://evil.test", "javascript:alert(1)"])
async def test_signing_in_at_the_provider_leads_to_no_other_site(
    provider: Provider, browser: Browser, wanted: str
) -> None:
    browser.cookies["__Host-next"] = quote(wanted, safe="")
    assert (await come_back(provider, browser)).location == "/orders"
