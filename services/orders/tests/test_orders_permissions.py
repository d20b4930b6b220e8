"""Every action in every state over HTTP, as each kind of caller: with its scope, with every other scope, and of another store.

The application runs in this process; the orders are those of `test_orders_actions`, written as they are after their stories.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from copy import copy
from typing import Any, Final
from uuid import UUID, uuid4

import pytest_asyncio
from orders_database import REAL, Client
from orders_play import Play
from test_orders_actions import EXPECTED, SCOPES_EXPECTED, STATES, UNLESS_STATED, answers, requests, rests

from chassis.batch import aggregates, statements
from chassis.process.app import App
from contracts.base import Command
from orders.handlers import ORDERS

pytestmark = REAL

SCOPES: Final = frozenset({
    "orders.view", "orders.edit", "orders.cancel", "payments.capture", "payments.refund", "orders.force", "orders.export", "personal.view",
    "parked.view", "parked.edit", "operations.view", "journal.view",
})  # fmt: skip
ADDRESS: Final = {"order_id", "store_id", "operation_id", "actor", "edit_id", "refund_id", "hold_id", "exception_id"}
"""Fields of a command that are in the path, or that the service adds."""
MINE, THEIRS = "mine", "theirs"


class Asked:
    """A request of each action, as a client sends it."""

    def __init__(self, action: str, command: Command, key: UUID) -> None:
        _, self.scope, self.method, below = ROUTES[action]
        ids = {name: str(getattr(command, name)) for name in ADDRESS if hasattr(command, name)} | {"order_id": str(key)}
        self.path = f"/v1/orders/{{order_id}}{below}".format(**ids)
        self.body: Any = command.model_dump(mode="json", exclude=ADDRESS)
        match action:
            case "change_edit":
                self.body = self.body["changes"]
            case "open_edit":
                self.body = self.body["changes"] | {"reason": self.body["reason"]}
            case "set_metadata":
                self.body = json.loads(self.body["metadata"])
            case "force":
                self.body["operation_id"] = self.body.pop("target_operation_id")


ROUTES: Final = {row.split()[0]: row.split() for row in SCOPES_EXPECTED.strip().splitlines()}


class Callers(dict[str, Client]):
    """By who calls: `theirs`, of another store with every scope; a scope; and a scope with `no ` before it: every other one."""

    def __init__(self, app: App) -> None:
        self.app = app


@pytest_asyncio.fixture
async def callers(app: App) -> Callers:
    found, one = Callers(app), Client(app, "")
    scopes = {THEIRS: (THEIRS, ["*"])}
    for scope in SCOPES:
        scopes |= {scope: (MINE, [scope]), f"no {scope}": (MINE, sorted(SCOPES - {scope}))}
    for name, (store, allowed) in scopes.items():
        found[name] = copy(one)
        found[name].key = await app.keys.create(store, name, allowed)
    return found


async def stored(app: App, plays: Iterable[Play]) -> list[UUID]:
    """Writes the order of each play under an id of its own, without its journal."""
    slots = []
    for play in plays:
        key = uuid4()
        state = play.order.model_copy(update={"store_id": MINE, "number": f"N-{key}"})
        empty = ORDERS.initial(key, MINE)
        slots.append(aggregates.Slot(ORDERS, key, MINE, empty, state, 0, 1, len(play.events), {}, None))
    async with app.database.transaction() as tx:
        await statements.write_rows(tx, [aggregates.rows(ORDERS, slots)])
    return [slot.key for slot in slots]


async def everything(app: App) -> tuple[Any, ...]:
    """What a request could change."""
    async with app.database.connection() as connection:
        rows = await connection.fetch("select key, revision, md5(doc) from orders order by key")
        counts = await connection.fetchrow(
            "select (select count(*) from journal), (select count(*) from outbox), (select count(*) from notes),"
            " (select count(*) from attachments), (select count(*) from idempotency), (select count(*) from timers)"
        )
    return [tuple(row) for row in rows], tuple(counts)


def word(answered: tuple[int, Any]) -> str:
    """The code that refuses a request, or `carried out`."""
    status, body = answered
    return body["type"].rpartition("/")[2] if status >= 400 else "carried out"


async def test_in_no_state_is_an_action_open_without_its_scope(callers: Callers) -> None:
    keys = dict(zip(STATES, await stored(callers.app, map(rests, STATES)), strict=True))
    before = await everything(callers.app)
    for state, key in keys.items():
        for action, command in requests(rests(state)).items():
            one = Asked(action, command, key)
            answered = await callers[f"no {one.scope}"](one.method, one.path, one.body)
            assert word(answered) == "scope_missing", (state, action)
    assert await everything(callers.app) == before


async def test_each_answer_of_an_action_is_given_with_its_scope_and_in_its_store(callers: Callers) -> None:
    """The first state with each different answer, and an order of its own for each: one that is carried out changes it."""
    first: dict[tuple[str, str], str] = {}
    for state in STATES:
        for action, answer in (answers(UNLESS_STATED) | answers(EXPECTED[state])).items():
            first.setdefault((action, answer), state)
    keys = await stored(callers.app, (rests(state) for state in first.values()))
    asked = [
        Asked(action, requests(rests(state))[action], key)
        for ((action, _), state), key in zip(first.items(), keys, strict=True)
    ]
    before = await everything(callers.app)
    for one in asked:
        assert (await callers[THEIRS](one.method, one.path, one.body))[0] == 404, one.path
    assert await everything(callers.app) == before
    for (action, answer), one in zip(first, asked, strict=True):
        expected = "carried out" if answer in ("yes", "done") else answer
        assert word(await callers[one.scope](one.method, one.path, one.body)) == expected, (
            action,
            first[action, answer],
        )


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(method, path, scope) of each route about an order."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if "{order_id}" in path:
                yield (
                    method.upper(),
                    path,
                    next(scope for ways in operation["security"] for one in ways.values() for scope in one),
                )


async def test_no_route_about_an_order_is_answered_without_its_scope_or_to_another_store(callers: Callers) -> None:
    """Each with ids that the order has, and with a body that is right: only scope and store can be what refuses it."""
    whole = Play().in_the_warehouse().captured().issued().refunds(goodwill_minor=1).holds().opens_an_edit()
    (key,) = await stored(callers.app, [whole])
    ids = {"order_id": str(key)}
    for name, command in requests(whole).items():
        for field in ADDRESS - {"order_id"}:
            if field in ROUTES[name][3]:
                ids[field] = str(getattr(command, field))
    bodies = {
        (one.method, one.path): one.body
        for one in (Asked(name, command, key) for name, command in requests(whole).items())
    }
    before = await everything(callers.app)
    read = 0
    for method, template, scope in operations(callers[THEIRS].asgi.openapi()):
        path = template.format(**ids)
        body = None if method == "GET" else bodies.get((method, path), {})
        assert word(await callers[f"no {scope}"](method, path, body)) == "scope_missing", (method, template)
        assert word(await callers[THEIRS](method, path, body)) in ("order_unknown", "resource_unknown"), (
            method,
            template,
        )
        if method == "GET":
            read += 1
            assert (await callers[scope](method, path))[0] == 200, (method, template)
    assert read >= 8 and await everything(callers.app) == before
