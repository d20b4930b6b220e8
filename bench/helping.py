"""What a person does in the console with parked messages and deliveries, beside 100,000 messages that are parked in orders and a
million deliveries to one endpoint.

The rows are written directly. Webhooks only answers: nothing is delivered, which would be measured with it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg

from bench.browsing import Browser, fields_of
from bench.deliveries import BODY_BYTES, endpoint_row, insert_endpoints
from bench.workload import STORE, Series, utc_now
from chassis.batch.record import Record
from contracts.registry import SNAPSHOTS
from system.processes import KEYS
from webhooks.vault import Vault

GROUP_MESSAGES: Final = 5
"""Size of a group that is replayed."""
LINES: Final = 20
"""Code lines that the other parked messages failed at, each a group."""
MISSED: Final = 3
"""Events of an order that its integrator has missed."""
FED_DAYS: Final = 29
DELIVERED_DAYS: Final = 14

PARKED: Final = """
insert into parked (key, store_id, type, topic, partition, "offset", record_key, headers, value, fingerprint, cause, detail, raised_at, stack)
select key, $2::text, 'marketplace.snapshot', $3::text, 0, n, convert_to(key::text, 'UTF8'), $4::jsonb,
  convert_to($5::text || n, 'UTF8'), '', 'fault', 'ValueError in our code; the log of the service has the cause',
  'orders.domain.engine.story:' || n % $6::int, $7::text
from unnest($1::uuid[]) with ordinality as u(key, n)"""
PARKED_ONE: Final = """
insert into parked (key, store_id, type, topic, partition, "offset", record_key, headers, value, fingerprint, cause, detail, raised_at)
values ($1, $2, 'marketplace.snapshot', $3, 1, $4, $5, $6, $7, $8, $9, 'it was parked by the bench', $10) returning id"""
FED: Final = """
insert into feed (position, event_id, source, type, store_id, key, version, time, at, correlation_id, body)
select n, 'bench-' || n, 'orders', 'orders.placed', $2::text, coalesce(($3::uuid[])[$1::int - n + 1], gen_random_uuid()), 1, t, t,
  'bench', $4::text
from generate_series(1, $1::int) as n cross join lateral (select now() - (1 - n::float8 / $1::int) * $5::interval as t) as at"""
DELIVERED: Final = """
insert into attempts (id, endpoint_id, store_id, position, event_id, type, key, delivery_id, number, at, duration_ms, outcome, http_status,
  response, error, events, notice)
select cast(lpad(to_hex(floor(extract(epoch from sent_at) * 1000)::bigint), 12, '0') || '7' || substr(random_hex, 14) as uuid),
  $1::uuid, store_id, position, event_id, type, key, event_id, 1, sent_at, 20,
  case when key = any($2::uuid[]) then 'failed' else 'delivered' end, case when key = any($2::uuid[]) then 503 else 200 end, '', null, 1, false
