"""Commands of the console's own: `python -m console sign-in`, `sign-out`, `rebuild`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, cast

from pydantic import TypeAdapter, ValidationError

from chassis.declare.app import App
from chassis.kafka.inspection import Inspector
from chassis.process.cli import ServiceCommand
from console import people, sessions
from console.domain.people import ROLES
from console.rebuild import rebuild
from console.settings import Settings
from contracts.base import Code

BROKER_MS_MAX: Final = 30_000
_NAMES: Final[TypeAdapter[list[str]]] = TypeAdapter(list[Code])


def _options(parser: ArgumentParser) -> None:
    parser.add_argument("--name", default="administrator", help="of the person, as journals will have it")
    parser.add_argument(
        "--role", action="append", choices=sorted(ROLES), help="repeat for several; default: administrator"
    )
    parser.add_argument("--store", action="append", help="repeat for several; without it: all stores")


async def _sign_in(app: App, arguments: Namespace) -> Sequence[str]:
    try:
        _NAMES.validate_python([arguments.name, *(arguments.store or ())])
    except ValidationError:
        raise ValueError("a name and a store have 1 to 64 characters of A-Z a-z 0-9 . _ : -") from None
    token = await sessions.invite(app, arguments.name, arguments.role or ["administrator"], arguments.store, _now())
    base = cast(Settings, app.settings).base_url
    return [f"{base}/sign-in?token={token}", f"The link works once, within {sessions.LINK_MINUTES} minutes."]


def _whom(parser: ArgumentParser) -> None:
    parser.add_argument("--name", required=True, help="as the console shows the person, or as journals have them")


async def _sign_out(app: App, arguments: Namespace) -> Sequence[str]:
    found = await people.of_name(app, arguments.name)
    if not found:
        raise ValueError(f"there is no person of the name {arguments.name}")
    ended = [await sessions.end_all(app, one, _now()) for one in found]
    return [f"{sum(ended)} sessions ended, and every unused link"]


def _now() -> datetime:
    return datetime.now(UTC)


SIGN_IN: Final = ServiceCommand(
    name="sign-in",
    help="print a link that signs a person in, once",
    description="Prints a link that signs a person in at the console, once. A further link for the same name replaces what"
    " the person may.",
    add_arguments=_options,
    run=_sign_in,
)

SIGN_OUT: Final = ServiceCommand(
    name="sign-out",
    help="end every session of a person",
    description="Ends every session of a person, and the links that they have not used. They can sign in again at the identity"
    " provider: to keep them out, end the grant of their group by `apply`.",
    add_arguments=_whom,
    run=_sign_out,
)


def _rebuild_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--store", action="append", default=[], help="one that the console has not seen yet; repeat for several"
    )


async def _rebuild(app: App, arguments: Namespace) -> Sequence[str]:
    inspector = Inspector(app.settings, BROKER_MS_MAX)
    try:
        return await rebuild(app, inspector, arguments.store)
    finally:
        await inspector.close()


REBUILD: Final = ServiceCommand(
    name="rebuild",
    help="make the lists anew from the services that own the orders",
    description="Reads the lists of orders, payments, fulfillment and invoicing into a new table, which replaces the old one."
    " The console goes on meanwhile.",
    add_arguments=_rebuild_options,
    run=_rebuild,
)
