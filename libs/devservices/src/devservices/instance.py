"""A named instance: its directory, its ports, and the lock that reserves it for one process at a time.

<root>/.devservices/cache/         shared by all instances: jars, the trained AOT cache
<root>/.devservices/<name>/        lock, ports.json, kafka/, postgres/ and their logs
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from devservices.errors import DevservicesError
from devservices.ports import choose_port


class Instance:
    def __init__(self, root: Path, name: str) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,39}", name) or name == "cache":
            raise DevservicesError(
                f"'{name}' cannot name an instance: use up to 40 of a-z, 0-9, '-' and '_', and not 'cache'."
            )
        self.name = name
        self.root = root.resolve()
        self.home = self.root / ".devservices"
        self.directory = self.home / name
        self.cache = self.home / "cache"
        self._ports = self.directory / "ports.json"
        self._chosen: set[int] = set()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Creates the directories and holds the instance's lock. Raises DevservicesError if another process holds it.

        The kernel releases the lock when its process ends, also after a kill.
        """
        path = self.directory / "lock"
        try:
            for directory in (self.directory, self.cache):
                directory.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise DevservicesError(
                f"Cannot write to {self.directory} ({error.strerror}): make it writable for this user, or name running "
                "servers in KAFKA_BOOTSTRAP_SERVERS and POSTGRES_URL."
            ) from error
        with os.fdopen(descriptor, "r+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DevservicesError(
                    f"Instance '{self.name}' is in use by process {lock.read().strip() or 'unknown'} "
                    f"(lock {path}): wait for it to end, stop it, or use another name."
                ) from None
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield

    def choose(self, setting: str, named: int | None = None) -> int:
        """Returns a port for `setting` and records it: the next call returns the same port if it is still free."""
        port = choose_port(setting, named, self.recorded_port(setting), self._chosen)
        self._chosen.add(port)
        self._ports.write_text(json.dumps({**self._recorded(), setting: port}))
        return port

    def recorded_port(self, setting: str) -> int | None:
        return self._recorded().get(setting)

    def _recorded(self) -> dict[str, int]:
        try:
            return {setting: int(port) for setting, port in json.loads(self._ports.read_text()).items()}
        except (OSError, ValueError, AttributeError):
            return {}
