"""Starts processes as forks of one process that has imported the services: 0.1 s of CPU each instead of 1.6 s.

A fork is a process of its own, as after `python -m <service> <role>`: own session, environment, log, signals and end. It runs
the same `__main__`. The tests of demo, `make up`, tracing and write-a-service start services without forks.

    python -m tests.integration.preloaded        # reads a request per line, answers a pid or an exit status per line
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from multiprocessing.connection import wait
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self

from devservices.processes import clean_environment
from system.processes import SERVICES

PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Forked:
    """A process as `subprocess.Popen` has it, as far as `system.processes` needs it."""

    def __init__(self, parent: Preloaded, pid: int) -> None:
        self.pid = pid
        self._parent = parent
        self._lock = Lock()
        self._status: int | None = None
        self._end = os.pidfd_open(pid)
        """Readable when the process has ended."""

    def poll(self) -> int | None:
        return self._status_after(0)

    def wait(self, timeout: float | None = None) -> int:
        if (status := self._status_after(timeout)) is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return status

    def _status_after(self, timeout: float | None) -> int | None:
        if self._status is None and wait([self._end], timeout):
            with self._lock:  # its status can be asked for once
                if self._status is None:
                    self._status = self._parent.status_of(self.pid)
        return self._status

    def __del__(self) -> None:
        os.close(self._end)


class Preloaded:
    """The process that forks. Its forks end with it, and it ends with the process that started it."""

    def __enter__(self) -> Self:
        self._lock = Lock()
        command = [sys.executable, "-u", "-m", __name__]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def spawn(
        self,
        command: Sequence[str],
        *,
        log: int,
        when_orphaned: signal.Signals | None,
        cwd: Path,
        environment: Mapping[str, str],
    ) -> Forked:
        """Runs `python -m <module> <arguments>` as `devservices.processes.spawn` would."""
        python, option, *arguments = command
        assert (python, option) == (sys.executable, "-m"), command
        request = {
            "arguments": arguments, "log": os.readlink(f"/proc/self/fd/{log}"), "when_orphaned": int(when_orphaned or 0),
            "directory": str(cwd), "environment": {**clean_environment(os.environ), **environment},
        }  # fmt: skip
        return Forked(self, self._ask(request))

    def status_of(self, pid: int) -> int:
        """The status of a fork that has ended: its exit code, or minus the signal."""
        return self._ask({"ended": pid})

    def _ask(self, request: Mapping[str, Any]) -> int:
        assert self._process.stdin is not None and self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())


def main() -> None:
    gc.disable()
    for module in ("chassis.process.cli", *(f"{name}.handlers" for name in SERVICES)):
        import_module(module)
    gc.freeze()
    gc.enable()
    if (request := fork_on_request()) is not None:
        become(request)
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def fork_on_request() -> dict[str, Any] | None:
    """Returns in each fork with its request, and in this process, when no more requests come, with None."""
    for line in sys.stdin:
        request = json.loads(line)
        if "ended" in request:
            print(os.waitstatus_to_exitcode(os.waitpid(request["ended"], 0)[1]))
        elif pid := os.fork():
            print(pid)
        else:
            return dict(request)
    return None


def become(request: Mapping[str, Any]) -> None:
    """Takes over what exec would give to a process."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, request["when_orphaned"])
    os.setsid()
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    log = os.open(request["log"], os.O_WRONLY | os.O_APPEND)
    for number, source in enumerate((os.open(os.devnull, os.O_RDONLY), log, log)):
        os.dup2(source, number)
    sys.argv = request["arguments"]


if __name__ == "__main__":
    main()
