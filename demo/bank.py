"""The bank of the demo: those who owe a transfer make it, and its statements are imported while the demo runs.

What orders of the gateway `manual` wait for, money that comes in and money that is paid out, is read from payments' database.
A statement is sent until it is answered; it is imported once.
"""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Any, Final, NamedTuple

import aiohttp
import asyncpg

from demo.retail import CURRENCY
from devservices.errors import DevservicesError
from system.installation import Installation

PAUSE_SECONDS: Final = 0.5
ROWS_MAX: Final = 1_000
"""Transfers on one statement."""
AWAITED: Final = """
select reference, case kind when 'authorize' then 1 else -1 end * (amount_minor - moved_minor) as minor
from expected_transfers where moved_minor < amount_minor order by created_at, operation_id limit $1"""
MAPPING: Final = {
    "bank": True, "on": "day", "references": ["text"], "gross": "amount", "balance": "balance", "fixed_currency": CURRENCY,
}  # fmt: skip


class Transfer(NamedTuple):
    text: str
    minor: int
    """Pence; negative: paid out."""


class Bank:
    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.balance_minor = 0
        self.statements = 0

    async def run(self) -> None:
        """Runs until it is cancelled. Raises DevservicesError if a statement is refused."""
        database = await asyncpg.connect(self.installation.system.dsn("payments"))
        try:
            async with self.installation.client("payments", 1) as client:
                while True:
                    rows = await database.fetch(AWAITED, ROWS_MAX)
                    if transfers := [Transfer(row["reference"], row["minor"]) for row in rows]:
                        await self._import(client, transfers)
                    await asyncio.sleep(PAUSE_SECONDS)
        finally:
            await database.close()

    async def _import(self, client: aiohttp.ClientSession, transfers: Sequence[Transfer]) -> None:
        report = {
            "format": "csv", "gateway": "manual", "account": "demo", "statement_id": str(self.statements + 1), "mapping": MAPPING,
            "content": statement(datetime.now(UTC).date(), transfers, self.balance_minor),
        }  # fmt: skip
        while not await _sent(client, report):
            await asyncio.sleep(PAUSE_SECONDS)
        self.statements += 1
        self.balance_minor += sum(one.minor for one in transfers)


async def _sent(client: aiohttp.ClientSession, report: dict[str, Any]) -> bool:
    """Whether it was answered. Raises DevservicesError if it was refused."""
    try:
        async with client.post("/v1/settlements", json=report) as response:
            if response.status >= 500:
                return False
            if response.status >= 400:
                raise DevservicesError(f"payments refused a bank statement: {(await response.text())[:500]}")
            return True
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False


def statement(on: date, transfers: Iterable[Transfer], opening_minor: int) -> str:
    """A CSV: day, text, amount and balance after it, in pounds.

    >>> print(statement(date(2026, 11, 30), [Transfer("536365", 13912), Transfer("536365", -5)], 100))
    day,text,amount,balance
    2026-11-30,536365,139.12,140.12
    2026-11-30,536365,-0.05,140.07
    <BLANKLINE>
    """
    written = io.StringIO()
    rows = csv.writer(written, lineterminator="\n")
    rows.writerow(["day", "text", "amount", "balance"])
    balance = opening_minor
    for one in transfers:
        balance += one.minor
        rows.writerow([on.isoformat(), one.text, _pounds(one.minor), _pounds(balance)])
    return written.getvalue()


def _pounds(minor: int) -> str:
    return f"{'-' if minor < 0 else ''}{abs(minor) // 100}.{abs(minor) % 100:02}"
