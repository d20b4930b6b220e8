"""Who may what: every route of the console, asked without a session, in each role, and about a foreign store.

The routes are those of the running application. A new one needs one line in EXPECTED; without it, the first test fails.
Needs `CONSOLE_TEST_DATABASE_URL`.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import product
from typing import Final, NamedTuple
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from console_world import Answered, Browser, Life, Publisher
from fastapi.routing import iter_route_contexts

from chassis.process.app import App
from console import people, sessions
from console.assets import Assets
from console.domain.people import ROLES
from console.handlers import SERVICE
from console.people import Identity
from console.settings import Settings
from tests.databases import empty, migrated

URL = os.environ.get("CONSOLE_TEST_DATABASE_URL", "")
real = [pytest.mark.asyncio, pytest.mark.skipif(not URL, reason="CONSOLE_TEST_DATABASE_URL is not set")]
TABLES = ("order_rows", "stores", "people", "audit", "jobs", "inbox", "parked", "parked_keys")
OPEN: Final = "open"

EXPECTED: Final = """
GET    /                                     orders.view
GET    /assets/{name}                        open
GET    /sign-in                              open
POST   /sign-in                              open
GET    /sign-in/begin                        open
GET    /sign-in/callback                     open
POST   /sign-out                             open
POST   /discard-form                         open
GET    /{path}                               open
GET    /orders                               orders.view      ?store=
GET    /orders/next                          orders.view      ?store=
GET    /orders/{order_id}                    orders.view      order
POST   /orders/{order_id}/reveal             personal.view    order
POST   /orders/{order_id}/actions/{action}   orders.cancel    order
GET    /orders/{order_id}/messages           orders.view      order
POST   /orders/{order_id}/messages/reveal    personal.view    order
GET    /live                                 orders.view      ?channel=
GET    /exports/orders.csv                   orders.export    ?store=
GET    /jobs                                 orders.view
GET    /jobs/new                             orders.edit|payments.capture  ?store=
GET    /jobs/{job_id}                        orders.view      job
POST   /jobs/{job_id}/start                  orders.edit      job
POST   /jobs/{job_id}/{move}                 orders.edit      job
GET    /webhooks                             webhooks.view    ?store=
GET    /webhooks/{store_id}/new              webhooks.edit    store
POST   /webhooks/{store_id}/new              webhooks.edit    store
GET    /webhooks/{store_id}/{endpoint_id}    webhooks.view    store
GET    /webhooks/{store_id}/{endpoint_id}/edit      webhooks.edit  store
POST   /webhooks/{store_id}/{endpoint_id}/edit      webhooks.edit  store
POST   /webhooks/{store_id}/{endpoint_id}/actions/{action}  webhooks.edit  store
GET    /webhooks/{store_id}/{endpoint_id}/replay    webhooks.edit  store
POST   /webhooks/{store_id}/{endpoint_id}/replay    webhooks.edit  store
GET    /webhooks/{store_id}/{endpoint_id}/replays/{replay_id}  webhooks.view  store
POST   /webhooks/{store_id}/{endpoint_id}/replays/{replay_id}/actions/{action}  webhooks.edit  store
GET    /webhooks/{store_id}/{endpoint_id}/delivery  webhooks.view  store
POST   /webhooks/{store_id}/{endpoint_id}/delivery  webhooks.edit  store
POST   /orders/{order_id}/resend             webhooks.edit    order
GET    /orders/{order_id}/ledger             payments.view    order
POST   /orders/{order_id}/payments           payments.record  order
GET    /payments                             payments.view    ?store=
GET    /payments/accounts/{account}.csv      payments.view    ?store=
GET    /payments/settlements                 payments.reconcile  ?store=
POST   /payments/{store_id}/settlements      payments.reconcile  store
GET    /payments/{store_id}/settlements/{settlement_id}  payments.reconcile  store
GET    /payments/rows                        payments.reconcile  ?store=
POST   /payments/{store_id}/settlements/{settlement_id}/rows/{place}  payments.reconcile  store
GET    /payments/gift-cards                  payments.view    ?store=
GET    /payments/{store_id}/gift-cards/{gift_card_id}  payments.view  store
POST   /payments/{store_id}/gift-cards/{gift_card_id}/{action}  gift_cards.edit  store
GET    /payments/sessions                    payments.view    ?store=
GET    /payments/disputes                    payments.view    ?store=
GET    /payments/differences                 payments.reconcile  ?store=
POST   /payments/{store_id}/differences/{difference_id}/{action}  payments.reconcile  store
GET    /processes                            orders.view      ?store=
POST   /processes/{order_id}/{action}        orders.edit      order
GET    /topics                               events.view     record
GET    /topics/tail                          events.view     record
GET    /topics/{topic}/{partition}/{offset}  events.view     record
POST   /topics/{topic}/{partition}/{offset}/reveal  personal.view  record
GET    /parked                               parked.view      ?store=
GET    /parked/{service}/group               parked.view      ?store=
POST   /parked/{service}/group/replay        parked.edit
GET    /parked/{service}/{parked_id}         parked.view      message
POST   /parked/{service}/{parked_id}/reveal  personal.view    message
POST   /parked/{service}/{parked_id}/preview parked.edit      message
POST   /parked/{service}/{parked_id}/{action}  parked.edit    message
GET    /audit                                audit.view       anywhere
GET    /markets                              orders.view      ?store=
GET    /people                               people.edit      everywhere
POST   /people/{person_id}/sign-out          people.edit      everywhere
"""
"""Method, path, the scope that it needs (a|b: either), and what is of a store: the store, order or job of the path, a parameter of the query.
everywhere: the scope has to hold in all stores; anywhere: in any, and the page shows what is of those. message: only its owner
states of which store it is, so roles and stores are asked beside an owner, in `test_console_parked.py`. record: only the broker
does, in `test_console_topics.py`."""
FILLED: Final = {
    "name": "console.css", "action": "cancel", "move": "pause", "path": "nothing/here", "endpoint_id": str(UUID(int=1)),
    "replay_id": str(UUID(int=3)), "service": "orders", "parked_id": "1", "topic": "orders.events.v1",
    "partition": "0", "offset": "0", "account": "fees", "settlement_id": str(UUID(int=6)), "place": "1", "difference_id": str(UUID(int=7)),
    "gift_card_id": str(UUID(int=8)),
}  # fmt: skip
"""Values of a path that are of no store."""
ACTIONS: Final = {
    "/webhooks/{store_id}/{endpoint_id}/actions/{action}": "pause",
    "/processes/{order_id}/{action}": "ask",
    "/payments/{store_id}/differences/{difference_id}/{action}": "dismiss",
    "/payments/{store_id}/gift-cards/{gift_card_id}/{action}": "activate",
}
"""The action of a path that has no cancel."""
QUERY: Final = {
    "/orders/{order_id}/messages/reveal": f"message={UUID(int=5)}",
    "/live": "channel=list:{store}", "/parked/{service}/group": "cause=fault&line=x&store={store}", "/webhooks/{store_id}/{endpoint_id}/delivery": f"event={UUID(int=4)}",
}  # fmt: skip
FORM: Final = {"action": "approve", "reason": "a test", "nonce": str(UUID(int=2))}
MINE, THEIRS = "st_1", "st_2"


class Expected(NamedTuple):
    method: str
    path: str
    scope: str
    of: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def expected() -> list[Expected]:
    rows = [(*line.split(), "", "")[:4] for line in EXPECTED.strip().splitlines()]
    return [Expected(*row) for row in rows]


ROUTES: Final = expected()
FORGED: Final = [
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "none"},
    {"sec-fetch-site": "cross-site", "origin": "http://console.test"},
    {"sec-fetch-site": "", "origin": "http://console.test:81"},
    {"sec-fetch-site": "", "origin": "null"},
    {"sec-fetch-site": "", "origin": "http://evil.test"},
    {"sec-fetch-site": ""},
]


def _settings(url: str) -> Settings:
    provider = {"oidc_issuer": "http://127.0.0.1:9", "oidc_client_id": "console"}  # nothing answers there
    return Settings(database_url=url, **provider)  # type: ignore[arg-type]


@dataclass
class World:
    """One order and one job in each of two stores; browsers of people with each role."""

    app: App
    browsers: dict[str, Browser] = field(default_factory=dict)
    ids: dict[str, dict[str, str]] = field(default_factory=dict)
    """Store -> name in a path -> id."""
    answers: list[tuple[str, Answered]] = field(default_factory=list)
    """Every answer, with what was asked."""

    def __post_init__(self) -> None:
        self._first = Browser(self.app)

    def browser(self) -> Browser:
        """Returns a browser without cookies. They share one ASGI application: to make it costs more than a request."""
        found = copy(self._first)
        found.cookies = {}
        return found

    async def make(self) -> None:
        publisher, now = Publisher(self.app), datetime.now(UTC)
        target = await self._person("target", {MINE: "viewer"}, now)
        for store in (MINE, THEIRS):
            order, job = Life(number=f"OF-{store}", store_id=store), uuid4()
            await publisher.publish(order.received())
            await self.app.fetch(
                "insert into jobs (id, store_id, person_id, person, roles, filters, state, action, order_ids, whole, created_at,"
                " started_at) values ($1, $2, $1, 'x', '{}', '', 'running', 'approve', '{}', true, now(), now())", job, store,
            )  # fmt: skip
            self.ids[store] = {
                "store_id": store,
                "order_id": str(order.order_id),
                "job_id": str(job),
                "person_id": target,
            }
        self.ids["none"] = {name: str(uuid4()) for name in self.ids[MINE]} | {"store_id": "none"}
        for role in ROLES:
            await self._person(role, {MINE: role}, now)
            await self._person(f"{role} elsewhere", {MINE: "viewer", THEIRS: role}, now)
            await self._person(f"{role} everywhere", {"": role}, now)

    async def _person(self, name: str, grants: dict[str, str], now: datetime) -> str:
        """Signs in a person. grants: store -> role; an empty store: all. Returns the id."""
        groups = [f"{role} in {store or 'all'}" for store, role in grants.items()]
        for group, (store, role) in zip(groups, grants.items(), strict=True):
            await self.app.fetch(people.GRANT + " on conflict do nothing", group, role, [store] if store else None)
        who = Identity("http://127.0.0.1:9", name, name, groups=tuple(groups))
        browser = self.browsers[name] = self.browser()
        browser.cookies["__Host-session"] = await sessions.enter(self.app, who, "an id token", "", now)
        [row] = await self.app.fetch("select id from people where subject = $1", name)
        return str(row["id"])

    async def ask(
        self, who: str, route: Expected, store: str, form: dict[str, str] | None = None, **sent: str
    ) -> Answered:
        """who: empty for a browser without a session. store: whose order or job is asked for; `none`: one that does not exist."""
        browser = self.browsers[who] if who else self.browser()
        before = dict(browser.cookies)
        filled = FILLED | {"action": ACTIONS.get(route.path, FILLED["action"])} | self.ids[store]
        address = route.path.format(**filled)
        if "?" in route.of or route.path in QUERY:
            address += "?" + QUERY.get(route.path, "store={store}").format(store=store)
        if route.method == "GET":
            answer = await browser.get(address)
        else:
            answer = await browser.post(address, FORM if form is None else form, **sent)
        browser.cookies = before
        self.answers.append((f"{route} by {who or 'nobody'} of {store}", answer))
        return answer


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    await migrated(SERVICE, URL)
    app = App(SERVICE, _settings(URL), "api")
    async with app.database.connection() as connection:
        await empty(connection, (*TABLES, "role_grants"))
    world = World(app)
    await world.make()
    yield world
    await app.database.close()


def streams(route: Expected) -> bool:
    """Its answer ends with the browser; `test_console_live.py` reads it."""
    return route.path == "/live"


def is_elsewhere(route: Expected) -> bool:
    """What it answers to a person depends on more than the console's database: tests beside its owner or a broker ask it."""
    return streams(route) or route.of in ("message", "record")


