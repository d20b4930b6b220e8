"""What a run cost: CPU seconds and peak memory of each program, its whole process tree included."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

import psutil

SAMPLE_SECONDS = 5.0
"""Between two looks at memory: each walks the page tables of some thirty processes, 70 ms of CPU."""
MIB = 1024 * 1024


@dataclass
class Cost:
    """Of one measured stretch, by program."""

    cpu_seconds: dict[str, float] = field(default_factory=dict)
    memory_mib_max: dict[str, float] = field(default_factory=dict)


class Meter:
    """`programs`: name -> process id of its root. CPU counts from `start` to `stop`; memory is sampled in between.

    Memory is the proportional share (PSS): what PostgreSQL's processes share is counted once, not once each.
    """

    def __init__(self, programs: Mapping[str, int]) -> None:
        self._roots = {name: psutil.Process(pid) for name, pid in programs.items()}
        self._before: dict[str, float] = {}
        self._peak: dict[str, float] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="bench-meter", daemon=True)

    def start(self) -> None:
        self._before = {name: _cpu_seconds(root) for name, root in self._roots.items()}
        self._thread.start()

    def stop(self) -> Cost:
        after = {name: _cpu_seconds(root) for name, root in self._roots.items()}
        self._done.set()
        self._thread.join()
        self._look()
        return Cost({name: after[name] - self._before[name] for name in after}, dict(self._peak))

    def _sample(self) -> None:
        while not self._done.wait(SAMPLE_SECONDS):
            self._look()

    def _look(self) -> None:
        for name, root in self._roots.items():
            self._peak[name] = max(self._peak.get(name, 0.0), sum(_pss(process) for process in _tree(root)) / MIB)


def _tree(root: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return [root, *root.children(recursive=True)]
    return []


def _cpu_seconds(root: psutil.Process) -> float:
    """Of the root, of its children that have ended (the kernel adds them to the root), and of those that live."""
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
