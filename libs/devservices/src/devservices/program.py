"""What Kafka and PostgreSQL have in common when they run as programs on this machine."""

from __future__ import annotations

import shutil
from pathlib import Path

from devservices.processes import ServerProcess


class ServerProgram:
    """A server process with a data directory and a log. `detached`: the server outlives the process that starts it."""

    def __init__(self, process: ServerProcess, data: Path, *, detached: bool) -> None:
        self._process = process
        self._data = data
        self._detached = detached

    @property
    def pid(self) -> int:
        return self._process.pid

    def find(self) -> bool:
        """Attaches to the server that an earlier process started here, if it still runs."""
        return self._process.find()

    @property
    def outlives_us(self) -> bool:
        """True for a server that was started detached, also when `find` attached to it."""
        return self._process.detached

    def erase(self) -> None:
        """Deletes data and log. The server must not run."""
        shutil.rmtree(self._data, ignore_errors=True)
        self._process.log.unlink(missing_ok=True)
