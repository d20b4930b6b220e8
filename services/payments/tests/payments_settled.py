"""The words of stories about statements: orders that were paid, rows, imports, and what the books and their check show."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any, Literal
from uuid import UUID, uuid4

from asyncpg import Connection
from payments_play import authorized, captured, refunded, totals

from chassis.batch.database import Database
from chassis.batch.statements import write_rows
from chassis.declare.service import Change
from contracts.payments import DisputeClosed, DisputeOpened, PrepaymentReceived, PrepaymentReturned, SessionOpened
from payments import invariants, settlements, store
from payments.domain.disputes import dispute_id
from payments.domain.folds import evolve
from payments.domain.ledger import Ledger
from payments.domain.operation import capture_id_of
from payments.domain.prepayment_folds import return_id_of
from payments.domain.statements import Exchanged, Row, RowKind, Statement, UnreadableRow
from payments.settlements import Imported, Source

DAY, NOON = date(2026, 11, 28), datetime(2026, 11, 28, 12, tzinfo=UTC)
BROKEN = {
    "the rows of a settlement sum to what it states": "update settlements set stated_minor = stated_minor + 1 where store_id = $1",
    "what a settlement brought has arrived": "update settlements set stated_minor = stated_minor + 1 where store_id = $1",
    "suspense is what no one has explained": "update settlement_rows set state = 'unmatched', settles = false where store_id = $1",
    "a row settles an operation that moved money, or a dispute": "update settlement_rows set operation_id = order_id where store_id = $1",
    "the entries of a line are the amounts of its ledger": "delete from settlements where store_id = $1",
}


async def paid(
    database: Database, store_id: str, amount: int, back: int = 0, gateway: str = "stripe", name: str | None = None
) -> tuple[str, UUID, UUID]:
    """An order that was captured, and partly refunded: the gateway's name of its payment, its capture and its refund."""
    key, (a, c, r), name = uuid4(), (str(uuid4()) for _ in range(3)), name or f"pi_{uuid4().hex[:8]}"
    events: list[Any] = [
        authorized(a, amount, totals(), gateway=gateway, reference=name),
        captured(c, a, amount, totals()),
    ]
    events += [refunded(r, c, back, totals(), f"re_{name}")] if back else []
    numbered = await _written(database, store_id, key, events)
    return name, numbered[1].operation_id, numbered[-1].operation_id


async def prepaid(database: Database, store_id: str, amount: int, taken: int) -> tuple[str, UUID, UUID]:
    """A session that its gateway captured at once, of which an order has taken over a part and the rest was refunded: the gateway's
    name of the payment, the session and the return."""
    key, session_id, name = uuid4(), uuid4(), f"pi_{uuid4().hex[:8]}"
    given: dict[str, Any] = {"order_id": key, "store_id": store_id, "currency": "EUR", "gateway": "stripe"}
    paying = given | {"operation_id": session_id, "session_id": session_id, "amount_minor": amount}
    back = return_id_of(session_id)
    numbered = await _written(database, store_id, key, [
        SessionOpened(**paying, return_url="https://shop.example/thanks", expires_at=NOON),
        PrepaymentReceived(**paying, gateway_reference=name, captured=True, waits_until=NOON),
        authorized("a", taken, totals(), gateway="stripe", reference=name, captured=True).model_copy(update={
            "session_id": session_id, "operation_id": (a := uuid4()), "authorization_id": a, "capture_id": capture_id_of(a),
        }),
        PrepaymentReturned(
            **given, operation_id=back, session_id=session_id, amount_minor=amount - taken, captured=True, gateway_reference=f"re_{name}",
        ),
    ])  # fmt: skip
    return name, session_id, numbered[-1].operation_id


async def disputed(
    database: Database, store_id: str, amount: int, end: Literal["won", "lost"] | None = None, gateway: str = "stripe"
) -> tuple[str, UUID]:
    """An order whose payment is disputed, in full: the gateway's name of the dispute, and ours."""
    key, (a, c), reference = uuid4(), (str(uuid4()) for _ in range(2)), f"dp_{uuid4().hex[:8]}"
    dispute = dispute_id(key, gateway, reference)
    given: dict[str, Any] = {
        "order_id": key, "store_id": store_id, "operation_id": dispute, "currency": "EUR", "totals": totals(a=amount, c=amount),
        "dispute_id": dispute, "gateway": gateway, "reference": reference, "amount_minor": amount,
    }  # fmt: skip
    events: list[Any] = [
        authorized(a, amount, totals(), gateway=gateway, reference=f"pi_{reference}"),
        captured(c, a, amount, totals()),
        DisputeOpened(**given, withheld_minor=amount),
    ]
    if end is not None:
        events.append(DisputeClosed(**given, outcome=end, settled_minor=amount))
    await _written(database, store_id, key, events)
    return reference, dispute


async def _written(database: Database, store_id: str, key: UUID, events: Sequence[Any]) -> Sequence[Any]:
    numbered = tuple(event.numbered(n) for n, event in enumerate(events, 1))
    after = Ledger()
    for event in numbered:
        after = evolve(after, event)
    change = Change(key, store_id, Ledger(), after, numbered, (NOON,) * len(events))
    async with database.transaction() as tx:
        await write_rows(tx, store.rows([change]))
    return numbered


def row(
    number: int, gross: int, *names: str, kind: RowKind = "capture", fee: int = 0, exchanged: Exchanged | None = None
) -> Row:
    return Row(number, kind, f"txn_{number}", names, gross, fee, gross - fee, DAY, exchanged)


def payout(id: str, *rows: Row, currency: str = "EUR", unreadable: Sequence[UnreadableRow] = ()) -> Statement:
    total = sum(one.net_minor for one in rows) + sum(one.net_minor or 0 for one in unreadable)
    return Statement(id, "acct_1", currency, rows, unreadable, DAY, DAY, payout_minor=total)


async def imported(
    database: Database, store_id: str, statement: Statement, gateway: str = "stripe", content: str = "x"
) -> Imported:
    source = Source(store_id, gateway, "person:ann", "stripe", content)
    async with database.transaction() as tx:
        return await settlements.import_statement(tx, source, statement)


async def balances(database: Database, store_id: str) -> dict[str, int]:
    """`account currency` -> debits less credits of what statements have booked."""
    async with database.connection() as connection:
        rows = await connection.fetch(
            "select e.account || ' ' || e.currency as name, sum(direction * amount_minor)::bigint as minor from entries e"
            " join settlements s on s.key = e.order_id where e.store_id = $1 group by 1 having sum(direction * amount_minor) <> 0",
            store_id,
        )
    return {row["name"]: row["minor"] for row in rows}


async def checked(connection: Connection) -> dict[str, int]:
    return {name: violated for name, _, violated in await invariants.check(connection)}


async def violated(database: Database) -> dict[str, int]:
    """The checks of what statements write; the orders of these tests have no row of their ledger."""
    async with database.connection() as connection:
        found = await checked(connection)
    return {
        name: count
        for name, count in found.items()
        if count and (name in BROKEN or "entries" in name or "accounts" in name)
    }
