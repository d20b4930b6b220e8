"""Every list has a maximum, every sum too, and what is accepted at the door can be published to the end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from contracts_payloads import payloads
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from contracts.base import json_bytes
from contracts.envelope import Poison, headers, read
from contracts.fulfillment import Reserve, StockTotals
from contracts.ids import order_id
from contracts.limits import MINOR_MAX, ORDER_LINES_MAX, QUANTITY_MAX, TAXES_MAX
from contracts.registry import MESSAGES, SNAPSHOTS
from contracts.schemas import reader
from contracts.snapshot import OrderContent, Snapshot
from contracts.snapshot.sizes import SMALL_BODY_BYTES, SMALL_BYTES


def unbounded(model: type[BaseModel]) -> Iterator[str]:
    """The paths of a model's lists and mappings that have no maximum."""
    schema = model.model_json_schema()

    def walk(node: Any, path: str) -> Iterator[str]:
        if isinstance(node, dict):
            if node.get("type") == "array" and "maxItems" not in node:
                yield path
            if isinstance(node.get("additionalProperties"), dict) and "maxProperties" not in node:
                yield path
            for name, part in node.items():
                yield from walk(part, f"{path}.{name}")
        elif isinstance(node, list):
            for n, part in enumerate(node):
                yield from walk(part, f"{path}[{n}]")

    return walk(schema, model.__name__)


@pytest.mark.parametrize("model", MESSAGES.values(), ids=MESSAGES)
def test_every_list_of_every_message_has_a_maximum(model: type[BaseModel]) -> None:
    assert list(unbounded(model)) == []


def test_the_walk_finds_a_list_and_a_mapping_without_maximum() -> None:
    class Open(BaseModel):
        texts: tuple[str, ...] = ()
        by_name: dict[str, int] = {}

    assert list(unbounded(Open)) == ["Open.properties.texts", "Open.properties.by_name"]


def line(n: int, **more: Any) -> dict[str, Any]:
    return {"external_line_id": str(n), "quantity": {"ordered": 1}, "line_total_minor": 0, **more}


def content(*lines: dict[str, Any], **more: Any) -> dict[str, Any]:
    told = {"external_order_id": "A-1", "placed_at": "2026-11-21T09:30:00Z", "currency": "EUR", "lines": list(lines)}
    return told | more


def snapshot(order: dict[str, Any]) -> dict[str, Any]:
    source = {"channel": "bol", "account": "a", "updated_at": "2026-11-21T09:30:00Z", "content_hash": "1"}
    return {"source": source, "order": order}


def refused(order: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Snapshot.model_validate(snapshot(order))


def test_the_pieces_of_an_order_have_a_maximum_together() -> None:
    most = {"ordered": QUANTITY_MAX - 1}
    Snapshot.model_validate(snapshot(content(line(1, quantity=most), line(2))))
    refused(content(line(1, quantity=most), line(2, quantity={"ordered": 2})), f"at most {QUANTITY_MAX}")


def test_the_prices_of_an_order_have_a_maximum_together_even_if_a_discount_brings_it_down() -> None:
    prices = [line(1, line_total_minor=MINOR_MAX), line(2, line_total_minor=1)]
    refused(content(*prices, totals={"discount_minor": 5, "grand_minor": MINOR_MAX - 4}), f"at most {MINOR_MAX}")
    Snapshot.model_validate(snapshot(content(prices[0], totals={"grand_minor": MINOR_MAX})))


def test_a_reservation_of_more_pieces_than_its_answer_can_count_is_refused() -> None:
    key = "00000000-0000-4000-8000-000000000001"
    wanted = [{"line_id": str(n), "sku": str(n), "quantity": 600_000_000} for n in range(2)]
    command = {"order_id": key, "store_id": "s", "operation_id": key, "actor": "orders", "locations": ["main"]}
    Reserve.model_validate(command | {"lines": wanted[:1]})
    with pytest.raises(ValidationError, match="1200000000 pieces"):
        Reserve.model_validate(command | {"lines": wanted})


def test_a_copy_of_a_message_cannot_leave_the_bounds_of_its_model() -> None:
    with pytest.raises(ValidationError, match="less than or equal to"):
        StockTotals().model_copy(update={"reserved": QUANTITY_MAX + 1})


@pytest.mark.parametrize(
    ("lines", "texts"),
    [
        (ORDER_LINES_MAX + 1, {}),
        (ORDER_LINES_MAX, {"title": "t" * 500}),
        (800, {"sku": "中" * 190}),
        (300, {"title": "\x01" * 1_000}),
        (700, {"external_unit_ids": ["u" * 200] * 5}),
    ],
)
def test_an_order_whose_messages_would_not_fit_is_refused_and_the_limit_named(
    lines: int, texts: dict[str, Any]
) -> None:
    refused(content(*(line(n, **texts) for n in range(lines))), "at most (1000|900000)")


@pytest.mark.parametrize("texts", [{}, {"sku": "S-123456", "title": "t" * 100, "gtin": "4006381333931"}])
def test_an_order_of_a_thousand_ordinary_lines_is_taken(texts: dict[str, Any]) -> None:
    Snapshot.model_validate(snapshot(content(*(line(n, **texts) for n in range(ORDER_LINES_MAX)))))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_small_body_is_small_when_we_write_it(data: st.DataObject) -> None:
    schema = reader(Snapshot)
    body = json.dumps(data.draw(payloads(schema, schema)), separators=(",", ":"), ensure_ascii=False)
    try:
        message = Snapshot.model_validate_json(body)
    except ValidationError:
        return  # a rule across fields
    assert len(json_bytes(message.order)) <= 10 * len(body.encode()) + 1_000


@pytest.mark.parametrize(
    "more", [{}, {"tax": [{}] * TAXES_MAX}, {"windows": {"deliver_by": "2026-11-21T09:30Z"}}, {"gift": {}}]
)
def test_the_shortest_lines_grow_at_most_tenfold(more: dict[str, Any]) -> None:
    body = json.dumps(snapshot(content(*(line(n, **more) for n in range(100)))), separators=(",", ":"))
    written = len(json_bytes(Snapshot.model_validate_json(body).order))
    assert written <= 10 * len(body) + 1_000 and SMALL_BODY_BYTES * 10 + 1_000 <= SMALL_BYTES


def test_a_snapshot_that_is_too_wide_is_parked_as_too_large() -> None:
    wide = Snapshot.model_construct(
        source=Snapshot.model_validate(snapshot(content())).source,
        order=OrderContent.model_validate(content(*(line(n, sku=f"{n}" + "中" * 190) for n in range(800)))),
    )
    key = order_id("s", "bol", "a", "A-1")
    named = headers(ce_id="1", source="bol", type="marketplace.snapshot", time=wide.source.updated_at,
                    subject=str(key), store_id="s", correlation_id="1")  # fmt: skip
    with pytest.raises(Poison) as parked:
        read(SNAPSHOTS, str(key).encode(), wide.model_dump_json(exclude_defaults=True).encode(), named)
    assert parked.value.cause == "too_large"
    assert "at most 900000" in parked.value.detail
