"""The services as processes: databases made, migrated, topics provisioned, each service started, watched and stopped.

    with devservices.running(root, name="demo", reset=True) as servers, System(root, servers, logs) as system:
        system.prepare()
        system.start()
        key = system.api_key("orders", store="demo", scopes=["*"])

Demo, tests, chaos and bench all run this; it knows the services by name and talks to them only as an operator would.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from devservices.errors import DevservicesError
from devservices.ports import HOST, choose_port
from devservices.processes import last_line, spawn
from devservices.servers import KafkaServer, PostgresServer

SERVICES = ("orders", "payments", "fulfillment", "invoicing")
NICENESS = {"payments": 10, "fulfillment": 10, "invoicing": 10}
"""All share one machine here. Every order passes orders six times and the others once or twice: who waits for it stands back."""


@dataclass
class Member:
    """One process of a service (or of something beside them, like a gateway)."""

    name: str
    number: int
    port: int
    command: list[str]
    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    elsewhere: str = ""
    """Its address when somebody else runs it: then it is neither started nor stopped here."""

    @property
    def url(self) -> str:
        return self.elsewhere or f"http://{HOST}:{self.port}"

    @property
    def running(self) -> bool:
        """Of one that runs elsewhere nothing is known here, so nothing is said against it."""
        return bool(self.elsewhere) or (self.process is not None and self.process.poll() is None)

    @property
    def pid(self) -> int:
        assert self.process is not None, f"{self.name} was not started"
        return self.process.pid

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def exit_status(self, timeout_seconds: float = 30) -> int:
        """Wait for its end; the status as a shell says it (137 = killed)."""
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

    def environment(self, service: str, **more: str) -> dict[str, str]:
        upper = service.upper()
        return {
            f"{upper}_DATABASE_URL": self.postgres.dsn(self.database(service)),
            f"{upper}_KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
            f"{upper}_NICENESS": str(NICENESS.get(service, 0)),
            "PYTHONUNBUFFERED": "1",
            **self.settings,
            **more,
        }

    def prepare(self, *, provision: bool = True) -> None:
        """Databases, schemas, topics. Idempotent."""
        for name in self.names:
            self.postgres.create_database(self.database(name))
        wanted = [(name, "migrate") for name in self.names] + ([(self.names[0], "provision")] if provision else [])
        running = [(name, what, self._command(name, what)) for name, what in wanted]
        for name, what, process in running:
            out, _ = process.communicate(timeout=120)
            if process.returncode:
                raise DevservicesError(f"{name} {what} failed: {out.decode(errors='replace').strip()[-2000:]}")

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

    def run(self, service: str, *arguments: str) -> str:
        """Run `python -m <service> ...` to its end; its output. Raises DevservicesError when it fails."""
        process = self._command(service, *arguments)
        out, _ = process.communicate(timeout=120)
        if process.returncode:
            raise DevservicesError(
                f"{service} {' '.join(arguments)} failed: {out.decode(errors='replace').strip()[-2000:]}"
            )
        return out.decode()

    def api_keys(self, store: str | None, scopes: Iterable[str] = ("*",)) -> dict[str, str]:
        """A key per service, made side by side; without a store an administrator's."""
        options = [option for scope in scopes for option in ("--scope", scope)] + (["--store", store] if store else [])
        made = {name: self._command(name, "api-key", "create", "--name", "system", *options) for name in self.names}
        keys = {}
        for name, process in made.items():
            out, _ = process.communicate(timeout=60)
            if process.returncode:
                raise DevservicesError(f"{name} api-key create failed: {out.decode(errors='replace').strip()[-2000:]}")
            keys[name] = out.decode().strip().splitlines()[-1]
        return keys

    # -- processes ----------------------------------------------------------------------------------------------------

    def start(self, workers: int = 1, **environment: str) -> None:
        """Start every service: one process of all roles each, further ones as workers; returns when all are ready."""
        for name in self.names:
            for number in range(workers):
                self.add(name, role="all" if number == 0 else "worker", **environment)
        self.wait_ready()

    def add(
        self, service: str, *, role: str = "all", command: Sequence[str] | None = None, **environment: str
    ) -> Member:
        """Start one more process. `command` replaces `python -m <service> <role>` (for what is not a service)."""
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
        """Take a service that somebody else runs as this system's."""
        member = Member(service, len(self.of(service)), 0, [], {}, self.logs / "elsewhere", elsewhere=url.rstrip("/"))
        self.members.append(member)
        return member

    def restart(self, member: Member, **environment: str) -> None:
        """Start a member that is not running; the environment given replaces its own for good."""
        member.environment |= environment
        with member.log.open("ab") as log:
            member.process = spawn(
                member.command,
                log=log.fileno(),
                when_orphaned=None if self.detached else signal.SIGKILL,
                cwd=self.root,
                environment=member.environment,
            )

    def wait_ready(self, members: Iterable[Member] | None = None, timeout_seconds: float = 60) -> None:
        """Until each answers /health/ready and has joined its consumer group."""
        deadline = time.monotonic() + timeout_seconds
        for member in members if members is not None else self.members:
            if member.name not in self.names:
                continue
            while not self.is_ready(member):
                if not member.running:
                    raise DevservicesError(
                        f"{member.name} ended while it started: {last_line(member.log)} (see {member.log})"
                    )
                if time.monotonic() > deadline:
                    raise DevservicesError(
                        f"{member.name} was not ready within {timeout_seconds:.0f} s (see {member.log})"
                    )
                time.sleep(0.05)

    def is_ready(self, member: Member) -> bool:
        try:
            with urllib.request.urlopen(f"{member.url}/health/ready", timeout=2) as response:
                return bool(json.load(response).get("consuming"))
        except (OSError, ValueError, urllib.error.URLError):
            return False

    def of(self, service: str) -> list[Member]:
        return [member for member in self.members if member.name == service]

    def url(self, service: str) -> str:
        return self.of(service)[0].url

    def kill(self, member: Member) -> None:
        """SIGKILL, as a crash; returns when it is gone."""
        if member.running:
            with contextlib.suppress(ProcessLookupError):
                member.send(signal.SIGKILL)
            member.exit_status()

    def stop(self, timeout_seconds: float = 20) -> dict[str, int]:
        """SIGTERM to all, SIGKILL to what stays; name -> exit status."""
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

    def addresses(self) -> dict[str, Any]:
        return {member.name: {"url": member.url, "pid": member.pid, "log": str(member.log)} for member in self.members}
