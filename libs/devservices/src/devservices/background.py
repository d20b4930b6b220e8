"""Servers that outlive the command that started them, and that later commands find again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TypeVar

from devservices.aot import Training
from devservices.errors import DevservicesError
from devservices.instance import Instance
from devservices.kafka import Kafka
from devservices.own import own_kafka, own_postgres, recorded_kafka, recorded_postgres
from devservices.postgres import Postgres
from devservices.servers import KafkaServer, PostgresServer
from devservices.services import Services, external_kafka, external_postgres, start_both, wants_docker

Own = TypeVar("Own", Kafka, Postgres)


@contextlib.contextmanager
def left_running(
    instance: Instance, *, kafka_port: int | None = None, postgres_port: int | None = None
) -> Iterator[Services]:
    """Starts the servers that do not run yet and leaves them running. Call with the instance locked.

    If the block raises, the servers that this call started are stopped. Raises DevservicesError with
    `TRADEWIND_DEVSERVICES=docker`: test containers end with the process that made them.
    """
    if wants_docker():
        raise DevservicesError(
            "Test containers cannot be left running: use 'docker compose up', or unset TRADEWIND_DEVSERVICES."
        )
    started: list[Kafka | Postgres] = []
    kafka, postgres = found(instance)
    if kafka is None:
        started.append(kafka := own_kafka(instance, kafka_port, detached=True))
    if postgres is None:
        started.append(postgres := own_postgres(instance, postgres_port, detached=True))
    services = Services(kafka, postgres)
    try:
        start_both(services)
        yield services
    except BaseException:
        for server in started:
            server.close()
        raise
    if isinstance(kafka, Kafka):
        Training(instance.cache, detached=True)


def found(instance: Instance) -> tuple[KafkaServer | None, PostgresServer | None]:
    """The servers that run already: named in the environment, or left running by an earlier command."""
    return (
        external_kafka() or _left_earlier(recorded_kafka(instance)),
        external_postgres() or _left_earlier(recorded_postgres(instance)),
    )


def stop_left(instance: Instance) -> int:
    """Stops the servers that were left running and returns how many there were. Call with the instance locked."""
    left = [server for server in (recorded_kafka(instance), recorded_postgres(instance)) if server.find()]
    for server in left:
        server.close()
    return len(left)


def _left_earlier(server: Own) -> Own | None:
    return server if server.find() and server.outlives_us else None
