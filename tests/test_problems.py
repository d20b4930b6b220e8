"""Every problem code in the source of a service has a page under /problems/."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import pytest
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel

from chassis.http.problems import PROBLEMS, install_problems, pages
from contracts.base import Day, Event, Timestamp
from contracts.payments import RecordCode, ReversalCode
from contracts.registry import MESSAGES
from orders.domain.decisions.actions import ACTIONS

ROOT = Path(__file__).parents[1]
CHASSIS = ROOT / "libs/chassis/src/chassis"
SERVICES = ("orders", "payments", "fulfillment", "invoicing", "webhooks", "console", "dintero_compat")
WHERE = {"Problem": 1, "known": 0, "refused": 0, "Refusal": 0, "refusal": 0}
"""The function that names a code, and which of its arguments is the code."""


def codes(folder: Path) -> Iterator[tuple[str, str]]:
    """(file, code) of each problem and refusal in the source."""
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if (
                isinstance(node, ast.Call)
                and (name := getattr(node.func, "id", getattr(node.func, "attr", ""))) in WHERE
            ):
                code = node.args[WHERE[name]] if len(node.args) > WHERE[name] else None
                if isinstance(code, ast.Constant):
                    yield path.name, str(code.value)


def own_codes(service: str) -> list[tuple[str, str]]:
    """The codes of a service, including those of the table of actions, and with which a recorded payment or a reversal is refused."""
    refused = [
        ("actions.py", code)
        for action in ACTIONS.values()
        for code, why in action.why_not.items()
        if why.answer != "done"
    ]
    recorded = [("recording.py", code) for code in get_args(RecordCode)]
    recorded += [("reversing.py", code) for code in get_args(ReversalCode)]
    more = {"orders": refused, "payments": recorded}
    return [*codes(ROOT / f"services/{service}/src"), *more.get(service, ())]


async def get(app: FastAPI, path: str, method: str = "GET", body: bytes = b"") -> tuple[int, dict[str, str], str]:
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "path": path, "raw_path": path.encode(),
        "query_string": b"", "headers": [(b"content-type", b"application/json")], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "scheme": "http", "root_path": "",
    }  # fmt: skip
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:]).decode()


def application(service: str) -> FastAPI:
    app = FastAPI()
    install_problems(app)
    app.include_router(pages(import_module(f"{service}.api").PROBLEMS))
    return app


@pytest.mark.parametrize("service", SERVICES)
async def test_every_code_that_a_service_can_answer_has_a_page(service: str) -> None:
    app = application(service)
    own, shared = own_codes(service), list(codes(CHASSIS))
    assert len(shared) > 20 and own
    for file, code in (*own, *shared):
        status, headers, page = await get(app, f"/problems/{code}")
        assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8"), f"{file}: {code} has no page"
        assert "<h2>Why</h2>" in page and "<h2>What to do</h2>" in page
    assert (await get(app, "/problems/no_such_code"))[0] == 404
    assert (await get(app, "/problems"))[0] == 200


class Part(BaseModel):
    by: Timestamp | Day
    count: int = 1


class Thing(BaseModel):
    parts: list[Part] = []
    named: dict[str, Part] = {}
    required: int


BAD, GOOD = {"by": "1041-03-08"}, {"by": "2026-01-02"}


@pytest.mark.parametrize(("body", "pointers"), [
    ({"required": 1, "parts": [GOOD, BAD]}, {"/parts/1/by"}),
    ({"parts": [{**GOOD, "count": "x"}, {}]}, {"/required", "/parts/0/count", "/parts/1/by"}),
    ({"required": None, "named": {"a/b~c": BAD}}, {"/required", "/named/a~1b~0c/by"}),
    ([], {""}),
    ({"required": 1, "parts": {"0": GOOD}}, {"/parts"}),
])  # fmt: skip
async def test_a_json_pointer_names_each_value_of_a_body_that_is_wrong(body: Any, pointers: set[str]) -> None:
    app = application("orders")

    @app.put("/thing")
    async def write(body: Thing) -> None: ...

    status, _, answer = await get(app, "/thing", "PUT", json.dumps(body).encode())
    errors = json.loads(answer)["errors"]
    assert (status, {one["where"] for one in errors}, {one["pointer"] for one in errors}) == (422, {"body"}, pointers)


async def test_a_json_pointer_names_a_parameter_that_is_wrong() -> None:
    app = application("orders")

    @app.get("/things/{number}")
    async def read(number: int) -> None: ...

    status, _, answer = await get(app, "/things/x")
    (error,) = json.loads(answer)["errors"]
    assert (status, error["where"], error["pointer"]) == (422, "path", "/number")


NOUNS = (
    "link", "action", "form", "channel", "job", "broker", "record", "sign_in", "id_token", "provider", "person", "role",
    "api_key", "scope", "actor", "store", "url", "request", "body", "header", "connections", "query", "query_parameter", "cursor", "resource", "method",
    "media_type",
    "if_match", "version", "idempotency_key", "database", "outcome", "service", "message", "replay", "filter", "order", "market", "step",
    "exception", "resolution", "obstacle", "undo", "shipment", "stock", "document", "seller", "prefix", "authorization", "capture",
    "line", "tags", "metadata", "currency", "gateway", "invoice", "credit", "operation", "amount", "hold", "refund",
    "edit", "event", "credentials", "signature", "discount", "price", "sku", "tax", "total", "endpoint", "secret", "attempt", "delivery",
    "payment", "session", "return_url", "reference", "settlement", "statement", "row", "reversal", "lines",
    "account", "draft", "item", "number", "option", "comment", "owner",
    "gift_card", "expiry", "prepayment",
    "reconciliation", "difference", "proposal", "list", "goods",
)  # fmt: skip


AS_SPECIFIED = {
    "beyond_retention", "not_forceable", "nothing_to_capture", "too_many_streams", "too_many_endpoints", "too_many_secrets",
    "not_verified", "unknown_type", "bad_filter", "bad_secret", "bad_certificate", "reserved_header", "disabled",
    "cross_origin", "exceeds_authorizable", "exceeds_capturable", "exceeds_refundable", "exceeds_reversible",
}  # fmt: skip
"""Codes of another shape."""


def event_codes() -> set[str]:
    """The codes with which events state why a command was refused."""
    return {
        word
        for model in MESSAGES.values()
        if issubclass(model, Event) and (field := model.model_fields.get("code")) is not None
        for word in get_args(field.annotation)
    }


def test_every_code_is_a_noun_and_its_state() -> None:
    every = set(PROBLEMS).union(*(import_module(f"{service}.api").PROBLEMS for service in SERVICES), event_codes())
    odd = {code for code in every - AS_SPECIFIED if not re.fullmatch(rf"({'|'.join(NOUNS)})_[a-z]+(_[a-z]+)*", code)}
    assert not odd, f"write <noun>_<state>: {sorted(odd)}"


def test_every_code_of_an_event_is_in_the_documentation() -> None:
    page = (ROOT / "docs/exceptions.md").read_text("utf-8").partition("## Codes of refused commands")[2]
    documented = set(re.findall(r"^\| `([a-z_]+)` \|", page, re.M))
    assert documented == event_codes() and "capture_exceeded" in documented


def test_nothing_is_documented_that_no_service_answers() -> None:
    said = {code for _, code in codes(CHASSIS)}
    said |= {
        "version_outdated",
        "resource_unknown",
        "method_unsupported",
        "body_too_large",
        "media_type_unsupported",
        "request_unreadable",
    }  # of Starlette's own errors
    assert set(PROBLEMS) <= said
    for service in SERVICES:
        own = {code for _, code in own_codes(service)}
        assert set(import_module(f"{service}.api").PROBLEMS) <= own, service


async def test_a_method_that_an_address_does_not_have_is_answered_with_those_it_has() -> None:
    app, router = application("orders"), APIRouter(prefix="/v1")

    @router.get("/things/{name:path}")
    async def read(name: str) -> str:
        return name

    @router.put("/things/{name:path}")
    async def write(name: str) -> str:
        return name

    app.include_router(router)
    status, headers, body = await get(app, "/v1/things/a/b", "DELETE")
    assert (status, headers["allow"]) == (405, "GET, PUT")
    assert "/problems/method_unsupported" in body
    assert "allow" not in (await get(app, "/v1/nothing", "DELETE"))[1]
