"""What the ledger writes beside its own row: the order's lines, its operations, and the entries of its books."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from asyncpg import Connection

from chassis.declare.service import Change
from chassis.declare.sql import Piece, Rows, columns
from contracts.payments import MoneyLine
from payments.domain import books
from payments.domain.books import CLEARING, HELD, Posting
from payments.domain.forcing import Asking, AskingKey
from payments.domain.gateway import abandoning_id, follow_up_id
from payments.domain.ledger import Ledger
from payments.domain.operation import EarlierKey, Operation
from payments.domain.recording import Known, PaymentKey

LINES = Piece(
    """
lines_written as (
insert into ledger_lines as l
  (order_id, store_id, line_id, direction, reverses, authorized_minor, captured_minor, voided_minor, refunded_minor, reversed_minor)
select * from unnest({0}::uuid[], {1}::text[], {2}::text[], {3}::smallint[], {4}::text[],
  {5}::bigint[], {6}::bigint[], {7}::bigint[], {8}::bigint[], {9}::bigint[])
on conflict (order_id, line_id) do update set
  authorized_minor = excluded.authorized_minor, captured_minor = excluded.captured_minor,
  voided_minor = excluded.voided_minor, refunded_minor = excluded.refunded_minor, reversed_minor = excluded.reversed_minor
where l.store_id = excluded.store_id
returning 1)""",
    10,
)

# An id has one effect, of one order, for ever: a closed operation is written again only as it was, another's never. Only a
# person's statement overrules a refusal.
OPERATIONS = Piece(
    """
operations_written as (
insert into operations as o (operation_id, order_id, store_id, kind, state, amount_minor, currency, refers_to,
  gateway, gateway_reference, code, reason, recorded, with_capture, system, payment_id, account)
select * from unnest({0}::uuid[], {1}::uuid[], {2}::text[], {3}::text[], {4}::text[], {5}::bigint[], {6}::text[], {7}::uuid[],
  {8}::text[], {9}::text[], {10}::text[], {11}::text[], {12}::text[], {13}::boolean[], {14}::text[], {15}::text[],
  {16}::text[])
on conflict (operation_id) do update set state = excluded.state, amount_minor = excluded.amount_minor,
  gateway_reference = excluded.gateway_reference, code = excluded.code, reason = excluded.reason,
  recorded = excluded.recorded, with_capture = excluded.with_capture,
  system = excluded.system, payment_id = excluded.payment_id, at = now()
where o.order_id = excluded.order_id and o.store_id = excluded.store_id and o.kind = excluded.kind
  and (o.state in ('asked', 'pending') or o.state = excluded.state
    or (o.state in ('declined', 'failed') and excluded.recorded is not null))
returning 1)""",
    17,
)

# The arrays are those of the postings, then those of their lines: {8} is the index of a line's posting. Each line becomes two
# entries. The database checks that they balance, and sums them per day.
ENTRIES = Piece(
    """
booked as (
insert into entries (order_id, store_id, version, number, operation_id, line_id, account, direction, currency, amount_minor, at)
select order_id, store_id, version, 2 * number + side, operation_id, line_id, account, 1 - 2 * side, currency, amount_minor, at
from unnest({0}::uuid[], {1}::text[], {2}::int[], {3}::uuid[], {4}::text[], {5}::text[], {6}::text[], {7}::timestamptz[])
  with ordinality as p (order_id, store_id, version, operation_id, debit, credit, currency, at, posting)
join unnest({8}::int[], {9}::int[], {10}::text[], {11}::bigint[]) as l (posting, number, line_id, amount_minor) using (posting)
cross join lateral (values (debit, 0), (credit, 1)) as one (account, side))""",
    12,
)
SESSIONS = Piece(
    """
