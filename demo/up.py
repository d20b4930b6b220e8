"""`python -m demo.up [--down]`: the same system left running, its data kept; `make up` and `make down` call this.

What runs is written to `.devservices/up/system.json`, the API keys to `.devservices/up/keys.json` (only you can read it).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import psutil

from demo.interrupt import Interrupt
from devservices.aot import Training
from devservices.errors import DevservicesError
from devservices.instance import Instance
from devservices.kafka import Kafka
from devservices.own import own_kafka, own_postgres, recorded_kafka, recorded_postgres
from devservices.postgres import Postgres
from devservices.services import Services, explained, external_kafka, external_postgres, start_both, wants_docker
from system.processes import System

ROOT = Path(__file__).resolve().parent.parent
NAME = "up"
STOP_TIMEOUT_SECONDS = 20.0
EXAMPLE_STOCK = {"MUG": 1_000, "TEAPOT": 1_000}


class Running:
    """The processes that `make up` left behind, told apart from later ones with the same number by their start."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.members: dict[str, dict[str, Any]] = {}
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

    def record(self, system: System) -> None:
        self.members = {
            member.name: {
                "pid": member.pid,
                "started_at": psutil.Process(member.pid).create_time(),
                "url": member.url,
                "log": str(member.log),
            }
            for member in system.members
        }
        self.path.write_text(json.dumps(self.members, indent=2))

    def stop(self) -> int:
        """SIGTERM to all, SIGKILL to what stays; how many there were."""
        alive = list(self.alive().values())
        for process in alive:
            process.send_signal(signal.SIGTERM)
        for process in psutil.wait_procs(alive, STOP_TIMEOUT_SECONDS)[1]:
            process.kill()
        self.path.unlink(missing_ok=True)
        self.members = {}
        return len(alive)


def up(interrupt: Interrupt) -> int:
    """Start what does not run; 0 also when all of it runs already. Interrupted, it stops what it started."""
    if wants_docker():
        raise DevservicesError(
            "'make up' cannot leave test containers running: use 'docker compose up', or unset TRADEWIND_DEVSERVICES."
        )
    instance = Instance(ROOT, NAME)
    with explained(instance), instance.locked():
        running = Running(instance.directory / "system.json")
        keys = instance.directory / "keys.json"
        if running.members and len(running.alive()) == len(running.members) and _servers_run(instance):
            print("Tradewind already runs; make down stops it.\n")
            _tell(running, keys)
            return 0
        running.stop()  # the rest of a system of which a part has ended
        started: list[Kafka | Postgres] = []
        try:
            services = _servers(instance, started)
            _system(instance, services, running, keys, interrupt)
        except BaseException:
            running.stop()
            for server in started:
                server.close()
            raise
        if isinstance(services.kafka, Kafka):
            Training(instance.cache, detached=True)
    print(f"Tradewind runs, in the background; make down stops it. Its data stays in {instance.directory}.\n")
    _tell(running, keys)
    return 0


def _servers(instance: Instance, started: list[Kafka | Postgres]) -> Services:
    """Those that run are used, the others started; what is started is added to `started` first."""
    kafka: Any = external_kafka() or _left_running(recorded_kafka(instance))
    if kafka is None:
        started.append(kafka := own_kafka(instance, _port("KAFKA_PORT"), detached=True))
    postgres: Any = external_postgres() or _left_running(recorded_postgres(instance))
    if postgres is None:
        started.append(postgres := own_postgres(instance, _port("POSTGRES_PORT"), detached=True))
    services = Services(kafka, postgres)
    print("starting Kafka and PostgreSQL ...", flush=True)
    start_both(services)
    return services


def _servers_run(instance: Instance) -> bool:
    kafka = external_kafka() is not None or recorded_kafka(instance).find()
    return kafka and (external_postgres() is not None or recorded_postgres(instance).find())


def _left_running(server: Kafka | Postgres) -> Kafka | Postgres | None:
    return server if server.find() and server.outlives_us else None


