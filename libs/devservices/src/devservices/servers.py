"""The interfaces of the two servers, the same for programs, containers and servers named in the environment."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

from devservices.databases import create_database, drop_database

StopMode = Literal["fast", "immediate"]  # immediate is a crash: the next start recovers from the write-ahead log


class Server(ABC):
    """`start` returns when the server serves clients. Its address stays the same across stop and start."""

    @property
    @abstractmethod
    def pid(self) -> int: ...

    @abstractmethod
    def start(self) -> None: ...

    @abstractmethod
    def close(self) -> None:
        """Stops the server if it was started here. A second call has no effect."""

    def discard(self) -> None:
        """As `close`, if nothing reads the data again: the server may leave out what it writes at its end."""
        self.close()


class KafkaServer(Server):
    """A single-node broker, or the brokers named in the environment."""

    @property
    @abstractmethod
    def bootstrap_servers(self) -> str: ...

    @abstractmethod
    def stop(self) -> None:
        """SIGTERM: the broker moves its leaders and flushes its logs. Returns when the process has ended."""

    @abstractmethod
    def kill(self) -> None:
        """SIGKILL. Returns when the process has ended."""

    @abstractmethod
    def pause(self) -> None:
        """SIGSTOP: connections stay open, requests get no response. Returns when the broker has stopped."""

    @abstractmethod
    def resume(self) -> None: ...

    def restart(self) -> None:
        self.stop()
        self.start()


class PostgresServer(Server):
    """A PostgreSQL whose user may create databases."""

    maintenance_database = "postgres"

    @abstractmethod
    def dsn(self, database: str) -> str: ...

    @abstractmethod
    def stop(self, mode: StopMode = "fast") -> None: ...

    def restart(self, mode: StopMode = "fast") -> None:
        self.stop(mode)
        self.start()

    def create_database(self, name: str) -> None:
        """Creates the database unless it exists."""
        create_database(self.dsn(self.maintenance_database), name)

    def drop_database(self, name: str) -> None:
        """Drops the database if it exists, and closes its connections."""
        drop_database(self.dsn(self.maintenance_database), name)