sessions_written as (
insert into payment_sessions as s (session_id, order_id, store_id, state, currency, amount_minor, authorization_id, code,
  return_url, cancel_url, expires_at, gateway, account, prepayment, held_minor)
select * from unnest({0}::uuid[], {1}::uuid[], {2}::text[], {3}::text[], {4}::text[], {5}::bigint[], {6}::uuid[], {7}::text[],
  {8}::text[], {9}::text[], {10}::timestamptz[], {11}::text[], {12}::text[], {13}::text[], {14}::bigint[])
on conflict (session_id) do update set state = excluded.state, authorization_id = excluded.authorization_id,
  code = excluded.code, prepayment = excluded.prepayment, held_minor = excluded.held_minor, at = now()
where s.order_id = excluded.order_id and s.store_id = excluded.store_id and (s.state = 'open' or s.state = excluded.state)
returning 1)""",
    15,
)
DISPUTES = Piece(
    """
disputes_written as (
insert into disputes as d (dispute_id, order_id, store_id, gateway, account, reference, state, currency, amount_minor,
  withheld_minor, reason, due_at)
select * from unnest({0}::uuid[], {1}::uuid[], {2}::text[], {3}::text[], {4}::text[], {5}::text[], {6}::text[], {7}::text[],
  {8}::bigint[], {9}::bigint[], {10}::text[], {11}::timestamptz[])
on conflict (dispute_id) do update set state = excluded.state, amount_minor = excluded.amount_minor,
  withheld_minor = excluded.withheld_minor, reason = excluded.reason, due_at = excluded.due_at, at = now()
where d.order_id = excluded.order_id and d.store_id = excluded.store_id
returning 1)""",
    12,
)
PROCESSES = """
select kind as step, state as waiting, count(*), extract(epoch from now() - min(at))::float8 as age
from operations where state in ('asked', 'pending') group by 1, 2
union all select 'return', 'person', count(*), extract(epoch from now() - min(at))::float8
from payment_sessions where prepayment = 'retained' having count(*) > 0"""
"""What gateways are asked for, and what they refuse to give back."""


EARLIER = """
select order_id, operation_id, kind, state, amount_minor, currency, refers_to, gateway, account, gateway_reference, code,
  reason, recorded, with_capture
from operations join unnest($1::uuid[], $2::uuid[]) as named (order_id, operation_id) using (order_id, operation_id)"""


async def load_earlier(tx: Connection, keys: Sequence[EarlierKey]) -> dict[EarlierKey, Operation]:
    """Closed operations that the documents of their ledgers no longer have."""
    rows = [dict(row) for row in await tx.fetch(EARLIER, *columns(keys, 2))]
    return {EarlierKey(row.pop("order_id"), row.pop("operation_id")): Operation(**row) for row in rows}


KNOWN = f"""
select named.store_id, named.system, named.kind, named.payment_id, o.order_id, o.state, o.amount_minor, o.currency, o.refers_to,
  o.gateway, o.account, o.gateway_reference, o.code, o.reason, o.recorded, o.with_capture,
  (select json_object_agg(line_id, amount_minor)::text from entries e where e.order_id = o.order_id and e.operation_id = o.operation_id
    and e.account in {(*HELD, *CLEARING)} and e.direction = case o.kind when 'authorize' then 1 else -1 end) as lines
