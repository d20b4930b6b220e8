"""Real Kafka and PostgreSQL for development, tests and the demo. Nothing but PyPI packages on the machine.

    with devservices.running(root, name="demo") as services:
        services.postgres.create_database("orders")
        connect(services.kafka.bootstrap_servers, services.postgres.dsn("orders"))

Which servers these are is decided per server, in this order: the address in `KAFKA_BOOTSTRAP_SERVERS` or
`POSTGRES_URL`, if set; containers, with `TRADEWIND_DEVSERVICES=docker`; else programs started from PyPI packages.
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
