"""Lists and searches over a million orders: fills the tables of orders directly, then measures every filter and sort.

The orders are of 20 stores and two years. The largest store has about 28 % of them, the smallest 1.4 %. 93 % are completed,
5 % cancelled; the rest is open. Titles, SKUs and buyers are drawn so that some are in every tenth order and most in a few.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg

from chassis.batch.database import Database
from chassis.declare.migrations import upgrade
from orders.api.listing import Asked, filters
from orders.domain.shown import searched
from orders.handlers import SERVICE
from orders.search import Search, Sort
from orders.settings import Settings

STORES: Final = [f"store-{n:02}" for n in range(1, 21)]
SINCE: Final = datetime(2024, 11, 1, tzinfo=UTC)
DAYS: Final = 730
WORDS: Final = 4_000
SKUS: Final = 20_000
BUYERS: Final = 300_000
KEY: Final = b"bench"
DOCUMENT: Final = '{"filler":"' + "x" * 1_000 + '"}'
CONTENT: Final = '{"filler":"' + "x" * 900 + '"}'
MARKET: Final = '{"filler":"' + "x" * 300 + '"}'
"""About the bytes of an order's documents when it is completed; no list reads them."""
RUNS: Final = 40
"""Requests of each kind: first pages and later ones, of stores drawn by their size."""


def _skewed(rng: random.Random, count: int) -> int:
    """Returns a number below `count`; the low ones are drawn far more often."""
    return int(count * rng.random() ** 4)


@dataclass(frozen=True)
class State:
    """The words of an order's state, and which part of all orders has them, in thousandths."""

    thousandths: int
    status: str = "approved"
    payment: str = "paid"
    fulfillment: str = "fulfilled"
    waiting: str = ""
    cause: str | None = None
    recent: bool = False
    """Only orders of the last 30 days have it, so that those are open that are new."""
    in_flight: bool = False


STATES: Final = (
    State(875), State(35, payment="partially_refunded"), State(20, fulfillment="not_required"),
    State(30, "cancelled", "voided", "unfulfilled", cause="customer"), State(12, "cancelled", "unpaid", "unfulfilled", cause="declined"),
    State(8, "cancelled", "refunded", "unfulfilled", cause="out_of_stock"),
)  # fmt: skip
OPEN: Final = (
    State(700, fulfillment="in_progress", waiting="warehouse"), State(200, payment="authorized", fulfillment="in_progress", waiting="warehouse"),
    State(40, "placing", "unpaid", "unfulfilled", "stock"), State(20, "placed", "authorized", "unfulfilled", "approval"),
    State(20, "pending", "unpaid", "unfulfilled", "payment"), State(10, "approved", waiting="exception"),
    State(10, "placing", "unpaid", "unfulfilled", "answer", in_flight=True),
)  # fmt: skip
COUNTRIES: Final = ("DE", "FR", "NL", "BE", "AT", "ES", "IT", "PL", "SE", "LU", "EE", "MT")


class Generator:
    """Makes orders, oldest first. The same number gives the same orders."""

    def __init__(self, count: int) -> None:
        self._count, self._rng = count, random.Random(count)
        self._weights = list(itertools.accumulate(1 / n for n in range(1, len(STORES) + 1)))

    def rows(self) -> Iterator[tuple[str, str]]:
        """Returns lines of COPY for `orders` and for `order_search`."""
        for n in range(self._count):
            yield self._row(n)

    def _row(self, n: int) -> tuple[str, str]:
        rng = self._rng
        store = rng.choices(STORES, cum_weights=self._weights)[0]
        at = SINCE + timedelta(days=DAYS * (n + rng.random()) / self._count)
        is_open = n > self._count * (1 - 30 / DAYS) and rng.random() < 0.4
        states = OPEN if is_open else STATES
        state = rng.choices(states, [one.thousandths for one in states])[0]
        key, number = UUID(int=rng.getrandbits(128)), f"{rng.randrange(10**8):08}-{n}"
        channel, currency = (
            rng.choices(("amazon", "web", "bol", "till"), (60, 25, 14, 1))[0],
            "EUR" if rng.random() < 0.95 else "CHF",
        )
        amount = int(rng.lognormvariate(8.3, 0.9)) + 100
        ended = at + timedelta(hours=1 + 90 * rng.random())
        settled = not state.waiting
        found = {
            (searched.CURRENCY, currency), (searched.MARKET, f"eu-{channel}"), (searched.CHANNEL, channel), (searched.ACCOUNT, "main"),
            (searched.COUNTRY, COUNTRIES[_skewed(rng, len(COUNTRIES))]), (searched.NAME, number),
            (searched.EMAIL, searched.email_hash(f"buyer-{rng.randrange(BUYERS)}@example.com", KEY)),
            *((searched.SKU, f"SKU-{_skewed(rng, SKUS)}") for _ in range(rng.choice((1, 2, 3, 5)))),
            *((searched.WORD, f"word{_skewed(rng, WORDS)}") for _ in range(rng.choice((3, 6, 9, 12)))),
        }  # fmt: skip
        words = searched.vector(searched.lexeme(store, kind, value) for kind, value in found)
        order = (
            key, store, 12, 8, DOCUMENT, "{}", CONTENT, MARKET, channel, "main", number, state.status, state.payment, state.fulfillment,
            state.waiting, "place.fulfill" if state.waiting else "", at if state.waiting else None, state.in_flight, currency, amount,
            False, state.cause, at, at + timedelta(seconds=2), ended if settled and state.status == "approved" else None,
            at if state.waiting and not state.in_flight else None, ended if settled else at, None if state.in_flight else ended if settled else at,
        )  # fmt: skip
        search = (key, store, at, amount, number, False, words)
        return _line(order), _line(search)


