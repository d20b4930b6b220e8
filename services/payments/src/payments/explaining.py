"""What a person states about the rows of statements that match nothing: which operation it is, that it is a cost, or neither."""

from __future__ import annotations

from typing import Literal, NamedTuple
from uuid import UUID

from asyncpg import Connection, Record

from contracts.ids import derived
from payments import settlements, withheld
from payments.domain import settling
from payments.domain.books import cleared_by
from payments.domain.pairing import Movement
from payments.domain.settling import Resolution
from payments.moved import KIND, MOVES


class Unresolvable(Exception):
    """A resolution is refused. `code` states why."""

    def __init__(
        self,
        code: Literal["row_unknown", "row_resolved", "operation_unknown", "operation_settled", "amount_differs"],
        detail: str,
    ) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail


class Explained(NamedTuple):
    """What a person states about a row."""

    resolution: Resolution
    operation_id: UUID | None
    """The operation, for `match`."""
    reason: str
    difference_is_fee: bool
    """For `match`: what the row has more or less than the operation is a cost."""
    actor: str


TO_RESOLVE = """
select r.*, s.currency, s.gateway from settlement_rows r join settlements s on s.key = r.settlement_id
where r.settlement_id = $1 and r.place = $2 and r.store_id = $3 for update of r"""
ONE_MOVED = f"""
select order_id, {KIND} as kind, currency, amount_minor, array[]::text[] as names,
  exists (select from settlement_rows r where r.operation_id = o.operation_id and r.settles) as settled
from operations o where operation_id = $1 and store_id = $2 and gateway = $3 and state = 'succeeded' and {MOVES}"""
RESOLVED = """
update settlement_rows set resolution = $3, reason = $4, resolved_by = $5, resolved_at = now(), open = false, settles = $6,
  operation_id = coalesce($7, operation_id), order_id = coalesce($8, order_id)
where settlement_id = $1 and place = $2"""


# What an order waits for. An authorization whose time is over is declined: money that comes later is not its.
WAITS = """
select e.order_id, e.amount_minor - e.moved_minor as minor from expected_transfers e
where e.operation_id = $1 and e.store_id = $2 and e.currency = $3 and (e.kind = 'authorize') = $4
  and (e.kind = 'refund' or e.moved_minor > 0 or e.expires_at > now() + interval '1 hour')
  and not exists (select from operations o where o.operation_id = e.operation_id and o.state in ('declined', 'failed')) for update"""
ALLOTTED = """
update settlement_rows set allotted_minor = allotted_minor + $3, state = case when $4 then 'overpaid' else state end, open = $4,
  resolution = case when $4 then null else 'match' end, reason = $5, resolved_by = $6, resolved_at = now(),
  operation_id = $7, order_id = coalesce(order_id, $8)
where settlement_id = $1 and place = $2"""
BOOKED = "select coalesce(max(number) + 1, $3) from entries where order_id = $1 and version = $2 and number >= $3"


async def resolve(tx: Connection, store_id: str, key: UUID, place: int, stated: Explained) -> None:
    """Books what a person states about a row. The same statement once more changes nothing. Raises Unresolvable."""
    await settlements.one_at_a_time(tx, store_id)
    row = await tx.fetchrow(TO_RESOLVE, key, place, store_id)
    if row is None:
        raise Unresolvable("row_unknown", f"settlement {key} of this store has no row {place}")
    if not row["open"]:
        if row["resolution"] == stated.resolution and await _is_named(tx, store_id, row, stated):
            return
        raise Unresolvable("row_resolved", f"the row is {row['resolution'] or row['state']} already")
    if stated.resolution == "match" and row["gateway"] == "manual" and await _pays(tx, store_id, row, stated):
        return
    settles = stated.resolution == "match"
    settled, difference = await _named(tx, store_id, row, stated) if settles else (None, 0)
    left_minor = row["gross_minor"] - row["allotted_minor"]
    clearing = cleared_by(row["gateway"])
    number = await tx.fetchval(BOOKED, key, place, settling.RESOLVED)
    booked = settling.resolving(place, stated.resolution, row["currency"], left_minor, clearing, difference, number)
    await settlements.book(tx, key, store_id, derived(key, f"resolved {place} {number}"), booked)
    await tx.execute(
        RESOLVED,
        key,
        place,
        stated.resolution,
        stated.reason,
        stated.actor,
        settles,
        settled.operation_id if settled else None,
        settled.order_id if settled else None,
    )


