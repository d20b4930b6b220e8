"""What a batch loads and writes beside its aggregates: stock, reservations, shipments. SQL, nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from asyncpg import Connection
from pydantic import TypeAdapter

from chassis.declare.service import Change
from chassis.declare.sql import Piece, Rows, columns
from contracts.base import to_json
from contracts.fulfillment import (
    Extended,
    PlacedLine,
    Reduced,
    Released,
    Reserved,
    Restocked,
    ShipmentsCancelled,
    Shipped,
)
from fulfillment.domain.fulfillment import Fulfillment, Shipment
from fulfillment.domain.pieces import Part, of, place_of, quantities
from fulfillment.domain.stock import FilledShelf, Stock, StockKey

# -- stock: the share -----------------------------------------------------------------------------------------------

# A shelf with nothing on it answers like one that was never counted: there is nothing to hold, and nothing to give back.
# Only who may put pieces on it locks it: two of them would else write over each other's pieces.
# Rows are locked above the sort, so in key order: two batches with crossed SKUs wait for each other, never in a circle.
LOAD_STOCK: Final = """
select s.store_id, s.location, s.sku, s.on_hand, s.reserved
from unnest($1::text[], $2::text[], $3::text[], $4::bool[]) as k(store_id, location, sku, filled)
join stock s on s.store_id = k.store_id and s.location = k.location and s.sku = k.sku
where s.on_hand > 0 or k.filled
order by s.store_id, s.location, s.sku
for update of s"""

STOCK: Final = Piece(
    """
stock_written as (
insert into stock as s (store_id, location, sku, on_hand, reserved)
select * from unnest({0}::text[], {1}::text[], {2}::text[], {3}::bigint[], {4}::bigint[])
on conflict (store_id, location, sku) do update set on_hand = excluded.on_hand, reserved = excluded.reserved)""",
    5,
)


async def load_stock(tx: Connection, keys: Sequence[StockKey | FilledShelf]) -> dict[StockKey, Stock]:
    """Lock and read. An SKU that was never counted has no row, and nothing to lock; an empty shelf is locked if it is
    named as a `FilledShelf`, too."""
    wanted = set(keys)
    shelves = sorted(key for key in wanted if isinstance(key, StockKey))
    rows = await tx.fetch(LOAD_STOCK, *columns([(*key, FilledShelf(*key) in wanted) for key in shelves], 4))
    return {StockKey(row[0], row[1], row[2]): Stock(row[3], row[4]) for row in rows}


def stock_rows(changed: Mapping[StockKey, Stock]) -> Rows:
    return Rows(STOCK, columns([(*key, *changed[key]) for key in sorted(changed)], STOCK.parameters))


# -- reservations and shipments of the orders of a batch -------------------------------------------------------------


Reservation = tuple[UUID, PlacedLine]
"""The operation that reserved, and the pieces of a line."""


class ReservationRow(NamedTuple):
    order_id: UUID
    operation_id: UUID
    line_id: str
    store_id: str
    location: str
    sku: str
    quantity: int
    state: str
    restocked: int = 0


class ReservationClosed(Exception):
    """A reservation would be made, given back or shipped a second time: a bug, stopped before it is committed."""


# An open reservation only becomes smaller or is closed; pieces of a consumed one are only restocked. Any other change
# returns no row.
RESERVATIONS: Final = Piece(
    """
reservations_written as (
insert into reservations as r (order_id, operation_id, line_id, store_id, location, sku, quantity, state, restocked)
select * from unnest({0}::uuid[], {1}::uuid[], {2}::text[], {3}::text[], {4}::text[], {5}::text[], {6}::int[], {7}::text[],
    {8}::int[])
on conflict (order_id, operation_id, line_id) do update set quantity = excluded.quantity, state = excluded.state,
    restocked = excluded.restocked
where r.store_id = excluded.store_id and excluded.quantity <= r.quantity and case r.state
    when 'reserved' then excluded.state <> 'reserved' or excluded.quantity < r.quantity
    when 'consumed' then excluded.state = 'consumed' and excluded.restocked > r.restocked else false end
returning 1)""",
    9,
)


class ShipmentTaken(Exception):
    """A shipment's id is another order's: nothing of the batch is saved, the message that brought it is parked."""


SHIPMENTS: Final = Piece(
    """
