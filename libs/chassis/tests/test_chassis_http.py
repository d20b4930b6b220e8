"""HTTP of every service: who may ask, pages that miss nothing, requests that take effect once, problems with a remedy."""

import base64
import dataclasses
import json
import re
import time
from collections.abc import Container, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event
from typing import Any
from uuid import uuid4

import pytest
from chassis_client import Answer, Client, routes
from chassis_counter import SERVICE, STORE, World
from fastapi import FastAPI, Request
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from chassis.batch.errors import OutcomeUnknown
from chassis.declare.app import Principal
from chassis.http.auth import acting
from chassis.http.bodies import BODY_BYTES_MAX
from chassis.http.commands import ANY_VERSION, idempotency_key, if_match
from chassis.http.openapi import describe
from chassis.http.paging import Cursors, RowNumber, sealed
from chassis.http.problems import Problem
from chassis.process.app import App

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
