"""Both servers from one call, started concurrently: programs, containers, or servers named in the environment."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from devservices.aot import Training
from devservices.containers import DockerKafka, DockerPostgres
from devservices.errors import DevservicesError
from devservices.external import ExternalKafka, ExternalPostgres
from devservices.instance import Instance
from devservices.kafka import Kafka
from devservices.own import own_kafka, own_postgres
from devservices.servers import KafkaServer, PostgresServer


@dataclass(frozen=True)
class Services:
    kafka: KafkaServer
    postgres: PostgresServer


@contextlib.contextmanager
def running(
    root: Path,
    name: str,
    *,
    kafka_port: int | None = None,
    postgres_port: int | None = None,
    reset: bool = False,
) -> Iterator[Services]:
    """Runs both servers of the instance `name` of the clone at `root` until the block ends.

    reset: starts without topics and databases, and flushes none at the end. It deletes data under `<root>/.devservices`;
    servers named in the environment are not emptied, and containers are empty at each start.
    Raises DevservicesError with one sentence, and stops what it started.
    """
    instance = Instance(root, name)
    with contextlib.ExitStack() as stack:
        with explained(instance):
            if needs_instance():
                stack.enter_context(instance.locked())
            services = Services(
                external_kafka() or choose_kafka(instance, kafka_port, reset=reset),
                external_postgres() or choose_postgres(instance, postgres_port, reset=reset),
            )
            # Registered before the start: an interrupted start stops what it started.
            for server in (services.postgres, services.kafka):
                stack.callback(server.discard if reset else server.close)
            start_both(services)
            if isinstance(services.kafka, Kafka):
                stack.callback(Training(instance.cache).close)
        yield services


def start_both(services: Services) -> None:
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="devservices-start") as pool:
        postgres = pool.submit(services.postgres.start)
        services.kafka.start()
        postgres.result()


def external_kafka() -> ExternalKafka | None:
    address = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    return ExternalKafka(address) if address else None


def external_postgres() -> ExternalPostgres | None:
    base_dsn = os.environ.get("POSTGRES_URL")
    return ExternalPostgres(base_dsn) if base_dsn else None


def choose_kafka(instance: Instance, port: int | None, *, reset: bool) -> KafkaServer:
    return DockerKafka(port) if wants_docker() else own_kafka(instance, port, reset=reset)


def choose_postgres(instance: Instance, port: int | None, *, reset: bool) -> PostgresServer:
    return DockerPostgres(port) if wants_docker() else own_postgres(instance, port, reset=reset)


def wants_docker() -> bool:
    wanted = os.environ.get("TRADEWIND_DEVSERVICES", "")
    if wanted not in ("", "docker"):
        raise DevservicesError(f"TRADEWIND_DEVSERVICES={wanted} is not supported: set it to 'docker', or unset it.")
    return wanted == "docker"


def needs_instance() -> bool:
    """Whether a directory is used: containers and servers named in the environment have none, so nothing is locked."""
    return not wants_docker() and not (external_kafka() and external_postgres())


@contextlib.contextmanager
def explained(instance: Instance) -> Iterator[None]:
    """Turns an unexpected OSError (disk full, files of another user) into a DevservicesError with path and remedy."""
    try:
        yield
    except OSError as error:
        raise DevservicesError(
            f"{error.filename or instance.directory}: {error.strerror or error}; free space or grant this user permission "
            f"there, or remove {instance.directory} to start without data."
        ) from error
