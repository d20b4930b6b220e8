"""What a reconciliation reads and writes: rows of a gateway's list, movements of our ledgers, and what differs, in parts."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson
from asyncpg import Connection, Record

from chassis.declare.sql import columns
from payments.domain.books import CLEARING
from payments.domain.differences import About, about, difference_id
from payments.domain.gateway import GatewayCall, GatewayOutcome
from payments.domain.listing import Listed
from payments.domain.operation import capture_id_of
from payments.domain.pairing import Movement
from payments.domain.reconciling import Difference, Unfinished, differences
from payments.gateways.port import Gateway
from payments.moved import IS_PREPAID, KIND
from payments.reconciliations import Reconciliation

CHUNK_ORDERS: Final = 500
CHUNK_ROWS: Final = 500
QUESTIONS_AT_ONCE: Final = 20
AWAITED_HOURS: Final = 24
"""How long a gateway that is being asked may take to report what it lists: until then it is no difference."""


class Found(NamedTuple):
    key: UUID
    about: About


class Missing(NamedTuple):
    """What only our ledger has. The gateway is asked about it before it is a difference."""

    call: GatewayCall
    at: datetime
    compared: Difference


class Chunk(NamedTuple):
    found: list[Found]
    missing: list[Missing]


# ------------------------------------------------------------------------------------------------------------- listing

NAMED: Final = """
select operation_id, gateway_reference, order_id from operations
where store_id = $1 and (gateway_reference = any($2::text[]) or operation_id = any($3::uuid[])) and $4 in (gateway, system)"""
STAGED: Final = """
with added as (
  insert into reconciled_rows (reconciliation_id, kind, reference, names, currency, amount_minor, at, order_id, ambiguous)
  select $1, kind, reference, array(select json_array_elements_text(names::json)), currency, amount_minor, at, order_id, ambiguous
  from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::timestamptz[], $8::uuid[], $9::bool[])
    as listed (kind, reference, names, currency, amount_minor, at, order_id, ambiguous)
  on conflict do nothing returning 1)
select count(*) from added"""
ORDERS: Final = """
insert into reconciled_orders (reconciliation_id, order_id) select $1, unnest($2::uuid[]) on conflict do nothing"""
# The index of the books by time; an entry of a statement is of no order.
OURS: Final = f"""
insert into reconciled_orders (reconciliation_id, order_id)
select distinct $1::uuid, e.order_id from entries e join operations o on o.operation_id = e.operation_id and o.order_id = e.order_id
where e.store_id = $2 and e.at >= $3 and e.at < $4 and e.account in {CLEARING} and $5 in (o.gateway, o.system)
on conflict do nothing"""


async def stage(tx: Connection, one: Reconciliation, rows: Sequence[Listed]) -> int:
    """Stores a page of the list, with the orders that it is about. Returns how many of its rows are new."""
    rows = [
        row._replace(reference=_plain(row.reference), names=tuple(map(_plain, filter(None, row.names)))) for row in rows
    ]
    sought = list({name for row in rows for name in (row.reference, *row.names)})
    orders: defaultdict[str, set[UUID]] = defaultdict(set)
    for ours in await tx.fetch(NAMED, one.store_id, sought, list(_uuids(sought)), one.gateway):
        orders[str(ours["operation_id"])].add(ours["order_id"])
        if ours["gateway_reference"]:
            orders[ours["gateway_reference"]].add(ours["order_id"])
    records: list[tuple[Any, ...]] = []
    of: set[UUID] = set()
    for row in rows:
        named = next((orders[name] for name in (row.reference, *row.names) if name in orders), set[UUID]())
        order_id = next(iter(named)) if len(named) == 1 else None
        of.update(named)
        names = orjson.dumps(row.names).decode()
        records.append(
            (row.kind, row.reference, names, row.currency, row.amount_minor, row.at, order_id, len(named) > 1)
        )
    added: int = await tx.fetchval(STAGED, one.key, *columns(records, 8))
    await tx.execute(ORDERS, one.key, sorted(of))
    return added


async def stage_ours(tx: Connection, one: Reconciliation) -> None:
    """The orders whose ledgers have moved money by the gateway within the period."""
    await tx.execute("set local statement_timeout = '60s'")
    await tx.execute(OURS, one.key, one.store_id, one.begins_at, one.ends_at, one.gateway)


def _plain(text: str) -> str:
    return text.replace("\0", "")[:200]


def _uuids(texts: Iterable[str]) -> Iterable[UUID]:
    for text in texts:
        if len(text) == 36:
            try:
                yield UUID(text)
            except ValueError:
                continue


# ----------------------------------------------------------------------------------------------------------- comparing

CHUNK: Final = """
select order_id from reconciled_orders where reconciliation_id = $1 and order_id > $2 order by order_id limit $3"""
LISTED: Final = """
select kind, reference, names, currency, amount_minor, at, order_id from reconciled_rows
where reconciliation_id = $1 and order_id = any($2::uuid[]) order by at, reference"""
MOVED: Final = f"""
select operation_id, order_id, {KIND} as kind, state, currency, amount_minor, refers_to, gateway_reference, at, system, payment_id,
  recorded, account, now() as now, o.kind = 'prepay' as in_session, {IS_PREPAID} as is_prepaid from operations o