def anonymous(text: str) -> str:
    """Returns a page without what differs between two requests: ids, and what was asked for."""
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|st_2|none", "", text)


class TestOnARealPostgres:
    pytestmark = real

    async def test_every_route_of_the_console_is_expected_here(self) -> None:
        app = App(SERVICE, _settings("postgresql://nobody@127.0.0.1:1/none"), "api").asgi()
        found = {
            (method, context.path_format)
            for context in iter_route_contexts(app.routes)
            if type(context.original_route).__name__ == "PageRoute"
            for method in context.original_route.methods
        }
        written = {(one.method, one.path) for one in ROUTES}
        assert found - written == set(), "add a line to EXPECTED for each: its scope, and what is of a store"
        assert written - found == set(), "these routes are gone"

    async def test_without_a_session_nothing_is_shown_or_done(self, world: World) -> None:
        for route in ROUTES:
            answer = await world.ask("", route, MINE)
            if route.scope == OPEN:
                assert answer.status != 401 and answer.headers.get("location") in (None, "/orders", "/sign-in"), route
            elif streams(route):
                assert answer.status == 401, route
            else:
                assert (answer.status, answer.headers.get("location")) == (303, "/sign-in"), route
            assert world.ids[MINE]["order_id"] not in answer.text and "OF-st" not in answer.text, route
        assert await world.app.fetch("select 1 from audit") == []

    async def test_a_role_may_what_its_scopes_allow_in_its_store_and_nothing_else(self, world: World) -> None:
        """A person with a role in another store, and a viewer in this one, may what a viewer may."""
        for role, route in product(ROLES, ROUTES):
            if route.scope == OPEN or is_elsewhere(route):
                continue
            everywhere = route.of == "everywhere"
            for who, held in ((role, role), (f"{role} elsewhere", "viewer"), (f"{role} everywhere", role)):
                scopes = ROLES[role] if route.of == "anywhere" else ROLES[held]
                may = not scopes.isdisjoint(route.scope.split("|")) and (not everywhere or who.endswith("everywhere"))
                answer = await world.ask(who, route, MINE)
                if may:
                    assert answer.status not in (401, 403, 404, 500), (who, str(route), answer.text)
                    assert answer.headers.get("location") != "/sign-in", (who, str(route))
                else:
                    assert answer.status == 403, (who, str(route), answer.text)

    async def test_what_is_of_a_foreign_store_is_answered_as_what_does_not_exist(self, world: World) -> None:
        for route in ROUTES:
            if route.of in ("", "everywhere", "anywhere", "message", "record"):
                continue
            for role in ROLES:
                foreign, unknown = await world.ask(role, route, THEIRS), await world.ask(role, route, "none")
                assert (foreign.status, unknown.status) == (404, 404), (role, str(route), foreign.text)
                assert anonymous(foreign.text) == anonymous(unknown.text), (role, str(route))
        assert await world.app.fetch("select 1 from audit") == []

    async def test_a_forged_request_changes_nothing_whatever_the_route(self, world: World) -> None:
        who = "administrator everywhere"
        for route in ROUTES:
            if route.method == "GET":
                continue
            for sent in FORGED:
                answer = await world.ask(who, route, MINE, **sent)
                assert answer.status == 403 and "Not from a page of the console" in answer.text, (str(route), sent)
        assert await world.app.fetch("select 1 from audit") == []
        assert await world.app.fetch("select 1 from sessions where ended_at is not null") == []
        assert {row["state"] for row in await world.app.fetch("select state from jobs")} == {"running"}

    async def test_a_form_that_is_sent_twice_is_one_row_of_the_audit(self, world: World) -> None:
        for route in ROUTES:
            if route.method == "GET" or route.scope == OPEN or is_elsewhere(route) or route.path.endswith("/reveal"):
                continue
            form = FORM | {"nonce": str(uuid4())}
            for _ in range(2):
                await world.ask("administrator everywhere", route, MINE, form)
            rows = await world.app.fetch("select 1 from audit where nonce = $1", UUID(form["nonce"]))
            assert len(rows) <= 1, str(route)

    async def test_every_answer_has_its_headers_and_every_cookie_its_attributes(self, world: World) -> None:
        asset = next(iter(Assets().names.values()))
        for route in ROUTES:
            for who in ("", "viewer", "administrator everywhere"):
                if not who or not (is_elsewhere(route) or route.scope == OPEN):  # one of them signs out
                    await world.ask(who, route, MINE)
                    await world.ask(who, route, "none")
        world.answers.append(("the style sheet", await world.browser().get(asset)))
        statuses = {answer.status for _, answer in world.answers}
        assert {200, 303, 400, 401, 403, 404, 410, 503} <= statuses, statuses
        for asked, answer in world.answers:
            headers = answer.headers
            policy = headers["content-security-policy"]
            assert (
                policy.startswith("default-src 'self'") and "unsafe" not in policy and "form-action 'self'" in policy
            ), asked
            assert headers["x-content-type-options"] == "nosniff", asked
            assert headers["referrer-policy"] == "same-origin", asked
            assert headers["cross-origin-opener-policy"] == "same-origin", asked
            caching = "public, max-age=31536000, immutable" if asked == "the style sheet" else "no-store"
            assert headers.get("cache-control") == caching, asked
            assert "\r" not in "".join(headers.values()) and "\n" not in "".join(headers.values()), asked
            for cookie in answer.cookies:
                name, *parts = cookie.split("; ")
                assert name.startswith("__Host-") and asked != "the style sheet", (asked, cookie)
                assert {"HttpOnly", "Path=/", "SameSite=lax", "Secure"} <= set(parts), (asked, cookie)
                assert not any(part.startswith("Domain") for part in parts), (asked, cookie)
