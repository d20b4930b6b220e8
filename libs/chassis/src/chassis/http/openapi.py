"""The OpenAPI document of a service: FastAPI's own, completed with the problems that each operation can answer.

A route names the problems of its own with `openapi_extra=answers(...)`; those that follow from what it takes (an API key, a
cursor, an Idempotency-Key, a body) are added here. `x-problems` of an operation lists the codes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict

from chassis.http.problems import CODES, NEEDS_NOTHING, PROBLEM, PROBLEMS, Problems

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


def describe(app: FastAPI, of_service: Problems) -> None:
    """Make `app.openapi()` complete. Raises KeyError when a route names a problem that has no page."""
    every = {**PROBLEMS, **of_service}
    generated = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            _complete(generated(), every)
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


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
    yield from ("url_unreadable", "unavailable", "fault")
    if "security" in operation:
        yield from ("no_api_key", "bad_api_key", "scope_missing")
    if "X-Store-Id" in parameters:
        yield from ("store_missing", "store_invalid")
    if parameters or "requestBody" in operation:
        yield "invalid_request"
    if "cursor" in parameters:
        yield "bad_cursor"
    if "requestBody" in operation:
        yield from ("http_error", "too_large")
    if "Idempotency-Key" in parameters:
        yield from (
            "bad_idempotency_key", "idempotency_key_reused", "outcome_unknown", "request_timed_out", "not_found",
        )  # fmt: skip
