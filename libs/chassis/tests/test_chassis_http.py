"""HTTP of every service: who may ask, problems with a remedy, pages that miss nothing, parked messages, health, metrics.

Requests are handed to the ASGI application as a server would hand them; the database is real.
"""

import asyncio
import base64
import dataclasses
import json
import re
import time
from collections.abc import AsyncIterator, Container, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier, Event
from typing import Annotated, Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from chassis_counter import SERVICE, STORE, Stick, World, plus
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from structlog.testing import capture_logs

from chassis.batch import parking
from chassis.batch.errors import OutcomeUnknown
from chassis.batch.parking import Rejected
from chassis.declare.app import About, Principal
from chassis.http.auth import acting
from chassis.http.bodies import BODY_BYTES_MAX
from chassis.http.commands import ANY_VERSION, CHANGE, idempotency_key, if_match
from chassis.http.openapi import describe
from chassis.http.paging import Cursors, RowNumber, sealed
from chassis.http.problems import Problem
from chassis.kafka.consumer import Consumer
from chassis.process import watch
from chassis.process.app import App
from chassis.process.observer import READ_SECONDS, Observer

# -- pages, pure ------------------------------------------------------------------------------------------------------


def test_the_pages_of_a_list_hold_every_row_once() -> None:
    rows, cursors = [{"id": n} for n in range(23)], Cursors("rows", RowNumber)
    seen: list[int] = []
    cursor: str | None = None
    while True:
        start = cursors.after(cursor)
        read = [row for row in rows if start is None or row["id"] > start[0]][: 5 + 1]
        shown = cursors.page(read, 5, key=lambda row: (row["id"],))
        seen += [row["id"] for row in shown["items"]]
        cursor = shown["next_cursor"]
        if cursor is None:
            break
    assert seen == list(range(23))


def cursor_of(json_text: str) -> str:
    return sealed(json_text.encode())


@pytest.mark.parametrize("cursor", [
    "", "%%%", "abc", "ä", "AAAA", sealed(b'["rows",7]') + "=", sealed(b'["rows",7]')[:-1], sealed(b'["rows",7]').swapcase(),
    base64.urlsafe_b64encode(b'["rows",7]').decode(), *map(cursor_of, ["null", "{}", "[]", '["rows"]', '["rows",-1]', '["rows","1"]', '["rows",true]',
    '["rows",9223372036854775808]', '["rows",1e400]', '["rows",1,2]', '["lines",1]', '["rows",null]', '["rows",[1]]']),
])  # fmt: skip
def test_a_cursor_that_is_not_ours_is_a_problem_with_a_remedy(cursor: str) -> None:
    with pytest.raises(Problem) as raised:
        Cursors("rows", RowNumber).after(cursor)
    assert (raised.value.status, raised.value.code) == (400, "cursor_invalid")


# -- headers, pure ----------------------------------------------------------------------------------------------------


def with_header(name: str, value: str) -> Request:
    return Request({"type": "http", "headers": [(name.encode(), value.encode("latin-1"))]})


@pytest.mark.parametrize(("header", "versions"), [
    ("*", ANY_VERSION), ('"7"', {7}), ('"7","8"', {7, 8}), ('W/"7" ,\t"9"', {9}), ('W/"7"', set()), ('"a,b"', set()), ('"12345678901"', set()),
])  # fmt: skip
def test_if_match_is_a_list_of_entity_tags(header: str, versions: Container[int]) -> None:
    assert if_match(with_header("if-match", header)) == versions


@pytest.mark.parametrize("header", ["", "7", '"7', '"7" "8"', '"a b"', "W/7", '*, "7"', '"\xe9"', '"7",'])
def test_an_if_match_that_is_no_such_list_is_refused(header: str) -> None:
    with pytest.raises(Problem) as raised:
        if_match(with_header("if-match", header))
    assert (raised.value.status, raised.value.code) == (400, "if_match_invalid")


@pytest.mark.parametrize("header", ["", " k", "k ", "\xe9", "a\tb", "\x7f", "k" * 256])
def test_an_idempotency_key_is_printable_ascii(header: str) -> None:
    assert idempotency_key(with_header("idempotency-key", "a b~!")) == "a b~!"
    assert idempotency_key(with_header("idempotency-key", "k" * 255)) == "k" * 255
    with pytest.raises(Problem) as raised:
        idempotency_key(with_header("idempotency-key", header))
    assert (raised.value.status, raised.value.code) == (400, "idempotency_key_invalid")


# -- who acts, pure ---------------------------------------------------------------------------------------------------

SCOPES = st.frozensets(st.sampled_from(("counter.edit", "counter.view", "personal.view", "*")))


def key_with(scopes: Iterable[str]) -> Principal:
    return Principal("console", STORE, frozenset(scopes))


@given(of_key=SCOPES, of_person=SCOPES)
def test_a_person_has_the_scopes_that_both_the_key_and_the_person_have(
    of_key: frozenset[str], of_person: frozenset[str]
) -> None:
    key = key_with({*of_key, "act_as"})
    person = acting(key, "ann|1", " ".join(of_person))
    for scope in ("counter.edit", "counter.view", "personal.view", "other"):
        assert person.may(scope) == (key.may(scope) and key_with(of_person).may(scope))
    assert (person.actor, person.via, person.store_id) == ("person:ann|1", "api-key:console", STORE)


def test_without_the_headers_a_key_acts_for_itself() -> None:
    key = key_with({"counter.edit", "act_as"})
    assert acting(key, None, None) is key


@pytest.mark.parametrize(("subject", "scopes"), [("ann", "counter.edit"), ("ann", None), (None, ""), ("", "")])
def test_a_key_acts_for_a_person_only_by_a_scope_that_all_scopes_do_not_include(
    subject: str | None, scopes: str | None
) -> None:
    with pytest.raises(Problem) as raised:
        acting(key_with({"*"}), subject, scopes)
    assert (raised.value.status, raised.value.code) == (403, "actor_forbidden")


@pytest.mark.parametrize(("subject", "scopes"), [
    ("ann", None), (None, "counter.edit"), ("", "counter.edit"), (" ann", ""), ("\xe9", ""), ("a\tb", ""), ("ann\n", ""),
    ("a" * 256, ""), ("ann", "counter.edit,counter.view"), ("ann", "\xe9"), ("ann", "counter.edit\n"),
])  # fmt: skip
def test_it_is_refused_to_act_for_a_person_whose_subject_or_scopes_cannot_be_read(
    subject: str | None, scopes: str | None
) -> None:
    with pytest.raises(Problem) as raised:
        acting(key_with({"*", "act_as"}), subject, scopes)
    assert (raised.value.status, raised.value.code) == (400, "actor_invalid")


