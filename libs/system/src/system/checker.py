"""The checker of the invariants over all databases and topics; it runs after demo, bench, chaos and integration tests.

    for found in check(system):
        print(found.name, found.checked, found.violated, found.examples)

It checks each service's own invariants (`python -m <service> check`), the invariants of the topics (`system.topics`), and,
once everything has settled, that services and topics agree. An order that is parked, or waits for a person because of an
exception, is excluded from the invariants that it cannot satisfy yet.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import asyncpg

from contracts.registry import TOPICS
from devservices.errors import DevservicesError
from system import lines
from system.processes import CONSOLE, SAGA, System
from system.topics import NO_MONEY, Check, Read, read_topics

__all__ = ["Check", "check", "violations"]

Own = Callable[[str], Awaitable[Sequence[tuple[str, int, int]]]]
"""service -> its invariants: name, rows checked, rows that violate it."""
TABLES = {"orders": "orders", "payments": "ledgers", "fulfillment": "fulfillments", "invoicing": "billings"}
"""service -> table of the aggregate whose events are on the service's topic."""
OF_OTHERS = {"payments": ("gift_cards", "differences")}
"""service -> tables of aggregates that are not about an order, and whose events are on its topic, too."""

# The state of each order in each service, one row per order.
ORDERS = """
select key::text, status, waiting, in_flight, completed_at is not null as completed, grand_minor,
  coalesce((doc::json->'facts'->'money'->>'authorized_minor')::bigint, 0), coalesce((doc::json->'facts'->'money'->>'captured_minor')::bigint, 0),
  coalesce((doc::json->'facts'->'money'->>'voided_minor')::bigint, 0), coalesce((doc::json->'facts'->'money'->>'refunded_minor')::bigint, 0),
  coalesce((content::json->'tax_collection'->>'deemed_supplier')::boolean, false)
    and not coalesce((market::json->>'invoice_deemed_supplier')::boolean, false) as not_invoiced,
  (select json_object_agg(name, (select json_build_array(
      coalesce(sum((line->>'amount_minor')::bigint) filter (where line->'unbilled' is null), 0),
      coalesce(sum((line->>'refunded_minor')::bigint + coalesce((line->>'reversed_minor')::bigint, 0))
        filter (where line->'unbilled' is null), 0),
      coalesce(sum((line->>'amount_minor')::bigint - coalesce((line->>'reversed_minor')::bigint, 0)), 0))
      from json_array_elements(one->'lines') as l (line)))
    from json_each(doc::json->'facts'->'captures') as c (name, one))::text as captures,
  coalesce((doc::json->'facts'->'undone'->>'refunded_minor')::bigint, 0) + coalesce((
    select sum((of_line->>1)::bigint) from json_each(doc::json->'facts'->'captures') as c (name, one),
      json_each(coalesce(one->'returned', '{}')) as l (line_id, of_line)), 0) + coalesce((
    select sum((line->>'amount_minor')::bigint) from json_each(doc::json->'facts'->'captures') as c (name, one),
      json_array_elements(one->'lines') as l (line)
    where one->'reversal_id' is not null and one->'paid_by' is null and one->'past' is null), 0)
    as not_sold,
  payment_status, fulfillment_status, archived_at is not null as archived,
  case when status in ('placed', 'approved', 'editing') and completed_at is null
    and doc::json->'runs'->'place' is not null and doc::json->'facts'->'undone' is null
    and not exists (select from json_each(doc::json->'runs') as r (id, run)
      where id like 'edit:%' and run->'end' is null and run->>'step' <> 'draft')
    then content end as content,
  (select json_object_agg(line_id, minor) from (
      select line->>'line_id' as line_id, sum((line->>'amount_minor')::bigint - coalesce((line->>'refunded_minor')::bigint, 0)
        - coalesce((line->>'reversed_minor')::bigint, 0))::bigint as minor
      from json_each(doc::json->'facts'->'captures') as c (name, one), json_array_elements(one->'lines') as l (line)
      where line->'unbilled' is not null group by 1) u)::text as unbilled
from orders"""
"""`captures`: by id what belongs on an invoice, what of that was refunded or reversed, and what the capture pays. `unbilled`: by line
what is captured, has not gone back and belongs on none: a person has left it.

`content`: what is sold, of orders in progress. Not of those that the marketplace carried through, that were placed anew after
a cancel, or whose edit waits for a release: their pieces are not those of the content."""
LEDGERS = "select key::text, authorized_minor, captured_minor, voided_minor, refunded_minor from ledgers"
PIECES = """
select order_id::text, coalesce(sum(quantity) filter (where state = 'reserved'), 0)::int,
  coalesce(sum(quantity) filter (where state = 'consumed'), 0)::int from reservations group by order_id"""
