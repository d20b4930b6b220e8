"""OpenAPI describes every route of every service: its answer, its problems, its security scheme."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from typing import Any, Final

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from jsonschema import Draft202012Validator
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from chassis.http.openapi import query_parameters
from chassis.http.problems import PROBLEMS
from chassis.process.app import App
from contracts.registry import MESSAGES, is_published
from webhooks.delivery.render import BATCH_MEDIA_TYPE, MEDIA_TYPE, REPLAY, TEST
from webhooks.domain.signing import signed_headers

SERVICES: Final = ("orders", "payments", "fulfillment", "invoicing", "webhooks", "dintero_compat")
OPEN: Final = {
    "/v1/accounts/{aid}/auth/token",
    "/v1/gateways/{gateway}/{account}/events",
    "/health/live",
    "/health/ready",
    "/metrics",
    "/problems",
    "/problems/{code}",
}
"""Routes without an API key; a gateway signs its events, a client of Dintero's API sends its key as a password."""
OUTSIDE_OF_ROUTES: Final = {
    "header_too_large", "request_too_slow", "request_malformed", "connections_exhausted", "method_unsupported",
}  # fmt: skip
"""Problems answered before routing."""

OPEN_BODIES: Final = {"dintero_compat"}
"""Services whose bodies take unknown fields: Dintero's API does, and they are stored as metadata of the order."""

WITHOUT_ROUTE: Final = {"operation_uncovered"}
"""Problems answered where a service has no route."""


@cache
def application(service: str) -> FastAPI:
    found = import_module(f"{service}.handlers").SERVICE
    return App(found, found.settings(database_url="postgresql://127.0.0.1:1/none"), "api").asgi()


def document(service: str) -> dict[str, Any]:
    return application(service).openapi()


