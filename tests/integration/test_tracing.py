"""One order's way is one trace over all services: the four services in this process, on a real broker and database.

Each service has a tracer provider of its own, as its process has; all of them export to one InMemorySpanExporter.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
import uvicorn
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import devservices
from chassis.batch import tracing
from chassis.batch.tracing import Tracing, provider_of
from chassis.http import server
from chassis.process.app import App
from system.processes import SAGA, Member, System
from tests.integration.conftest import ROOT, instance_name
from tests.integration.shop import Options, Shop, service_of
from tests.waiting import PATIENCE_SECONDS

EXPORTED = InMemorySpanExporter()
CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
"""The trace context of whoever wrote the snapshot: its trace is not the order's."""


class InProcess(Shop):
    """Its services run in the event loop of the test."""

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        # A part that falls ends its process by SIGTERM. Here that is the test's process, which has to live to show the log.
        self._loop.add_signal_handler(signal.SIGTERM, lambda: None)
        self._servers: list[tuple[uvicorn.Server, asyncio.Task[None]]] = []
        await super().open()

    def _start(self) -> None:
        for name in SAGA:
            listener = server.listen("127.0.0.1", 0)
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            self.system.members.append(Member(name, 0, 0, [], {}, self.scratch / name, elsewhere=url))
            asyncio.run_coroutine_threadsafe(self._serve(name, listener), self._loop).result()
        self.system.wait_ready(timeout_seconds=PATIENCE_SECONDS)

    async def _serve(self, name: str, listener: Any) -> None:
        app = App(service_of(name), self._settings(name))
        running = _Server(server.configured(app.asgi()))
        self._servers.append((running, asyncio.create_task(running.serve([listener]))))

    async def close(self) -> None:
        await super().close()
        for running, _ in self._servers:
            running.should_exit = True
        await asyncio.gather(*(task for _, task in self._servers))
        self._loop.remove_signal_handler(signal.SIGTERM)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    def exporting(service: str) -> Tracing:
        provider = provider_of(service)
        provider.add_span_processor(SimpleSpanProcessor(EXPORTED))
        return Tracing(provider)

    scratch: Path = tmp_path_factory.mktemp("tracing")
    with (
        pytest.MonkeyPatch.context() as patch,
        devservices.running(ROOT, name=instance_name(), reset=True) as servers,
        System(ROOT, servers.kafka, servers.postgres, scratch / "logs", names=SAGA) as system,
    ):
        patch.setattr(tracing, "configured", exporting)
        one = InProcess(servers, system, Options(), scratch)
        await one.open()
        yield one
        await one.close()


def spans_of(order: str) -> list[ReadableSpan]:
    """The spans of the messages about an order, over all services."""
    return [span for span in EXPORTED.get_finished_spans() if (span.attributes or {}).get("tradewind.key") == order]


def span_ids(spans: Sequence[ReadableSpan]) -> set[int]:
    return {span.context.span_id for span in spans}


def linked(spans: Sequence[ReadableSpan]) -> set[int]:
    return {link.context.span_id for span in spans for link in span.links}


async def test_an_orders_way_from_snapshot_to_invoice_is_one_trace(shop: Shop) -> None:
    """Whether it came over Kafka, with or without a trace context of its sender, or over HTTP."""
    plain, traced = shop.snapshot(), shop.snapshot()
    traced = replace(traced, headers=(*traced.headers, ("traceparent", CALLER.encode())))
    orders = [*await shop.send([plain, traced]), await shop.place()]
    await shop.until_at_rest(orders)
    await shop.ship_all(orders)  # requests without a trace context
    await shop.until_at_rest(orders)
    assert await shop.ends(orders) == {"approved/paid/fulfilled": 3}

    for order in orders:
        spans = spans_of(order)
        assert {span.context.trace_id for span in spans} == {UUID(order).int}
        assert {span.resource.attributes["service.name"] for span in spans} == {f"tradewind-{name}" for name in SAGA}
        assert {(span.attributes or {})["tradewind.outcome"] for span in spans} == {"done"}
        begun = [span for span in spans if span.parent is None]
        assert len(begun) == 2, (
            "the order and the request that ships it: all else is a child of the span that wrote its message"
        )
        assert "fulfillment.ship_shipment process" in {span.name for span in begun}
        assert {span.parent.span_id for span in spans if span.parent} <= span_ids(spans)
        followed = {span.parent.span_id for span in spans if span.parent}
        assert all(span.context.span_id in followed for span in begun)
    callers = int(CALLER.split("-")[2], 16)
    assert [callers in linked(spans_of(order)) for order in orders] == [False, True, False]


async def test_a_message_links_to_the_batch_in_which_it_was_handled_and_metrics_count_the_batch(shop: Shop) -> None:
    (order,) = await shop.send([shop.snapshot()])
    await shop.until_at_rest([order])
    batches = [span for span in EXPORTED.get_finished_spans() if span.name == "orders process"]
    assert all((span.attributes or {})["messaging.batch.message_count"] for span in batches)
    consumed = [span for span in spans_of(order) if span.resource.attributes["service.name"] == "tradewind-orders"]
    assert consumed and all(linked([span]) & span_ids(batches) for span in consumed)
    labels = 'app_name="tradewind",broker="kafka",handler="orders"'
    assert await shop.metric_says("orders", f"faststream_received_messages_in_process{{{labels}}} 0.0")
