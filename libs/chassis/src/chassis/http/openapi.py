"""Completes FastAPI's OpenAPI document of a service: problems of each operation, links between pages, currencies, and the
requests that the service itself sends.

A route names its own problems with `openapi_extra=answers(...)`. Those that follow from its parameters (an API key, a cursor,
an Idempotency-Key, a body) are added here. `x-problems` of an operation lists the codes.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from threading import Lock
from typing import Any, Final

from fastapi import FastAPI, Header, Request
from fastapi.dependencies.models import Dependant
from pydantic import BaseModel, ConfigDict
from starlette.responses import JSONResponse, Response

from chassis.declare.app import Problems, Requests
from chassis.http.problems import CODES, NEEDS_NOTHING, PROBLEM, PROBLEMS, known
from contracts.money import CURRENCY_PATTERN, EXPONENTS

_METHODS: Final = frozenset({"get", "put", "post", "delete", "patch"})


class ProblemBody(BaseModel):
    """RFC 9457. Some kinds of problem have further members."""

    model_config = ConfigDict(extra="allow")

    type: str
    """The address of its page at this service: `/problems/<code>`."""
    title: str
    status: int
    detail: str
    instance: str | None = None


ANY: Final = "*"
"""Parameters that others define, like those with which an identity provider sends a browser back."""


async def check_query(request: Request) -> None:
    """A dependency of every route. Raises Problem 400 with the names of query parameters that the route does not read."""
    if not request.query_params:
        return
    read = query_parameters(request.scope["route"].dependant)
    if ANY in read:
        return
    if unknown := sorted(set(request.query_params) - read):
        names = ", ".join(name[:100] for name in unknown[:10])
        raise known(
            "query_parameter_unknown", f"unknown: {names}; this route reads: {', '.join(sorted(read)) or 'none'}"
        )


def query_parameters(dependant: Dependant) -> set[str]:
    """Returns the names of the query parameters of a route and of its dependencies; with ANY, if a model of them allows others.

    The OpenAPI document has them too, but making it takes as long as the rest of a start.
    """
    names: set[str] = set().union(*map(query_parameters, dependant.dependencies))
    for parameter in dependant.query_params:
        kind = parameter.field_info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):  # a model of parameters: each field is one
            names |= {field.alias or name for name, field in kind.model_fields.items()}
            if kind.model_config.get("extra") == "allow":
                names.add(ANY)
        else:
            names.add(parameter.alias)
    return names


def describe(app: FastAPI, of_service: Problems, requests: Callable[[], Requests] | None = None) -> None:
    """Makes `app.openapi()` complete, and serves it. Raises KeyError if a route names a problem without a page."""
    every = {**PROBLEMS, **of_service}
    generated, one_at_a_time = app.openapi, Lock()

    def document() -> dict[str, Any]:
        with one_at_a_time:  # requests come in several threads, and FastAPI stores it before it is complete
            if app.openapi_schema is None:
                whole = generated()
                if requests is not None:
                    _add_requests(whole, requests())
                _complete(whole, every)
        assert app.openapi_schema is not None
        return app.openapi_schema

    def served(request: Request) -> Response:
        """Runs in a thread: a document of many routes takes a second."""
        return JSONResponse(app.openapi())

    app.openapi = document  # type: ignore[method-assign]  # the way that FastAPI documents
    app.add_route("/openapi.json", served, include_in_schema=False)


def _complete(document: dict[str, Any], every: Problems) -> None:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas["Problem"] = ProblemBody.model_json_schema(ref_template="#/components/schemas/{model}")
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)  # FastAPI's own shape of a 422, which no route answers
    schemas["Currency"] = {"type": "string", "enum": sorted(EXPONENTS), "description": "An active ISO 4217 code."}
    _name_currencies(document)
    for path, operations in document["paths"].items():
        _link_list(path, document)
        for method in _METHODS & operations.keys():
            _describe_parameters(operations[method])
            _add_problems(operations[method], every)


def _add_requests(document: dict[str, Any], requests: Requests) -> None:
    schemas = document["components"]["schemas"]
    for name, schema in requests.schemas.items():
        assert schemas.setdefault(name, schema) == schema, f"two schemas have the name {name}"
    document["webhooks"] = dict(requests.webhooks)


HEADER_PATTERN: Final = "^[!-~]([ -~]{0,253}[!-~])?$"
"""1 to 255 characters of printable ASCII; a server strips the spaces around a header's value."""


