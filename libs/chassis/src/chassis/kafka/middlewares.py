"""FastStream's Prometheus and OpenTelemetry middlewares, for batches that span topics and partitions.

Their own providers label a batch with the topic and the partition of its first record. Here the label is the consumer group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from faststream.kafka.prometheus.provider import BatchKafkaMetricsSettingsProvider
from faststream.prometheus import ConsumeAttrs, PrometheusMiddleware
from prometheus_client import CollectorRegistry

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider


def metering(group: str, registry: CollectorRegistry) -> Any:
    """Series `faststream_received_*` with the labels `app_name="tradewind"`, `broker="kafka"`, `handler=<group>`."""
    provider = _BatchMetrics(group)
    return PrometheusMiddleware(
        settings_provider_factory=lambda batch: provider, registry=registry, app_name="tradewind"
    )


class _BatchMetrics(BatchKafkaMetricsSettingsProvider):
    def __init__(self, group: str) -> None:
        super().__init__()
        self._group = group

    def get_consume_attrs_from_message(self, msg: Any) -> ConsumeAttrs:
        records = msg.raw_message
        return {
            "destination_name": self._group,
            "message_size": sum(len(record.value or b"") for record in records),
            "messages_count": len(records),
        }


def tracing_of_batches(group: str, tracer_provider: TracerProvider) -> Any:
    """A span per batch, in a trace of its own. The spans of its messages link to it, see `chassis.batch.tracing`."""
    from faststream.kafka.opentelemetry.provider import BatchKafkaTelemetrySettingsProvider
    from faststream.opentelemetry import TelemetryMiddleware

    class BatchSpans(BatchKafkaTelemetrySettingsProvider):
        def get_consume_attrs_from_message(self, msg: Any) -> dict[str, Any]:
            return {
                "messaging.system": self.messaging_system,
                "messaging.consumer.group.name": group,
                "messaging.batch.message_count": len(msg.raw_message),
            }

        def get_consume_destination_name(self, msg: Any) -> str:
            return group

    provider = BatchSpans()
    return TelemetryMiddleware(settings_provider_factory=lambda batch: provider, tracer_provider=tracer_provider)