DOCUMENTS = "select document_id::text, order_id::text, number, total_minor, kind, capture_id::text from documents"

FED = """
select source, event_id from feed
union all select 'parked', convert_from(decode(h->>1, 'base64'), 'UTF8')
from parked, jsonb_array_elements(headers) h where state in ('waiting', 'discarded') and h->>0 = 'ce_id'"""
"""The events of the feed, and those that are parked before it."""

LISTED = """
select order_id::text, status, payment_status, fulfillment_status, grand_minor, completed_at is not null as completed,
  archived_at is not null as archived, waiting = '' as settled, authorized_minor, captured_minor, voided_minor, refunded_minor,
  reserved, shipped, invoiced_minor, credited_minor
from order_rows"""
"""What the lists of the console have of each order."""

PER_LINE = {"orders": lines.HELD, "payments": lines.PAID, "fulfillment": lines.PIECES, "invoicing": lines.BILLED}

LISTED_SECONDS_MAX = 60.0
"""The console runs with the lowest priority: on a busy machine its lists are late."""
JOURNALED = "select topic, message_id::text from journal where topic is not null"
REFUSED = """
select distinct convert_from(record_key, 'SQL_ASCII') from parked
where state in ('waiting', 'discarded') and octet_length(record_key) = 36 and position('\\x00'::bytea in record_key) = 0"""


def check(system: System, *, settled: bool = True, own: Own | None = None) -> list[Check]:
    """Checks every invariant. settled: also those that hold only if no order is in progress; False while work goes on.

    own: finds a service's own invariants instead of `python -m <service> check`; it runs in an event loop made for it.
    """
    with ThreadPoolExecutor(max_workers=1) as pool:  # the caller may be inside a running event loop
        return pool.submit(asyncio.run, _check(system, settled, own or partial(_own, system))).result()


def violations(checks: Iterable[Check]) -> list[str]:
    """One sentence per violated invariant."""
    return [
        f"{one.name}: {one.violated} of {one.checked} violated; {'; '.join(one.examples) or 'no examples'}"
        for one in checks
        if one.violated
    ]


async def _check(system: System, settled: bool, own: Own) -> list[Check]:
    if settled and CONSOLE in system.names:
        await _until_listed(system)
    owned = asyncio.gather(*(own(name) for name in system.names))
    topics = ["marketplace.orders.v1", "marketplace.orders.bulk.v1"]
    topics += [f"{name}.{kind}.v1" for name in SAGA for kind in ("commands", "events")]
    topics += [topic for name in system.names if name not in SAGA and (topic := f"{name}.events.v1") in TOPICS]
    read = await read_topics(system.kafka.bootstrap_servers, (*SAGA, *system.names), topics)
    found = [
        Check(f"{service}: {name.removeprefix(f'{service}.')}", checked, violated)
        for service, rows in zip(system.names, await owned, strict=True)
        for name, checked, violated in rows
    ]
    found += read.checks
    state = await _State.load(system)
    found.append(Check(f"parked messages, {state.parked} (reported, not judged)", state.parked))
    return [*found, *_together(state, read)] if settled else found


