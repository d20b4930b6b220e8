"""The same two servers as containers, with testcontainers; `TRADEWIND_DEVSERVICES=docker` chooses them.

The host's ports are fixed before the first start: Docker would choose other ports at each start, and a restarted server
must keep its address. The data is in the container and is deleted with it.
"""

from __future__ import annotations

import socket
import threading
from abc import ABC, abstractmethod
from textwrap import dedent
from typing import Any

from devservices.databases import check
from devservices.errors import DevservicesError
from devservices.ports import HOST, choose_port
from devservices.processes import wait_for
from devservices.servers import KafkaServer, PostgresServer, StopMode

KAFKA_IMAGE = "apache/kafka:4.3.1"
POSTGRES_IMAGE = "postgres:17-alpine"
START_TIMEOUT_SECONDS = 120.0
STOP_TIMEOUT_SECONDS = 30
# Length, key 18, version 0, correlation id 1, no client id.
API_VERSIONS_REQUEST = bytes.fromhex("0000000a 0012 0000 00000001 ffff")

KAFKA_SETTINGS = {
    "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
    "KAFKA_MESSAGE_MAX_BYTES": "5242880",
    "KAFKA_REPLICA_FETCH_MAX_BYTES": "5242880",
    "KAFKA_BROKER_SESSION_TIMEOUT_MS": "3000",
    "KAFKA_BROKER_HEARTBEAT_INTERVAL_MS": "500",
    "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
}

ONE_AT_A_TIME = threading.Lock()
"""The first start creates testcontainers' clean-up container (its reaper); two concurrent starts would create two."""


class _Container(ABC):
    """What both have in common: a testcontainers container, created at the first start and reused after a stop."""

    def __init__(self, title: str, image: str) -> None:
        self._title = title
        self._image = image
        self._container: Any = None  # testcontainers has no types for what is used here

    @property
    def pid(self) -> int:
        """The process id on the container engine's host."""
        container = self._running()
        container.reload()
        return int(container.attrs["State"]["Pid"])

    def close(self) -> None:
        if self._container is not None:
            self._container.stop()
            self._container = None

    @abstractmethod
    def _make(self) -> Any:
        """Returns a testcontainers container that is not started."""

    def _start_container(self) -> None:
        if self._container is not None:
            self._container.get_wrapped_container().start()
            return
        try:
            self._container = self._make()
            with ONE_AT_A_TIME:
                self._container.start()
        except ImportError as error:
            raise DevservicesError(
                f"The package '{error.name}' is missing, which TRADEWIND_DEVSERVICES=docker needs: install "
                "testcontainers, or unset it."
            ) from error
        except Exception as error:  # of docker, requests or testcontainers
            raise DevservicesError(
                f"{self._title} could not be started from the image {self._image} ({error}): check that 'docker info' "
                "works, or unset TRADEWIND_DEVSERVICES to run without containers."
            ) from error

    def _running(self) -> Any:
        if self._container is None:
            raise DevservicesError(f"{self._title} is not running: start it first.")
        return self._container.get_wrapped_container()

    def _signal(self, name: str) -> None:
        container = self._running()
        container.kill(signal=name)
        container.wait(timeout=STOP_TIMEOUT_SECONDS)


class DockerKafka(_Container, KafkaServer):
    def __init__(self, port: int | None) -> None:
        super().__init__("Kafka", KAFKA_IMAGE)
        self._port = choose_port("kafka_port", port)

    @property
    def bootstrap_servers(self) -> str:
        return f"{HOST}:{self._port}"

    def start(self) -> None:
        self._start_container()
        wait_for(self._serves, f"Kafka in its container at {self.bootstrap_servers}", START_TIMEOUT_SECONDS)

    def stop(self) -> None:
        self._running().stop(timeout=STOP_TIMEOUT_SECONDS)

    def kill(self) -> None:
        self._signal("SIGKILL")

    def pause(self) -> None:
        self._running().pause()

    def resume(self) -> None:
        self._running().unpause()

    def _serves(self) -> bool:
        """Whether the broker answers a request. An open port proves nothing: the engine's proxy opens it earlier."""
        try:
            with socket.create_connection((HOST, self._port), timeout=1) as connection:
                connection.sendall(API_VERSIONS_REQUEST)
                return len(connection.recv(4)) == 4
        except OSError:
            return False

    def _make(self) -> Any:
        from testcontainers.community.kafka import KafkaContainer
        from testcontainers.core.container import DockerContainer

        class ApacheKafkaContainer(KafkaContainer):
            """KafkaContainer for Apache's image, which has another start script and other settings than Confluent's."""

            def start(self, timeout: int = 0) -> ApacheKafkaContainer:
                self._configure_kraft()
                script = self.TC_START_SCRIPT
                # exec makes the broker process 1, which receives the signals.
                self.with_command(f'sh -c "while [ ! -f {script} ]; do sleep 0.1; done; exec sh {script}"')
                DockerContainer.start(self)
                self.tc_start()
                return self

            def tc_start(self) -> None:
                address = f"{HOST}:{self.get_exposed_port(self.port)}"
                script = f"""\
                    export KAFKA_ADVERTISED_LISTENERS={self.listener_name}://{address},BROKER://$(hostname -i):9092
                    exec /etc/kafka/docker/run
                    """
                self.create_file(dedent(script).encode(), self.TC_START_SCRIPT)

        container = ApacheKafkaContainer(self._image)
        for name, value in KAFKA_SETTINGS.items():
            container.with_env(name, value)
        return _on_loopback(container, self._port)


class DockerPostgres(_Container, PostgresServer):
    PASSWORD = "postgres"  # for a database on loopback that is deleted after the tests

    def __init__(self, port: int | None) -> None:
        super().__init__("PostgreSQL", POSTGRES_IMAGE)
        self._port = choose_port("postgres_port", port)

    def dsn(self, database: str) -> str:
        return f"postgresql://postgres:{self.PASSWORD}@{HOST}:{self._port}/{database}"

    def start(self) -> None:
        self._start_container()
        wait_for(self._serves, f"PostgreSQL in its container at {HOST}:{self._port}", START_TIMEOUT_SECONDS)

    def stop(self, mode: StopMode = "fast") -> None:
        self._signal("SIGINT" if mode == "fast" else "SIGQUIT")

    def _serves(self) -> bool:
        try:
            check(self.dsn(self.maintenance_database))
        except DevservicesError:
            return False
        return True

    def _make(self) -> Any:
        from testcontainers.community.postgres import PostgresContainer

        container = PostgresContainer(
            self._image, username="postgres", password=self.PASSWORD, dbname="postgres", driver=None
        )
        container.with_command("postgres -c max_connections=200 -c max_wal_size=2GB -c checkpoint_timeout=15min")
        return _on_loopback(container, self._port)


def _on_loopback(container: Any, port: int) -> Any:
    """Binds the port to loopback; `with_bind_ports` would open it to the network."""
    container.ports[str(container.port)] = (HOST, port)
    return container