# -- the application --------------------------------------------------------------------------------------------------


def routes(app: App) -> APIRouter:
    router = APIRouter()
    Editor = Annotated[Principal, Depends(app.principal("counter.edit"))]

    @router.post("/v1/count/{key}/{amount}", dependencies=CHANGE)
    async def count(request: Request, who: Editor, key: UUID, amount: int, play: str = "") -> Response:
        operation = app.operation_id(request, who, key)
        command = plus(key, amount, play=play, store_id=who.store_id, operation_id=operation)
        return await app.execute(request, who, command, lambda outcome: (201, {"total": outcome.state.total}, {"location": f"/v1/count/{key}"}))  # fmt: skip

    @router.put("/v1/note")
    async def note(body: dict[str, Any], who: Editor) -> dict[str, Any]:
        return {"keys": len(body)}

    @router.post("/v1/written")
    async def written() -> None:
        await app.database.transaction()

    @router.get("/v1/slow")
    async def slow(who: Editor) -> list[Any]:
        return list(await app.read(text("select pg_sleep(60)")))

    @router.get("/v1/broken")
    async def broken() -> None:
        raise RuntimeError("the name of a customer")

    return router


@dataclasses.dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    def __init__(self, app: App) -> None:
        self.app, self.asgi = app, app.asgi()

    async def __call__(self, method: str, path: str, *, key: str = "", body: bytes = b"", **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if key:
            named["authorization"] = f"Bearer {key}"
        plain, _, query = path.partition("?")
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "path": plain,
            "raw_path": plain.encode(), "query_string": query.encode(), "root_path": "", "scheme": "http",
            "headers": [(name.encode(), value.encode()) for name, value in named.items()],
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
        }  # fmt: skip
        chunks = [body[n : n + 65_536] for n in range(0, len(body), 65_536)] or [b""]
        sent: list[Any] = []

        async def receive() -> Any:
            chunk = chunks.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

        async def send(message: Any) -> None:
            sent.append(message)

        try:
            await self.asgi(scope, receive, send)
        except Exception:
            if not sent:  # a server logs what was raised after the answer
                raise
        told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], told, b"".join(message.get("body", b"") for message in sent[1:]))


@pytest_asyncio.fixture
async def client(world: World) -> AsyncIterator[Client]:
    no = About(422, "It was refused", "The test requests a refusal.", "Request something else.")
    app = App(dataclasses.replace(SERVICE, routes=routes, problems={"no": no}), world.settings, "api")
    loop = asyncio.create_task(app.shell.run())
    yield Client(app)
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)
    await app.database.close()


@pytest.mark.real
async def test_a_key_is_needed_a_known_one_with_the_scope_and_it_acts_for_its_store_alone(client: Client) -> None:
    path, create = f"/v1/count/{uuid4()}/5", client.app.keys.create
    may, other = await create(STORE, "till", ["counter.edit"]), await create(STORE, "reader", ["counter.view"])
    told = [await client("POST", path), await client("POST", path, key=may + "x"), await client("POST", path, key="tw_a_b"),
            await client("POST", path, key=other), await client("POST", path, key=may)]  # fmt: skip
    assert [answer.status for answer in told] == [401, 401, 401, 403, 201]
    assert [answer.json.get("type") for answer in told[:4]] == [
        "/problems/api_key_missing", "/problems/api_key_unknown", "/problems/api_key_unknown", "/problems/scope_missing",
    ]  # fmt: skip
    stranger = await create("st_2", "till", ["*"])
    assert (await client("POST", path, key=stranger)).status == 404
    assert (await client("POST", path, key="", x_api_key=may)).json == {"total": 10}
    assert (await client("POST", path, key=may, x_store_id="st_2")).json == {"total": 15}
    for header in ("", "no store"):
        assert (await client("POST", path, key=may, x_store_id=header)).json["type"] == "/problems/store_invalid"


@pytest.mark.real
async def test_what_a_key_does_for_a_person_is_recorded_with_both(client: Client, world: World) -> None:
    counter = uuid4()
    path, key = f"/v1/count/{counter}/5", await client.app.keys.create(None, "console", ["counter.edit", "act_as"])

    async def act(person: str, scopes: str) -> Answer:
        named = {"x_act_as": person, "x_act_as_scopes": scopes, "x_store_id": STORE, "idempotency_key": "same"}
        return await client("POST", path, key=key, **named)

    with capture_logs() as logs:
        assert [(await act("ann", "counter.edit")).json for _ in range(2)] == [{"total": 5}] * 2
    line = {"event": "acted", "actor": "person:ann", "via": "api-key:console", "method": "POST", "path": path}
    assert [entry.items() >= line.items() for entry in logs] == [True, True]
    assert (await act("ben", "counter.edit other")).json == {"total": 10}, "another person's key is another request"
    told = [await act("ann", "counter.view"), await act("ann", ""), await act("", "counter.edit")]
    assert [(answer.status, answer.json["type"]) for answer in told] == [
        (403, "/problems/scope_missing"), (403, "/problems/scope_missing"), (400, "/problems/actor_invalid"),
    ]  # fmt: skip
    other = await client.app.keys.create(STORE, "till", ["*"])
    told = [await client("POST", path, key=other, x_act_as="ann", x_act_as_scopes="*")]
    assert [(answer.status, answer.json["type"]) for answer in told] == [(403, "/problems/actor_forbidden")]
    await client("POST", path, key=other)
    journaled = await world.rows("select actor, via from journal where key = $1 order by id", counter)
    assert [tuple(row) for row in journaled] == [
        ("person:ann", "api-key:console"), ("person:ben", "api-key:console"), ("api-key:till", None),
    ]  # fmt: skip
    reader = await client.app.keys.create(STORE, "reader", ["journal.view"])
    shown = (await client("GET", f"/v1/journal?order_id={counter}", key=reader)).json["items"]
    assert [(one["actor"], one["via"]) for one in shown] == [tuple(row) for row in journaled]


@pytest.mark.real
async def test_an_administrator_names_the_store(client: Client, world: World) -> None:
    key, counter = await client.app.keys.create(None, "root", ["*"]), uuid4()
    assert (await client("POST", f"/v1/count/{counter}/5", key=key)).json["type"] == "/problems/store_missing"
    assert (await client("POST", f"/v1/count/{counter}/5", key=key, x_store_id="st_9")).status == 201
    assert await world.one("select store_id from counters where key = $1", counter) == "st_9"


