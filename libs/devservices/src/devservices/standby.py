"""A standby of one of our PostgreSQL servers: asynchronous streaming replication, as a test of a failover needs it."""

from __future__ import annotations

from pathlib import Path

from devservices.postgres import Postgres
from devservices.postgres_home import PostgresHome


class Standby(Postgres):
    """`directory` holds log and record; the data lie beside those of `primary`. Not started; its first start copies the primary."""

    def __init__(self, primary: Postgres, directory: Path, port: int) -> None:
        home = primary.home
        super().__init__(
            directory, PostgresHome(home.binaries, home.data.with_name(f"{home.data.name}-standby"), home.uid), port
        )
        self._primary = primary

    def _make_cluster(self) -> None:
        self.home.make_directory(self.home.data)
        self._run([
            self.home.binaries / "pg_basebackup", "--dbname", self._primary.dsn("postgres"), "--pgdata", self.home.data,
            "--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast",
        ])  # fmt: skip

    def _is_ready(self) -> bool:
        return self._status() in ("standby", "ready")