async def _until_listed(system: System) -> None:
    """Returns when the lists of the console have every event of the services, which they follow, or after LISTED_SECONDS_MAX:
    then the comparison of the lists shows what is missing."""
    deadline = time.monotonic() + LISTED_SECONDS_MAX
    wanted = {
        name: await _fetchval(system, name, f"select sum(version) from {table}") for name, table in TABLES.items()
    }
    while time.monotonic() < deadline:
        sums = ", ".join(f"sum((versions->>'{name}')::bigint)" for name in TABLES)
        found = await _fetchval(system, CONSOLE, f"select array[{sums}] from order_rows")
        if [wanted[name] or 0 for name in TABLES] == [number or 0 for number in found]:
            return
        await asyncio.sleep(0.2)


async def _fetchval(system: System, service: str, query: str) -> Any:
    connection = await asyncpg.connect(system.dsn(service), timeout=10)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def _own(system: System, service: str) -> list[tuple[str, int, int]]:
    process = system._command(service, "check", "--json")
    out, _ = await asyncio.to_thread(process.communicate, timeout=300)
    text = out.decode(errors="replace").strip()
    try:
        rows = json.loads(text.splitlines()[-1])
    except (ValueError, IndexError):
        raise DevservicesError(f"{service} check failed: {text[-2000:]}") from None
    return [(row["name"], row["checked"], row["violated"]) for row in rows]


