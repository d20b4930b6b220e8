"""Servers that run elsewhere and are named in the environment. They are used; they are never started, stopped or emptied."""

from __future__ import annotations

import socket
from typing import NoReturn
from urllib.parse import urlsplit

from devservices.databases import check, with_database
from devservices.errors import CannotControl, DevservicesError
from devservices.servers import KafkaServer, PostgresServer, StopMode

CONNECT_TIMEOUT_SECONDS = 5.0


class ExternalKafka(KafkaServer):
    setting = "KAFKA_BOOTSTRAP_SERVERS"

    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap_servers = bootstrap_servers

    @property
    def bootstrap_servers(self) -> str:
        return self._bootstrap_servers

    def start(self) -> None:
        """Raises DevservicesError unless one of the addresses accepts a connection."""
        reasons = []
        for address in self._bootstrap_servers.split(","):
            host, _, port = address.strip().rpartition(":")
            try:
                socket.create_connection((host.strip("[]"), int(port)), CONNECT_TIMEOUT_SECONDS).close()
                return
            except (OSError, ValueError) as error:
                reasons.append(f"{address.strip()}: {error}")
        raise DevservicesError(
            f"No broker of {self.setting} answers ({'; '.join(reasons)}): start it, or unset {self.setting} to have "
            "one started."
        )

    @property
    def pid(self) -> int:
        _refuse(self.setting, "return the process id of")

    def stop(self) -> None:
        _refuse(self.setting, "stop")

    def kill(self) -> None:
        _refuse(self.setting, "kill")

    def pause(self) -> None:
        _refuse(self.setting, "pause")

    def resume(self) -> None:
        _refuse(self.setting, "resume")

    def close(self) -> None:
        pass


class ExternalPostgres(PostgresServer):
    setting = "POSTGRES_URL"

    def __init__(self, base_dsn: str) -> None:
        parts = urlsplit(base_dsn)
        if parts.scheme not in ("postgresql", "postgres"):
            raise DevservicesError(
                f"{self.setting} must have the form postgresql://user:password@host:5432/postgres; the user must have the "
                "right to create databases."
            )
        self._base_dsn = base_dsn
        self.maintenance_database = parts.path.strip("/") or "postgres"

    def dsn(self, database: str) -> str:
        return with_database(self._base_dsn, database)

    def start(self) -> None:
        """Raises DevservicesError unless the server executes a statement."""
        check(self.dsn(self.maintenance_database))

    @property
    def pid(self) -> int:
        _refuse(self.setting, "return the process id of")

    def stop(self, mode: StopMode = "fast") -> None:
        _refuse(self.setting, "stop")

    def close(self) -> None:
        pass


def _refuse(setting: str, verb: str) -> NoReturn:
    raise CannotControl(
        f"Cannot {verb} the server that {setting} names: unset {setting} to have one that can be stopped."
    )
