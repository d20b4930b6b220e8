"""What the servers in containers promise without an engine; with one, `TRADEWIND_DEVSERVICES=docker` runs every test on them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from devservices.containers import _Container


@dataclass
class Meeting:
    """A container whose start takes until the other one is being started too, or a moment."""

    both: threading.Barrier
    met: bool = False

    def start(self) -> None:
        try:
            self.both.wait(timeout=0.2)
            self.met = True
        except threading.BrokenBarrierError:
            pass  # nobody came


class Server(_Container):
    def __init__(self, container: Meeting) -> None:
        super().__init__("A server", "an-image")
        self.made = container

    def _make(self) -> Any:
        return self.made


def test_two_containers_are_not_started_at_the_same_time() -> None:
    """testcontainers would make its reaper twice, under one name, and the second start would fail."""
    both = threading.Barrier(2)
    servers = [Server(Meeting(both)), Server(Meeting(both))]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(Server._start_container, servers))
    assert not any(server.made.met for server in servers)