def _line(values: Sequence[Any]) -> str:
    return "\t".join("\\N" if value is None else str(value) for value in values) + "\n"


ORDERS: Final = (
    "key", "store_id", "revision", "version", "doc", "answered", "content", "market", "channel", "account", "external_order_id", "status",
    "payment_status", "fulfillment_status", "waiting", "waiting_step", "waiting_since", "in_flight", "currency", "grand_minor", "test",
    "cancel_cause", "ordered_at", "placed_at", "completed_at", "waits_since", "updated_at", "rested_at",
)  # fmt: skip
SEARCH: Final = ("key", "store_id", "ordered_at", "amount_minor", "number", "archived", "words")
TABLES: Final = ("orders", "order_search", "order_marks")
INDEXES: Final = """
select indexrelid::regclass::text as name, pg_get_indexdef(indexrelid) as made_by from pg_index
where indrelid::regclass::text = any($1::text[]) and not indisunique"""


async def fill(url: str, count: int) -> None:
    """Migrates the database and fills it with orders. Indexes are made after the rows, as a restore does it."""
    await upgrade(SERVICE, url)
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            f"truncate {', '.join(TABLES)}; set maintenance_work_mem = '256MB'; set synchronous_commit = off"
        )
        indexes = await connection.fetch(INDEXES, list(TABLES))
        for index in indexes:
            await connection.execute(f"drop index {index['name']}")
        made = Generator(count).rows()
        while chunk := list(itertools.islice(made, 20_000)):
            for table, columns, part in (("orders", ORDERS, 0), ("order_search", SEARCH, 1)):
                await connection.copy_to_table(table, source=_source(chunk, part), columns=columns, format="text")
        for kind, usual in searched.UNMARKED.items():
            await connection.execute(
                f"insert into order_marks select store_id, '{kind}:' || {kind}, ordered_at, key from orders"
                f" where not in_flight and {kind} <> all($1::text[])", list(usual),
            )  # fmt: skip
        await connection.execute("insert into order_marks select store_id, 'cancel_cause:' || cancel_cause, ordered_at, key"
                                 " from orders where cancel_cause is not null")  # fmt: skip
        await connection.execute("insert into order_marks select store_id, 'exception:address_changed', ordered_at, key"
                                 " from orders where waiting = 'exception'")  # fmt: skip
        for index in indexes:
            await connection.execute(index["made_by"])
        await connection.execute(f"vacuum analyze {', '.join(TABLES)}")
        await connection.execute("checkpoint")
    finally:
        await connection.close()


async def _source(chunk: Sequence[tuple[str, str]], part: int) -> AsyncIterator[bytes]:
    yield "".join(one[part] for one in chunk).encode()


