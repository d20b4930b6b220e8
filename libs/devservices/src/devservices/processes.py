"""Server processes: started in a session of their own, recorded on disk, found again, ended.

A server gets its own session, so that Ctrl-C in the terminal reaches this process only, which then stops the server. If
this process ends without stopping it (kill -9), Linux signals the server: see `launch.py`. The kernel ties that signal to
the thread that started the server, so one thread that lives as long as this process starts all servers.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from pathlib import Path

import psutil

from devservices.errors import DevservicesError

LAUNCHER = Path(__file__).with_name("launch.py")
POLL_SECONDS = 0.02


class ServerProcess:
    """One server program. Its command line contains `directory`, which distinguishes it from a later process with its pid."""

    def __init__(self, title: str, directory: Path, record: Path, log: Path) -> None:
        self.title = title
        self.log = log
        self._directory = directory
        self._record = record
        self._child: subprocess.Popen[bytes] | None = None
        self._found: psutil.Process | None = None
        self.detached = False

    @property
    def pid(self) -> int:
        if self._child is not None:
            return self._child.pid
        if self._found is not None:
            return int(self._found.pid)
        raise DevservicesError(f"{self.title} is not running: start it first.")

    def start(
        self,
        command: Sequence[str | Path],
        *,
        when_orphaned: signal.Signals,
        detached: bool,
        uid: int | None = None,
        cwd: Path = Path("/"),
    ) -> None:
        """Starts and records it. A detached server outlives this process; another receives `when_orphaned` at its end."""

        def remember(child: subprocess.Popen[bytes]) -> None:
            self._child, self._found, self.detached = child, None, detached
            self._record.write_text(json.dumps({"pid": child.pid, "detached": detached}))

        with self.log.open("ab") as log:
            spawn(
                command,
                log=log.fileno(),
                when_orphaned=None if detached else when_orphaned,
                uid=uid,
                cwd=cwd,
                remember=remember,
            )

    def find(self) -> bool:
        """Attaches to the process that an earlier start recorded, if it still runs."""
        if self.is_running():
            return True
        try:
            recorded = json.loads(self._record.read_text())
            process = psutil.Process(recorded["pid"])
            ours = any(str(self._directory) in argument for argument in process.cmdline())
        except (OSError, ValueError, KeyError, psutil.Error):
            return False
        if ours:
            self._child, self._found, self.detached = None, process, bool(recorded["detached"])
        return ours

    def is_running(self) -> bool:
        if self._child is not None:
            return self._child.poll() is None
        if self._found is None:
            return False
        try:
            return bool(self._found.is_running() and self._found.status() != psutil.STATUS_ZOMBIE)
        except psutil.Error:
            return False

    def send(self, number: signal.Signals) -> None:
        if not self.is_running():
            raise DevservicesError(f"{self.title} is not running: start it first.")
        os.kill(self.pid, number)

    def pause(self, timeout_seconds: float) -> None:
        """Sends SIGSTOP and returns when the process has stopped. The kernel gives the signal to one thread, and the others run
        until that one is scheduled. Raises DevservicesError after the timeout."""
        self.send(signal.SIGSTOP)
        if not _becomes(lambda: psutil.Process(self.pid).status() == psutil.STATUS_STOPPED, timeout_seconds):
            raise DevservicesError(f"{self.title} did not stop within {timeout_seconds:.0f} s.")

    def end(self, number: signal.Signals, timeout_seconds: float) -> None:
        """Sends the signal and returns when the process has ended. After the timeout it sends SIGKILL."""
        if self.is_running():
            try:
                if number == signal.SIGKILL:
                    os.killpg(self.pid, number)  # a JVM in training has a child that would survive
                else:
                    os.kill(self.pid, number)
                    os.kill(self.pid, signal.SIGCONT)  # a stopped process handles no signal
                if not _becomes(lambda: not self.is_running(), timeout_seconds):
                    os.killpg(self.pid, signal.SIGKILL)
                    _becomes(lambda: not self.is_running(), timeout_seconds)
            except ProcessLookupError:
                pass
            except PermissionError as error:
                raise DevservicesError(
                    f"{self.title} (process {self.pid}) was started by another user: stop it as that user."
                ) from error
        self._child = self._found = None
        self._record.unlink(missing_ok=True)

    def wait_until(self, ready: Callable[[], bool], timeout_seconds: float) -> None:
        """Returns when `ready`. Raises DevservicesError with the log's last line if it ends before, or after the timeout."""
        if _becomes(lambda: ready() or not self.is_running(), timeout_seconds) and self.is_running():
            return
        what = f"was not ready within {timeout_seconds:.0f} s" if self.is_running() else "ended while it started"
        raise DevservicesError(f"{self.title} {what}: {last_line(self.log)} (see {self.log}).")


def spawn(
    command: Sequence[str | Path],
    *,
    log: int,
    when_orphaned: signal.Signals | None,
    uid: int | None = None,
    cwd: Path = Path("/"),
    niceness: int = 0,
    environment: Mapping[str, str] | None = None,
    remember: Callable[[subprocess.Popen[bytes]], None] = lambda child: None,
) -> subprocess.Popen[bytes]:
    """Starts `command` through `launch.py`. `remember` receives the process even if Ctrl-C arrives before this returns."""
    launch = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), str(int(when_orphaned or 0))]
    whole = [*launch, str(-1 if uid is None else uid), str(niceness), *map(str, command)]

    def start() -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            whole,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=cwd,
            env=clean_environment(os.environ) | dict(environment or {}),
            start_new_session=True,
        )
        remember(child)
        return child

    return _starter().do(start)


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Without variables that change every JVM (options) or every PostgreSQL (defaults)."""
    java = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "CLASSPATH")
    return {name: value for name, value in environment.items() if name not in java and not name.startswith("PG")}


def last_line(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else "it wrote nothing"


def wait_for(condition: Callable[[], bool], what: str, timeout_seconds: float) -> None:
    if not _becomes(condition, timeout_seconds):
        raise DevservicesError(f"{what} was not ready within {timeout_seconds:.0f} s: see its log.")


def _becomes(condition: Callable[[], bool], timeout_seconds: float) -> bool:
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


class _Starter:
    """The thread that starts all servers. A daemon thread: it ends with the process."""

    def __init__(self) -> None:
        self.of_process = os.getpid()
        self._work: queue.SimpleQueue[tuple[Callable[[], subprocess.Popen[bytes]], Future[subprocess.Popen[bytes]]]]
        self._work = queue.SimpleQueue()
        threading.Thread(target=self._run, name="devservices-starter", daemon=True).start()

    def do(self, start: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        done: Future[subprocess.Popen[bytes]] = Future()
        self._work.put((start, done))
        try:
            return done.result()
        finally:
            wait([done])  # also after an interrupt: the caller must receive the process that it has to stop

    def _run(self) -> None:
        while True:
            start, done = self._work.get()
            try:
                done.set_result(start())
            except BaseException as error:
                done.set_exception(error)


_starter_lock = threading.Lock()
_the_starter: _Starter | None = None


def _starter() -> _Starter:
    global _the_starter
    with _starter_lock:
        if (
            _the_starter is None or _the_starter.of_process != os.getpid()
        ):  # a fork copies the object without its thread
            _the_starter = _Starter()
        return _the_starter
