"""Orders' own SQL: the searched columns of an order, and the small table of markets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from asyncpg import Connection
from pydantic import TypeAdapter

from contracts.base import Code, Frozen
from contracts.orders import MarketTerms
from orders.domain.decisions import MarketKey
from orders.domain.order import Order
from orders.domain.views import in_flight, waiting, waiting_since, waiting_step


def _content(read: Callable[[Any], Any]) -> Callable[[Order], Any]:
    return lambda order: read(order.content) if order.content is not None else None


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
    "grand_minor": ("bigint", _content(lambda content: content.totals.grand_minor)),
    "cancel_cause": ("text", attrgetter("cancel_cause")),
    "ordered_at": ("timestamptz", _content(lambda content: content.placed_at)),
    "placed_at": ("timestamptz", attrgetter("placed_at")),
    "completed_at": ("timestamptz", attrgetter("completed_at")),
}

IN_FLIGHT = "select count(*) from (select 1 from orders where in_flight limit $1) as o"

PROCESSES = """
select waiting_step as step, waiting, count(*), coalesce(extract(epoch from now() - min(waiting_since)), 0)::float8 as age
from orders where waiting <> '' group by 1, 2"""

# An order's own market first, else the default of its store. Not locked: an order keeps a copy of what applied.
MARKETS = """
select distinct on (u.s, u.c, u.a) u.s, u.c, u.a, m.code, m.terms::text as terms
from unnest($1::text[], $2::text[], $3::text[]) as u(s, c, a)
join markets m on m.store_id = u.s and (m.channel is null or (m.channel = u.c and m.account = u.a))
order by u.s, u.c, u.a, m.channel nulls last"""


class Market(Frozen):
    """A row of `markets`, as files and requests say it: without channel and account, the store's default."""

    store: Code
    channel: Code | None = None
    account: Code | None = None
    terms: MarketTerms


async def load_markets(tx: Connection, keys: Sequence[MarketKey]) -> dict[MarketKey, MarketTerms]:
    rows = await tx.fetch(
        MARKETS, [key.store_id for key in keys], [key.channel for key in keys], [key.account for key in keys]
    )
    return {MarketKey(row["s"], row["c"], row["a"]): MarketTerms.model_validate_json(row["terms"]) for row in rows}


async def put_market(tx: Connection, market: Market) -> None:
    """Raises ValueError when another market of the store is found by the same channel and account."""
    taken = await tx.fetchval(
        "select code from markets where store_id = $1 and channel is not distinct from $2 and account is not distinct from $3"
        " and code <> $4",
        market.store, market.channel, market.account, market.terms.code,
    )  # fmt: skip
    if taken is not None:
        where = f"{market.channel}/{market.account}" if market.channel else "the store's default"
        raise ValueError(f"market {taken} is found by {where} already")
    await tx.execute(
        "insert into markets (store_id, code, channel, account, terms) values ($1, $2, $3, $4, $5) on conflict (store_id, code)"
        " do update set channel = excluded.channel, account = excluded.account, terms = excluded.terms",
        market.store, market.terms.code, market.channel, market.account, market.terms.model_dump_json(),
    )  # fmt: skip


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
