from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from devservices import aot

ENDS_LATE = """
import signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.alarm(600)
print(flush=True)
sys.stdin.read()
"""
"""Ignores SIGTERM, like a process of the lowest priority on a busy machine, until its input ends; for ten minutes at most."""


def test_nothing_waits_for_the_end_of_a_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its end took 14 s on a machine with two cores and a load of 17: every caller's end took as long."""
    started: list[subprocess.Popen[bytes]] = []

    def spawn(*_: Any, **__: Any) -> subprocess.Popen[bytes]:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        process = subprocess.Popen([sys.executable, "-c", ENDS_LATE], **pipes)  # type: ignore[call-overload]
        started.append(process)
        return process

    monkeypatch.setattr(aot, "spawn", spawn)
    monkeypatch.setattr(aot, "Java", lambda cache: SimpleNamespace(aot_cache=cache / "missing"))
    training = aot.Training(tmp_path)
    [process] = started
    assert process.stdout is not None
    process.stdout.readline()  # it ignores SIGTERM from here on
    training.close()
    assert process.poll() is None
    process.communicate()
