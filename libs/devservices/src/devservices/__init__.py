"""Real Kafka and PostgreSQL for development and tests, from PyPI packages only.

    with devservices.running(root, name="demo") as services:
        services.postgres.create_database("orders")
        connect(services.kafka.bootstrap_servers, services.postgres.dsn("orders"))

Each server is, in this order: the one at the address in `KAFKA_BOOTSTRAP_SERVERS` or `POSTGRES_URL`, if set; a container,
with `TRADEWIND_DEVSERVICES=docker`; else a program started from PyPI packages.
"""

from devservices.errors import CannotControl, DevservicesError
from devservices.kafka import Kafka
from devservices.postgres import Postgres
from devservices.servers import KafkaServer, PostgresServer, StopMode
from devservices.services import Services, running

__all__ = [
    "CannotControl",
    "DevservicesError",
    "Kafka",
    "KafkaServer",
    "Postgres",
    "PostgresServer",
    "Services",
    "StopMode",
    "running",
]
