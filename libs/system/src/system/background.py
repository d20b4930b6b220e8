"""Leaves the system running and stops it later; the data stays: `python -m system up`, `down` and `status`.

`<root>/.devservices/<name>/system.json` records the services' processes, `keys.json` their API keys (readable by its owner only).
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import asyncpg

from devservices import background
from devservices.instance import Instance
from devservices.services import Services
from system.installation import Installation, import_services, install, put_stock, start_gateway
from system.interrupt import Interrupt
from system.processes import CONSOLE, System
from system.recorded import Recorded

EXAMPLE_STOCK = {"MUG": 1_000, "TEAPOT": 1_000}
EXAMPLE_ORDER = {
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
EXAMPLE_ENDPOINT = {"url": "http://127.0.0.1:9000/", "types": ["orders.*"]}


def up(
    instance: Instance, interrupt: Interrupt, *, servers_only: bool, kafka_port: int | None, postgres_port: int | None
) -> int:
    """Starts what does not run yet, prints addresses and keys, and returns 0. Interrupted, it stops what it started."""
    with instance.locked():
        recorded, keys = _files(instance)
        if not (all(background.found(instance)) and (servers_only or recorded.all_run())):
            print("starting Kafka and PostgreSQL ...", flush=True)
            with background.left_running(instance, kafka_port=kafka_port, postgres_port=postgres_port) as services:
                if not servers_only:
                    _start_services(instance, services, recorded, keys, interrupt)
        kafka, postgres = background.found(instance)
    assert kafka is not None and postgres is not None
    print(f"KAFKA_BOOTSTRAP_SERVERS={kafka.bootstrap_servers}\nPOSTGRES_URL={postgres.dsn('postgres')}", flush=True)
    if not servers_only:
        print(f"\nTradewind runs in the background; make down stops it. Its data stays in {instance.directory}.\n")
        _print_services(recorded, keys)
        with System(instance.root, kafka, postgres, instance.directory / "logs") as system:
            _print_sign_in(system, recorded)
    return 0


def down(instance: Instance) -> int:
    """Stops what `up` left running, if it still runs. The data stays."""
    if not instance.directory.exists():
        print(f"nothing runs: {instance.directory} does not exist")
        return 0
    with instance.locked():
        recorded, _ = _files(instance)
        stopped = recorded.stop() + background.stop_left(instance)
    print(f"stopped {stopped} processes; their data stays in {instance.directory}" if stopped else "nothing runs")
    return 0


def status(instance: Instance) -> int:
    """Prints which processes run. Returns 0 if both servers and all services that `up` recorded run, else 3."""
    recorded, _ = _files(instance)
    kafka, postgres = background.found(instance)
    alive = recorded.alive()
    runs = {"kafka": kafka is not None, "postgres": postgres is not None} | {
        name: name in alive for name in recorded.members
    }
    for name, one in runs.items():
        print(f"{name:<12} {'runs' if one else 'does not run'}")
    return 0 if all(runs.values()) else 3


def _files(instance: Instance) -> tuple[Recorded, Path]:
    return Recorded(instance.directory / "system.json"), instance.directory / "keys.json"


def _start_services(
    instance: Instance, services: Services, recorded: Recorded, keys_file: Path, interrupt: Interrupt
) -> None:
    recorded.stop()  # the rest of a system of which a part has ended
    print("preparing databases and topics, starting the services ...", flush=True)
    import_services()
    with System(instance.root, services.kafka, services.postgres, instance.directory / "logs", detached=True) as system:
        start_gateway(system, instance.directory / "gateway.jsonl")
        installation = Installation(system)
        keys = _read_keys(keys_file)

        async def make() -> None:
            installation.keys = {name: key for name, key in keys.items() if await _exists(installation, name, key)}
            await install(installation, fresh=False)
            if installation.keys != keys:
                await put_stock(installation, EXAMPLE_STOCK)

        interrupt.run(make())
        _write_keys(keys_file, installation.keys)
        recorded.record(system)


async def _exists(installation: Installation, service: str, key: str) -> bool:
    """Whether the service's database has this API key; False after the database was made anew."""
    try:
        connection = await asyncpg.connect(installation.system.dsn(service))
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


def _print_services(recorded: Recorded, keys_file: Path) -> None:
    """Prints addresses, keys, and the lines that place an order, list the orders and register an endpoint."""
    keys = _read_keys(keys_file)
    for name, member in recorded.members.items():
        print(f"  {name:<12} {member['url']}  {keys.get(name, '')}")
    orders = recorded.members["orders"]["url"]
    print(f"\n  The keys are stored in {keys_file}, the logs beside it. Place an order, then list the orders:\n")
    print(f"  KEY={keys.get('orders', '')}")
    print(f"  curl -s {orders}/v1/orders -H \"Authorization: Bearer $KEY\" -H 'Idempotency-Key: my-1' \\")
    print(f"    -H 'Content-Type: application/json' -d '{json.dumps(EXAMPLE_ORDER)}'")
    print(f'  curl -s "{orders}/v1/orders?limit=10" -H "Authorization: Bearer $KEY"')
    print("\n  Register an endpoint for webhooks, on this machine too; docs/endpoints.md describes how to verify it:\n")
    print(f"  KEY={keys.get('webhooks', '')}")
    print(f'  curl -s {recorded.members["webhooks"]["url"]}/v1/endpoints -H "Authorization: Bearer $KEY" \\')
    print(f"    -H 'Content-Type: application/json' -d '{json.dumps(EXAMPLE_ENDPOINT)}'", flush=True)


def _print_sign_in(system: System, recorded: Recorded) -> None:
    """Prints a link that signs the reader in at the console, and what to try there."""
    url = recorded.members[CONSOLE]["url"]
    link = system.run(CONSOLE, "sign-in", CONSOLE_PUBLIC_URL=url).splitlines()[0]
    print(f"\n  Open the console; the link signs you in once, within 10 minutes:\n\n  {link}\n")
    print(
        "  Three things to try: place the order above and find it by its number; see what it waits for and who ends it;"
    )
    print("  search for its SKU.", flush=True)
