"""Trains the JVM for Kafka once, so that every later start takes a third of the time.

The training starts and stops a broker, which takes some 10 s of one core. It runs beside the first start, at the lowest
priority, and nothing waits for it, neither for its result nor for its end. If it is interrupted, the next start tries again.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from devservices.kafka import Java, Kafka
from devservices.ports import choose_port
from devservices.processes import spawn

LOWEST_PRIORITY = 19


class Training:
    """A training process. `close` ends it, finished or not; a detached one goes on."""

    def __init__(self, cache: Path, *, detached: bool = False) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        if Java(cache).aot_cache.exists():
            return
        with (cache / "training.log").open("wb") as log:
            self._process = spawn(
                [sys.executable, "-m", "devservices", "train", "--cache", str(cache)],
                log=log.fileno(),
                when_orphaned=None if detached else signal.SIGTERM,
                niceness=LOWEST_PRIORITY,
            )

    def close(self) -> None:
        """Make the process end. It does so when it gets the processor: on a busy machine that takes ten seconds and more."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()


def train(cache: Path) -> None:
    """Writes the AOT cache, unless it exists or another process is writing it."""
    with (cache / "training.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        java = Java(cache)
        if java.aot_cache.exists():
            return
        for abandoned in (*cache.glob("training-*"), *cache.glob("kafka-*.aot*")):
            shutil.rmtree(abandoned) if abandoned.is_dir() else abandoned.unlink()
        with tempfile.TemporaryDirectory(prefix="training-", dir=cache) as scratch:
            port = choose_port("port", None)
            kafka = Kafka(Path(scratch) / "kafka", cache, port, choose_port("port", None, not_these=(port,)))
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception: broker and scratch are cleaned up
            try:
                kafka.record_aot(java)
            finally:
                kafka.kill()  # no effect after a successful training
        os.replace(f"{java.aot_cache}.new", java.aot_cache)