@pytest.mark.real
async def test_a_key_is_stored_as_a_hash_and_a_revoked_one_is_refused(client: Client, world: World) -> None:
    key = await client.app.keys.create(STORE, "till", ["*"])
    secret = key.split("_", 2)[2]
    assert secret.encode() not in await world.one("select secret_sha256 from api_keys")
    identity = key.split("_")[1]
    assert await client.app.keys.revoke(identity) and not await client.app.keys.revoke("nobody")
    assert (await client("POST", f"/v1/count/{uuid4()}/5", key=key)).status == 401
    assert [(row["id"], row["name"], row["revoked"]) for row in await client.app.keys.all()] == [
        (identity, "till", True)
    ]


@pytest.mark.real
async def test_the_same_idempotency_key_gets_the_same_bytes_and_another_body_a_conflict(
    client: Client, world: World
) -> None:
    key, counter = await client.app.keys.create(STORE, "till", ["*"]), uuid4()
    first = await client("POST", f"/v1/count/{counter}/5", key=key, idempotency_key="k1")
    again = await client("POST", f"/v1/count/{counter}/5", key=key, idempotency_key="k1")
    assert (again.status, again.body, again.headers["location"]) == (201, first.body, first.headers["location"])
    assert again.headers["idempotency-replayed"] == "true"
    other = await client("POST", f"/v1/count/{counter}/5?play=no", key=key, idempotency_key="k1")
    assert (other.status, other.json["type"]) == (409, "/problems/idempotency_key_reused")
    assert await world.total(counter) == 5
    long = await client("POST", f"/v1/count/{counter}/5", key=key, idempotency_key="k" * 256)
    assert (long.status, long.json["type"]) == (400, "/problems/idempotency_key_invalid")


