"""Detects that the database has lost commits, by a failover or a restore.

A standby that is promoted starts a new timeline; a restored backup is another cluster, another database or has other tables; a restored
disk snapshot is behind the position in the write-ahead log that was read before. Each new connection is compared with this.
"""

from __future__ import annotations

from typing import NamedTuple

# Fails with a transient error on a standby that was not promoted: it accepts no writes.
READ = """
select concat_ws('/', (select system_identifier from pg_control_system()), left(pg_walfile_name(pg_current_wal_lsn()), 8),
    (select oid from pg_database where datname = current_database()), to_regclass('relay_positions')::oid) as line,
  pg_postmaster_start_time()::text as started_at,
  (pg_current_wal_flush_lsn() - '0/0')::bigint as position"""


class History(NamedTuple):
    line: str
    """Identity of cluster, timeline, database and one of its tables: changes with a promotion or a restore."""
    started_at: str
    """Time at which the server started."""
    position: int
    """Bytes of write-ahead log that are on disk."""

    def continues(self, earlier: History) -> bool:
        """Returns whether everything that was on disk at `earlier` is still there."""
        return self.line == earlier.line and self.position >= earlier.position

    @property
    def certificate(self) -> str:
        """Changes whenever the data may have been replaced, also by a restored disk snapshot: its server was restarted."""
        return f"{self.line} {self.started_at}"