def operations(service: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document(service)["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def resolved(service: str, schema: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    return document(service)["components"]["schemas"][name] if name else schema


@pytest.mark.parametrize("service", SERVICES)
def test_every_route_describes_what_it_answers(service: str) -> None:
    for name, operation in operations(service):
        good = {status: one for status, one in operation["responses"].items() if status < "300"}
        waits = any(parameter["name"] == "wait" for parameter in operation.get("parameters", ()))
        tries = name == "POST /v1/endpoints/{endpoint_id}/replay"  # 200: a dry run, which starts nothing
        assert len(good) == 1 or ((waits or tries) and len(good) == 2 and "202" in good), name
        for media_type, content in next(iter(good.values()))["content"].items():
            schema = resolved(service, content["schema"])
            if media_type != "application/json":
                continue
            assert schema.get("properties") or schema.get("anyOf"), f"{name} has no response model"


@pytest.mark.parametrize("service", SERVICES)
def test_every_route_needs_an_api_key_but_those_of_health_and_problems(service: str) -> None:
    assert set(document(service)["components"]["securitySchemes"]) == {"bearer", "api_key"}
    for name, operation in operations(service):
        shown = [next(iter(one)) for one in operation.get("security", [])]
        assert sorted(shown) == ([] if name.split()[1] in OPEN else ["api_key", "bearer"]), name


@pytest.mark.parametrize("service", SERVICES)
def test_a_route_reads_the_query_parameters_that_it_describes(service: str) -> None:
    for route in iter_route_contexts(application(service).routes):
        if isinstance(route.original_route, APIRoute) and route.original_route.include_in_schema:
            for method in route.original_route.methods:
                described = document(service)["paths"][route.path_format][method.lower()].get("parameters", ())
                names = {parameter["name"] for parameter in described if parameter["in"] == "query"}
                assert query_parameters(route.original_route.dependant) == names, route.path_format


def test_every_problem_is_a_problem_document_and_every_kind_is_in_a_route() -> None:
    named: set[str] = set()
    for service in SERVICES:
        every = {**PROBLEMS, **import_module(f"{service}.api").PROBLEMS}
        for name, operation in operations(service):
            named |= set(operation["x-problems"])
            for code in operation["x-problems"]:
                answer = operation["responses"][str(every[code].status)]
                schema = answer["content"]["application/problem+json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/Problem"}, name
                assert f"`{code}`" in answer["description"], name
        assert every.keys() - PROBLEMS.keys() <= named | WITHOUT_ROUTE, service
    assert PROBLEMS.keys() - named == OUTSIDE_OF_ROUTES


@pytest.mark.parametrize("service", SERVICES)
def test_a_document_is_openapi(service: str) -> None:
    OPENAPI_31_VALIDATOR.validate(document(service))


def test_the_request_of_every_type_of_event_is_described_with_an_example_that_it_accepts() -> None:
    whole = document("webhooks")
    requests = {name: item["post"] for name, item in whole["webhooks"].items()}
    assert requests.keys() == {name for name, model in MESSAGES.items() if is_published(model)} | {"webhooks.verify"}
    del requests["webhooks.verify"]  # no event
    for name, request in requests.items():
        content = request["requestBody"]["content"]
        alone, batch = (
            Draft202012Validator({**content[media_type]["schema"], "components": whole["components"]})
            for media_type in (MEDIA_TYPE, BATCH_MEDIA_TYPE)
        )
        example = content[MEDIA_TYPE]["example"]
        thin = {field: value for field, value in example.items() if field != "data"} | {"dataref": "/v1/events/1"}
        for valid in (example, thin):
            alone.validate(valid)
            batch.validate([valid, example])
        for wrong in ({"type": "orders.teleported"}, {"data": {}}, {"dataref": "/v1/events/1"}, {"storeid": None}):
            assert not alone.is_valid(example | wrong), (name, wrong)


def test_the_headers_of_a_delivery_are_described() -> None:
    sent = signed_headers([], "msg_1", datetime.now(UTC), b"").keys()
    for request in document("webhooks")["webhooks"].values():
        headers = {one["name"]: one["required"] for one in request["post"]["parameters"]}
        assert {name for name, required in headers.items() if required} == sent
        assert headers.keys() - sent <= {REPLAY, TEST}


@pytest.mark.parametrize("service", SERVICES)
def test_every_schema_of_a_document_is_a_json_schema(service: str) -> None:
    for schema in schemas(document(service)):
        Draft202012Validator.check_schema(schema)


def schemas(part: Any) -> Iterator[dict[str, Any]]:
    """The schemas of components, parameters, bodies and answers, without those that are a part of another."""
    if isinstance(part, dict):
        yield from (one for name, one in part.items() if name == "schema")
        yield from part.get("schemas", {}).values()
        for name, below in part.items():
            if name not in ("schema", "schemas"):
                yield from schemas(below)
    elif isinstance(part, list):
        for below in part:
            yield from schemas(below)


@pytest.mark.parametrize("service", SERVICES)
def test_no_path_of_a_document_matches_another_one(service: str) -> None:
    """Else a method that one of them lacks would be answered by the other. The routes below `/api` match ids alone."""
    paths = document(service)["paths"]
    for path in paths:
        a_part = "[0-9a-f-]{36}" if path.startswith("/api/") else "[^/]+"
        pattern = re.compile(re.sub(r"\\{\w+\\}", a_part, re.escape(path)))
        assert [one for one in paths if one != path and pattern.fullmatch(one)] == []


@pytest.mark.parametrize("service", SERVICES)
def test_a_parameter_is_never_null_and_a_currency_is_one_of_a_list(service: str) -> None:
    for name, operation in operations(service):
        for parameter in operation.get("parameters", ()):
            assert "null" not in json.dumps(parameter["schema"]), (name, parameter["name"])
    assert "[A-Z]{3}" not in json.dumps(document(service))


@pytest.mark.parametrize("service", SERVICES)
def test_a_list_links_to_its_next_page_and_to_the_operations_on_an_item(service: str) -> None:
    links = {
        name: {to: one["parameters"] for to, one in operation["responses"].get("200", {}).get("links", {}).items()}
        for name, operation in operations(service)
        if any(parameter["name"] == "cursor" for parameter in operation.get("parameters", ()))
    }
    assert {"GET /v1/parked"} <= links.keys()
    assert all(one["next"] == {"cursor": "$response.body#/next_cursor"} for one in links.values())
    parked = [one for to, one in links["GET /v1/parked"].items() if to != "next"]
    assert parked == [{"parked_id": "$response.body#/items/0/id"}] * 4


@pytest.mark.parametrize("service", SERVICES)
def test_a_link_takes_its_ids_from_fields_that_an_item_has(service: str) -> None:
    for name, operation in operations(service):
        answer = operation["responses"].get("200", {})
        for link in answer.get("links", {}).values():
            for taken in set(link["parameters"].values()) - {"$response.body#/next_cursor"}:
                page = resolved(service, answer["content"]["application/json"]["schema"])
                item = resolved(service, page["properties"]["items"]["items"])
                assert taken.removeprefix("$response.body#/items/0/") in item["properties"], (name, link)


def unknown_is_ignored(
    service: str, schema: dict[str, Any], place: str, seen: frozenset[str] = frozenset()
) -> Iterator[str]:
    """Yields the places of a body at which a field that its schema does not have is taken."""
    if (ref := schema.get("$ref", "")) in seen and ref:
        return
    schema, seen = resolved(service, schema), seen | {ref}
    if "properties" in schema and schema.get("additionalProperties") is not False:
        yield place
    # Beside properties, alternatives state only which of them are required.
    kinds = () if "properties" in schema else ("anyOf", "oneOf", "allOf")
    below = [(place, one) for kind in kinds for one in schema.get(kind, ())]
    below += [(f"{place}/{name}", one) for name, one in schema.get("properties", {}).items()]
    below += [
        (f"{place}/*", schema[name]) for name in ("items", "additionalProperties") if isinstance(schema.get(name), dict)
    ]
    for at, one in below:
        yield from unknown_is_ignored(service, one, at, seen)


@pytest.mark.parametrize("service", [one for one in SERVICES if one not in OPEN_BODIES])
def test_a_misspelt_field_of_a_request_is_refused_at_every_level(service: str) -> None:
    for name, operation in operations(service):
        for content in operation.get("requestBody", {}).get("content", {}).values():
            assert list(unknown_is_ignored(service, content["schema"], name)) == []
