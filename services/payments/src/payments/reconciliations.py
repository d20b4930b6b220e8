"""The rows of reconciliations: made once a night and by hand, leased by one process at a time, saved after each step.

A step ends with `save` in the transaction that wrote its rows. It is refused to who no longer has the lease, so of two
processes that are at the same step one has an effect.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid5

from asyncpg import Connection, Record

from chassis.declare.app import App

NAMESPACE: Final = UUID("f3a6c0d2-2f5e-5b1c-8d0b-9a4e7c1b6a05")
NIGHTLY: Final = "system:nightly"
NIGHTS: Final = 3
"""So many days back are made up for, if no process ran at night."""
LEASE_SECONDS: Final = 300
"""Longer than a step can last: at most some hundred questions to a gateway, 20 at a time."""
PAUSE_SECONDS_MAX: Final = 600.0


class Reconciliation(NamedTuple):
    key: UUID
    store_id: str
    gateway: str
    account: str
    begins_at: datetime
    ends_at: datetime
    state: str
    """listing, comparing, closing; then done or failed."""
    place: str
    """How far the state is done."""
    tries: int


CREATE: Final = """
insert into reconciliations (key, store_id, gateway, account, begins_at, ends_at, actor) values ($1, $2, $3, $4, $5, $6, $7)
on conflict (key) do nothing returning key"""


async def create(
    tx: Connection, key: UUID, store_id: str, gateway: str, account: str, begins_at: datetime, ends_at: datetime, actor: str
) -> bool:  # fmt: skip
    """Returns whether it is new."""
    made = await tx.fetchval(CREATE, key, store_id, gateway, account, begins_at, ends_at, actor)
    return made is not None


async def create_nightly(tx: Connection, gateways: Collection[str], now: datetime, hour: int) -> int:
    """Makes those of the last days for each account at the gateways that have a list, each once. A day is one of UTC, and is
    reconciled from `hour` of the next day on. Returns how many were made."""
    accounts = await tx.fetch(
        "select store_id, gateway, account from gateway_accounts where gateway = any($1::text[])", list(gateways)
    )
    last = (now - timedelta(hours=hour)).date()
    made = 0
    for account in accounts:
        for back in range(NIGHTS, 0, -1):
            begins_at = datetime.combine(last - timedelta(days=back), time(), UTC)
            ends_at = begins_at + timedelta(days=1)
            key = uuid5(NAMESPACE, "\n".join((*account.values(), begins_at.isoformat(), ends_at.isoformat())))
            store_id, gateway, name = account.values()
            made += await create(tx, key, store_id, gateway, name, begins_at, ends_at, NIGHTLY)
    return made


# One of an account at a time, the oldest first: each closes what it does not find.
LEASE: Final = """
update reconciliations set leased_by = $1, lease_until = clock_timestamp() + make_interval(secs => $2), tries = tries + 1
where key = (
  select key from reconciliations r
  where ended_at is null and run_at <= clock_timestamp() and (lease_until is null or lease_until < clock_timestamp())
    and not exists (select from reconciliations e where e.ended_at is null and e.store_id = r.store_id
      and e.gateway = r.gateway and e.account = r.account and (e.created_at, e.begins_at, e.key) < (r.created_at, r.begins_at, r.key))
  order by run_at limit 1 for update skip locked)
returning key, store_id, gateway, account, begins_at, ends_at, state, place, tries"""


async def lease(app: App, holder: str) -> Reconciliation | None:
    rows = await app.fetch(LEASE, holder, LEASE_SECONDS)
    return Reconciliation(**rows[0]) if rows else None


class LeaseLost(Exception):
    """Another process is at it."""


SAVE: Final = """
update reconciliations set state = $3, place = $4, listed = listed + $5, orders = orders + $6, found = found + $7, gone = gone + $8,
  tries = 0, error = '', lease_until = clock_timestamp() + make_interval(secs => $9),
  ended_at = case when $3 in ('done', 'failed') then now() end
where key = $1 and leased_by = $2 and lease_until > clock_timestamp() returning key"""


async def save(
    tx: Connection, one: Reconciliation, holder: str, state: str, place: str,
    listed: int = 0, orders: int = 0, found: int = 0, gone: int = 0,
) -> Reconciliation:  # fmt: skip
    """Notes how far it is, and holds the lease on. Raises LeaseLost."""
    saved = await tx.fetchval(
        SAVE, one.key, holder, state, place, listed, orders, found, gone, LEASE_SECONDS
    )  # fmt: skip
    if saved is None:
        raise LeaseLost(str(one.key))
    return one._replace(state=state, place=place, tries=0)


LATER: Final = """
update reconciliations set error = $3, leased_by = null, lease_until = null, run_at = clock_timestamp() + make_interval(secs => $4)
where key = $1 and leased_by = $2"""
FAILED: Final = """
update reconciliations set state = 'failed', error = $3, leased_by = null, lease_until = null, ended_at = now()
where key = $1 and leased_by = $2"""


async def later(app: App, one: Reconciliation, holder: str, error: str) -> None:
    """Tries the step again after a pause that doubles."""
    pause = min(2.0 ** min(one.tries, 20), PAUSE_SECONDS_MAX)
    await app.fetch(LATER, one.key, holder, error.replace("\0", "")[:500], pause)


async def fail(app: App, one: Reconciliation, holder: str, error: str) -> None:
    await app.fetch(FAILED, one.key, holder, error.replace("\0", "")[:500])


SWEEP: Final = (
    "delete from reconciled_rows where reconciliation_id = $1",
    "delete from reconciled_orders where reconciliation_id = $1",
    "delete from reconciled_differences where reconciliation_id = $1",
)


async def sweep(tx: Connection, key: UUID) -> None:
    """Deletes what is needed only while it runs."""
    for statement in SWEEP:
        await tx.execute(statement, key)


def shown(row: Record | Any) -> dict[str, Any]:
    """As the API has it."""
    return {"reconciliation_id" if name == "key" else name: value for name, value in row.items()}