from unnest($1::text[], $2::text[], $3::text[], $4::text[]) as named (store_id, system, kind, payment_id)
join operations o using (store_id, system, kind, payment_id)"""


async def load_recorded(tx: Connection, keys: Sequence[PaymentKey]) -> dict[PaymentKey, Known]:
    """What the operations of payment systems were recorded as, also on other orders."""
    found = {}
    for row in [dict(row) for row in await tx.fetch(KNOWN, *columns(keys, 4))]:
        key = PaymentKey(row.pop("store_id"), row.pop("system"), row["kind"], row.pop("payment_id"))
        booked = json.loads(row.pop("lines") or "{}")
        lines = tuple(MoneyLine(line_id=name, quantity=0, amount_minor=minor) for name, minor in booked.items())
        found[key] = Known(row.pop("order_id"), Operation(**row, lines=lines))
    return found


ASKING = """
select key, task_id, tries - coalesce(lease_until > clock_timestamp(), false)::int as tries, first_tried_at
from tasks where (key, task_id) in (select * from unnest($1::uuid[], $2::uuid[])) order by task_id for update"""


async def load_asking(tx: Connection, keys: Sequence[AskingKey]) -> dict[AskingKey, Asking]:
    """How often the gateways of operations were asked: by their calls, or by the tasks that ask what became of them."""
    task_ids = {
        (key.order_id, task_id): key
        for key in keys
        for task_id in (key.operation_id, follow_up_id(key.operation_id), abandoning_id(key.operation_id))
    }
    rows = await tx.fetch(ASKING, *columns([*task_ids], 2))
    return {task_ids[row["key"], row["task_id"]]: Asking(row["tries"], row["first_tried_at"]) for row in rows}


class OperationTaken(Exception):
    """An operation id that already had another effect. Not transient: the message that brought it is parked."""


class SessionTaken(Exception):
    """A payment session of another order, or one that has ended. Not transient: the message that brought it is parked."""


class LedgerOfAnotherStore(Exception):
    """A line of the ledger belongs to another store. Not transient: the message that brought it is parked."""


def rows(changes: Sequence[Change[Ledger]]) -> list[Rows]:
    lines = [
        (c.key, c.store_id, line_id, line.direction, line.reverses, line.authorized_minor, line.captured_minor,
         line.voided_minor, line.refunded_minor, line.reversed_minor)
        for c in changes
        for line_id, line in c.after.lines.items()
        if line is not c.before.lines.get(line_id)
    ]  # fmt: skip
    operations = [
        (operation_id, c.key, c.store_id, o.kind, o.state, o.amount_minor, o.currency, o.refers_to,
         o.gateway, o.gateway_reference, o.code, o.reason, o.recorded, o.with_capture,
         o.payment and o.payment.system, o.payment and o.payment.payment_id, o.account)
        for c in changes
        for operation_id, o in c.after.operations.items()
        if o is not c.before.operations.get(operation_id)
    ]  # fmt: skip

    posted = [(c, one) for c in changes for one in books.postings(c.before, c.after, c.events)]

    def taken() -> OperationTaken:
        return OperationTaken(f"one of {', '.join(str(row[0]) for row in operations[:20])} already had another effect")

    def foreign() -> LedgerOfAnotherStore:
        return LedgerOfAnotherStore(f"one of {len(lines)} ledger lines is another store's")

    def taken_session() -> SessionTaken:
        return SessionTaken(f"one of {', '.join(str(row[0]) for row in opened[:20])} is another order's, or has ended")

    written = [
        Rows(LINES, columns(lines, LINES.parameters), "lines_written", foreign),
        Rows(OPERATIONS, columns(operations, OPERATIONS.parameters), "operations_written", taken),
    ]
    if posted or not changes:
        written.append(Rows(ENTRIES, _entries(posted)))
    opened = [
        (session_id, c.key, c.store_id, s.state, s.currency, s.amount_minor, s.authorization_id, s.code, s.return_url,
         s.cancel_url, s.expires_at, s.gateway, s.account, s.prepayment and s.prepayment.state, s.held_minor)
        for c in changes
        for session_id, s in c.after.sessions.items()
        if s is not c.before.sessions.get(session_id)
    ]  # fmt: skip
    disputed = [
        (dispute_id, c.key, c.store_id, d.gateway, d.account, d.reference, d.state, d.currency, d.amount_minor,
         d.withheld_minor, d.reason, d.due_at)
        for c in changes
        for dispute_id, d in c.after.disputes.items()
        if d is not c.before.disputes.get(dispute_id)
    ]  # fmt: skip
    if disputed or not changes:
        written.append(Rows(DISPUTES, columns(disputed, DISPUTES.parameters)))
    if opened or not changes:
        written.append(Rows(SESSIONS, columns(opened, SESSIONS.parameters), "sessions_written", taken_session))
    return written


def _entries(posted: Sequence[tuple[Change[Ledger], Posting]]) -> list[Sequence[Any]]:
    """The arguments of `ENTRIES`. What the lines of a posting have in common is sent once."""
    common = [
        (
            c.key,
            c.store_id,
            one.event.version,
            one.operation_id,
            one.debit,
            one.credit,
            one.currency or c.after.currency,
            c.at[one.place],
        )
        for c, one in posted
    ]
    lines = [
        (index, number, line.line_id, line.amount_minor)
        for index, (_, one) in enumerate(posted, 1)
        for number, line in enumerate(one.lines, one.number)
    ]
    return [*columns(common, 8), *columns(lines, 4)]