def shown_header(name: str, pattern: str, description: str, examples: Sequence[str] = ()) -> Any:
    """Describes a header in the document only: another function checks it and raises a problem with its own code."""
    schema = {"pattern": pattern} | ({"examples": [*examples]} if examples else {})
    return Header(alias=name, description=description, json_schema_extra=schema)


def _name_currencies(part: Any) -> None:
    """Makes every currency refer to the list of codes."""
    if isinstance(part, dict):
        if part.get("pattern") == CURRENCY_PATTERN:
            part.pop("pattern"), part.pop("type")
            part["$ref"] = "#/components/schemas/Currency"
        for below in part.values():
            _name_currencies(below)
    elif isinstance(part, list):
        for below in part:
            _name_currencies(below)


def _describe_parameters(operation: dict[str, Any]) -> None:
    """Removes null from the schemas of parameters: one that is None in Python is left out of the request."""
    for parameter in operation.get("parameters", ()):
        schema = parameter["schema"]
        if {"type": "null"} in schema.get("anyOf", ()):
            [given] = [one for one in schema.pop("anyOf") if one != {"type": "null"}]
            schema |= given


def _link_list(path: str, document: dict[str, Any]) -> None:
    """Adds the links of a list: to its next page, and to every operation on one of its items."""
    operation = document["paths"][path].get("get", {})
    if not any(parameter["name"] == "cursor" for parameter in operation.get("parameters", ())):
        return
    answer = operation["responses"]["200"]
    links = answer["links"] = {"next": _link(operation, {"cursor": "$response.body#/next_cursor"})}
    page = _resolved(answer["content"]["application/json"]["schema"], document)
    fields = _resolved(page["properties"]["items"]["items"], document)["properties"]
    for below, operations in document["paths"].items():
        if below.startswith(f"{path}/{{"):
            named = {name: name if name in fields else "id" for name in re.findall(r"{(\w+)}", below)}
            if not fields.keys() >= set(named.values()):
                continue  # e.g. of a refund of an order: the list of orders does not have its id
            ids = {name: f"$response.body#/items/0/{field}" for name, field in named.items()}
            for method in _METHODS & operations.keys():
                links[operations[method]["operationId"]] = _link(operations[method], ids)


def _link(operation: dict[str, Any], parameters: dict[str, str]) -> dict[str, Any]:
    return {"operationId": operation["operationId"], "parameters": parameters}


def _resolved(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found


def _add_problems(operation: dict[str, Any], every: Problems) -> None:
    alone = operation.pop(NEEDS_NOTHING, False)
    codes = sorted({*operation.get(CODES, ()), *(() if alone else _implied(operation))})
    by_status: dict[int, list[str]] = defaultdict(list)
    for code in codes:
        by_status[every[code].status].append(code)
    operation["responses"].pop("422", None)
    for status, found in sorted(by_status.items()):
        response = operation["responses"].setdefault(str(status), {"description": ""})
        texts = [response["description"], *(f"`{code}`: {every[code].title}." for code in found)]
        response["description"] = "\n\n".join(filter(None, texts))
        response.setdefault("content", {})[PROBLEM] = {"schema": {"$ref": "#/components/schemas/Problem"}}
    operation[CODES] = codes


def _implied(operation: dict[str, Any]) -> Iterator[str]:
    """Returns the problems that follow from the parameters of an operation."""
    parameters = {parameter["name"] for parameter in operation.get("parameters", ())}
    yield from ("url_unreadable", "query_parameter_unknown", "database_unavailable", "service_failed")
    if "security" in operation:
        yield from ("api_key_missing", "api_key_unknown", "scope_missing", "query_timed_out")
    if "X-Store-Id" in parameters:
        yield from ("store_missing", "store_invalid")
    if "X-Act-As" in parameters:
        yield from ("actor_forbidden", "actor_invalid")
    if parameters or "requestBody" in operation:
        yield "request_invalid"
    if "cursor" in parameters:
        yield "cursor_invalid"
    if "requestBody" in operation:
        yield from ("request_unreadable", "body_too_large", "media_type_unsupported")
    if "If-Match" in parameters:
        yield from ("if_match_invalid", "version_outdated")
    if "Idempotency-Key" in parameters:
        yield from (
            "idempotency_key_invalid", "idempotency_key_reused", "outcome_unknown", "request_timed_out", "resource_unknown",
        )  # fmt: skip
