"""What every Kafka and every PostgreSQL can do here, whoever runs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

from devservices.databases import create_database, drop_database

StopMode = Literal["fast", "immediate"]  # immediate is a crash: the next start recovers from the write-ahead log


class KafkaServer(ABC):
    """A broker. `start` returns when it serves clients; the address stays the same across stop and start."""

    @property
    @abstractmethod
    def bootstrap_servers(self) -> str: ...

    @property
    @abstractmethod
    def pid(self) -> int: ...

    @abstractmethod
    def start(self) -> None: ...

    @abstractmethod
    def stop(self) -> None:
        """SIGTERM: leaders are handed over and logs flushed. Returns when the process is gone."""

    @abstractmethod
    def kill(self) -> None:
        """SIGKILL. Returns when the process is gone."""

    @abstractmethod
    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""

    @abstractmethod
    def resume(self) -> None: ...

    @abstractmethod
    def close(self) -> None:
        """Stops what we started and leaves alone what we did not. May be called twice."""

    def restart(self) -> None:
        self.stop()
        self.start()


class PostgresServer(ABC):
    """A PostgreSQL on which databases can be made. `start` returns when it accepts connections."""

    maintenance_database = "postgres"

    @abstractmethod
    def dsn(self, database: str) -> str: ...

    @property
    @abstractmethod
    def pid(self) -> int: ...

    @abstractmethod
    def start(self) -> None: ...

    @abstractmethod
    def stop(self, mode: StopMode = "fast") -> None: ...

    @abstractmethod
    def close(self) -> None:
        """Stops what we started and leaves alone what we did not. May be called twice."""

    def restart(self, mode: StopMode = "fast") -> None:
        self.stop(mode)
        self.start()

    def create_database(self, name: str) -> None:
        """Makes the database unless it is there."""
        create_database(self.dsn(self.maintenance_database), name)

    def drop_database(self, name: str) -> None:
        """Drops the database if it is there, with the connections it still has."""
        drop_database(self.dsn(self.maintenance_database), name)