shipments_written as (
insert into shipments as s (shipment_id, order_id, store_id, reservation_id, location, status, lines, ship_to, carrier,
    tracking_number, shipped_at, delivered_at)
select shipment_id, order_id, store_id, reservation_id, location, status, lines, ship_to, carrier, tracking_number,
    case when status in ('shipped', 'delivered') then now() end, case when status = 'delivered' then now() end
from unnest({0}::uuid[], {1}::uuid[], {2}::text[], {3}::uuid[], {4}::text[], {5}::text[], {6}::jsonb[], {7}::jsonb[], {8}::text[],
        {9}::text[])
    as n(shipment_id, order_id, store_id, reservation_id, location, status, lines, ship_to, carrier, tracking_number)
on conflict (shipment_id) do update set status = excluded.status, lines = excluded.lines, ship_to = excluded.ship_to,
    carrier = excluded.carrier, tracking_number = excluded.tracking_number, shipped_at = coalesce(s.shipped_at, excluded.shipped_at),
    delivered_at = coalesce(s.delivered_at, excluded.delivered_at)
where s.order_id = excluded.order_id and s.store_id = excluded.store_id
returning 1)""",
    10,
)


def rows(changes: Sequence[Change[Fulfillment]]) -> list[Rows]:
    """Raises ReservationClosed if a reservation would move twice, ShipmentTaken if a shipment is another order's."""
    reservations = [row for change in changes for row in reservation_rows(change)]
    shipments = [row for change in changes for row in shipment_rows(change)]

    def closed() -> ReservationClosed:
        return ReservationClosed(f"one of {len(reservations)} reservations moved before")

    def taken() -> ShipmentTaken:
        return ShipmentTaken(f"one of {', '.join(str(row[0]) for row in shipments[:20])} belongs to another order")

    return [
        Rows(RESERVATIONS, columns(reservations, RESERVATIONS.parameters), "reservations_written", closed),
        Rows(SHIPMENTS, columns(shipments, SHIPMENTS.parameters), "shipments_written", taken),
    ]


_MOVES: Final = (Reserved, Extended, Reduced, Released, ShipmentsCancelled, Shipped, Restocked)


def reservation_rows(change: Change[Fulfillment]) -> list[ReservationRow]:
    """What the events of a batch leave of an order's reservations: one row per reservation that they touched."""
    events = [event for event in change.events if isinstance(event, _MOVES)]
    if not events:
        return []
    rows: dict[tuple[UUID, str], ReservationRow] = {}
    order, store_id = change.key, change.store_id
    held = _reservations(change.before.held_parts)

    def put(reservations: Iterable[Reservation], state: str, restocked: int = 0) -> None:
        for operation, line in reservations:
            rows[operation, line.line_id] = ReservationRow(
                order, operation, line.line_id, store_id, line.location, line.sku, line.quantity, state, restocked
            )

    for event in events:
        match event:
            case Reserved(again=False, operation_id=UUID() as operation) | Extended(operation_id=UUID() as operation):
                more = [(operation, line) for line in event.lines]
                put(more, "reserved")
                held += more
            case Released() | ShipmentsCancelled():
                put(held, "released")
                held = []
            case Shipped(location=location):  # the one open shipment there has all that is held there
                put([one for one in held if one[1].location == location], "consumed")
                held = [one for one in held if one[1].location != location]
            case Reduced(lines=lines):
                gone = quantities(lines)
                left: list[Reservation] = []
                for operation, line in reversed(held):  # as the state loses them: what was reserved last
                    if taken := min(line.quantity, gone.get(place_of(line), 0)):
                        gone[place_of(line)] -= taken
                        if taken == line.quantity:
                            put([(operation, line)], "released")
                            continue
                        line = of(line, line.quantity - taken)
                        put([(operation, line)], "reserved")
                    left.append((operation, line))
                held = left[::-1]
            case Restocked():
                before = _restocked(change.before)
                for key, (line, pieces) in _restocked(change.after).items():
                    if key not in before or before[key][1] < pieces:
                        put([(key[0], line)], "consumed", pieces)
            case _:
                pass
    return list(rows.values())


def _reservations(parts: Iterable[Part]) -> list[Reservation]:
    return [(part.operation_id, line) for part in parts for line in part.lines]


def _restocked(state: Fulfillment) -> dict[tuple[UUID, str], tuple[PlacedLine, int]]:
    """The shipped lines of which pieces are on the shelf again, and how many, by operation and line."""
    return {
        (part.operation_id, line.line_id): (line, pieces)
        for part in state.shipped_parts
        for line in part.lines
        if (pieces := part.restocked.get(line.line_id))
    }


_LINES: Final = TypeAdapter(tuple[PlacedLine, ...])


