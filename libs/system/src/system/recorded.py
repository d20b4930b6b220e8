"""Processes recorded in a file by one command and found again by another."""

from __future__ import annotations

import contextlib
import json
import signal
from pathlib import Path
from typing import Any

import psutil

from system.processes import System

STOP_TIMEOUT_SECONDS = 20.0


class Recorded:
    """The members of a system that was left running. Start times distinguish them from later processes with the same pid."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.members: dict[str, dict[str, Any]] = {}
        """name -> {"pid", "started_at" (epoch seconds), "url", "log"}; empty if nothing readable is recorded."""
        with contextlib.suppress(OSError, ValueError):
            self.members = json.loads(path.read_text())

    def alive(self) -> dict[str, psutil.Process]:
        found = {}
        for name, member in self.members.items():
            try:
                process = psutil.Process(member["pid"])
                if abs(process.create_time() - member["started_at"]) < 1 and process.status() != psutil.STATUS_ZOMBIE:
                    found[name] = process
            except (psutil.Error, KeyError, TypeError):
                continue
        return found

    def all_run(self) -> bool:
        return bool(self.members) and len(self.alive()) == len(self.members)

    def record(self, system: System) -> None:
        self.members = {
            name: {**address, "started_at": psutil.Process(address["pid"]).create_time()}
            for name, address in system.addresses().items()
        }
        self.path.write_text(json.dumps(self.members, indent=2))

    def stop(self) -> int:
        """Sends SIGTERM to all and SIGKILL to what still runs after the timeout. Returns how many ran."""
        alive = list(self.alive().values())
        for process in alive:
            process.send_signal(signal.SIGTERM)
        for process in psutil.wait_procs(alive, STOP_TIMEOUT_SECONDS)[1]:
            process.kill()
        self.path.unlink(missing_ok=True)
        self.members = {}
        return len(alive)
