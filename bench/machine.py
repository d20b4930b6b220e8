"""The machine of a measurement, and its load before the start."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import psutil

QUIET = 0.5
"""The load average of one minute per core above which other processes distort the figures."""


def machine() -> dict[str, Any]:
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        "load_average_before": round(os.getloadavg()[0], 2),
    }


def is_quiet(load_average: float) -> bool:
    return load_average < QUIET * (os.cpu_count() or 1)


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
