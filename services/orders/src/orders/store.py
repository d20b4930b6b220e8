"""Orders' own SQL: the searched columns of an order, and the small table of markets."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final

from asyncpg import Connection
from pydantic import TypeAdapter

from chassis.declare.service import Change
from chassis.declare.sql import Piece, Rows, columns
from contracts.base import Code, Frozen
from contracts.orders import AttachmentAdded, MarketTerms, NoteAdded
from orders import indexing
from orders.domain.shown.views import in_flight, waiting, waiting_since, waiting_step, waits_since
from orders.domain.state.annotations import Annotations
from orders.domain.state.order import MarketKey, Order


def _content(read: Callable[[Any], Any]) -> Callable[[Order], Any]:
    return lambda order: read(order.content) if order.content is not None else None


def _annotated(read: Callable[[Annotations], Any]) -> Callable[[Order], Any]:
    return lambda order: read(order.annotations) if order.annotations is not None else None


def _array(words: Sequence[str]) -> str | None:
    """A literal of PostgreSQL's array type; null if there are none, so that they take no place in an index."""
    return "{" + ",".join(map(json.dumps, words)) + "}" if words else None


PARTS: Final = ("content", "market", "metadata")
COLUMNS: Mapping[str, tuple[str, Callable[[Order], Any]]] = {
    "channel": ("text", lambda order: order.source.channel if order.source else ""),
    "account": ("text", lambda order: order.source.account if order.source else ""),
    "external_order_id": ("text", attrgetter("number")),
    "status": ("text", attrgetter("status")),
    "payment_status": ("text", attrgetter("payment_status")),
    "fulfillment_status": ("text", attrgetter("fulfillment_status")),
    "waiting": ("text", waiting),
    "waiting_step": ("text", waiting_step),
    "waiting_since": ("timestamptz", waiting_since),
    "in_flight": ("boolean", in_flight),
    "currency": ("text", _content(lambda content: content.currency)),
    "grand_minor": ("bigint", attrgetter("grand_minor")),
    "test": ("boolean", _content(attrgetter("test"))),
    "cancel_cause": ("text", attrgetter("cancel_cause")),
    "ordered_at": ("timestamptz", _content(lambda content: content.placed_at)),
    "placed_at": ("timestamptz", attrgetter("placed_at")),
    "completed_at": ("timestamptz", attrgetter("completed_at")),
    "archived_at": ("timestamptz", _annotated(attrgetter("archived_at"))),
    "reference": ("text", _annotated(attrgetter("reference"))),
    "tags": ("text[]", _annotated(lambda annotations: _array(annotations.tags))),
    "waits_since": ("timestamptz", waits_since),
}
STAMPS: Final = {"updated_at": "true", "rested_at": "not u.in_flight"}

NOTES: Final = Piece(
    """
notes_written as (
insert into notes (order_id, number, store_id, note_id, at, actor, author, audience, text)
select * from unnest({0}::uuid[], {1}::int[], {2}::text[], {3}::uuid[], {4}::timestamptz[], {5}::text[], {6}::text[], {7}::text[],
  {8}::text[]))""",
    9,
)
ATTACHMENTS: Final = Piece(
    """
attachments_written as (
insert into attachments (order_id, number, store_id, attachment_id, at, actor, name, description, url)
select * from unnest({0}::uuid[], {1}::int[], {2}::text[], {3}::uuid[], {4}::timestamptz[], {5}::text[], {6}::text[], {7}::text[],
  {8}::text[]))""",
    9,
)


def rows(changes: Sequence[Change[Order]]) -> list[Rows]:
    """What a batch writes beside the orders. An expression without rows is left out of its statement."""
    return [*_annotations(changes), *indexing.rows(changes)]


def _annotations(changes: Sequence[Change[Order]]) -> list[Rows]:
    """Notes and attachments that the batch added."""
    annotated = [change for change in changes if change.after.annotations is not change.before.annotations]
    if changes and not annotated:
        return []
    events = [event for change in annotated for event in change.events]
    notes = [
        (one.order_id, one.number, one.store_id, one.note_id, one.at, one.actor, one.author, one.audience, one.text)
        for one in events if isinstance(one, NoteAdded)
    ]  # fmt: skip
    attachments = [
        (one.order_id, one.number, one.store_id, one.attachment_id, one.at, one.actor, one.name, one.description, one.url)
        for one in events if isinstance(one, AttachmentAdded)
    ]  # fmt: skip
    return [
        Rows(NOTES, columns(notes, NOTES.parameters)),
        Rows(ATTACHMENTS, columns(attachments, ATTACHMENTS.parameters)),
    ]


