"""Spans of messages: in the trace of their aggregate, as children of their sender's span; nothing at all when off."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from chassis_counter import plus
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from chassis.batch import tracing
from chassis.batch.inbound import Inbound
from chassis.batch.parking import Rejected
from chassis.batch.record import Record
from chassis.batch.tracing import ENDPOINTS, Tracing, provider_of
from chassis.declare.app import Outcome
from contracts.envelope import traceparent

KEY = UUID("cdac17fa-748d-5c30-afb4-776fd89a573f")
FOREIGN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
RECORD = Record("counter.commands.v1", 3, 7, None, None, [])


@pytest.fixture
def exported() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def on(exported: InMemorySpanExporter) -> Tracing:
    provider = provider_of("counter")
    provider.add_span_processor(SimpleSpanProcessor(exported))
    return Tracing(provider)


def message(traced: str | None = None, key: UUID = KEY, **more: Any) -> Inbound:
    return Inbound("topic", key, "st_1", uuid4(), "counter.add", plus(key), "c", traced, record=RECORD, **more)


def handled(on: Tracing, *entries: Inbound | Rejected, outcome: Outcome | None = None) -> None:
    with on.handling(entries) as outcomes:
        outcomes += [outcome or Outcome("done")] * len(entries)


def span(exported: InMemorySpanExporter) -> ReadableSpan:
    (found,) = exported.get_finished_spans()
    return found


def test_the_next_message_of_an_order_is_a_child_in_its_trace(on: Tracing, exported: InMemorySpanExporter) -> None:
    first = message()
    handled(on, first)
    handled(on, message(first.traceparent))
    begun, next_one = exported.get_finished_spans()
    assert traceparent(first.traceparent) == first.traceparent
    assert {begun.context.trace_id, next_one.context.trace_id} == {KEY.int}
    assert begun.parent is None and next_one.parent is not None
    assert next_one.parent.span_id == begun.context.span_id
    assert begun.kind is SpanKind.CONSUMER


@pytest.mark.parametrize("sampled", ["01", "00"])
def test_another_trace_is_linked_and_does_not_decide_whether_the_order_is_sampled(
    on: Tracing, exported: InMemorySpanExporter, sampled: str
) -> None:
    one = message(FOREIGN[:-2] + sampled)
    handled(on, one)
    found = span(exported)
    assert (found.context.trace_id, found.parent) == (KEY.int, None)
    assert [link.context.trace_id for link in found.links] == [int(FOREIGN.split("-")[1], 16)]


def test_what_a_sampler_left_out_is_left_out_in_the_next_service_too(
    on: Tracing, exported: InMemorySpanExporter
) -> None:
    handled(on, message(f"00-{KEY.hex}-00f067aa0ba902b7-00"))
    assert exported.get_finished_spans() == ()


def test_a_parked_message_and_a_failed_batch_end_with_an_error(on: Tracing, exported: InMemorySpanExporter) -> None:
    handled(on, message(), outcome=Outcome("parked", error=ValueError("no")))
    with pytest.raises(TimeoutError), on.handling([message(), message()]):
        raise TimeoutError
    spans = exported.get_finished_spans()
    assert [(one.attributes or {})["tradewind.outcome"] for one in spans] == ["parked", "failed", "failed"]
    assert {one.status.status_code for one in spans} == {StatusCode.ERROR}


@pytest.mark.parametrize("key", [UUID(int=0), UUID(int=(1 << 128) - 1)])
def test_no_key_and_no_rejected_record_stops_a_batch(on: Tracing, key: UUID) -> None:
    handled(on, Rejected(RECORD, None, "bad_json", "no"), message(key=key), message(FOREIGN, key=key))


def test_off_it_leaves_the_senders_trace_context_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    off, one = tracing.configured("counter"), message(FOREIGN)
    handled(off, one)
    assert (off.provider, one.traceparent) == (None, FOREIGN)


def test_a_disabled_sdk_leaves_the_senders_trace_context_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINTS[1], "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    one = message(FOREIGN)
    handled(tracing.configured("counter"), one)
    assert one.traceparent == FOREIGN


async def test_an_endpoint_switches_it_on_and_a_collector_that_is_away_delays_no_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(ENDPOINTS[0], "http://127.0.0.1:1/v1/traces")
    on = tracing.configured("counter")
    handled(on, message())
    await on.close()
    assert on.provider is not None
    assert on.provider.resource.attributes["service.name"] == "tradewind-counter"
