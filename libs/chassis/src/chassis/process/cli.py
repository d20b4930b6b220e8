"""The command line of a service.

`python -m <service> [all|api|worker|migrate|provision|apply FILE|api-key create|list|revoke|recover|put-back|check]`
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import structlog
import yaml
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from chassis import crash, journal
from chassis.batch.database import Database
from chassis.declare.service import Service
from chassis.http import server
from chassis.http.auth import Keys
from chassis.kafka import recovery
from chassis.kafka import topics as kafka
from chassis.kafka.relay import Relay
from chassis.process.app import App
from chassis.settings import ServiceSettings
from chassis.telemetry import Metrics, configure_logging

log = structlog.get_logger("chassis.process.cli")


@dataclass(frozen=True)
class Command:
    """A command that one service has beside those of all. It needs no settings."""

    name: str
    help: str
    description: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]


@dataclass(frozen=True)
class ServiceCommand:
    """A command of one service that works with its database."""

    name: str
    help: str
    description: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[App, argparse.Namespace], Awaitable[Sequence[str]]]
    """Returns the lines to print. Raises ValueError, with a sentence, for arguments that cannot be used."""


def run(service: Service, *own: Command | ServiceCommand) -> None:
    """`python -m <service> ...`."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {service.name}", description=f"Tradewind's {service.name} service"
    )
    commands = parser.add_subparsers(dest="command")
    for role, text in (
        ("all", "everything (the default)"),
        ("api", "HTTP only"),
        ("worker", "topics, relay, timers, tasks"),
    ):
        commands.add_parser(role, help=text)
    commands.add_parser("migrate", help="bring the database to the newest schema")
    commands.add_parser("provision", help="make the topics")
    commands.add_parser("recover", help="read the own events topic again and adopt events that the database lost")
    commands.add_parser(
        "put-back", help="publish rows that the broker refused and the relay set aside, once the cause is fixed"
    )
    check = commands.add_parser("check", help="check the invariants of the service's tables")
    check.add_argument("--json", action="store_true", help="one line for programs: [{name, checked, violated}]")
    apply = commands.add_parser("apply", help="write small tables from a YAML file")
    apply.add_argument("file", type=Path)
    keys = commands.add_parser("api-key", help="manage API keys").add_subparsers(dest="action", required=True)
    create = keys.add_parser("create", help="make a key and print it once")
    create.add_argument("--store", help="the one store it belongs to; without: an administrator's")
    create.add_argument("--name", default="cli")
    create.add_argument("--scope", action="append", required=True, help="repeat for several; '*' for all")
    create.add_argument(
        "--from", type=Path, dest="file", help="a file with the key, made elsewhere; stored unless it is there"
    )
    keys.add_parser("list", help="every key with its id, store and scopes")
    revoke = keys.add_parser("revoke", help="revoke a key; processes that have it cached accept it for up to 30 s")
    revoke.add_argument("id", help="the part between the underscores of the key, or the whole key")
    for one in own:
        one.add_arguments(commands.add_parser(one.name, help=one.help, description=one.description))
    arguments = parser.parse_args()
    found = {one.name: one for one in own}.get(arguments.command)
    if isinstance(found, Command):
        gc.enable()
        found.run(arguments)
        return
    try:
        settings = service.settings()
    except ValidationError as error:
        prefix = service.settings.model_config.get("env_prefix", "")
        invalid = "; ".join(f"{prefix}{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
        raise SystemExit(f"{service.name}: the settings are invalid: {invalid}") from None
    command = arguments.command or "all"
    if command in ("all", "api", "worker"):
        serve(service, settings, command)
        return
    try:
        work = _own(found, App(service, settings, command), arguments) if found else None
        spare_collections(service.young_objects)
        asyncio.run(work or _command(service, settings, command, arguments))
    except (OSError, asyncpg.PostgresError, DBAPIError, TimeoutError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        raise SystemExit(f"{service.name} {command}: {cause}") from None


def serve(service: Service, settings: ServiceSettings, role: str) -> None:
    configure_logging(service.name, settings.log_level)
    crash.arm(service.name)
    app = App(service, settings, role)
    listener = server.listen(settings.http_host, settings.http_port)
    spare_collections(service.young_objects)
    log.info("listening", host=settings.http_host, port=listener.getsockname()[1], role=role)
    server.Server(server.configured(app.asgi()), app.end_soon).run(sockets=[listener])


def spare_collections(young_objects: int) -> None:
    """Objects loaded by now live as long as the process. Collections that scan them again cost a tenth of the CPU, and those while
    they are loaded a fifth: `__main__` of a service disables them."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(young_objects, 50, 100)
    gc.enable()


async def _command(service: Service, settings: ServiceSettings, command: str, arguments: argparse.Namespace) -> None:
    if command == "migrate":
        from chassis.declare import migrations  # alembic is a tenth of a start, and only this command needs it

        await migrations.upgrade(service, settings.database_url)
        return
    if command == "provision":
        await kafka.provision(settings)
        return
    database = Database(settings, f"tradewind-{service.name}-{command}")
    try:
        if command == "recover":
            print(await recovery.recover(service, settings, database, Metrics(service.name)), "events adopted")
        elif command == "put-back":
            print(await Relay(service, settings, database, Metrics(service.name)).put_back(), "rows put back")
        elif command == "check":
            await _check(service, database, as_json=arguments.json)
        elif command == "apply":
            await _apply(service, database, arguments.file)
        else:
            await _keys(Keys(database), arguments)
    finally:
        await database.close()


async def _own(command: ServiceCommand, app: App, arguments: argparse.Namespace) -> None:
    try:
        for line in await command.run(app, arguments):
            print(line)
    except ValueError as error:
        raise SystemExit(f"{app.service.name} {command.name}: {error}") from None
    finally:
        await app.database.close()


async def _keys(keys: Keys, arguments: argparse.Namespace) -> None:
    if arguments.action == "create":
        try:
            if arguments.file is not None:
                await keys.put(arguments.file.read_text().strip(), arguments.store, arguments.name, arguments.scope)
            else:
                print(await keys.create(arguments.store, arguments.name, arguments.scope))
        except ValidationError as error:
            raise SystemExit(f"no such key can be made: {error.errors()[0]['msg']} (store, name, scopes)") from None
        except ValueError as error:
            raise SystemExit(f"{arguments.file}: {error}") from None
    elif arguments.action == "list":
        for key in await keys.all():
            whose = f"store {key['store_id']}" if key["store_id"] else "administrator"
            state = "revoked" if key["revoked"] else "valid"
            print(
                f"{key['id']} {state} {whose} {key['name']}: {', '.join(key['scopes'])} ({key['created_at']:%Y-%m-%d})"
            )
    else:
        identity = arguments.id.split("_")[1] if arguments.id.startswith("tw_") else arguments.id
        if not await keys.revoke(identity):
            raise SystemExit(f"there is no key {identity}; `api-key list` shows those there are")
        print(f"{identity} is revoked")


async def invariants(service: Service, database: Database) -> list[tuple[str, int, int]]:
    """The invariants of the service's tables: (name, rows checked, rows that violate it)."""
    async with database.queries.connection() as connection, connection.transaction():
        await connection.execute("set local statement_timeout = 0")  # it reads whole tables
        found = await journal.check(connection, service)
        if service.check is not None:
            found += await service.check(connection)
    return found


async def _check(service: Service, database: Database, *, as_json: bool) -> None:
    found = await invariants(service, database)
    if as_json:
        print(json.dumps([dict(zip(("name", "checked", "violated"), row, strict=True)) for row in found]))
    else:
        for name, checked, violated in found:
            print(f"{name}: {checked} checked, {violated} violated")
    if any(violated for _, _, violated in found):
        sys.exit(1)


async def _apply(service: Service, database: Database, file: Path) -> None:
    if service.apply is None:
        raise SystemExit(f"{service.name} has no small tables to apply")
    try:
        wanted = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SystemExit(f"{file} cannot be read as YAML: {error}") from None
    if not isinstance(wanted, dict):
        raise SystemExit(f"{file}: a mapping of table names to lists is expected")
    try:
        async with database.transaction() as tx:
            for line in await service.apply(tx, wanted):
                print(line)
    except (ValidationError, ValueError, KeyError) as error:
        raise SystemExit(f"{file}: {error}") from None
