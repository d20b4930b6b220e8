"""Servers of an instance that run from PyPI packages: objects for those that were started earlier, and for new starts."""

from __future__ import annotations

from devservices.errors import DevservicesError
from devservices.instance import Instance
from devservices.kafka import Kafka
from devservices.postgres import Postgres
from devservices.postgres_home import find_home


def recorded_kafka(instance: Instance) -> Kafka:
    """The broker as it was last started; `find` returns whether it runs."""
    port, controller_port = (instance.recorded_port(setting) or 0 for setting in ("kafka_port", "controller_port"))
    return Kafka(instance.directory / "kafka", instance.cache, port, controller_port)


def recorded_postgres(instance: Instance) -> Postgres:
    """The server as it was last started; `find` returns whether it runs."""
    return Postgres(instance.directory, find_home(instance), instance.recorded_port("postgres_port") or 0)


def own_kafka(instance: Instance, port: int | None, *, reset: bool = False, detached: bool = False) -> Kafka:
    """A new server, not started. Call with the instance locked. reset: deletes its data."""
    earlier = recorded_kafka(instance)
    _end_leftover(earlier, instance)
    if reset:
        earlier.erase()
    ports = instance.choose("kafka_port", port), instance.choose("controller_port")
    return Kafka(instance.directory / "kafka", instance.cache, *ports, detached=detached)


def own_postgres(instance: Instance, port: int | None, *, reset: bool = False, detached: bool = False) -> Postgres:
    """A new server, not started. Call with the instance locked. reset: deletes its data."""
    earlier = recorded_postgres(instance)
    _end_leftover(earlier, instance)
    if reset:
        earlier.erase()
    chosen = instance.choose("postgres_port", port)
    return Postgres(instance.directory, find_home(instance), chosen, detached=detached)


def _end_leftover(server: Kafka | Postgres, instance: Instance) -> None:
    """Stops a server that a killed process left behind, before a port is chosen: it may hold the instance's port."""
    if server.find():
        if server.outlives_us:
            raise DevservicesError(
                f"Instance '{instance.name}' already runs in the background (process {server.pid}): use another name, "
                f"or stop it with 'python -m system down --name {instance.name}'."
            )
        server.close()
