"""Events after which their gateway is to be asked: at once, or when the payment comes that they are about."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
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
"""Between two queries for events that are due."""
AT_ONCE: Final = 100
WAIT_DAYS: Final = 60
"""How long an event waits for its payment. It stays listed; an open dispute sends further ones."""
PAUSE_SECONDS_MAX: Final = 3600
PAUSE_PARTS: Final = 10
"""The pause between two queries for the payment of an event is a tenth of the time that it has waited, between `IDLE_SECONDS` and
`PAUSE_SECONDS_MAX`: the payment is found by a tenth later than it comes, and a stray event costs 1,500 queries in all."""

_ORDER: Final = ORDER.format(
    operation_id="e.operation_id", store_id="e.store_id", payment="e.payment", gateway="e.gateway"
)
_FOUND: Final = f"""
select e.gateway, e.account, e.event_id, e.store_id, e.asks, e.subject, e.payment, {_ORDER} as order_id
from gateway_events e where """
DUE: Final = f"{_FOUND} e.ask_at <= now() order by e.ask_at limit {AT_ONCE}"
ONE: Final = f"{_FOUND} e.ask_at is not null and (e.gateway, e.account, e.event_id) = ($1, $2, $3)"
ASKED: Final = """
update gateway_events set asked_at = now(), ask_at = null, unreadable = $4
where gateway = $1 and account = $2 and event_id = $3"""
LATER: Final = f"""
update gateway_events
set ask_at = case when received_at > now() - make_interval(days => {WAIT_DAYS})
  then now() + least(
    greatest((now() - received_at) / {PAUSE_PARTS}, make_interval(secs => {IDLE_SECONDS})), make_interval(secs => {PAUSE_SECONDS_MAX})
  ) end
where gateway = $1 and account = $2 and event_id = $3 and ask_at is not null"""


async def ask_due(app: App) -> int:
    """Has the gateways asked about what events are about that are due. Returns how many were due, at most `AT_ONCE`.

    An event whose payment is not recorded is due again later. Raises transient errors.
    """
    rows = await app.fetch(DUE)
    await _ask_all(app, rows)
    return len(rows)


async def ask_about(app: App, gateway: str, account: str, event_id: str) -> None:
    """Has the gateway asked about what one event is about, if that has not been done and its payment is recorded."""
    await _ask_all(app, await app.fetch(ONE, gateway, account, event_id))


async def _ask_all(app: App, rows: Iterable[Record]) -> None:
    """The command is derived from the event: it has its effect once, also if the process dies before the event is marked. An event
    whose gateway cannot be asked is listed as unreadable: it hinders no other one."""
    for row in rows:
        key = (row["gateway"], row["account"], row["event_id"])
        if row["order_id"] is None:
            await app.fetch(LATER, *key)
        else:
            await app.fetch(ASKED, *key, await _ask(app, row))


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
        return CheckDispute(**given, reference=row["subject"], payment=row["payment"])
    return CheckRefunds(**given, payment=row["payment"])


def loops(app: App) -> Mapping[str, Callable[[], Awaitable[None]]]:
    async def run() -> None:
        while True:
            with delayed("events of gateways"):
                while await ask_due(app) == AT_ONCE:
                    pass
            await asyncio.sleep(IDLE_SECONDS)

    return {"events of gateways": run}