# What counts against the intake limit $1. A command asked in the last 5 seconds counts in full: it is answered soon, and
# the running orders end before new ones start. An older one (a slow gateway, a service that is down) counts for 5 minutes,
# and those of one store for at most a quarter of the limit: alone, a store cannot stop the intake of the others.
IN_FLIGHT = """
select coalesce(sum(recent + least(slow, greatest($1::int / 4, 1))), 0)::int from (
  select count(*) filter (where waiting_since > now() - interval '5 seconds') as recent,
    count(*) filter (where waiting_since <= now() - interval '5 seconds') as slow
  from (select store_id, waiting_since from orders where in_flight and waiting_since > now() - interval '5 minutes'
    limit 20 * $1::int) as o
  group by store_id) as s"""

PROCESSES = """
select waiting_step as step, waiting, count(*), coalesce(extract(epoch from now() - min(waiting_since)), 0)::float8 as age
from orders where waiting <> '' group by 1, 2"""

# An order's own market first, else the default of its store. Not locked: an order keeps a copy of what applied.
MARKETS = """
select distinct on (u.s, u.c, u.a) u.s, u.c, u.a, m.code, m.terms::text as terms
from unnest($1::text[], $2::text[], $3::text[]) as u(s, c, a)
join markets m on m.store_id = u.s and (m.channel is null or (m.channel = u.c and m.account = u.a))
order by u.s, u.c, u.a, m.channel nulls last"""


# Corrected terms free the orders that wait because of them: their timers are due at once, a hundred a second, so that many
# of them delay no other order's timer. The orders with a market of their own read that one again, and nothing changes.
WAKE_WAITING = """
insert into timers (aggregate, key, due_at)
select 'orders', key, clock_timestamp() + interval '1 second' * ((row_number() over (order by key) - 1) / 100)
from orders where store_id = $1 and ($2::text is null or (channel = $2 and account = $3))
  and (waiting = 'stock' or (waiting = 'exception' and (status = 'pending' or waiting_step = 'settle.invoice')))
order by key
on conflict (aggregate, key) do update set due_at = least(timers.due_at, excluded.due_at)"""


class Market(Frozen):
    """A row of `markets`, as files and requests state it: without channel and account, the store's default."""

    store: Code
    channel: Code | None = None
    account: Code | None = None
    terms: MarketTerms


async def load_markets(tx: Connection, keys: Sequence[MarketKey]) -> dict[MarketKey, MarketTerms]:
    rows = await tx.fetch(
        MARKETS, [key.store_id for key in keys], [key.channel for key in keys], [key.account for key in keys]
    )
    return {MarketKey(row["s"], row["c"], row["a"]): MarketTerms.model_validate_json(row["terms"]) for row in rows}


MARKET_VERSION = "select version from markets where store_id = $1 and code = $2 for update"


async def market_version(tx: Connection, store_id: str, code: str) -> int | None:
    """Locks a market and returns its version; None if it does not exist."""
    version: int | None = await tx.fetchval(MARKET_VERSION, store_id, code)
    return version


async def put_market(tx: Connection, market: Market) -> int:
    """Writes a market and returns its version; if that changes the market, wakes the orders that wait.

    Raises ValueError if another market of the store has the same channel and account.
    """
    taken = await tx.fetchval(
        "select code from markets where store_id = $1 and channel is not distinct from $2 and account is not distinct from $3"
        " and code <> $4",
        market.store, market.channel, market.account, market.terms.code,
    )  # fmt: skip
    if taken is not None:
        where = f"{market.channel}/{market.account}" if market.channel else "the store's default"
        raise ValueError(f"market {taken} is found by {where} already")
    changed: int | None = await tx.fetchval(
        "insert into markets as m (store_id, code, channel, account, terms) values ($1, $2, $3, $4, $5)"
        " on conflict (store_id, code) do update set channel = excluded.channel, account = excluded.account,"
        " terms = excluded.terms, version = m.version + 1 where (m.channel, m.account, m.terms) is distinct from"
        " (excluded.channel, excluded.account, excluded.terms) returning version",
        market.store, market.terms.code, market.channel, market.account, market.terms.model_dump_json(),
    )  # fmt: skip
    if changed is not None:
        await tx.execute(WAKE_WAITING, market.store, market.channel, market.account)
        return changed
    version = await market_version(tx, market.store, market.terms.code)
    assert version is not None
    return version


_FILE = TypeAdapter(dict[str, list[Market]])


async def apply(tx: Connection, wanted: Mapping[str, Any]) -> Sequence[str]:
    """`markets:` a list of {store, channel, account, terms}; without channel and account, the store's default."""
    if unknown := set(wanted) - {"markets"}:
        raise ValueError(f"unknown tables {', '.join(sorted(unknown))}; orders has: markets")
    lines = []
    for market in _FILE.validate_python(dict(wanted)).get("markets", []):
        await put_market(tx, market)
        lines.append(f"market {market.store}/{market.terms.code}")
    return lines
