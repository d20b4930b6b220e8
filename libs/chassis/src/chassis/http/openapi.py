"""The OpenAPI document of a service: FastAPI's own, completed with the problems that each operation can answer.

A route names the problems of its own with `openapi_extra=answers(...)`; those that follow from what it takes (an API key, a
cursor, an Idempotency-Key, a body) are added here. `x-problems` of an operation lists the codes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

from fastapi import FastAPI, Request
from pydantic import BaseModel, ConfigDict

from chassis.declare.app import Problems
from chassis.http.problems import CODES, NEEDS_NOTHING, PROBLEM, PROBLEMS, known

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


def check_query(request: Request) -> None:
    """A dependency of every route. Raises Problem 400 that names the query parameters which the route does not read."""
    path: str = request.scope["route"].path_format
    operation = request.app.openapi()["paths"][path][request.method.lower()]
    read = {parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "query"}
    if unknown := sorted(set(request.query_params) - read):
        names = ", ".join(name[:100] for name in unknown[:10])
        raise known(
            "query_parameter_unknown", f"unknown: {names}; this route reads: {', '.join(sorted(read)) or 'none'}"
        )


def describe(app: FastAPI, of_service: Problems) -> None:
    """Make `app.openapi()` complete. Raises KeyError when a route names a problem that has no page."""
    every = {**PROBLEMS, **of_service}
    generated = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            _complete(generated(), every)
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # the way that FastAPI documents


def _complete(document: dict[str, Any], every: Problems) -> None:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas["Problem"] = ProblemBody.model_json_schema(ref_template="#/components/schemas/{model}")
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)  # FastAPI's own shape of a 422, which no route answers
    for operations in document["paths"].values():
        for method in _METHODS & operations.keys():
            _add_problems(operations[method], every)


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
    """The problems that follow from what an operation takes."""
    parameters = {parameter["name"] for parameter in operation.get("parameters", ())}
    yield from ("url_unreadable", "query_parameter_unknown", "database_unavailable", "service_failed")
    if "security" in operation:
        yield from ("api_key_missing", "api_key_unknown", "scope_missing")
    if "X-Store-Id" in parameters:
        yield from ("store_missing", "store_invalid")
    if parameters or "requestBody" in operation:
        yield "request_invalid"
    if "cursor" in parameters:
        yield "cursor_invalid"
    if "requestBody" in operation:
        yield from ("request_unreadable", "body_too_large")
    if "If-Match" in parameters:
        yield from ("if_match_invalid", "version_outdated")
    if "Idempotency-Key" in parameters:
        yield from (
            "idempotency_key_invalid", "idempotency_key_reused", "outcome_unknown", "request_timed_out", "resource_unknown",
        )  # fmt: skip
