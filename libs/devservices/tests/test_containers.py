"""Servers in containers, without a container engine; `TRADEWIND_DEVSERVICES=docker` runs every other test on containers."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from devservices.containers import _Container


@dataclass
class Meeting:
    """A container whose start waits until the other one starts too, or for 0.2 s."""

    both: threading.Barrier
    met: bool = False

    def start(self) -> None:
        try:
            self.both.wait(timeout=0.2)
            self.met = True
        except threading.BrokenBarrierError:
            pass  # the other start did not begin meanwhile


class Server(_Container):
    def __init__(self, container: Meeting) -> None:
        super().__init__("A server", "an-image")
        self.made = container

    def _make(self) -> Any:
        return self.made


def test_two_containers_are_not_started_at_the_same_time() -> None:
    """testcontainers would create its reaper twice under one name, and the second start would fail."""
    both = threading.Barrier(2)
    servers = [Server(Meeting(both)), Server(Meeting(both))]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(Server._start_container, servers))
    assert not any(server.made.met for server in servers)