where order_id = any($1::uuid[]) and store_id = $2 and $3 in (gateway, system) order by at, operation_id"""
FIRST: Final = "select account from gateway_accounts where store_id = $1 and gateway = $2 order by number limit 1"
AMBIGUOUS: Final = """
select names, reference from reconciled_rows
where reconciliation_id = $1 and ambiguous and (reference = any($2::text[]) or names && $2::text[])"""
STRANGERS: Final = """
select kind, reference, names, currency, amount_minor, at, ambiguous from reconciled_rows
where reconciliation_id = $1 and order_id is null and (kind, reference) > ($2, $3) order by kind, reference limit $4"""


async def orders(tx: Connection, one: Reconciliation, after: str) -> tuple[Chunk, int, str]:
    """Compares the next orders. Returns what differs, how many orders there were, and the place of the last."""
    chunk = [
        row["order_id"] for row in await tx.fetch(CHUNK, one.key, UUID(after) if after else UUID(int=0), CHUNK_ORDERS)
    ]
    listed: defaultdict[UUID, list[Listed]] = defaultdict(list)
    for row in await tx.fetch(LISTED, one.key, chunk):
        listed[row["order_id"]].append(_listed(row))
    ours: defaultdict[UUID, list[Record]] = defaultdict(list)
    for row in await tx.fetch(MOVED, chunk, one.store_id, one.gateway):
        ours[row["order_id"]].append(row)
    first = await tx.fetchval(FIRST, one.store_id, one.gateway)
    result = Chunk([], [])
    for order_id in chunk:
        there = at_account(ours[order_id], one.account, first)
        _compare(one, order_id, listed[order_id], there, result)
    if result.missing:
        result = result._replace(missing=await _without_ambiguous(tx, one, result.missing))
    return result, len(chunk), str(chunk[-1]) if chunk else after


def _listed(row: Record) -> Listed:
    return Listed(row["kind"], row["reference"], tuple(row["names"]), row["currency"], row["amount_minor"], row["at"])


def at_account(ours: Sequence[Record], account: str, first: str | None) -> list[Record]:
    """The operations whose authorization was made at an account. first: the store's first one, where those are that name none;
    null: the gateway has one account of each store."""
    if first is None:
        return list(ours)
    by_id = {row["operation_id"]: row for row in ours}
    found = []
    for row in ours:
        source = row
        while source["refers_to"] in by_id:
            source = by_id[source["refers_to"]]
        if (source["account"] or first) == account:
            found.append(row)
    return found


def compared(order_id: UUID, listed: Sequence[Listed], ours: Sequence[Record]) -> list[Difference]:
    """The differences of one order: what is listed of it, and all operations of its ledger by this gateway."""
    names = {name: order_id for row in listed for name in (row.reference, *row.names)}
    movements, unfinished = [], {}
    for row in ours:
        if row["kind"] not in ("capture", "refund") or row["currency"] is None or row["is_prepaid"]:
            continue
        movement = Movement(
            row["operation_id"], order_id, row["kind"], row["currency"], row["amount_minor"], tuple(_known_as(row)),
        )  # fmt: skip
        if row["state"] == "succeeded":
            movements.append(movement)
        else:
            is_open = row["state"] in ("asked", "pending")
            awaited = is_open and row["now"] - row["at"] < timedelta(hours=AWAITED_HOURS)
            unfinished[str(row["operation_id"])] = Unfinished(movement, awaited)
    return differences(listed, movements, names, unfinished)


def _compare(
    one: Reconciliation, order_id: UUID, listed: Sequence[Listed], ours: Sequence[Record], result: Chunk
) -> None:
    by_id = {row["operation_id"]: row for row in ours}
    for difference in compared(order_id, listed, ours):
        if difference.kind != "not_at_gateway":
            result.found.append(_found(one, difference, None))
            continue
        assert difference.ours is not None, "it is ours alone"
        row = by_id[difference.ours.operation_id]
        if one.begins_at <= row["at"] < one.ends_at and row["amount_minor"]:
            call = _question(one, row, by_id, ask_only=True)
            result.missing.append(Missing(call, row["at"], difference))


def _known_as(row: Record) -> Iterable[str]:
    """The names of an operation itself: that of its payment is shared by all that was made of it."""
    yield str(row["operation_id"])
    if row["gateway_reference"]:
        yield row["gateway_reference"]


def _question(one: Reconciliation, row: Record, by_id: Mapping[UUID, Record], ask_only: bool) -> GatewayCall:
    """Asks the gateway for one operation. What was captured with its authorization is asked for as that."""
    source = by_id.get(row["refers_to"])
    of, with_capture = row, False
    if source is not None and row["operation_id"] == capture_id_of(source["operation_id"]):
        of, source, with_capture = source, None, True
    in_session = row["in_session"]
    return GatewayCall(
        operation_id=of["operation_id"], gateway=one.gateway, kind="authorize" if in_session else of["kind"], order_id=of["order_id"], store_id=one.store_id,
        currency=of["currency"], amount_minor=of["amount_minor"], refers_to=of["refers_to"],
        source=source["gateway_reference"] if source is not None else None, capture=with_capture or in_session,
        reported_as=of["gateway_reference"], ask_only=ask_only,
    )  # fmt: skip


async def _without_ambiguous(tx: Connection, one: Reconciliation, missing: Sequence[Missing]) -> list[Missing]:
    """Without those that a row of several orders may be."""
    names = {name for each in missing if each.compared.ours for name in each.compared.ours.references}
    rows = await tx.fetch(AMBIGUOUS, one.key, sorted(names))
    taken = {name for row in rows for name in (row["reference"], *row["names"])}
    return [each for each in missing if each.compared.ours and taken.isdisjoint(each.compared.ours.references)]


async def confirmed(chunk: Chunk, one: Reconciliation, gateway: Gateway) -> list[Found]:
    """Asks the gateway for what its list does not have: it may have made it just before or after the period. Raises Unclear."""
    found = list(chunk.found)
    for first in range(0, len(chunk.missing), QUESTIONS_AT_ONCE):
        asked = chunk.missing[first : first + QUESTIONS_AT_ONCE]
        answers = await asyncio.gather(*(_known(gateway, each.call) for each in asked))
        for each, known in zip(asked, answers, strict=True):
            if known is None:
                found.append(_found(one, each.compared, each.at))
            elif known.state == "refused" or (known.state == "succeeded" and each.call.capture and not known.captured):
                found.append(_found(one, each.compared._replace(kind="state_differs"), each.at))
            elif known.state == "succeeded" and known.amount_minor not in (None, each.call.amount_minor):
                found.append(_found(one, each.compared._replace(kind="amount_differs"), each.at))
    return found


async def _known(gateway: Gateway, call: GatewayCall) -> GatewayOutcome | None:
    return await gateway.by_key(call) or await gateway.by_reference(call)


async def strangers(tx: Connection, one: Reconciliation, after: str) -> tuple[list[Found], int, str]:
    """The next rows of the list that belong to no order, or to several."""
    kind, _, reference = after.partition(" ")
    rows = await tx.fetch(STRANGERS, one.key, kind, reference, CHUNK_ROWS)
    found = [
        _found(
            one,
            Difference(
                "reference_ambiguous" if row["ambiguous"] else "payment_unknown", "ask", None, None, _listed(row)
            ),
            None,
        )
        for row in rows
    ]
    return found, len(rows), f"{rows[-1]['kind']} {rows[-1]['reference']}" if rows else after


def _found(one: Reconciliation, difference: Difference, ours_at: datetime | None) -> Found:
    return Found(
        difference_id(one.store_id, one.gateway, one.account, difference),
        about(one.gateway, one.account, difference, ours_at),
    )


# ------------------------------------------------------------------------------------------------------------- closing

REMEMBER: Final = """
with added as (insert into reconciled_differences (reconciliation_id, difference_id) select $1, unnest($2::uuid[])
  on conflict do nothing returning 1) select count(*) from added"""
NOT_FOUND: Final = """
select key from differences d
where store_id = $2 and gateway = $3 and account = $4 and status = 'open' and kind <> 'dispute_differs' and at >= $5 and at < $6 and key > $7
  and not exists (select from reconciled_differences r where r.reconciliation_id = $1 and r.difference_id = d.key)
order by key limit $8"""


async def remember(tx: Connection, one: Reconciliation, keys: Sequence[UUID]) -> int:
    """Returns how many of them this reconciliation had not found before."""
    new: int = await tx.fetchval(REMEMBER, one.key, list(keys))
    return new


async def not_found(tx: Connection, one: Reconciliation, after: UUID) -> list[UUID]:
    rows = await tx.fetch(
        NOT_FOUND, one.key, one.store_id, one.gateway, one.account, one.begins_at, one.ends_at, after, CHUNK_ROWS
    )  # fmt: skip
    return [row["key"] for row in rows]