async def _pays(tx: Connection, store_id: str, row: Record, stated: Explained) -> bool:
    """Whether the named operation waits for the row's money. It then gets it: what it does not need stays for the next explanation."""
    key, place, currency = row["settlement_id"], row["place"], row["currency"]
    assert stated.operation_id is not None, "a match names what it matches"
    left = row["gross_minor"] - row["allotted_minor"]
    sign = 1 if left > 0 else -1
    if row["allotted_minor"] and row["operation_id"] == stated.operation_id:
        return True  # the same statement once more
    waits = await tx.fetchrow(WAITS, stated.operation_id, store_id, currency, left > 0)
    if waits is None or not waits["minor"] or not left:
        return False
    minor = waits["minor"] if stated.difference_is_fee else min(abs(left), waits["minor"])
    taken = left if stated.difference_is_fee else sign * minor
    number = await tx.fetchval(BOOKED, key, place, settling.RESOLVED)
    booked = settling.resolving(place, "match", currency, taken, cleared_by("manual"), taken - sign * minor, number)
    await settlements.book(tx, key, store_id, derived(key, f"resolved {place} {number}"), booked)
    await settlements.allot(tx, key, [(place, stated.operation_id, minor)])
    await tx.execute(
        ALLOTTED,
        key,
        place,
        sign * minor,
        taken != left,
        stated.reason,
        stated.actor,
        stated.operation_id,
        waits["order_id"],
    )
    return True


async def _named(tx: Connection, store_id: str, row: Record, stated: Explained) -> tuple[Movement, int]:
    """Returns what is named, and what the row has more than it, signed. Raises Unresolvable."""
    assert stated.operation_id is not None, "a match names what it matches"
    found = await tx.fetchrow(ONE_MOVED, stated.operation_id, store_id, row["gateway"])
    if found is not None:
        named = [Movement(stated.operation_id, *found)]
    else:
        kind = "dispute" if row["gross_minor"] < 0 else "release"
        moved = await withheld.movements(tx, store_id, row["gateway"], [], [stated.operation_id])
        named = [one for one in moved if one.kind == kind]
    named = [one for one in named if one.currency == row["currency"]]
    if not named:
        wanted = (
            f"capture, refund or dispute by {row['gateway']} in {row['currency']} with the id {stated.operation_id}"
        )
        detail = f"no {wanted} has moved money in the direction of the row, or waits for it"
        raise Unresolvable("operation_unknown", detail)
    if (one := next((one for one in named if not one.settled), None)) is None:
        raise Unresolvable("operation_settled", f"another row settles operation {stated.operation_id}")
    signed = one.amount_minor if one.kind in ("capture", "release") else -one.amount_minor
    difference = row["gross_minor"] - row["allotted_minor"] - signed
    if difference and not stated.difference_is_fee:
        raise Unresolvable(
            "amount_differs",
            f"the row has {row['gross_minor']}, the operation {signed}: state that the difference is a fee",
        )
    return one, difference


async def _is_named(tx: Connection, store_id: str, row: Record, stated: Explained) -> bool:
    """Whether a row that was explained before is about what is stated now."""
    if stated.operation_id in (None, row["operation_id"]):
        return True
    moved = await withheld.movements(tx, store_id, row["gateway"], [], [stated.operation_id])
    return any(one.operation_id == row["operation_id"] for one in moved)
