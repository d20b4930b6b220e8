"""Imports statements once, matches their rows with operations, and books them. What a person explains later: `explaining.py`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID, uuid5

from asyncpg import Connection, Record

from payments import withheld
from payments.domain import settling
from payments.domain.books import cleared_by
from payments.domain.gateway import follow_up_id
from payments.domain.matching import EXPLAINED, Matched, matched, names, words
from payments.domain.pairing import Movement
from payments.domain.settling import Arrival, StatementEntry
from payments.domain.statements import TEXT_MAX, Statement, UnreadableRow
from payments.domain.transfers import Expected, allotted
from payments.moved import IS_PREPAID, KIND

NAMESPACE: Final = UUID("5a8f2f7e-6c0c-4e0f-9f0e-3d6f6a1d7c11")
REFERENCES_MAX: Final = 10
"""Names of a row that are stored."""


class Source(NamedTuple):
    """Whose statement it is, and who imports it."""

    store_id: str
    gateway: str
    """Whose money it is about: the gateway of the operations, `manual` for a bank's statement."""
    actor: str
    format: str
    content_sha256: str

    @property
    def arrival(self) -> Arrival:
        return "bank" if self.gateway == "manual" else "in_transit"


class Imported(NamedTuple):
    settlement_id: UUID
    statement_id: str
    code: Literal["", "statement_repeated", "statement_differs"]
    """`statement_repeated`: it was imported before, nothing was booked. `statement_differs`: the same, and its content was another."""
    states: Mapping[str, int]
    """Rows by state."""


def settlement_id(source: Source, statement: Statement) -> UUID:
    return uuid5(NAMESPACE, "\n".join((source.store_id, source.gateway, statement.account, statement.statement_id)))


CREATED = """
insert into settlements (key, store_id, gateway, account, statement_id, format, currency, begins_on, ends_on, opening_minor,
  closing_minor, stated_minor, content_sha256, actor)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) on conflict (key) do nothing returning key"""
# The operations of each order that the statement names, with the authorizations that they draw on.
MOVED = f"""
with named as (select distinct order_id from operations
  where store_id = $1 and (gateway_reference = any($2::text[]) or operation_id = any($3::uuid[])))
select o.operation_id, o.order_id, {KIND} as kind, o.currency, o.amount_minor, o.refers_to, o.gateway_reference,
  {IS_PREPAID} as is_prepaid,
  exists (select from settlement_rows r where r.operation_id = o.operation_id and r.settles) as settled
from operations o join named using (order_id)
where o.store_id = $1 and o.state = 'succeeded' and o.gateway = $4 order by o.at, o.operation_id"""
PAYOUTS = """
select statement_id, stated_minor from settlements s
where store_id = $1 and currency = $2 and gateway <> 'manual' and statement_id = any($3::text[])
  and not exists (select from settlement_rows r where r.store_id = $1 and r.state = 'payout' and r.payout = s.statement_id)"""
ROW: Final = (
    "settlement_id", "place", "store_id", "number", "kind", "row_id", "names", "gross_minor", "fee_minor", "net_minor", "booked_on",
    "exchanged_currency", "exchanged_minor", "exchange_rate", "state", "operation_id", "order_id", "payout", "allotted_minor", "settles", "open",
    "text", "problem",
)  # fmt: skip
ENTRY: Final = (
    "order_id", "store_id", "version", "number", "operation_id", "line_id", "account", "direction", "currency", "amount_minor", "at",
)  # fmt: skip