def requests(rng: random.Random) -> Mapping[str, tuple[dict[str, Any], Sort]]:
    """Returns one request of each kind, with values drawn anew: its filters and its sort."""
    when = SINCE + timedelta(days=DAYS * rng.random())
    rare, common = f"word{WORDS // 2 + _skewed(rng, WORDS // 2)}", f"word{_skewed(rng, 20)}"
    return {
        "newest": ({}, "newest"),
        "oldest": ({}, "oldest"),
        "highest": ({}, "highest"),
        "lowest": ({}, "lowest"),
        "waiting_longest": ({}, "waiting_longest"),
        "status_approved": ({"status": ["approved"]}, "newest"),
        "status_cancelled": ({"status": ["cancelled"]}, "newest"),
        "status_placing_oldest": ({"status": ["placing"]}, "oldest"),
        "status_placed_or_pending": ({"status": ["placed", "pending"]}, "newest"),
        "payment_refunded": ({"payment_status": ["refunded", "partially_refunded"]}, "newest"),
        "payment_authorized_highest": ({"payment_status": ["authorized"]}, "highest"),
        "in_progress_oldest": ({"fulfillment_status": ["in_progress"]}, "oldest"),
        "not_required": ({"fulfillment_status": ["not_required"]}, "newest"),
        "waiting_exception": ({"waiting": ["exception"]}, "oldest"),
        "waiting_warehouse_longest": ({"waiting": ["warehouse"]}, "waiting_longest"),
        "exception": ({"exception": ["address_changed"]}, "newest"),
        "cancel_cause": ({"cancel_cause": ["out_of_stock"]}, "newest"),
        "channel_common": ({"channel": ["amazon"]}, "newest"),
        "channel_rare": ({"channel": ["till"]}, "oldest"),
        "country": ({"country": [rng.choice(COUNTRIES)]}, "newest"),
        "currency_rare": ({"currency": ["CHF"]}, "newest"),
        "market_and_country": ({"market": ["eu-bol"], "country": ["MT"]}, "newest"),
        "sku_common": ({"sku": [f"SKU-{_skewed(rng, 50)}"]}, "newest"),
        "sku": ({"sku": [f"SKU-{_skewed(rng, SKUS)}"]}, "newest"),
        "sku_rare": ({"sku": [f"SKU-{rng.randrange(SKUS // 2, SKUS)}"]}, "highest"),
        "email": ({"email": [f"buyer-{rng.randrange(BUYERS)}@example.com"]}, "newest"),
        "number": ({"number": [f"{rng.randrange(10**8):08}-7"]}, "newest"),
        "q_number_prefix": ({"q": f"{rng.randrange(10**4):04}"}, "newest"),
        "q_short_prefix": ({"q": str(rng.randrange(10))}, "newest"),
        "q_word_common": ({"q": common}, "newest"),
        "q_word_rare": ({"q": rare}, "newest"),
        "q_two_words": ({"q": f"{common} {rare}"}, "newest"),
        "amount_range": ({"amount_min": 4_000, "amount_max": 4_050}, "newest"),
        "amount_over": ({"amount_min": 100_000}, "newest"),
        "ordered_range": ({"ordered_from": when, "ordered_to": when + timedelta(days=7)}, "oldest"),
        "placed_range": ({"placed_from": when, "placed_to": when + timedelta(days=7)}, "newest"),
        "completed_range": ({"completed_from": when, "completed_to": when + timedelta(days=2)}, "newest"),
        "updated_range": ({"updated_from": when, "updated_to": when + timedelta(days=2)}, "newest"),
        "updated_last_day": ({"updated_from": SINCE + timedelta(days=DAYS - 1)}, "newest"),
        "cancelled_in_country": ({"status": ["cancelled"], "country": ["EE"]}, "newest"),
        "open_with_sku": ({"status": ["placing"], "sku": [f"SKU-{_skewed(rng, 200)}"]}, "newest"),
        "refunded_over_amount": ({"payment_status": ["partially_refunded"], "amount_min": 60_000}, "newest"),
        "rare_combination": ({"status": ["approved"], "fulfillment_status": ["fulfilled"], "test": False, "placed_from": when,
                              "placed_to": when + timedelta(seconds=1)}, "oldest"),
    }  # fmt: skip


@dataclass
class Searched:
    """Milliseconds of each request by its kind, measured at the client of the database, and what the fill took."""

    milliseconds: dict[str, list[float]]
    orders: int
    filled_in_seconds: float

    def quantile(self, kind: str, part: float) -> float:
        ordered = sorted(self.milliseconds[kind])
        return ordered[round((len(ordered) - 1) * part)]

    def slowest(self, part: float) -> float:
        """Returns the quantile of the kind of request for which it is the highest."""
        return max(self.quantile(kind, part) for kind in self.milliseconds)


async def measured(url: str, count: int, runs: int = RUNS) -> Searched:
    began = time.monotonic()
    await fill(url, count)
    filled = time.monotonic() - began
    os.environ["ORDERS_EMAIL_KEYS"] = KEY.decode()
    database = Database(Settings(database_url=url), "bench-search")
    spent = 0.0

    async def read(statement: Any) -> Any:
        nonlocal spent
        began = time.perf_counter()
        rows = await database.queries.read(statement)
        spent += time.perf_counter() - began
        return rows

    weights = list(itertools.accumulate(1 / n for n in range(1, len(STORES) + 1)))
    found: dict[str, list[float]] = {name: [] for name in requests(random.Random(0))}
    try:
        for run in range(-2, runs):  # the first two warm the caches of the connection
            rng = random.Random(run)
            for name, (asked, sort) in requests(rng).items():
                store = rng.choices(STORES, cum_weights=weights)[0]
                query = Asked(**asked, sort=sort)
                place = None
                for _ in range(2):  # the first page and the next one
                    spent = 0.0
                    page = await Search(store, filters(store, query, (KEY,)), sort).page(read, 50, place)
                    if run >= 0:
                        found[name].append(spent * 1000)
                    if (place := page.more_after) is None:
                        break
    finally:
        await database.queries.close()
    return Searched(found, count, filled)


def search(url: str, count: int) -> Searched:
    return asyncio.run(measured(url, count))
