"""The cost of a run: CPU seconds and peak memory of each program, with its whole process tree."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

import psutil

SAMPLE_SECONDS = 5.0
"""The time between two samples of memory. A sample walks the page tables of some thirty processes: 70 ms of CPU."""
MIB = 1024 * 1024


@dataclass
class Cost:
    """The cost of one measurement, by program."""

    cpu_seconds: dict[str, float] = field(default_factory=dict)
    memory_mib_max: dict[str, float] = field(default_factory=dict)


class Meter:
    """Measures CPU from `start` to `stop` and samples memory in between. programs: name -> process id of its root.

    Memory is the proportional set size (PSS): memory that PostgreSQL's processes share is counted once.
    """

    def __init__(self, programs: Mapping[str, int]) -> None:
        self._roots = {name: psutil.Process(pid) for name, pid in programs.items()}
        self._before: dict[str, float] = {}
        self._peak: dict[str, float] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample_until_done, name="bench-meter", daemon=True)

    def start(self) -> None:
        self._before = {name: _cpu_seconds(root) for name, root in self._roots.items()}
        self._thread.start()

    def stop(self) -> Cost:
        after = {name: _cpu_seconds(root) for name, root in self._roots.items()}
        self._done.set()
        self._thread.join()
        self._sample()
        return Cost({name: after[name] - self._before[name] for name in after}, dict(self._peak))

    def _sample_until_done(self) -> None:
        while not self._done.wait(SAMPLE_SECONDS):
            self._sample()

    def _sample(self) -> None:
        for name, root in self._roots.items():
            self._peak[name] = max(self._peak.get(name, 0.0), sum(_pss(process) for process in _tree(root)) / MIB)


def _tree(root: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return [root, *root.children(recursive=True)]
    return []


def _cpu_seconds(root: psutil.Process) -> float:
    """The sum for the root, its ended children (the kernel adds them to the root), and its running descendants."""
    total = 0.0
    for process in _tree(root):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def _pss(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.Error):
        return int(process.memory_full_info().pss)
    return 0
