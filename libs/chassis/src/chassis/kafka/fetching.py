"""Fetches raw record batches from given offsets. What a client has subscribed or assigned to does not matter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED
from aiokafka.errors import LeaderNotAvailableError, NoError, for_code
from aiokafka.protocol.fetch import FetchRequest

from chassis.kafka.record_batches import Fetched


async def fetch(
    client: Any, send: Any, parts: Mapping[TopicPartition, int], partition_bytes: int
) -> dict[TopicPartition, Fetched]:
    """Returns the batches of each partition from its offset up to the last stable offset, without waiting for more.

    client: the AIOKafkaClient of a consumer. send: its `send`. Raises KafkaError if the broker is away or refuses one of the
    partitions.
    """
    by_node: dict[int, dict[str, list[tuple[int, int, int]]]] = {}
    for part, offset in parts.items():
        node = client.cluster.leader_for_partition(part)
        if node is None or node == -1:
            client.force_metadata_update()
            raise LeaderNotAvailableError(part)
        by_node.setdefault(node, {}).setdefault(part.topic, []).append((part.partition, offset, partition_bytes))
    fetched: dict[TopicPartition, Fetched] = {}
    for node, topics in by_node.items():
        request = FetchRequest(0, 1, partition_bytes * len(parts), READ_COMMITTED, list(topics.items()))
        response = await send(node, request)
        for topic, partitions in response.topics:
            for number, code, _, stable_end, *rest, raw in partitions:
                part = TopicPartition(topic, number)
                if (error := for_code(code)) is not NoError:
                    if error.invalid_metadata:
                        client.force_metadata_update()
                    raise error(part)
                aborted = rest[1] if response.API_VERSION >= 11 else rest[-1]
                fetched[part] = Fetched(raw or b"", aborted, stable_end)
    return fetched
