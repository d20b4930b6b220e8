"""`python -m payments import-statement`: reads a report of any size from a file, a request has at most 1 MiB. And the gateways that
reports may be about."""

from __future__ import annotations

import hashlib
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from asyncpg import Connection

from chassis.declare.app import App
from chassis.process.cli import ServiceCommand
from contracts.base import is_code
from contracts.payments import MARKETPLACE
from payments import settlements
from payments.domain.statements import StatementUnbalanced
from payments.gateways.registry import gateways_of
from payments.settlements import Imported, Source
from payments.statements import formats, mapped

HAS_OPERATIONS: Final = "select exists (select from operations where store_id = $1 and gateway = $2) as found"


async def why_no_report(app: App, store_id: str, gateway: str) -> str | None:
    """Why the store has no reports about a gateway; None if it may have. An import cannot be undone, so a misspelt name is refused.

    Marketplaces are one gateway, and banks are `manual`: both may send a statement before the first order. Any other gateway has an
    account of the store, or operations that were recorded.
    """
    if gateway == MARKETPLACE or await gateways_of(app).account(store_id, gateway, None) is not None:
        return None
    [row] = await app.fetch(HAS_OPERATIONS, store_id, gateway)
    if row["found"]:
        return None
    return f"store {store_id} has neither an account at {gateway!r} nor operations of it; `manual` is a bank, `{MARKETPLACE}` a marketplace"


def _options(parser: ArgumentParser) -> None:
    parser.add_argument("file", type=Path)
    parser.add_argument("--store", required=True)
    parser.add_argument("--format", required=True, choices=formats.FORMATS)
    parser.add_argument("--gateway", required=True, help="of the operations; `manual` for the statement of a bank")
    parser.add_argument(
        "--mapping", type=Path, help="for the format csv: a JSON file that states what each column means"
    )
    parser.add_argument("--statement-id", default="", help="for a report that does not name itself")
    parser.add_argument("--account", default="", help="for a report that does not name its account")
    parser.add_argument("--payout-minor", type=int, help="what has arrived, for a report that does not state it")


async def _import(app: App, arguments: Namespace) -> Sequence[str]:
    if not is_code(arguments.store):
        raise ValueError("a store has 1 to 64 characters of A-Z a-z 0-9 . _ : -")
    if (why := await why_no_report(app, arguments.store, arguments.gateway)) is not None:
        raise ValueError(f"gateway_unknown: {why}")
    body = arguments.file.read_bytes()
    mapping = mapped.parse_mapping(arguments.mapping.read_bytes()).of(arguments.gateway) if arguments.mapping else None
    try:
        found = formats.read(
            arguments.format, body, mapping, arguments.statement_id, arguments.account, arguments.payout_minor
        )
    except StatementUnbalanced as error:
        lost = "".join(f"\n  row {row.number}: {row.problem}" for row in error.statement.unreadable[:20])
        raise ValueError(f"statement {error.statement.statement_id}: {error}{lost}") from None
    digest = hashlib.sha256(body).hexdigest()
    source = Source(arguments.store, arguments.gateway, "system:import-statement", arguments.format, digest)

    async def write(tx: Connection) -> list[Imported]:
        return [await settlements.import_statement(tx, source, one) for one in found]

    return [_line(one) for one in await app.write(write)]


def _line(one: Imported) -> str:
    rows = ", ".join(f"{count} {state}" for state, count in one.states.items()) or "no rows"
    return f"{one.statement_id}: {one.code or 'imported'}: {rows}"


IMPORT: Final = ServiceCommand(
    name="import-statement",
    help="import a settlement report or a bank's statement",
    description="Imports the statements of a report, all or none, each once: matches their rows with operations and books them.",
    add_arguments=_options,
    run=_import,
)
