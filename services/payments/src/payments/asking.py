"""Events after which their gateway is to be asked: at once, or when the payment comes that they are about."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import structlog
from asyncpg import Record

from chassis.batch.errors import is_transient
from chassis.declare.app import App, Principal
from chassis.work.loops import delayed
from contracts.ids import derived
from contracts.payments import CheckDispute, CheckRefunds
from payments.gateways.received import ORDER

log = structlog.get_logger("payments.asking")

IDLE_SECONDS: Final = 5.0
"""Between two queries for events whose payment has come."""
AT_ONCE: Final = 100
WAIT_DAYS: Final = 60
"""How long an event waits for its payment. It stays listed; an open dispute sends further ones."""

_ORDER: Final = ORDER.format(
    operation_id="e.operation_id", store_id="e.store_id", payment="e.payment", gateway="e.gateway"
)
TO_ASK: Final = f"""
select * from (
  select e.gateway, e.account, e.event_id, e.store_id, e.asks, e.subject, e.payment, e.received_at, {_ORDER} as order_id from gateway_events e
  where asks <> '' and asked_at is null and received_at > now() - make_interval(days => {WAIT_DAYS})
    and ($1::text is null or (e.gateway, e.account, e.event_id) = ($1, $2::text, $3::text))) found
where order_id is not null order by received_at limit {AT_ONCE}"""
ASKED: Final = (
    "update gateway_events set asked_at = now(), unreadable = $4 where gateway = $1 and account = $2 and event_id = $3"
)


async def ask(app: App, gateway: str | None = None, account: str | None = None, event_id: str | None = None) -> int:
    """Has the gateways asked about what events that wait are about, or one event. Returns how many there were.

    The command is derived from the event: it has its effect once, also if the process dies before the event is marked. An event
    whose gateway cannot be asked is listed as unreadable: it hinders no other one. Raises transient errors.
    """
    rows = await app.fetch(TO_ASK, gateway, account, event_id)
    for row in rows:
        why = await _ask(app, row)
        await app.fetch(ASKED, row["gateway"], row["account"], row["event_id"], why)
    return len(rows)


async def _ask(app: App, row: Record) -> str:
    """Returns why the gateway cannot be asked; empty: it is asked."""
    who = Principal(row["gateway"], row["store_id"], frozenset(), kind="system")
    try:
        outcome = await app.submit(who, _asking(row, who.actor))
        if outcome.error is not None:
            raise outcome.error
    except Exception as error:
        if is_transient(error):
            raise
        log.exception(
            "gateway_event_unreadable", gateway=row["gateway"], account=row["account"], event_id=row["event_id"]
        )
        return f"its gateway cannot be asked: {type(error).__name__}"
    return ""


def _asking(row: Record, actor: str) -> CheckDispute | CheckRefunds:
    given: dict[str, Any] = {name: row[name] for name in ("order_id", "store_id", "gateway", "account")} | {
        "actor": actor,
        "operation_id": derived(row["order_id"], f"event {row['gateway']} {row['account']} {row['event_id']}"),
    }
    if row["asks"] == "dispute":
        return CheckDispute(**given, reference=row["subject"])
    return CheckRefunds(**given, payment=row["payment"])


def loops(app: App) -> Mapping[str, Callable[[], Awaitable[None]]]:
    async def run() -> None:
        while True:
            with delayed("events of gateways"):
                while await ask(app) == AT_ONCE:
                    pass
            await asyncio.sleep(IDLE_SECONDS)

    return {"events of gateways": run}