def _port(variable: str) -> int | None:
    named = os.environ.get(variable, "")
    if not named:
        return None
    if not (named.isascii() and named.isdigit() and 1 <= int(named) <= 65535):
        raise DevservicesError(f"{variable}={named} is no port: a number from 1 to 65535 is expected.")
    return int(named)


def _system(instance: Instance, services: Services, running: Running, keys: Path, interrupt: Interrupt) -> None:
    from demo.installation import Installation, import_services, install, put_stock, start_gateway

    print("preparing databases and topics, starting the services ...", flush=True)
    import_services()
    logs = instance.directory / "logs"
    with System(ROOT, services.kafka, services.postgres, logs, detached=True) as system:
        start_gateway(system, instance.directory / "gateway.jsonl")
        installation = Installation(system)
        known = _read_keys(keys)

        async def make() -> None:
            installation.keys = {name: key for name, key in known.items() if await _is_known(installation, name, key)}
            await install(installation, fresh=False)
            if installation.keys != known:
                await put_stock(installation, EXAMPLE_STOCK)

        interrupt.run(make())
        running.record(system)
    _write_keys(keys, installation.keys)


async def _is_known(installation: Any, service: str, key: str) -> bool:
    """Whether the database still has the key; not when it was made anew."""
    import asyncpg

    try:
        connection = await asyncpg.connect(installation.dsn(service))
    except asyncpg.InvalidCatalogNameError:
        return False
    try:
        return bool(await connection.fetchval("select true from api_keys where id = $1", key.split("_")[1]))
    except (asyncpg.UndefinedTableError, IndexError):
        return False
    finally:
        await connection.close()


def _read_keys(path: Path) -> dict[str, str]:
    try:
        return {str(name): str(key) for name, key in json.loads(path.read_text()).items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _write_keys(path: Path, keys: dict[str, str]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(file.fileno(), 0o600)
        json.dump(keys, file, indent=2)


def _tell(running: Running, keys: Path) -> None:
    """Addresses, keys, and an order that can be placed by copying three lines."""
    known = _read_keys(keys)
    for name, member in running.members.items():
        print(f"  {name:<12} {member['url']}  {known.get(name, '')}")
    orders = running.members["orders"]["url"]
    order = {
        "external_order_id": "MY-1",
        "placed_at": "2026-11-21T10:00:00Z",
        "currency": "GBP",
        "lines": [
            {
                "external_line_id": "1",
                "sku": "MUG",
                "title": "Mug",
                "quantity": {"ordered": 2},
                "line_total_minor": 1900,
                "tax": [{"rate": "20.00"}],
            }
        ],
        "totals": {"shipping_minor": 300, "grand_minor": 2200},
    }
    print(f"\n  The keys are kept in {keys}; logs lie beside it. Place an order, and look at it:\n")
    print(f"  KEY={known.get('orders', '')}")
    print(f"  curl -s {orders}/v1/orders -H \"Authorization: Bearer $KEY\" -H 'Idempotency-Key: my-1' \\")
    print(f"    -H 'Content-Type: application/json' -d '{json.dumps(order)}'")
    print(f'  curl -s "{orders}/v1/orders?limit=10" -H "Authorization: Bearer $KEY"', flush=True)


def down() -> int:
    """Stop what `up` left running, if it still runs. The data stays."""
    instance = Instance(ROOT, NAME)
    if not instance.directory.exists():
        print("nothing runs: make up has not been called here")
        return 0
    with explained(instance), instance.locked():
        stopped = Running(instance.directory / "system.json").stop()
        for server in (recorded_kafka(instance), recorded_postgres(instance)):
            if server.find():
                server.close()
                stopped += 1
    print(f"stopped {stopped} processes; make up starts them again with their data" if stopped else "nothing runs")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m demo.up", description="Leave the whole system running.")
    parser.add_argument("--down", action="store_true", help="stop what an earlier call left running")
    chosen = parser.parse_args()
    with Interrupt() as interrupt:
        try:
            return down() if chosen.down else up(interrupt)
        except DevservicesError as error:
            print(f"up: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("\nStopped: what this call started has ended.", file=sys.stderr, flush=True)
            os._exit(interrupt.exit_status)


if __name__ == "__main__":
    sys.exit(main())