class _State:
    """The rows of the four databases that are compared with each other and with the topics."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Any]] = {}
        self.versions: dict[str, dict[str, int]] = {}
        self.waiting_room: dict[str, set[str]] = {}
        """service -> orders that wait behind a parked message."""
        self.refused: set[str] = set()
        """Keys of messages that a service rejected and that were not replayed: they wait, or a person discarded them."""
        self.lines: dict[str, list[Any]] = {}
        """service -> what it has of each line, or orders of those that were held: `PER_LINE`."""
        self.journaled: list[Any] = []
        """Journal entries that are published: (topic, message id)."""
        self.parked = 0
        self.unsent = 0
        self.tasks = 0

    @classmethod
    async def load(cls, system: System) -> _State:
        state = cls()
        queries = {
            "orders": ORDERS,
            "payments": LEDGERS,
            "fulfillment": PIECES,
            "invoicing": DOCUMENTS,
            "webhooks": FED,
            CONSOLE: LISTED,
        }
        for name in system.names:
            connection = await asyncpg.connect(system.postgres.dsn(system.database(name)), timeout=10)
            try:
                async with connection.transaction(isolation="repeatable_read", readonly=True):
                    state.rows[name] = await connection.fetch(queries[name])
                    if name in TABLES:
                        state.lines[name] = await connection.fetch(PER_LINE[name])
                        state.versions[name] = {}
                        for table in (TABLES[name], *OF_OTHERS.get(name, ())):
                            rows = await connection.fetch(f"select key::text, version from {table}")
                            state.versions[name] |= {row[0]: row[1] for row in rows if row[1]}
                    state.journaled += await connection.fetch(JOURNALED)
                    keys = await connection.fetch("select key::text from parked_keys")
                    state.waiting_room[name] = {row[0] for row in keys}
                    refused = await connection.fetch(REFUSED)
                    state.refused |= {row[0] for row in refused}
                    state.parked += await connection.fetchval("select count(*) from parked where state = 'waiting'")
                    state.unsent += await connection.fetchval("select count(*) from outbox")
                    state.tasks += await connection.fetchval("select count(*) from tasks")
            finally:
                await connection.close()
        return state


def _together(state: _State, read: Read) -> list[Check]:
    parked = set().union(*state.waiting_room.values())
    return [
        *_nothing_left(state, read, parked),
        *_topics_agree(state, read),
        *_services_agree(state, parked),
        *([_feed_agrees(state, read)] if "webhooks" in state.rows else ()),
        *([_lists_agree(state, parked)] if CONSOLE in state.rows else ()),
        *_lines_agree(state, parked),
    ]


def _nothing_left(state: _State, read: Read, parked: set[str]) -> list[Check]:
    answers = Check("settled: no order waits for another service")
    for row in state.rows["orders"]:
        still = row["in_flight"] or row["waiting"] in ("answer", "outcomes", "no_answer")
        answers.expect(not still or row["key"] in parked, row["key"], "waits for", row["waiting"] or "an answer")
    sent = Check("settled: nothing waits to be published or called")
    sent.expect(state.unsent == 0, state.unsent, "rows in the outboxes")
    sent.expect(state.tasks == 0 or bool(parked), state.tasks, "tasks")
    received = Check("settled: every snapshot's order exists, or its message is parked with its cause")
    orders = set(state.versions["orders"])
    for key in read.snapshots:
        received.expect(key in orders or key in state.refused, key)
    answered = Check("settled: every command is answered")  # a command repeated during its call shares the answer
    for service, asked in read.asked.items():
        for operation, key in asked:
            has_answer = read.answered[service][operation] > 0
            excused = key in state.waiting_room[service] or key in state.refused
            answered.expect(has_answer or excused, service, "did not answer", operation, "of order", key)
    return [answers, sent, received, answered]


def _feed_agrees(state: _State, read: Read) -> Check:
    """Its order is an invariant of the webhooks service itself."""
    fed = Check("feed = topics: every published event is in the feed, and nothing else")
    in_feed: dict[str, set[str]] = defaultdict(set)
    for source, event_id in state.rows["webhooks"]:
        in_feed[source].add(event_id)
    parked = in_feed.pop("parked", set())
    for source in {*SAGA, "webhooks", *in_feed}:
        published = read.published[f"{source}.events.v1"]
        for event_id in published | in_feed[source]:
            fed.expect(event_id in published and event_id in in_feed[source] | parked, source, event_id)
    return fed


def _lists_agree(state: _State, parked: set[str]) -> Check:
    """The lists are made of events: they agree with the rows of the services that have published them."""
    agree = Check("lists = services: status, money, pieces and documents of each order are those of their owners")
    listed = {row["order_id"]: row for row in state.rows[CONSOLE]}
    ledgers, pieces = _by_key(state.rows["payments"]), _by_key(state.rows["fulfillment"])
    invoices, credits = _sums(state.rows["invoicing"], "invoice"), _sums(state.rows["invoicing"], "credit")
    names = ("status", "payment_status", "fulfillment_status", "grand_minor", "completed", "archived")
    for row in _settled(state, parked):
        key = row["key"]
        if (found := listed.get(key)) is None:
            agree.expect(False, key, "is in no list")
            continue
        owned = (
            *(row[name] for name in names), row["waiting"] == "", *ledgers.get(key, NO_MONEY), *pieces.get(key, (0, 0)),
            invoices.get(key, 0), credits.get(key, 0),
        )  # fmt: skip
        agree.expect(tuple(found)[1:] == owned, key, "listed", tuple(found)[1:], "owned", owned)
    return agree


def _topics_agree(state: _State, read: Read) -> list[Check]:
    published = Check("topics = databases: every message journaled for a topic is on it")
    for topic, message in state.journaled:
        published.expect(message in read.published[topic], topic, message)
    versions = Check("topics = databases: the number of an order's events is its row's version")
    for service, rows in state.versions.items():
        for key in rows.keys() | read.versions[service].keys():
            both = (rows.get(key, 0), read.versions[service].get(key, 0))
            versions.expect(both[0] == both[1], service, key, "versions of row and topic:", *both)
    money = Check("topics = databases: the last totals published are the ledger")
    ledgers = _by_key(state.rows["payments"])
    for key in ledgers.keys() | read.money.keys():
        sums = (ledgers.get(key, NO_MONEY), read.money.get(key, NO_MONEY))
        money.expect(sums[0] == sums[1], key, *sums)
    stock = Check("topics = databases: the last pieces published are the reservations")
    pieces = _by_key(state.rows["fulfillment"])
    for key in pieces.keys() | read.stock.keys():
        held = (pieces.get(key, (0, 0)), read.stock.get(key, (0, 0)))
        stock.expect(held[0] == held[1], key, *held)
    documents = Check("topics = databases: the documents published are those issued")
    issued = {row["document_id"]: tuple(row)[1:4] for row in state.rows["invoicing"]}
    for document in issued.keys() | read.documents.keys():
        pair = (issued.get(document), read.documents.get(document))
        documents.expect(pair[0] == pair[1], document, *pair)
    return [published, versions, money, stock, documents]


def _services_agree(state: _State, parked: set[str]) -> list[Check]:
    same_money = Check("the money in orders is payments' ledger")
    invoiced = Check("each capture is invoiced exactly, or refunded in full without an invoice")
    undone = Check(
        "a cancelled order leaves nothing: refunded = captured, the rest voided, credited = invoiced, no piece reserved"
    )
    completed = Check(
        "of a completed order its total is captured, besides what edits gave back, reversals added, or a cancel before it was placed anew"
    )
    credited = Check("what went back of invoiced captures is credited")
    ledgers, pieces = _by_key(state.rows["payments"]), _by_key(state.rows["fulfillment"])
    invoices, credits = _sums(state.rows["invoicing"], "invoice"), _sums(state.rows["invoicing"], "credit")
    of_capture = {row["capture_id"]: row["total_minor"] for row in state.rows["invoicing"] if row["kind"] == "invoice"}
    for row in _settled(state, parked):
        key = row["key"]
        ledger = ledgers.get(key, NO_MONEY)
        authorized, captured, voided, refunded = ledger
        same_money.expect(tuple(row)[6:10] == ledger, key, tuple(row)[6:10], ledger)
        captures: dict[str, list[int]] = json.loads(row["captures"] or "{}")
        amounts = {name: paid for name, (_, _, paid) in captures.items()}
        invoiced.expect(sum(amounts.values()) == captured, key, "captured", captured, "in the orders' facts", amounts)
        for name, (
            amount,
            refund,
            _,
        ) in captures.items():  # without an invoice: its order was cancelled before that was asked for
            wanted = 0 if row["not_invoiced"] or (refund == amount and name not in of_capture) else amount
            invoiced.expect(
                of_capture.get(name, 0) == wanted, key, "capture", name, amount, "invoiced", of_capture.get(name, 0)
            )
        if row["status"] == "cancelled":
            left = (captured - refunded, authorized - captured - voided, invoices.get(key, 0) - credits.get(key, 0),
                    pieces.get(key, (0, 0))[0])  # fmt: skip
            undone.expect(not any(left), key, "not refunded, voided, credited, released:", left)
        if row["completed"]:
            completed.expect(
                captured - row["not_sold"] == row["grand_minor"],
                key,
                captured,
                "-",
                row["not_sold"],
                "of",
                row["grand_minor"],
            )
        back = sum(refund for name, (_, refund, _) in captures.items() if name in of_capture)
        credited.expect(back == credits.get(key, 0), key, "refunded", back, "credited", credits.get(key, 0))
    return [same_money, invoiced, undone, completed, credited]


def _lines_agree(state: _State, parked: set[str]) -> list[Check]:
    orders = _settled(state, parked)
    paid, billed = lines.by_line(state.lines["payments"]), lines.by_line(state.lines["invoicing"])
    return [
        lines.money_agrees(orders, paid, billed),
        lines.pieces_agree(orders, lines.by_line(state.lines["fulfillment"])),
        lines.held_orders_stand(state.lines["orders"]),
    ]


def _settled(state: _State, parked: set[str]) -> list[Any]:
    """The orders that no service and no person still changes."""
    excused = parked | state.refused
    return [
        row
        for row in state.rows["orders"]
        if row["key"] not in excused and not row["in_flight"] and row["waiting"] not in ("exception", "outcomes")
    ]


def _by_key(rows: Sequence[Any]) -> dict[str, tuple[int, ...]]:
    return {row[0]: tuple(row)[1:] for row in rows}


def _sums(rows: Sequence[Any], kind: str) -> dict[str, int]:
    sums: dict[str, int] = {}
    for row in rows:
        if row["kind"] == kind:
            sums[row["order_id"]] = sums.get(row["order_id"], 0) + row["total_minor"]
    return sums
