"""The services as processes: creates databases and topics, migrates, starts, watches and stops every service.

It addresses services by name and uses them only through what an operator has: their commands, settings, HTTP and signals.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from devservices.errors import DevservicesError
from devservices.ports import HOST, choose_port
from devservices.processes import last_line, spawn
from devservices.servers import KafkaServer, PostgresServer

SAGA = ("orders", "payments", "fulfillment", "invoicing")
"""The services that process an order."""
WEBHOOKS = "webhooks"
CONSOLE = "console"
SERVICES = (*SAGA, WEBHOOKS, CONSOLE)
OPTIONAL = ("dintero_compat",)
"""Services that start only where they are used."""
POLL_SECONDS = 0.05
KEYS = {
    "orders": {"ORDERS_EMAIL_KEYS": "not-a-secret"},
    "webhooks": {"WEBHOOKS_SECRET_KEYS": "not-a-secret-but-as-long-as-one-has-to-be"},
}
"""Keys for data that leaves this machine no more than the key does. Constant, because `up` finds the data of an earlier one."""
RECEIVERS = {"WEBHOOKS_ALLOWED_NETWORKS": "127.0.0.0/8 ::1/128"}
"""Receivers of webhooks run on this machine."""


class Process(Protocol):
    """What is used of `subprocess.Popen`."""

    pid: int

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...


@dataclass
class Member:
    """One process of a service (or of something beside them, like a gateway)."""

    name: str
    number: int
    port: int
    command: list[str]
    environment: dict[str, str]
    log: Path
    process: Process | None = None
    elsewhere: str = ""
    """The address of a member that is neither started nor stopped here; empty for our own."""

    @property
    def url(self) -> str:
        return self.elsewhere or f"http://{HOST}:{self.port}"

    @property
    def running(self) -> bool:
        """A member that runs elsewhere counts as running: its process cannot be watched from here."""
        return bool(self.elsewhere) or (self.process is not None and self.process.poll() is None)

    @property
    def ended(self) -> str | None:
        """One sentence on how it ended; None while it runs."""
        if self.running:
            return None
        return f"{self.name} ended with status {self.exit_status()}: {last_line(self.log)} (see {self.log})"

    @property
    def pid(self) -> int:
        assert self.process is not None, f"{self.name} was not started"
        return self.process.pid

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def exit_status(self, timeout_seconds: float = 30) -> int:
        """Waits for its end and returns the status as a shell reports it (137 = killed)."""
        assert self.process is not None
        status = self.process.wait(timeout_seconds)
        return 128 - status if status < 0 else status


@dataclass
class System:
    """All services of one installation. `prefix` names its databases, so that several share one PostgreSQL."""

    root: Path
    kafka: KafkaServer
    postgres: PostgresServer
    logs: Path
    prefix: str = ""
    names: Sequence[str] = SERVICES
    settings: Mapping[str, str] = field(default_factory=dict)
    """Environment of every process, e.g. {"ORDERS_INTAKE_IN_FLIGHT_MAX": "500"}."""
    detached: bool = False
    spawn: Callable[..., Process] = spawn
    """How a member is started; tests fork it from a process that has imported all services."""
    members: list[Member] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.detached or error is not None:
            self.stop()

    # -- before the start ---------------------------------------------------------------------------------------------

    def database(self, service: str) -> str:
        return f"{self.prefix}{service}"

    def dsn(self, service: str) -> str:
        return self.postgres.dsn(self.database(service))

    def environment(self, service: str, **more: str) -> dict[str, str]:
        upper = service.upper()
        return {
            f"{upper}_DATABASE_URL": self.dsn(service),
            f"{upper}_KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
            **KEYS.get(service, {}),
            **(RECEIVERS if service == "webhooks" else {}),
            "PYTHONUNBUFFERED": "1",
            **self.settings,
            **more,
        }

    def prepare(self) -> None:
        """Creates databases, schemas and topics. Idempotent."""
        for name in self.names:
            self.postgres.create_database(self.database(name))
        wanted = [*((name, "migrate") for name in self.names), (self.names[0], "provision")]
        running = [(name, what, self._command(name, what)) for name, what in wanted]
        for name, what, process in running:
            _output(process, f"{name} {what}")

    def _command(self, service: str, *arguments: str, **more: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", service, *arguments],
            cwd=self.root,
            env=os.environ | self.environment(service, **more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run(self, service: str, *arguments: str, **environment: str) -> str:
        """Runs `python -m <service> ...` and returns its output. Raises DevservicesError if it fails."""
        return _output(self._command(service, *arguments, **environment), f"{service} {' '.join(arguments)}")

    def api_keys(self, store: str | None, scopes: Iterable[str] = ("*",)) -> dict[str, str]:
        """Creates one key per service, all at once. Without a store they are an administrator's. Returns service -> key."""
        options = [option for scope in scopes for option in ("--scope", scope)] + (["--store", store] if store else [])
        made = {name: self._command(name, "api-key", "create", "--name", "system", *options) for name in self.names}
        return {
            name: _output(process, f"{name} api-key create").strip().splitlines()[-1] for name, process in made.items()
        }

    # -- processes ----------------------------------------------------------------------------------------------------

    def start(self, workers: int = 1, **environment: str) -> None:
        """Starts `workers` processes per service, the first with all roles. Returns when all are ready."""
        for name in self.names:
            for number in range(workers):
                self.add(name, role="all" if number == 0 else "worker", **environment)
        self.wait_ready()

    def add(
        self, service: str, *, role: str = "all", command: Sequence[str] | None = None, **environment: str
    ) -> Member:
        """Starts one more process. `command` replaces `python -m <service> <role>` for what is not a service."""
        number = sum(member.name == service for member in self.members)
        taken = [member.port for member in self.members]
        port = choose_port("HTTP_PORT", None, None, taken)
        whole = [sys.executable, "-m", service, role] if command is None else [*command]
        member = Member(
            service, number, port, [part.replace("{port}", str(port)) for part in whole],
            self.environment(service, **{f"{service.upper()}_HTTP_PORT": str(port)}, **environment),
            self.logs / f"{service}-{number}.log",
        )  # fmt: skip
        self.members.append(member)
        self.restart(member)
        return member

    def attach(self, service: str, url: str) -> Member:
        """Adds a service that already runs at `url`."""
        member = Member(service, len(self.of(service)), 0, [], {}, self.logs / "elsewhere", elsewhere=url.rstrip("/"))
        self.members.append(member)
        return member

    def restart(self, member: Member, **environment: str) -> None:
        """Starts a member that is not running. `environment` is merged into its own and stays there."""
        member.environment |= environment
        with member.log.open("ab") as log:
            member.process = self.spawn(
                member.command,
                log=log.fileno(),
                when_orphaned=None if self.detached else signal.SIGKILL,
                cwd=self.root,
                environment=member.environment,
            )

    def wait_ready(self, members: Iterable[Member] | None = None, timeout_seconds: float = 60) -> None:
        """Returns when all (or these) are ready. Raises DevservicesError if one ends, or after the timeout."""
        deadline = time.monotonic() + timeout_seconds
        for member in members if members is not None else self.members:
            while not self.is_ready(member):
                if member.ended:
                    raise DevservicesError(member.ended)
                if time.monotonic() > deadline:
                    raise DevservicesError(
                        f"{member.name} was not ready within {timeout_seconds:.0f} s (see {member.log})"
                    )
                time.sleep(POLL_SECONDS)

    async def until_ready(self, timeout_seconds: float) -> None:
        """As `wait_ready` for all members, for callers inside an event loop. May be cancelled."""
        deadline = time.monotonic() + timeout_seconds
        while not all(await asyncio.gather(*(asyncio.to_thread(self.is_ready, member) for member in self.members))):
            if ended := self.ended():
                raise DevservicesError(ended)
            if time.monotonic() > deadline:
                raise DevservicesError(f"The services were not ready within {timeout_seconds:.0f} s: see {self.logs}")
            await asyncio.sleep(POLL_SECONDS)

    def is_ready(self, member: Member) -> bool:
        """A service answers and, unless it is an `api`, has joined its consumer group; anything else answers."""
        is_service = member.name in self.names
        try:
            with urllib.request.urlopen(f"{member.url}/health{'/ready' if is_service else ''}", timeout=2) as response:
                return not is_service or member.command[-1:] == ["api"] or bool(json.load(response).get("consuming"))
        except (OSError, ValueError, urllib.error.URLError):
            return False

    def ended(self) -> str | None:
        """One sentence on the first member that ended although it was not stopped; None while all run."""
        return next((member.ended for member in self.members if member.ended), None)

    def of(self, service: str) -> list[Member]:
        return [member for member in self.members if member.name == service]

    def url(self, service: str) -> str:
        return self.of(service)[0].url

    def kill(self, member: Member) -> None:
        """Sends SIGKILL and returns when the process is gone."""
        if member.running:
            with contextlib.suppress(ProcessLookupError):
                member.send(signal.SIGKILL)
            member.exit_status()

    def stop(self, timeout_seconds: float = 20) -> dict[str, int]:
        """Sends SIGTERM to all, SIGKILL to what still runs after the timeout. Returns name-number -> exit status."""
        for member in self.members:
            if member.running and not member.elsewhere:
                with contextlib.suppress(ProcessLookupError):
                    member.send(signal.SIGTERM)
                    member.send(signal.SIGCONT)
        deadline = time.monotonic() + timeout_seconds
        statuses: dict[str, int] = {}
        for member in self.members:
            if member.process is None:
                continue
            try:
                status = member.exit_status(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                self.kill(member)
                status = 137
            statuses[f"{member.name}-{member.number}"] = status
        self.members.clear()
        return statuses

    def addresses(self) -> dict[str, dict[str, Any]]:
        return {member.name: {"url": member.url, "pid": member.pid, "log": str(member.log)} for member in self.members}


def _output(process: subprocess.Popen[bytes], what: str) -> str:
    """What a command printed. Raises DevservicesError if it failed."""
    out, _ = process.communicate(timeout=120)
    text = out.decode(errors="replace")
    if process.returncode:
        raise DevservicesError(f"{what} failed: {text.strip()[-2000:]}")
    return text
