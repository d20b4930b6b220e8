"""The gauges of the endpoints."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from prometheus_client import CollectorRegistry

from webhooks.delivery.line import Opened
from webhooks.delivery.metrics import DeliveryMetrics


def line(because: Any, waiting: int, cursor: int) -> Any:
    return SimpleNamespace(opened=Opened(because), lanes=SimpleNamespace(waiting=waiting, cursor=cursor))


def test_an_endpoint_with_too_many_events_that_wait_counts_as_open_like_one_whose_receiver_fails() -> None:
    registry = CollectorRegistry()
    metrics = DeliveryMetrics(SimpleNamespace(registry=registry))  # type: ignore[arg-type]
    metrics.observe([line("waiting", 10_001, 4), line("failures", 5, 40), line(None, 1, 90)], head=100)

    def shown(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"tradewind_{name}", {"service": "webhooks", **labels})

    assert shown("breakers_open") == 2
    assert (shown("delivery_lag", breaker="open"), shown("delivery_lag", breaker="closed")) == (96, 10)
    assert shown("deliveries_waiting") == 10_007
