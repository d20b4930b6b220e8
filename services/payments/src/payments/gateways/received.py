"""What becomes of an event of a gateway: it is stored once, and what waits for its payment is asked for at once.

The task that asks reports what it finds, as each poll does: an event is never a second way into the ledger. So nothing is
lost with an event, and one that names a payment that payments does not have yet changes nothing but the list of events.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Final

from asyncpg import Connection

from payments.domain.gateway import TASK_KIND
from payments.gateways.accounts import Account
from payments.gateways.inbound import Notice

ORDER: Final = """
coalesce(
  (select o.order_id from operations o where o.operation_id = {operation_id} and o.store_id = {store_id}),
  (select o.order_id from operations o where o.gateway_reference = {payment} and o.kind in ('authorize', 'prepay')
     and o.gateway = {gateway} and o.store_id = {store_id} limit 1))"""
"""The order of an event, as payments has it now; null before its payment is recorded."""

STORE: Final = """
insert into gateway_events
  (gateway, account, event_id, store_id, type, occurred_at, subject, payment, operation_id, unreadable, asks, ask_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, case when $11 <> '' then now() end)
on conflict (gateway, account, event_id) do nothing
returning event_id"""

ASK: Final = f"""
update tasks set run_at = clock_timestamp()
where kind = '{TASK_KIND}'
  and (run_at > clock_timestamp() or (lease_until > clock_timestamp() and coalesce((body->>'ask_only')::boolean, false)))
  and key = {ORDER.format(operation_id="$1::uuid", store_id="$2::text", payment="$3::text", gateway="$4::text")}"""


async def receive(tx: Connection, account: Account, notice: Notice) -> bool:
    """Returns whether the event is new. A repeated one changes nothing."""
    row = (notice.type, notice.occurred_at, notice.subject, notice.payment, notice.operation_id, "", notice.asks)
    if await tx.fetchval(STORE, account.gateway, account.account, notice.event_id, account.store, *row) is None:
        return False
    await tx.execute(ASK, notice.operation_id, account.store, notice.payment, account.gateway)
    return True


async def keep_unreadable(tx: Connection, account: Account, body: bytes, why: str, now: datetime) -> None:
    """Stores that there was an event that cannot be read, under a hash of it, for a person."""
    event_id = f"sha256:{hashlib.sha256(body).hexdigest()}"
    row = ("", now, "", None, None, why[:500] or "unreadable", "")
    await tx.execute(STORE, account.gateway, account.account, event_id, account.store, *row)
