"""Traces of OpenTelemetry: a span for each message that is handled, one trace for each order over all services.

The id of the trace is the id of the aggregate that the message is about, for nearly all messages the order's. So every
part of an order's way is in one trace, whether a record, a request, a timer or a task began it, and the order's id finds it.
A span is a child of the span whose traceparent the message carries if that is of the same trace; else it has a link to it.

Off, at the cost of one check per batch, unless one of ENDPOINTS is set. OpenTelemetry's own variables configure the rest.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, StatusCode, TraceFlags

from chassis.batch.inbound import Inbound
from chassis.batch.parking import Rejected
from chassis.declare.app import Outcome

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""Environment variables that switch tracing on: where a collector takes OTLP over HTTP, e.g. http://127.0.0.1:4318."""
EXPORT_SECONDS_MAX: Final = 2.0
"""Time limit of an export, its retries included; OTEL_EXPORTER_OTLP_TIMEOUT sets another."""
_KINDS: Final[Mapping[str, SpanKind]] = {"topic": SpanKind.CONSUMER, "http": SpanKind.SERVER}

_trace_id: ContextVar[int] = ContextVar("trace_id")
"""The trace of a span that has no parent."""


class Tracing:
    """Spans around the handling of messages. Without a provider it does nothing."""

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self.provider = provider
        self._tracer = provider.get_tracer("chassis") if provider is not None else None

    async def close(self) -> None:
        """Export what is left. With a collector that is away this takes EXPORT_SECONDS_MAX."""
        if self.provider is not None:
            await asyncio.to_thread(self.provider.shutdown)

    @contextmanager
    def handling(self, entries: Sequence[Inbound | Rejected]) -> Iterator[list[Outcome]]:
        """A span per message of `entries`; everything that its decision makes carries the span's traceparent.

        The caller appends one outcome per entry. Without them, or after an exception, the spans end with an error.
        """
        outcomes: list[Outcome] = []
        if self._tracer is None:
            yield outcomes
            return
        spans = [self._begin(entry) if type(entry) is Inbound else None for entry in entries]
        try:
            yield outcomes
        except BaseException as error:
            _end(spans, "failed", repr(error))
            raise
        for span, outcome in zip(spans, outcomes, strict=True):
            _end([span], outcome.status, None if outcome.error is None else repr(outcome.error))

    def _begin(self, inbound: Inbound) -> Span:
        assert self._tracer is not None
        context, links = Context(), []
        sender = _span_of(inbound.traceparent)
        if sender is not None and sender.trace_id == inbound.key.int:
            context = trace.set_span_in_context(NonRecordingSpan(sender), context)
        elif sender is not None:
            links.append(Link(sender))
        batch = trace.get_current_span().get_span_context()
        if batch.is_valid:
            links.append(Link(batch))
        token = _trace_id.set(inbound.key.int)
        try:
            span = self._tracer.start_span(
                f"{inbound.type} process",
                context,
                _KINDS.get(inbound.origin, SpanKind.INTERNAL),
                _about(inbound),
                links,
            )
        finally:
            _trace_id.reset(token)
        own = span.get_span_context()
        if own.is_valid:  # not with OTEL_SDK_DISABLED
            inbound.traceparent = _traceparent(own)
        return span


def _about(inbound: Inbound) -> dict[str, Any]:
    """Attributes of a span. No content of the message: it may be personal."""
    found: dict[str, Any] = {
        "tradewind.key": str(inbound.key),
        "tradewind.store_id": inbound.store_id,
        "tradewind.message_id": str(inbound.id),
        "messaging.message.conversation_id": inbound.correlation_id,
    }
    if inbound.record is not None:
        found |= {
            "messaging.system": "kafka",
            "messaging.operation.type": "process",
            "messaging.destination.name": inbound.record.topic,
            "messaging.destination.partition.id": str(inbound.record.partition),
            "messaging.kafka.offset": inbound.record.offset,
        }
    return found


def _end(spans: Iterable[Span | None], outcome: str, error: str | None) -> None:
    for span in spans:
        if span is not None:
            span.set_attribute("tradewind.outcome", outcome)
            if error is not None:
                span.set_status(StatusCode.ERROR, error[:1000])
            span.end()


def _span_of(traceparent: str | None) -> SpanContext | None:
    """`traceparent`: checked by `contracts.envelope`, or None."""
    if traceparent is None:
        return None
    _, trace_id, span_id, flags = traceparent.split("-")
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))


def _traceparent(span: SpanContext) -> str:
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"


def provider_of(service: str) -> TracerProvider:
    """A provider without an exporter. Spans without a parent are in the trace of the aggregate."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class AggregateIds(RandomIdGenerator):
        def generate_trace_id(self) -> int:
            return _trace_id.get(0) or super().generate_trace_id()

    name = os.environ.get("OTEL_SERVICE_NAME", f"tradewind-{service}")
    return TracerProvider(resource=Resource.create({"service.name": name}), id_generator=AggregateIds())


def configured(service: str) -> Tracing:
    """As the environment configures it. The SDK is imported only if tracing is on."""
    if not any(os.environ.get(name) for name in ENDPOINTS):
        return Tracing()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    own = None if "OTEL_EXPORTER_OTLP_TIMEOUT" in os.environ else EXPORT_SECONDS_MAX
    provider = provider_of(service)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=own)))
    return Tracing(provider)