@pytest.mark.real
async def test_an_idempotency_key_is_of_one_principal_method_and_path_and_ends_with_its_retention(
    client: Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is an operation of its own; within the retention a restored database recognises the request."""
    key, colleague, other = [
        await client.app.keys.create(store, name, ["*"])
        for store, name in ((STORE, "till"), (STORE, "ann"), ("st_2", "till"))
    ]
    counters = [uuid4(), uuid4(), uuid4()]
    asked = [
        (key, counters[0], 5),
        (key, counters[1], 5),
        (key, counters[0], 6),
        (other, counters[2], 5),
        (colleague, counters[0], 5),
    ]
    for who, counter, amount in asked:
        answer = await client("POST", f"/v1/count/{counter}/{amount}", key=who, idempotency_key="1")
        assert (answer.status, "idempotency-replayed" in answer.headers) == (201, False)
    assert [await world.total(counter) for counter in counters] == [16, 5, 5]
    await world.do("delete from idempotency")  # as after a restore
    assert (await client("POST", f"/v1/count/{counters[0]}/5", key=key, idempotency_key="1")).json == {"total": 16}
    await world.do("delete from idempotency")  # as after the retention
    later = time.time() + client.app.settings.idempotency_retention_days * 86_400
    monkeypatch.setattr(time, "time", lambda: later)
    assert (await client("POST", f"/v1/count/{counters[0]}/5", key=key, idempotency_key="1")).json == {"total": 21}
    for ids in ("message_id", "operation_id", "cause_id"):
        assert await world.one(f"select count(distinct {ids}) from journal") == 6, ids


@pytest.mark.real
async def test_a_change_for_another_version_is_answered_with_the_present_one_and_has_no_effect(
    client: Client, world: World
) -> None:
    key, counter = await client.app.keys.create(STORE, "till", ["*"]), uuid4()
    path = f"/v1/count/{counter}/5"
    first = await client("POST", path, key=key)
    assert first.headers["etag"] == '"1"'
    second = await client("POST", path, key=key, if_match='"1"')
    assert (second.status, second.headers["etag"]) == (201, '"2"')
    for outdated in ('"1"', 'W/"2"', '"1", "3"', '"x"', '""'):
        answer = await client("POST", path, key=key, if_match=outdated)
        assert (answer.status, answer.json["type"]) == (412, "/problems/version_outdated"), outdated
        assert (answer.json["version"], answer.headers["etag"]) == (2, '"2"')
    assert (await client("POST", path, key=key, if_match="2")).json["type"] == "/problems/if_match_invalid"
    for fitting in ('"1", "2"', "*"):
        assert (await client("POST", path, key=key, if_match=fitting)).status == 201, fitting
    assert await world.total(counter) == 20
    nothing = await client("POST", f"/v1/count/{uuid4()}/5", key=key, if_match="*")
    assert (nothing.status, nothing.json["type"]) == (412, "/problems/version_outdated")


@pytest.mark.real
async def test_a_412_leaves_the_idempotency_key_free_for_the_new_version_and_another_body(
    client: Client, world: World
) -> None:
    """A precondition is checked before execution; only the answer of an executed request is stored."""
    key, counter = await client.app.keys.create(STORE, "till", ["*"]), uuid4()
    assert (await client("POST", f"/v1/count/{counter}/5", key=key)).status == 201
    path = f"/v1/count/{counter}/7"
    assert (await client("POST", path, key=key, idempotency_key="k", if_match='"9"')).status == 412
    retried = await client("POST", f"{path}?play=", key=key, idempotency_key="k", if_match='"1"')
    assert (retried.status, retried.json, retried.headers["etag"]) == (201, {"total": 12}, '"2"')
    again = await client("POST", f"{path}?play=", key=key, idempotency_key="k", if_match='"1"')
    assert (again.status, again.body, again.headers["idempotency-replayed"]) == (201, retried.body, "true")
    assert (await client("POST", path, key=key, idempotency_key="k")).json["type"] == "/problems/idempotency_key_reused"
    assert await world.total(counter) == 12


@pytest.mark.real
async def test_a_query_parameter_that_a_route_does_not_read_is_named(client: Client) -> None:
    key = await client.app.keys.create(STORE, "till", ["*"])
    answer = await client("GET", "/v1/parked?limit=1&stat=waiting&Limit=2", key=key)
    assert (answer.status, answer.json["type"]) == (400, "/problems/query_parameter_unknown")
    assert "unknown: Limit, stat;" in answer.json["detail"]
    assert (await client("POST", f"/v1/count/{uuid4()}/5?play=&amount=3", key=key)).status == 400
    assert (await client("GET", "/v1/parked?limit=1&state=waiting", key=key)).status == 200


async def test_the_pages_of_the_api_load_nothing_from_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(App(SERVICE, SERVICE.settings(database_url="postgresql://nobody@127.0.0.1:1/none"), "api"))
    page = (await client("GET", "/docs/")).body.decode()
    assert "//" not in "".join(re.findall(r'(?:src|href)="([^"]*)"', page))
    for asset in re.findall(r'(?:src|href)="([^"]*)"', page):
        assert (await client("GET", f"/docs/{asset}")).status == 200, asset
    assert (await client("GET", "/docs")).status == 307
    assert (await client("GET", "/openapi.json")).json["paths"].keys() >= {"/v1/parked", "/health/ready"}


@pytest.mark.real
async def test_every_error_is_a_problem_document_that_says_what_to_do_and_repeats_no_input(client: Client) -> None:
    key = await client.app.keys.create(STORE, "till", ["*"])
    told = {
        "nothing here": (await client("GET", "/v1/nowhere"), 404),
        "wrong method": (await client("DELETE", f"/v1/count/{uuid4()}/5"), 405),
        "no integer": (await client("POST", f"/v1/count/{uuid4()}/five-secret", key=key), 422),
        "a business no": (await client("POST", f"/v1/count/{uuid4()}/1?play=no", key=key), 422),
        "our fault": (await client("POST", f"/v1/count/{uuid4()}/1?play=boom", key=key), 500),
        "a bug": (await client("GET", "/v1/broken"), 500),
    }
    for what, (answer, status) in told.items():
        assert answer.status == status, what
        assert answer.headers["content-type"] == "application/problem+json", what
        assert {"type", "title", "status", "detail", "instance"} <= answer.json.keys(), what
        assert answer.json["status"] == status, what
    assert b"customer" not in told["a bug"][0].body
    assert "secret" not in told["no integer"][0].json["detail"]
    assert told["a business no"][0].json["title"] == "It was refused"


@pytest.mark.real
async def test_a_body_over_the_limit_is_refused_and_one_below_it_is_taken(client: Client) -> None:
    key = await client.app.keys.create(STORE, "till", ["*"])
    small = json.dumps({"a": "x" * (BODY_BYTES_MAX - 100)}).encode()
    large = json.dumps({"a": "x" * BODY_BYTES_MAX}).encode()
    taken = await client("PUT", "/v1/note", key=key, body=small, content_type="application/json")
    refused = await client("PUT", "/v1/note", key=key, body=large, content_type="application/json")
    assert (taken.status, refused.status) == (200, 413)
    assert refused.headers["content-type"] == "application/problem+json"


@pytest.mark.real
@pytest.mark.parametrize(
    "declared", ["", "text/plain", "application/x-www-form-urlencoded", "json", "application/jsonl"]
)
async def test_a_body_that_is_not_declared_as_json_is_refused_with_the_header_that_is_missing(
    client: Client, declared: str
) -> None:
    key = await client.app.keys.create(STORE, "till", ["*"])
    headers = {"content_type": declared} if declared else {}
    refused = await client("PUT", "/v1/note", key=key, body=b'{"a": 1}', **headers)
    assert (refused.status, refused.json["type"]) == (415, "/problems/media_type_unsupported")
    assert refused.headers["accept"] == "application/json"
    assert (await client("POST", f"/v1/count/{uuid4()}/5", key=key, **headers)).status == 201, (
        "without a body it needs none"
    )


@pytest.mark.real
@pytest.mark.parametrize(
    "declared", ["application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json"]
)
async def test_a_body_may_be_declared_as_any_kind_of_json(client: Client, declared: str) -> None:
    key = await client.app.keys.create(STORE, "till", ["*"])
    taken = await client("PUT", "/v1/note", key=key, body=b'{"a": 1}', content_type=declared)
    assert (taken.status, taken.json) == (200, {"keys": 1})


@pytest.mark.real
async def test_parked_messages_are_seen_by_their_store_and_the_unreadable_ones_by_administrators(
    client: Client, world: World
) -> None:
    mine, theirs = uuid4(), uuid4()
    await world.take(
        Rejected(world.record(plus(mine)), mine, "bad_body", "no", STORE),
        Rejected(world.record(plus(theirs, store_id="st_2")), theirs, "bad_body", "no", "st_2"),
        Rejected(world.record(plus(uuid4())), None, "bad_header", "no"),
    )
    create = client.app.keys.create
    own, root = await create(STORE, "ann", ["parked.view"]), await create(None, "root", ["*"])
    seen = (await client("GET", "/v1/parked", key=own)).json["items"]
    assert [row["key"] for row in seen] == [str(mine)]
    everything = (await client("GET", "/v1/parked", key=root)).json["items"]
    assert len(everything) == 3
    other = next(row["id"] for row in everything if row["store_id"] == "st_2")
    assert (await client("GET", f"/v1/parked/{other}", key=own)).status == 404
    assert (await client("POST", f"/v1/parked/{seen[0]['id']}/replay", key=own)).status == 403
    assert (await client("GET", "/v1/parked?cursor=WyJhIl0", key=own)).json["type"] == "/problems/cursor_invalid"
    assert (await client("GET", "/v1/parked?state=%00", key=own)).status == 400
    assert (await client("GET", "/v1/parked?state=gone", key=own)).status == 422


@pytest.mark.real
async def test_parked_messages_are_left_alone_while_a_restored_database_catches_up(
    client: Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, counter = await client.app.keys.create(STORE, "ann", ["parked.view", "parked.edit"]), uuid4()
    await world.take(world.from_topic(plus(counter, 1, play="boom")))
    [row] = (await client("GET", "/v1/parked", key=key)).json["items"]
    monkeypatch.setattr("chassis.batch.shell.READY_SECONDS_MAX", 0.01)
    client.app.shell.ready.clear()
    for action, body in (("replay", b""), ("edit", b'{"value": "{}"}'), ("discard", b"")):
        url = f"/v1/parked/{row['id']}/{action}"
        refused = await client("POST", url, key=key, body=body, content_type="application/json")
        assert (refused.status, refused.json["type"]) == (503, "/problems/database_unavailable"), action
        assert refused.json["title"] == "The restored database is catching up"
    assert (await client("GET", "/v1/parked", key=key)).json["items"] == [row]
    client.app.shell.ready.set()
    assert (await client("POST", f"/v1/parked/{row['id']}/discard", key=key)).status == 200


@pytest.mark.real
async def test_a_person_replays_edits_and_discards_over_http(client: Client, world: World) -> None:
    """Promise 6 and 7."""
    key, counter = await client.app.keys.create(STORE, "ann", ["parked.view", "parked.edit"]), uuid4()
    await world.take(*(world.from_topic(plus(counter, n, play="boom" if n < 3 else "")) for n in (1, 2, 4)))
    rows = (await client("GET", "/v1/parked", key=key)).json["items"]
    assert [row["cause"] for row in rows] == ["waits", "waits", "fault"]
    second, first = rows[1]["id"], rows[2]["id"]

    failed = await client("POST", f"/v1/parked/{first}/replay", key=key)
    assert (failed.status, failed.json["type"], failed.json["stopped_at"]) == (409, "/problems/replay_stopped", first)

    shown = (await client("GET", f"/v1/parked/{first}", key=key)).json
    mended = json.dumps({"value": shown["value"].replace("boom", "")}).encode()
    edited = await client("POST", f"/v1/parked/{first}/edit", key=key, body=mended, content_type="application/json")
    assert (edited.status, edited.json["replayed"], edited.json["stopped_at"]) == (200, 1, second)

    assert (await client("POST", f"/v1/parked/{second}/discard", key=key)).json == {"discarded": second}
    assert (await client("GET", "/v1/parked", key=key)).json["items"] == []
    assert await world.total(counter) == 5
    gone = await client("POST", f"/v1/parked/{second}/discard", key=key)
    assert (gone.status, gone.json["type"]) == (409, "/problems/message_settled")
    audit = await world.one("select settled_by from parked where id = $1", second)
    assert audit == "api-key:ann"


@pytest.mark.real
async def test_an_edit_that_fails_again_is_answered_409_and_leaves_no_trace(client: Client, world: World) -> None:
    """Wherever it fails: its decision raises, the database refuses it, an earlier message fails."""
    key, counter = await client.app.keys.create(STORE, "ann", ["*"]), uuid4()
    await world.take(*(world.from_topic(plus(counter, n, play="boom")) for n in (1, 2)))
    before = await world.rows("select * from parked order by id")
    for stopped_at, row, value in (
        (before[0]["id"], before[0], before[0]["value"].decode()),
        (before[0]["id"], before[0], plus(counter, 5_000).model_dump_json()),
        (before[0]["id"], before[1], plus(counter, 1).model_dump_json()),
    ):
        body = json.dumps({"value": value}).encode()
        answer = await client(
            "POST", f"/v1/parked/{row['id']}/edit", key=key, body=body, content_type="application/json"
        )
        assert (answer.status, answer.json["type"]) == (409, "/problems/replay_stopped"), value
        assert answer.json["stopped_at"] == stopped_at
        assert await world.rows("select * from parked order by id") == before, value
    assert await world.total(counter) is None


@pytest.mark.real
async def test_an_edit_that_does_not_fit_its_schema_is_answered_422_with_the_place_and_nothing_is_stored(
    client: Client, world: World
) -> None:
    key, counter = await client.app.keys.create(STORE, "ann", ["*"]), uuid4()
    await world.take(world.from_topic(plus(counter, 1, play="boom")))
    before = await world.rows("select * from parked order by id")
    good = json.loads(before[0]["value"])

    async def edit(value: str) -> list[tuple[str, str]]:
        body = json.dumps({"value": value}).encode()
        path = f"/v1/parked/{before[0]['id']}/edit"
        answer = await client("POST", path, key=key, body=body, content_type="application/json")
        assert (answer.status, answer.json["type"]) == (422, "/problems/request_invalid"), answer.body
        return [(one["where"], one["pointer"]) for one in answer.json["errors"]]

    assert await edit("{") == [("value", "")]
    assert await edit("[]") == [("value", "")]
    wrong = good | {"amount": "many", "wake_at": "soon"}
    assert await edit(json.dumps(wrong)) == [("value", "/amount"), ("value", "/wake_at")]
    del good["store_id"]
    assert await edit(json.dumps(good)) == [("value", "/store_id")]
    assert await world.rows("select * from parked order by id") == before


@pytest.mark.real
async def test_parked_messages_are_grouped_by_cause_and_line_and_a_group_is_replayed_as_it_was_seen(
    client: Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parking, "_OURS", parking._OURS | {"chassis_counter"})
    key, stranger = [await client.app.keys.create(store, "ann", ["*"]) for store in (STORE, "st_2")]
    one, two, bad = uuid4(), uuid4(), uuid4()
    await world.take(*(world.from_topic(plus(one, n, play="boom" if n == 1 else "")) for n in (1, 2, 4)))
    await world.take(world.from_topic(plus(two, 1, play="boom")), world.from_topic(plus(bad, 1, play="half")))
    await world.take(Rejected(world.record(plus(uuid4())), uuid4(), "bad_body", "no", STORE, "counter.add"))

    found = (await client("GET", "/v1/parked-groups", key=key)).json["items"]
    assert [(group["cause"], group["count"], group["keys"], group["behind"]) for group in found] == [
        ("fault", 2, 2, 2), ("bad_body", 1, 1, 0), ("fault", 1, 1, 0),
    ]  # fmt: skip
    line = found[0]["raised_at"]
    assert re.fullmatch(r"chassis_counter:\d+", line) and found[1]["raised_at"] is None
    assert {group["service"] for group in found} == {"counter"} and found[0]["types"] == ["counter.add"]
    assert found[0]["oldest_at"] < found[0]["newest_at"]
    assert (await client("GET", "/v1/parked-groups", key=stranger)).json == {"items": []}

    await world.take(world.from_topic(plus(uuid4(), 1, play="boom")))
    listed = f"/v1/parked?cause=fault&raised_at={line}&id_max={found[0]['newest_id']}"
    rows = (await client("GET", listed, key=key)).json["items"][::-1]
    assert [row["key"] for row in rows] == [str(one), str(two)]
    whole = (await client("GET", f"/v1/parked/{rows[0]['id']}", key=key)).json
    assert (whole["raised_at"], whole["behind"]) == (line, 2) and whole["stack"][-1] == f"{line} add"

    async def replay(*ids: int, who: str = key) -> list[tuple[int, str]]:
        body = json.dumps({"ids": ids}).encode()
        answer = await client("POST", "/v1/parked-replays", key=who, body=body, content_type="application/json")
        assert answer.status == 200, answer.body
        return [(item["id"], item["outcome"]) for item in answer.json["items"]]

    first, second = [row["id"] for row in rows]
    behind = (await client("GET", f"/v1/parked?key={one}", key=key)).json["items"][0]["id"]
    assert await replay(first, behind, second, 10**9) == [
        (first, "stopped"), (behind, "stopped"), (second, "stopped"), (10**9, "unknown"),
    ]  # fmt: skip
    assert await replay(first, who=stranger) == [(first, "unknown")]
    await world.do("update parked set value = convert_to(replace(convert_from(value, 'UTF8'), 'boom', ''), 'UTF8') where key = $1", one)  # fmt: skip
    assert await replay(first, behind, second) == [(first, "replayed"), (behind, "replayed"), (second, "stopped")]
    assert await world.total(one) == 7
    assert await replay(first) == [(first, "replayed")]


def test_the_stack_of_an_error_names_our_lines_alone_without_its_message() -> None:
    """Values may be personal, and the driver shows SQL."""
    toy: dict[str, Any] = {"__name__": "orders.domain.toy", "loads": json.loads}
    exec(compile("def decide(text):\n    return loads(text)", "toy.py", "exec"), toy)
    with pytest.raises(ValueError, match="Expecting") as raised:
        toy["decide"]("the name of a customer")
    stack = parking.frames(raised.value)
    assert stack == ["orders.domain.toy:2 decide"] and parking.raised_at(stack) == "orders.domain.toy:2"
    assert parking.frames(ValueError()) == [] and parking.raised_at([]) is None


@pytest.mark.real
async def test_what_a_tenant_sees_of_a_fault_is_no_traceback_no_driver_and_no_sql(client: Client, world: World) -> None:
    key = await client.app.keys.create(STORE, "ann", ["*"])
    await world.take(world.from_topic(plus(uuid4(), 1, play="boom")), world.from_topic(plus(uuid4(), 5_000)))
    rows = (await client("GET", "/v1/parked", key=key)).json["items"]
    seen = [await client("GET", f"/v1/parked/{row['id']}", key=key) for row in rows]
    seen += [await client("POST", f"/v1/parked/{row['id']}/replay", key=key) for row in rows]
    assert [answer.status for answer in seen] == [200, 200, 409, 409]
    for answer in seen:
        assert "the log of the service has the cause" in answer.json["detail"]
        for leak in (
            b"Traceback",
            b"File ",
            b"does not know this",
            b"asyncpg",
            b"CheckViolation",
            b"counters_below_1000",
            b"insert",
        ):
            assert leak not in answer.body, leak


@pytest.mark.real
async def test_parked_messages_are_discarded_in_bulk_by_filter_with_a_reason_that_is_shown(
    client: Client, world: World
) -> None:
    key, stranger = [await client.app.keys.create(store, "ann", ["*"]) for store in (STORE, "st_2")]
    bad, worse, good = uuid4(), uuid4(), uuid4()
    await world.take(*(world.from_topic(plus(one, 1, play="boom")) for one in (bad, bad, worse)))
    await world.take(Rejected(world.record(plus(good)), good, "bad_body", "no", STORE))

    async def discard(who: str, **chosen: Any) -> Answer:
        body = json.dumps(chosen, default=str).encode()
        return await client("POST", "/v1/parked-discards", key=who, body=body, content_type="application/json")

    assert (await discard(key, cause="fault")).status == 422  # why?
    assert (await discard(key, reason="all of it")).json["type"] == "/problems/filter_missing"
    assert (await discard(stranger, reason="not mine", cause="fault")).json["discarded"] == 0
    assert (await discard(key, reason="test data", key=bad)).json == {"discarded": 2, "more": False}
    assert (await discard(key, reason="test data", cause="fault", key=good)).json["discarded"] == 0
    waiting = (await client("GET", "/v1/parked", key=key)).json["items"][::-1]
    assert [row["key"] for row in waiting] == [str(worse), str(good)]
    ids = [row["id"] for row in waiting]
    assert (await discard(key, reason="test data", ids=ids[:1])).json["discarded"] == 1
    body = b'{"reason": "sent anew"}'
    one = await client("POST", f"/v1/parked/{ids[1]}/discard", key=key, body=body, content_type="application/json")
    assert one.status == 200
    assert await world.one("select count(*) from parked_keys") == 0
    gone = (await client("GET", "/v1/parked?state=discarded", key=key)).json["items"]
    assert [row["reason"] for row in gone] == ["sent anew", "test data", "test data", "test data"]
    assert {row["settled_by"] for row in gone} == {"api-key:ann"}
    assert (await client("GET", f"/v1/parked/{ids[1]}", key=key)).json["reason"] == "sent anew"


@pytest.mark.real
async def test_what_waits_behind_discarded_messages_is_retried_at_once(client: Client, world: World) -> None:
    key, counter = await client.app.keys.create(STORE, "ann", ["*"]), uuid4()
    await world.take(*(world.from_topic(plus(counter, n, play="boom" if n == 1 else "")) for n in (1, 2, 4)))
    body = b'{"reason": "test data", "cause": "fault"}'
    assert (await client("POST", "/v1/parked-discards", key=key, body=body, content_type="application/json")).json[
        "discarded"
    ] == 1
    assert await client.app.replays.retry_due()
    assert await world.total(counter) == 6


@pytest.mark.real
@pytest.mark.parametrize(("days", "cause"), [(-30, "too_old"), (3, "from_the_future")])
async def test_what_was_parked_for_its_time_is_judged_anew_when_it_is_replayed(
    client: Client, world: World, days: int, cause: str
) -> None:
    """Rejected again while its time is out of range, by a replay and by an edit; handled once it is in range."""
    key, counter = await client.app.keys.create(STORE, "ann", ["*"]), uuid4()
    wrong, right = world.record(plus(counter, 5)), world.record(plus(counter, 7))
    moved = (datetime.now(UTC) + timedelta(days=days)).isoformat().encode()
    wrong = wrong._replace(headers=[(name, moved if name == "ce_time" else value) for name, value in wrong.headers])
    await world.take(*(Rejected(record, None, cause, "by a wrong clock", STORE) for record in (wrong, right)))
    second, first = (await client("GET", "/v1/parked", key=key)).json["items"]
    for action, body in (("replay", b""), ("edit", json.dumps({"value": "{}"}).encode())):
        url = f"/v1/parked/{first['id']}/{action}"
        answer = await client("POST", url, key=key, body=body, content_type="application/json")
        assert (answer.status, answer.json["type"]) == (409, "/problems/message_unreplayable"), action
    assert (await client("POST", f"/v1/parked/{second['id']}/replay", key=key)).json == {"replayed": 1, "left": 0}
    assert await world.total(counter) == 7
    left = (await client("GET", "/v1/parked", key=key)).json["items"]
    assert [(row["id"], row["cause"]) for row in left] == [(first["id"], cause)]


@pytest.mark.real
async def test_a_message_that_blocks_nobody_is_not_replayed_past_a_parked_one_of_its_order(
    client: Client, world: World
) -> None:
    key, counter = await client.app.keys.create(STORE, "ann", ["*"]), uuid4()
    await world.take(Rejected(world.record(plus(counter, 5)), None, "too_old", "by a wrong clock", STORE))
    await world.take(world.from_topic(plus(counter, 1, play="boom")))
    row = (await client("GET", "/v1/parked", key=key)).json["items"][0]
    answer = await client("POST", f"/v1/parked/{row['id']}/replay", key=key)
    assert (answer.status, answer.json["type"], answer.json["stopped_at"]) == (
        409,
        "/problems/replay_stopped",
        row["id"],
    )
    assert await world.total(counter) is None


@pytest.mark.real
@pytest.mark.parametrize("seconds", [-172_800, -6, 6, 3_600])
async def test_a_host_whose_clock_differs_from_the_databases_is_not_ready(
    client: Client, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    host = time.time
    assert (await client("GET", "/health/ready")).status == 200
    monkeypatch.setattr(time, "time", lambda: host() + seconds)
    answer = await client("GET", "/health/ready")
    assert (answer.status, answer.json["for"]) == (503, "clock")
    assert ("behind" if seconds < 0 else "ahead of") in answer.json["detail"]
    text = (await client("GET", "/metrics")).body.decode()
    [skew] = [line.split()[1] for line in text.splitlines() if line.startswith("tradewind_clock_skew_seconds{")]
    assert float(skew) == pytest.approx(seconds, abs=1)
    with capture_logs() as logged:
        watching = asyncio.create_task(watch.watch_clock(client.app))
        async with asyncio.timeout(10):
            while not logged:
                await asyncio.sleep(0.01)
        watching.cancel()
    assert (logged[0]["event"], logged[0]["log_level"]) == ("clock_differs", "error")
    monkeypatch.undo()
    assert (await client("GET", "/health/ready")).status == 200


@pytest.mark.real
async def test_a_read_that_takes_too_long_is_answered_503_with_what_to_do(world: World) -> None:
    limited = world.settings.model_copy(update={"database_read_seconds_max": 0.1})
    app = App(dataclasses.replace(SERVICE, routes=routes), limited, "api")
    client = Client(app)
    try:
        answer = await client("GET", "/v1/slow", key=await app.keys.create(STORE, "ann", ["*"]))
    finally:
        await app.database.close()
    assert (answer.status, answer.json["type"], answer.headers["retry-after"]) == (
        503,
        "/problems/query_timed_out",
        "1",
    )
    assert "after 0.1 s; ask for less" in answer.json["detail"]
    documented = app.asgi().openapi()["paths"]["/v1/slow"]["get"]
    assert "query_timed_out" in documented["x-problems"]


@pytest.mark.real
@pytest.mark.parametrize(
    ("error", "code"),
    [(OutcomeUnknown("no answer"), "outcome_unknown"), (ConnectionResetError(), "database_unavailable")],
)
async def test_an_error_that_may_come_after_a_commit_does_not_say_that_nothing_was_done(
    client: Client, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str
) -> None:
    async def fails(*arguments: Any, **named: Any) -> None:
        raise error

    key = await client.app.keys.create(STORE, "ann", ["*"])
    monkeypatch.setattr(type(client.app.shell), "submit", fails)
    monkeypatch.setattr(type(client.app.database), "transaction", fails)
    answers = [
        await client("POST", f"/v1/count/{uuid4()}/5", key=key, idempotency_key="k"),
        await client("POST", "/v1/written", key=key),
    ]
    for answer in answers:
        assert (answer.status, answer.json["type"], answer.headers["retry-after"]) == (503, f"/problems/{code}", "1")
        assert "nothing was done" not in answer.json["detail"]
        assert "same Idempotency-Key" in answer.json["detail"]


@pytest.mark.real
async def test_health_and_metrics_need_no_key_and_an_api_is_ready_without_a_broker(client: Client) -> None:
    assert (await client("GET", "/health/live")).json == {"status": "live"}
    assert (await client("GET", "/health/ready")).json == {"status": "ready", "consuming": False}
    text = (await client("GET", "/metrics")).body.decode()
    assert 'tradewind_outbox_age_seconds{service="counter"}' in text


@pytest.mark.real
async def test_operations_show_what_waits_since_when_and_for_what(client: Client, world: World) -> None:
    processes = "select 'count.ask', 'no_answer', count(*), 700::float8 from counters"
    client.app.observer = Observer(dataclasses.replace(SERVICE, processes=processes), client.app.database)
    create = client.app.keys.create
    operator, tenant = await create(None, "console", ["operations.view"]), await create(STORE, "till", ["orders.view"])
    assert (await client("GET", "/v1/operations", key=tenant)).json["type"] == "/problems/scope_missing"
    await world.tell(plus(uuid4(), play="ask"), plus(uuid4()))
    unreadable = world.from_topic(plus(uuid4()))
    assert unreadable.record is not None
    await world.take(Rejected(unreadable.record, unreadable.key, "bad_json", "no", STORE, unreadable.type))
    await world.do("update journal set at = at - interval '1 minute'")
    since = datetime.now(UTC)

    shown = (await client("GET", "/v1/operations", key=operator)).json
    assert (shown["service"], shown["role"], shown["ready"], shown["consumer"]) == ("counter", "api", True, None)
    assert shown["started_at"] < shown["at"] and set(shown["versions"]) == {"tradewind", "python", "postgresql"}
    at = datetime.fromisoformat(shown["at"])
    assert shown["outbox"]["rows"] == 1 and shown["outbox"]["set_aside"] == 0
    assert at - datetime.fromisoformat(shown["outbox"]["oldest_since"]) >= timedelta(minutes=1)
    assert (shown["parked"]["waiting"], shown["parked"]["keys"], shown["tasks_open"]) == (1, 1, 1)
    assert abs(datetime.fromisoformat(shown["parked"]["oldest_since"]) - since) < timedelta(minutes=1)
    [under_way] = shown["processes"]["items"]
    counted = datetime.fromisoformat(shown["processes"]["counted_at"])
    assert counted - datetime.fromisoformat(under_way.pop("oldest_since")) == timedelta(seconds=700)
    assert under_way == {"step": "count.ask", "waiting": "no_answer", "count": 1}
    reads = next(pool for pool in shown["pools"] if pool["name"] == "reads")
    assert 0 == reads["in_use"] < reads["connections"] <= reads["connections_max"]

    await world.do("delete from parked_keys")
    assert (await client("GET", "/v1/operations", key=operator)).json["at"] == shown["at"], "read every two seconds"
    client.app.observer._read_at -= READ_SECONDS
    client.app.consumer = Consumer(SERVICE, world.settings, world.database, world.shell, world.metrics)
    later = (await client("GET", "/v1/operations", key=operator)).json
    assert later["at"] > shown["at"] and later["processes"]["counted_at"] == shown["processes"]["counted_at"]
    assert later["parked"] == {"waiting": 1, "keys": 0, "oldest_since": None}
    assert later["consumer"] == {
        "group": "counter", "joined": False, "lag": 0, "oldest_since": None, "intake_paused": False, "trouble": None,
    }  # fmt: skip


@pytest.mark.real
async def test_without_a_database_a_service_says_that_it_waits(world: World) -> None:
    away = App(
        SERVICE, world.settings.model_copy(update={"database_url": "postgresql://nobody@127.0.0.1:1/none"}), "api"
    )
    client = Client(away)
    ready = await client("GET", "/health/ready")
    assert (ready.status, ready.json["for"]) == (503, "database")
    refused = await client("GET", "/v1/parked", key="tw_a_b")
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    await away.database.close()


@pytest.mark.real
async def test_a_process_whose_topics_cannot_be_read_or_whose_start_failed_is_not_ready(client: Client) -> None:
    """Promise 7: with the reason, until it is over."""
    app = client.app
    app.start_failed = "ValueError('the own topic does not fit')"
    answer = await client("GET", "/health/ready")
    assert (answer.status, answer.json["for"], answer.json["detail"]) == (503, "topics", app.start_failed)
    app.start_failed = None
    app.consumer = Consumer(SERVICE, app.settings, app.database, app.shell, app.metrics)
    assert (await client("GET", "/health/ready")).status == 200
    app.consumer.reads.trouble = "UnicodeDecodeError()"
    answer = await client("GET", "/health/ready")
    assert (answer.status, answer.json["detail"]) == (503, "UnicodeDecodeError()")
    app.consumer = None


# -- the journal ------------------------------------------------------------------------------------------------------


@pytest.mark.real
async def test_the_journal_of_an_aggregate_is_paged_newest_last_and_names_causes(client: Client, world: World) -> None:
    key, counter = await client.app.keys.create(STORE, "till", ["journal.view"]), uuid4()
    messages = [world.from_topic(plus(counter, amount)) for amount in (1, 2, 3)]
    await world.take(*messages)
    path = f"/v1/journal?order_id={counter}&limit=2"
    first = (await client("GET", path, key=key)).json
    rest = (await client("GET", f"{path}&cursor={first['next_cursor']}", key=key)).json
    entries = [*first["items"], *rest["items"]]
    assert [(one["kind"], one["type"], one["revision"], one["version"]) for one in entries] == [
        ("event", "counter.added", n, n) for n in (1, 2, 3)
    ]
    assert [one["cause_id"] for one in entries] == [message.ce_id for message in messages]
    assert {(one["cause_type"], one["actor"], one["published"]) for one in entries} == {("counter.add", "test", True)}
    assert [one["body"]["total"] for one in entries] == [1, 3, 6]
    assert rest["next_cursor"] is None
    operation = entries[1]["operation_id"]
    [found] = (await client("GET", f"{path}&operation_id={operation}", key=key)).json["items"]
    assert found == entries[1]


@pytest.mark.real
async def test_the_journal_shows_a_key_of_this_store_and_needs_its_scope(client: Client, world: World) -> None:
    counter, label = uuid4(), uuid4()
    await world.tell(plus(counter, 1), Stick(label_id=label, store_id=STORE, operation_id=uuid4(), actor="t", text="x"))
    mine, other, blind = [
        await client.app.keys.create(store, "till", [scope])
        for store, scope in ((STORE, "journal.view"), ("st_2", "journal.view"), (STORE, "parked.view"))
    ]
    assert len((await client("GET", f"/v1/journal?order_id={counter}", key=mine)).json["items"]) == 1
    assert len((await client("GET", f"/v1/journal?label_id={label}", key=mine)).json["items"]) == 1
    for query in (f"order_id={counter}", f"order_id={uuid4()}", f"label_id={counter}"):
        whose = other if query == f"order_id={counter}" else mine
        assert (await client("GET", f"/v1/journal?{query}", key=whose)).json["items"] == [], query
    assert (await client("GET", f"/v1/journal?order_id={counter}", key=blind)).status == 403
    for query in ("", f"?order_id={counter}&label_id={label}", "?order_id=x"):
        wrong = await client("GET", f"/v1/journal{query}", key=mine)
        assert (wrong.status, wrong.json["type"]) == (422, "/problems/request_invalid"), query
    for query, code in (
        (f"key={counter}", "query_parameter_unknown"),
        (f"order_id={counter}&cursor=x", "cursor_invalid"),
    ):
        assert (await client("GET", f"/v1/journal?{query}", key=mine)).json["type"] == f"/problems/{code}"


@pytest.mark.real
async def test_personal_values_of_the_journal_need_a_scope(client: Client, world: World) -> None:
    """A type or a field of another release is not shown without it: whether it is personal is not stated."""
    label = uuid4()
    await world.tell(Stick(label_id=label, store_id=STORE, operation_id=uuid4(), actor="t", text="x", sender="Ann"))
    scopes = (["journal.view"], ["journal.view", "personal.view"], ["*"])
    path = f"/v1/journal?label_id={label}"

    async def bodies() -> list[Any]:
        keys = [await client.app.keys.create(STORE, "till", one) for one in scopes]
        return [(await client("GET", path, key=key)).json["items"][0]["body"] for key in keys]

    masked, *whole = await bodies()
    assert (masked["text"], masked["sender"], masked["store_id"]) == ("x", "***", STORE)
    assert [body["sender"] for body in whole] == ["Ann", "Ann"]
    await world.do("update journal set payload = jsonb_set(payload::jsonb, '{later}', '\"Ann\"')::text")
    masked, *whole = await bodies()
    assert "later" not in masked
    assert [body["later"] for body in whole] == ["Ann", "Ann"]
    await world.do("update journal set type = 'counter.later'")
    masked, *whole = await bodies()
    assert masked is None
    assert [body["later"] for body in whole] == ["Ann", "Ann"]


def test_the_first_requests_make_the_openapi_document_once_and_read_it_whole() -> None:
    app, many = FastAPI(), 4
    made, all_began = list[int](), Barrier(many)
    generated = app.openapi

    def slow() -> dict[str, Any]:
        made.append(1)
        document = generated()
        Event().wait(0.05)  # others read meanwhile what FastAPI has stored
        return document

    app.openapi = slow  # type: ignore[method-assign]
    describe(app, {})

    def first_request(_: int) -> bool:
        all_began.wait()
        return "Problem" in app.openapi()["components"]["schemas"]

    with ThreadPoolExecutor(many) as pool:
        assert list(pool.map(first_request, range(many))) == [True] * many
    assert made == [1]
