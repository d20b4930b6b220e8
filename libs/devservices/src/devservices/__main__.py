"""The servers from the command line, left running in the background.

python -m devservices up|down|status [--root DIRECTORY] [--name NAME]
python -m devservices pin-jars       resolves Kafka's jars anew and writes the list of their SHA-256
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TypeVar

from devservices.aot import Training, train
from devservices.errors import DevservicesError
from devservices.instance import Instance
from devservices.jars import PIN_LIST, pin_jars
from devservices.kafka import Kafka
from devservices.own import own_kafka, own_postgres, recorded_kafka, recorded_postgres
from devservices.postgres import Postgres
from devservices.servers import KafkaServer, PostgresServer
from devservices.services import Services, explained, external_kafka, external_postgres, start_both, wants_docker

Server = TypeVar("Server", Kafka, Postgres)


def main() -> int:
    arguments = _parser().parse_args()
    try:
        if arguments.command == "pin-jars":
            print(f"{pin_jars()} jars pinned in {PIN_LIST}")
            return 0
        if arguments.command == "train":
            train(arguments.cache)
            return 0
        instance = Instance(arguments.root, arguments.name)
        with explained(instance):
            if arguments.command == "up":
                return up(instance, arguments.kafka_port, arguments.postgres_port)
            return down(instance) if arguments.command == "down" else status(instance)
    except DevservicesError as error:
        print(f"devservices: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def up(instance: Instance, kafka_port: int | None, postgres_port: int | None) -> int:
    """Starts what does not run yet, prints the addresses and leaves. Interrupted, it stops what it started."""
    if wants_docker():
        raise DevservicesError(
            "'up' cannot leave test containers running: use 'docker compose up', or unset TRADEWIND_DEVSERVICES."
        )
    with instance.locked():
        started: list[Kafka | Postgres] = []
        kafka: KafkaServer | None = external_kafka() or _background(recorded_kafka(instance))
        if kafka is None:
            started.append(kafka := own_kafka(instance, kafka_port, detached=True))
        postgres: PostgresServer | None = external_postgres() or _background(recorded_postgres(instance))
        if postgres is None:
            started.append(postgres := own_postgres(instance, postgres_port, detached=True))
        services = Services(kafka, postgres)
        try:
            start_both(services)
        except BaseException:
            for server in started:
                server.close()
            raise
        if isinstance(kafka, Kafka):
            Training(instance.cache, detached=True)
    _print_addresses(services)
    return 0


def down(instance: Instance) -> int:
    """Stops the processes that `up` recorded, if they are still those."""
    if not instance.directory.exists():
        print(f"nothing runs: {instance.directory} does not exist")
        return 0
    with instance.locked():
        for title, server in (("Kafka", recorded_kafka(instance)), ("PostgreSQL", recorded_postgres(instance))):
            if server.find():
                pid = server.pid
                server.close()
                print(f"{title} stopped (process {pid})")
            else:
                print(f"{title} does not run")
    return 0


def status(instance: Instance) -> int:
    """0 if both run, else 3."""
    if not instance.directory.exists():
        print(f"nothing runs: {instance.directory} does not exist")
        return 3
    kafka, postgres = recorded_kafka(instance), recorded_postgres(instance)
    kafka_runs, postgres_runs = kafka.find(), postgres.find()
    print("Kafka " + (f"runs, process {kafka.pid}" if kafka_runs else "does not run"))
    print("PostgreSQL " + (f"runs, process {postgres.pid}" if postgres_runs else "does not run"))
    if not (kafka_runs and postgres_runs):
        return 3
    _print_addresses(Services(kafka, postgres))
    return 0


def _background(server: Server) -> Server | None:
    return server if server.find() and server.outlives_us else None


def _print_addresses(services: Services) -> None:
    """As lines of an environment file."""
    print(f"KAFKA_BOOTSTRAP_SERVERS={services.kafka.bootstrap_servers}")
    print(f"POSTGRES_URL={services.postgres.dsn('postgres')}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m devservices", description="Kafka and PostgreSQL for development")
    commands = parser.add_subparsers(dest="command", required=True, metavar="up|down|status|pin-jars")
    for command in ("up", "down", "status"):
        sub = commands.add_parser(command)
        sub.add_argument("--root", type=Path, default=Path.cwd(), help="of the clone; the current directory by default")
        sub.add_argument("--name", default="up", help="of the instance: each has its own data")
    for option in ("--kafka-port", "--postgres-port"):
        commands.choices["up"].add_argument(option, type=int, help="chosen free, and kept, by default")
    commands.add_parser("pin-jars")
    commands.add_parser("train").add_argument("--cache", type=Path, required=True)
    return parser


if __name__ == "__main__":
    sys.exit(main())