async def import_statement(tx: Connection, source: Source, statement: Statement) -> Imported:
    """Imports a balanced statement. Imports of a store run one at a time: an operation is settled once."""
    await one_at_a_time(tx, source.store_id)
    key = settlement_id(source, statement)
    created = await tx.fetchval(
        CREATED, key, source.store_id, source.gateway, statement.account, statement.statement_id, source.format,
        statement.currency, statement.begins_on, statement.ends_on, statement.opening_minor, statement.closing_minor,
        statement.stated_minor, source.content_sha256, source.actor,
    )  # fmt: skip
    if created is None:
        return await _repeated(tx, source, statement, key)
    movements = await _movements(tx, source, statement)
    matches = matched(statement, movements, await _payouts(tx, source, statement))
    if source.arrival == "bank":
        matches = await _pay(tx, source.store_id, key, statement, matches)
    rows = [*_rows(key, source.store_id, matches), *_lost(key, source.store_id, statement.unreadable, len(matches))]
    await tx.copy_records_to_table("settlement_rows", records=rows, columns=ROW)
    booked = settling.entries(
        matches, statement.unreadable, statement.currency, cleared_by(source.gateway), source.arrival
    )
    await book(tx, key, source.store_id, key, booked)
    return Imported(key, statement.statement_id, "", await states(tx, key))


async def one_at_a_time(tx: Connection, store_id: str) -> None:
    """Locks the settlements of a store. A large statement is matched for seconds between two statements of SQL."""
    await tx.execute("set local idle_in_transaction_session_timeout = '60s'")
    await tx.execute("select pg_advisory_xact_lock(hashtextextended($1, 1))", store_id)


async def _repeated(tx: Connection, source: Source, statement: Statement, key: UUID) -> Imported:
    before = await tx.fetchval("select content_sha256 from settlements where key = $1", key)
    code: Any = "statement_repeated" if before == source.content_sha256 else "statement_differs"
    return Imported(key, statement.statement_id, code, await states(tx, key))


STATES = "select state, count(*) from settlement_rows where settlement_id = $1 group by 1 order by 1"


async def states(tx: Connection, key: UUID) -> dict[str, int]:
    rows = await tx.fetch(STATES, key)
    return {row["state"]: row["count"] for row in rows}


async def _movements(tx: Connection, source: Source, statement: Statement) -> list[Movement]:
    sought = [name for name in dict.fromkeys(names(statement)) if "\0" not in name]
    rows = await tx.fetch(MOVED, source.store_id, sought, list(_uuids(sought)), source.gateway)
    by_id = {row["operation_id"]: row for row in rows}
    moved = [
        Movement(
            row["operation_id"], row["order_id"], row["kind"], row["currency"], row["amount_minor"],
            tuple(_known_as(row, by_id)), row["settled"],
        )
        for row in rows
        if row["kind"] in ("capture", "refund") and not row["is_prepaid"]
    ]  # fmt: skip
    if any(row.kind == "dispute" for row in statement.rows):
        moved += await withheld.movements(tx, source.store_id, source.gateway, sought, list(_uuids(sought)))
    return moved


def _known_as(row: Record, by_id: Mapping[UUID, Record]) -> Iterator[str]:
    """The names of an operation: its own, and those of the authorization that it draws on."""
    at: Record | None = row
    while at is not None:
        yield str(at["operation_id"])
        if at["gateway_reference"]:
            yield at["gateway_reference"]
        at = by_id.get(at["refers_to"])


def _uuids(texts: Iterable[str]) -> Iterator[UUID]:
    for text in texts:
        if len(text) == 36:
            try:
                yield UUID(text)
            except ValueError:
                continue


async def _payouts(tx: Connection, source: Source, statement: Statement) -> dict[str, int]:
    """What settlements have paid out that a bank's statement names."""
    if source.arrival != "bank":
        return {}
    named = list(dict.fromkeys(word for row in statement.rows for word in words(row.references) if "\0" not in word))
    rows = await tx.fetch(PAYOUTS, source.store_id, statement.currency, named)
    return {row["statement_id"]: row["stated_minor"] for row in rows}


EXPECTED = """
select operation_id, order_id, kind, reference, amount_minor, moved_minor from expected_transfers
where store_id = $1 and currency = $2 and moved_minor < amount_minor
  and (kind = 'refund' or moved_minor > 0 or expires_at > now() + interval '1 hour')
order by created_at, operation_id for update"""
PAID = """
update expected_transfers e set moved_minor = e.moved_minor + paid.minor
from unnest($1::uuid[], $2::bigint[]) as paid (operation_id, minor) where e.operation_id = paid.operation_id"""
WOKEN = "update tasks set run_at = clock_timestamp() where task_id = any($1::uuid[]) and lease_until is null"


