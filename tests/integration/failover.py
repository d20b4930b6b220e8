"""A PostgreSQL with a standby behind one address that stays the same, as a virtual IP or a proxy gives it."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from pathlib import Path

import asyncpg

from devservices.ports import HOST, choose_port
from devservices.postgres import Postgres
from devservices.servers import PostgresServer, StopMode
from devservices.standby import Standby


class Pair(PostgresServer):
    """Clients connect to `forwarder`; `fail_over` kills the primary and promotes the standby, which may be behind."""

    def __init__(self, primary: Postgres, directory: Path) -> None:
        self._primary = primary
        directory.mkdir()
        self._standby = Standby(primary, directory, choose_port("STANDBY_PORT", None, None))
        self._forwarder = Forwarder(port_of(primary))

    def dsn(self, database: str) -> str:
        return re.sub(r":\d+/", f":{self._forwarder.port}/", self._primary.dsn(database))

    @property
    def pid(self) -> int:
        return self._primary.pid

    def start(self) -> None:
        self._standby.start()

    def stop(self, mode: StopMode = "fast") -> None:
        self._primary.stop(mode)

    def close(self) -> None:
        self._forwarder.close()
        self._standby.close()
        self._standby.erase()

    async def fall_behind(self) -> None:
        """Stops replication: the standby replays what it has and receives nothing more."""
        await self._on_standby("alter system set primary_conninfo = ''", "select pg_reload_conf()")
        connection = await asyncpg.connect(self._standby.dsn("postgres"))
        try:
            while await connection.fetchval("select exists (select from pg_stat_wal_receiver)"):
                pass
        finally:
            await connection.close()

    async def fail_over(self) -> None:
        self._primary.stop("immediate")
        await self._on_standby("select pg_promote(wait => true)")
        self._forwarder.target = port_of(self._standby)

    async def _on_standby(self, *statements: str) -> None:
        connection = await asyncpg.connect(self._standby.dsn("postgres"))
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()


def port_of(server: Postgres) -> int:
    found = re.search(r":(\d+)/", server.dsn("postgres"))
    assert found is not None
    return int(found[1])


class Forwarder:
    """TCP on loopback: a connection goes where `target` points when it is made."""

    def __init__(self, target: int) -> None:
        self.target = target
        self._listener = socket.create_server((HOST, 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection((HOST, self.target))
                except OSError:
                    client.close()
                    continue
                for one, other in ((client, server), (server, client)):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    threading.Thread(target=_pump, args=(one, other), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
    for one in (source, sink):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