from feed cross join lateral (
  select greatest(at, now() - $3::interval * random()) as sent_at, replace(gen_random_uuid()::text, '-', '') as random_hex) as s"""
"""The id of an attempt has its time: `webhooks.domain.attempts.attempt_id`."""


class Help:
    """What was written for the tasks."""

    def __init__(self, groups: Sequence[str], broken: Sequence[tuple[int, str]], endpoint_id: UUID) -> None:
        """groups: the code line of each group that is replayed. broken: id and right body of each message that is edited."""
        self._groups, self._broken, self._endpoint_id = groups, broken, endpoint_id

    async def replay_a_group(self, browser: Browser, n: int) -> None:
        """Parked, Replay, Replay 5 messages; the page of the job."""
        await browser.get("/parked")
        page = await browser.get("/parked/orders/group", cause="fault", line=self._groups[n])
        await browser.post("/parked/orders/group/replay", **fields_of(page, "id_max", "count", "cause", "line"))

    async def edit_and_replay(self, browser: Browser, n: int) -> None:
        """The message, the lines that change, store and replay."""
        parked_id, right = self._broken[n]
        path = f"/parked/orders/{parked_id}"
        version = fields_of(await browser.get(path), "version")
        await browser.post(f"{path}/preview", value=right, **version)
        await browser.post(f"{path}/edit", value=right, **version)

    async def resend_what_was_missed(self, browser: Browser, order_id: UUID) -> None:
        """Resend, Send again, from the page of the order."""
        page = await browser.get(f"/orders/{order_id}")
        chosen = re.findall(r'name="(attempt:[0-9a-f-]+)" value="([0-9a-f-]+)"', page)
        assert len(chosen) == MISSED, f"{len(chosen)} of {MISSED} missed events are on the page of the order"
        await browser.post(f"/orders/{order_id}/resend", **dict(chosen))

    async def replay_since_yesterday(self, browser: Browser) -> None:
        """The endpoint, Replay, Count, Send again."""
        path = f"/webhooks/{STORE}/{self._endpoint_id}"
        await browser.get(path)
        await browser.get(f"{path}/replay")
        since = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT14:00")
        counted = await browser.get(f"{path}/replay", **{"from": since})
        await browser.post(f"{path}/replay", **fields_of(counted, "from", "to", "only", "count", "types"))


async def prepared(
    orders: str, webhooks: str, lists: str, parked: int, deliveries: int, series: Series, times: int
) -> Help:
    """Writes what the tasks need, done so many times. orders, webhooks, lists: databases. series: the orders whose events were missed."""
    keys = [
        row["order_id"]
        for row in await _rows(lists, "select order_id from order_rows where waiting = '' limit $1", parked)
    ]
    groups, broken = await _parked(orders, keys, times)
    endpoint_id = await _delivered(webhooks, deliveries, [series.key(n) for n in range(times)])
    return Help(groups, broken, endpoint_id)


async def _rows(dsn: str, statement: str, *values: Any) -> list[Any]:
    connection = await asyncpg.connect(dsn)
    try:
        return list(await connection.fetch(statement, *values))
    finally:
        await connection.close()


async def _parked(dsn: str, keys: Sequence[UUID], times: int) -> tuple[list[str], list[tuple[int, str]]]:
    """Parks a message of each of these orders; and snapshots of new orders, in groups that are replayed, and with a body to be edited."""
    connection = await asyncpg.connect(dsn)
    groups, broken = [f"orders.domain.content.lines:{n}" for n in range(times)], []
    try:
        for first in range(0, len(keys), 10_000):
            await connection.execute(
                PARKED, keys[first : first + 10_000], STORE, f"{SNAPSHOTS}.{first}", json.dumps([["ce_type", "eA=="]] * 12),
                "x" * BODY_BYTES, LINES, "orders.domain.engine.story:71 step\n" * 6,
            )  # fmt: skip
        series = Series("parked")
        for n in range(times * (GROUP_MESSAGES + 1)):
            in_group = n < times * GROUP_MESSAGES
            key, value = series.snapshot(n)
            record = Record(
                SNAPSHOTS, 1, n, key, value if in_group else b"{}", series.snapshot_headers(n, key, utc_now())
            )
            parked_id = await connection.fetchval(
                PARKED_ONE, series.key(n), STORE, SNAPSHOTS, 10**9 + n, key, json.dumps(record.headers_json()), record.value,
                record.fingerprint(), "fault" if in_group else "bad_body", groups[n % times] if in_group else None,
            )  # fmt: skip
            if not in_group:
                broken.append((parked_id, value.decode()))
        await connection.execute("insert into parked_keys (key) select distinct key from parked")
        await connection.execute("vacuum analyze parked, parked_keys")  # as it is soon after they were parked
    finally:
        await connection.close()
    return groups, broken


async def _delivered(dsn: str, count: int, missed: Sequence[UUID]) -> UUID:
    """Writes a feed of `count` events, the last ones of these orders, and an attempt of each at one endpoint; returns the endpoint."""
    endpoint_id, now = uuid4(), datetime.now(UTC)
    row, cursor = endpoint_row(endpoint_id, STORE, 0, now, Vault(KEYS["webhooks"]["WEBHOOKS_SECRET_KEYS"].split()))
    await insert_endpoints(dsn, [row], [cursor])
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("truncate feed")
        for day in range(DELIVERED_DAYS + 1):
            await _partition(connection, now - timedelta(days=day))
        body = '{"filler":"' + "x" * BODY_BYTES + '"}'
        await connection.execute(FED, count, STORE, list(missed) * MISSED, body, timedelta(days=FED_DAYS))
        await connection.execute(DELIVERED, endpoint_id, list(missed), timedelta(days=DELIVERED_DAYS))
        await connection.execute("update feed_head set position = $1", count)
        await connection.execute("update cursors set position = $1", count)
        await connection.execute("vacuum analyze feed, attempts")
    finally:
        await connection.close()
    return endpoint_id


async def _partition(connection: asyncpg.Connection, at: datetime) -> None:
    """Makes the partition of the attempts of a day, if the service has not."""
    day = at.replace(hour=0, minute=0, second=0, microsecond=0)
    name, until = f"attempts_{day:%Y%m%d}", day + timedelta(days=1)
    await connection.execute(
        f"create table if not exists {name} partition of attempts for values from ('{day}') to ('{until}')"
    )