async def _pay(
    tx: Connection, store_id: str, key: UUID, statement: Statement, matches: Sequence[Matched]
) -> list[Matched]:
    """Allots the transfers of a bank's statement to what orders wait for. A gateway task then reports what has come in full."""
    expected = [Expected(*row) for row in await tx.fetch(EXPECTED, store_id, statement.currency)]
    left = [one for one in matches if one.state == "unmatched"]
    paying = iter(allotted([one.row for one in left], expected))
    allotments: list[tuple[int, UUID, int]] = []
    paid: list[Matched] = []
    for place, one in enumerate(matches, 1):
        if one.state == "unmatched":
            part = next(paying)
            allotments += [(place, operation_id, minor) for operation_id, minor in part.parts]
            sign = 1 if one.row.gross_minor > 0 else -1
            one = one._replace(state=part.state, order_id=part.order_id, allotted_minor=sign * part.amount_minor)
        paid.append(one)
    await allot(tx, key, allotments)
    return paid


async def allot(tx: Connection, key: UUID, allotments: Sequence[tuple[int, UUID, int]]) -> None:
    """Stores what the rows of a statement pay: (place, operation, minor units). What has all of its money is asked for at once."""
    await tx.copy_records_to_table(
        "allotments",
        records=[(key, *one) for one in allotments],
        columns=("settlement_id", "place", "operation_id", "amount_minor"),
    )
    moved: Counter[UUID] = Counter()
    for _, operation_id, minor in allotments:
        moved[operation_id] += minor
    await tx.execute(PAID, list(moved), list(moved.values()))
    await tx.execute(WOKEN, [follow_up_id(operation_id) for operation_id in moved])


def _rows(key: UUID, store_id: str, matches: Sequence[Matched]) -> Iterator[tuple[Any, ...]]:
    for place, one in enumerate(matches, 1):
        row, exchanged = one.row, one.row.exchanged
        yield (
            key, place, store_id, row.number, row.kind, _plain(row.row_id), [_plain(name) for name in row.references[:REFERENCES_MAX]],
            row.gross_minor, row.fee_minor, row.net_minor, row.on,
            exchanged.currency if exchanged else None, exchanged.gross_minor if exchanged else None,
            _plain(exchanged.rate, 50) if exchanged else None, one.state,
            one.movement.operation_id if one.movement else None, one.movement.order_id if one.movement else one.order_id, one.payout,
            one.allotted_minor, one.state == "matched" and one.movement is not None, one.state not in EXPLAINED, "", _plain(row.problem, 500),
        )  # fmt: skip


def _lost(key: UUID, store_id: str, unreadable: Sequence[UnreadableRow], before: int) -> Iterator[tuple[Any, ...]]:
    for place, one in enumerate(unreadable, before + 1):
        net = one.net_minor or 0
        text, problem = _plain(one.text, TEXT_MAX), _plain(one.problem, 500)
        yield (
            key, place, store_id, one.number, "unreadable", "", [], net, 0, net, None,
            None, None, None, "unreadable", None, None, None, 0, False, True, text, problem,
        )  # fmt: skip


def _plain(text: str, length_max: int = 200) -> str:
    """What PostgreSQL can store of a text of others."""
    return text.replace("\0", "")[:length_max]


async def book(tx: Connection, key: UUID, store_id: str, operation_id: UUID, booked: Iterable[StatementEntry]) -> None:
    """Entries of a statement have its id where those of an order have the order's, and the row's place as their version."""
    now = await tx.fetchval("select now()")
    records = [
        (key, store_id, one.place, one.number, operation_id, str(one.place), one.account, one.direction, one.currency,
         one.amount_minor, now)
        for one in booked
    ]  # fmt: skip
    await tx.copy_records_to_table("entries", records=records, columns=ENTRY)
