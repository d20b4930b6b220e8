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
    settles = stated.resolution == "match"
    settled, difference = await _named(tx, store_id, row, stated) if settles else (None, 0)
    left_minor = row["gross_minor"] - row["allotted_minor"]
    clearing = cleared_by(row["gateway"])
    booked = settling.resolving(place, stated.resolution, row["currency"], left_minor, clearing, difference)
    await settlements.book(tx, key, store_id, derived(key, f"resolved {place}"), booked)
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
        raise Unresolvable("operation_unknown", f"no {wanted} has moved money in the direction of the row")
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
