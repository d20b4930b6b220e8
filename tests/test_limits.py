"""Limits across packages: every request body is bounded, and nothing is published unvalidated."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fastapi import APIRouter
from pydantic import TypeAdapter

from chassis.process.app import App
from fulfillment.handlers import SERVICE as FULFILLMENT
from invoicing.handlers import SERVICE as INVOICING
from orders.handlers import SERVICE as ORDERS
from payments.handlers import SERVICE as PAYMENTS

ROOT = Path(__file__).parents[1]
SERVICES = (ORDERS, PAYMENTS, FULFILLMENT, INVOICING)


def bodies(router: APIRouter) -> Iterator[tuple[str, Any]]:
    for route in router.routes:
        for parameter in getattr(getattr(route, "dependant", None), "body_params", ()):
            yield f"{route.path} {parameter.name}", parameter.field_info.annotation  # type: ignore[attr-defined]


def unbounded(node: Any) -> Iterator[str]:
    """The lists and mappings of a JSON Schema that have no maximum, by their schema."""
    if isinstance(node, dict):
        if node.get("type") == "array" and "maxItems" not in node:
            yield str(node)
        if isinstance(node.get("additionalProperties"), dict) and "maxProperties" not in node:
            yield str(node)
        for part in node.values():
            yield from unbounded(part)
    elif isinstance(node, list):
        for part in node:
            yield from unbounded(part)


@pytest.mark.parametrize("service", SERVICES, ids=[service.name for service in SERVICES])
def test_every_list_of_every_request_body_has_a_maximum(service: Any) -> None:
    app = cast(App, SimpleNamespace(principal=lambda scope: lambda: None))
    assert service.routes is not None
    open_ended = {
        name: found
        for name, annotation in bodies(service.routes(app))
        if (found := list(unbounded(TypeAdapter(annotation).json_schema())))
    }
    assert open_ended == {}


def test_the_walk_sees_the_bodies_of_the_services() -> None:
    app = cast(App, SimpleNamespace(principal=lambda scope: lambda: None))
    assert ORDERS.routes is not None
    assert "/v1/orders body" in dict(bodies(ORDERS.routes(app)))


VALIDATED_BEFORE = {"services/orders/src/orders/api/requests.py"}
"""Builds an order's content from the fields of a request body that was validated."""


def test_no_message_is_made_without_validation() -> None:
    found = {
        str(path.relative_to(ROOT))
        for folder in ("libs/contracts/src", "libs/chassis/src", "services")
        for path in (ROOT / folder).rglob("*.py")
        if "tests" not in path.parts
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "model_construct"
    }
    assert found == VALIDATED_BEFORE
