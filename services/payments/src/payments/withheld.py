"""What gateways have withheld for disputes and released again, as the movements that rows of statements settle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from asyncpg import Connection, Record

from contracts.ids import derived
from payments.domain.books import CLEARING
from payments.domain.pairing import Movement

WITHHELD: Final = f"""
select d.dispute_id, d.order_id, d.reference, d.currency, e.version, e.number, e.direction, e.amount_minor
from disputes d join entries e on e.order_id = d.order_id and e.operation_id = d.dispute_id
where d.store_id = $1 and d.gateway = $2 and (d.reference = any($3::text[]) or d.dispute_id = any($4::uuid[]))
  and e.account in {CLEARING}
order by d.dispute_id, e.version, e.number"""
SETTLED: Final = "select operation_id from settlement_rows where operation_id = any($1::uuid[]) and settles"


async def movements(
    tx: Connection, store_id: str, gateway: str, references: Sequence[str], dispute_ids: Sequence[UUID]
) -> list[Movement]:
    """Those of disputes by the gateway's name of them, or by ours."""
    rows = await tx.fetch(WITHHELD, store_id, gateway, references, dispute_ids)
    ids = _ids(rows)
    settled = {row["operation_id"] for row in await tx.fetch(SETTLED, ids)}
    return [
        Movement(
            name, row["order_id"], "dispute" if row["direction"] == -1 else "release", row["currency"],
            row["amount_minor"], (row["reference"], str(row["dispute_id"])), name in settled,
        )
        for name, row in zip(ids, rows, strict=True)
    ]  # fmt: skip


def _ids(rows: Sequence[Record]) -> list[UUID]:
    """An operation id for each entry: that of the dispute is the first that was withheld."""
    named: set[UUID] = set()
    ids = []
    for row in rows:
        dispute_id = row["dispute_id"]
        is_first = row["direction"] == -1 and dispute_id not in named
        named.add(dispute_id)
        ids.append(dispute_id if is_first else derived(dispute_id, f"moved {row['version']}.{row['number']}"))
    return ids