def shipment_rows(change: Change[Fulfillment]) -> list[tuple[Any, ...]]:
    """The shipments that a batch made or moved."""
    before: dict[UUID, Shipment] = {shipment.shipment_id: shipment for shipment in change.before.shipments}
    return [
        (
            shipment.shipment_id,
            change.key,
            change.store_id,
            shipment.reservation_id,
            shipment.location,
            shipment.status,
            _LINES.dump_json(shipment.lines).decode(),
            None if shipment.ship_to is None else to_json(shipment.ship_to),
            shipment.carrier,
            shipment.tracking_number,
        )
        for shipment in change.after.shipments
        if shipment is not before.get(shipment.shipment_id)
    ]


# -- the invariants of the tables ------------------------------------------------------------------------------------

# Each answers (comparisons made, comparisons violated). Joined whole, not order by order: they read every row once.
_SHIPMENT_LINES: Final = """
            select s.order_id, s.store_id, l.line_id, l.sku, l.location,
                sum(l.quantity) filter (where s.status in ('picking', 'on_hold')) as open,
                sum(l.quantity) filter (where s.status in ('shipped', 'delivered')) as shipped,
                sum(l.quantity) filter (where s.status = 'cancelled') as cancelled
            from shipments s, jsonb_to_recordset(s.lines) as l(line_id text, sku text, location text, quantity int)
            group by s.order_id, s.store_id, l.line_id, l.sku, l.location"""
_RESERVED_LINES: Final = """
            select order_id, store_id, line_id, sku, location,
                sum(quantity) filter (where state = 'reserved') as reserved,
                sum(quantity) filter (where state = 'consumed') as consumed,
                sum(quantity) filter (where state = 'released') as released
            from reservations group by order_id, store_id, line_id, sku, location"""
_SAME_LINES: Final = """r.order_id = l.order_id and r.store_id = l.store_id and r.line_id = l.line_id and r.sku = l.sku
            and r.location = l.location"""
CHECKS: Final[dict[str, str]] = {
    "stock is never oversold": """
        select count(*), count(*) filter (where reserved < 0 or on_hand < 0 or reserved > on_hand) from stock""",
    "reserved is the sum of the open reservations": """
        select count(*), count(*) filter (where coalesce(s.reserved, 0) <> coalesce(r.pieces, 0))
        from stock s full join (
            select store_id, location, sku, sum(quantity) as pieces from reservations
            where state = 'reserved' group by store_id, location, sku
        ) r on r.store_id = s.store_id and r.location = s.location and r.sku = s.sku""",
    "the pieces of the shipments that shipped are the consumed reservations": f"""
        select count(*), count(*) filter (where coalesce(l.shipped, 0) <> coalesce(r.consumed, 0))
        from ({_RESERVED_LINES}) r full join ({_SHIPMENT_LINES}) l on {_SAME_LINES}""",
    "an open shipment's pieces are reserved, a cancelled one's were given back; a started order has no others": f"""
        select count(*), count(*) filter (where coalesce(l.open, 0) > coalesce(r.reserved, 0)
            or (f.status = 'started' and coalesce(l.open, 0) < coalesce(r.reserved, 0))
            or coalesce(l.cancelled, 0) > coalesce(r.released, 0))
        from ({_RESERVED_LINES}) r full join ({_SHIPMENT_LINES}) l on {_SAME_LINES}
        left join fulfillments f on f.key = coalesce(r.order_id, l.order_id)""",
    "the open shipments of a suspended order are on hold, those of another are picked": """
        select count(*), count(*) filter (where (s.status = 'on_hold') <> (json_array_length(f.doc::json->'suspensions') > 0))
        from shipments s join fulfillments f on f.key = s.order_id
        where s.status in ('picking', 'on_hold')""",
    "a fulfilled order has no shipment left to ship": """
        select count(*), count(s.order_id)
        from fulfillments f left join (select distinct order_id from shipments where status in ('picking', 'on_hold')) s
            on s.order_id = f.key
        where f.status = 'fulfilled'""",
    "a settled order holds nothing": """
        select count(*), count(r.order_id)
        from fulfillments f left join (select distinct order_id from reservations where state = 'reserved') r
            on r.order_id = f.key
        where f.status in ('none', 'released', 'cancelled', 'fulfilled')""",
}


async def check(tx: Connection) -> list[tuple[str, int, int]]:
    """(name, comparisons made, comparisons violated) of every invariant."""
    found: list[tuple[str, int, int]] = []
    for name, sql in CHECKS.items():
        row = await tx.fetchrow(sql)
        assert row is not None
        found.append((name, row[0], row[1]))
    return found
