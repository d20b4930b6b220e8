"""A topic of one test on a broker that many tests share."""

from __future__ import annotations

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, UnknownTopicOrPartitionError
from aiokafka.protocol.fetch import FetchRequest

from contracts.registry import PARTITIONS
from tests.waiting import until


async def renew_topic(bootstrap_servers: str, name: str, **configs: str) -> None:
    """Makes the topic anew: empty, and with these settings alone. A test before may have left its records and its settings.

    A broker deletes and creates some time after its response. Until then it serves the old partitions, also under the new
    topic's name: what is published to them is lost.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()

    async def answers(*codes: int) -> bool:
        partitions = [(number, 0, 1) for number in range(PARTITIONS)]
        request = FetchRequest(0, 0, 1, 0, [(name, partitions)])
        response = await admin._client.send(admin._client.get_random_node(), request)
        return all(code in codes for _, parts in response.topics for _, code, *_ in parts)

    async def made() -> bool:
        code = (await admin.create_topics([NewTopic(name, PARTITIONS, 1, topic_configs=configs)])).topic_errors[0][1]
        assert code in (0, TopicAlreadyExistsError.errno), code
        return bool(code == 0)

    try:
        await admin.delete_topics([name])
        await until(lambda: answers(UnknownTopicOrPartitionError.errno), f"the end of the old {name}")
        await until(made, f"a new {name}")
        await until(lambda: answers(0), f"the leaders of the new {name}")
    finally:
        await admin.close()
