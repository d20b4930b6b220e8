"""What a batch loads and writes beside its aggregates: stock, reservations, shipments. SQL, nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from asyncpg import Connection
from pydantic import TypeAdapter

from chassis.declare.service import Change
from chassis.declare.sql import Piece, Rows, columns
from contracts.base import Event, to_json
from contracts.fulfillment import PlacedLine, Released, Reserved, ShipmentsCancelled, Shipped
from fulfillment.domain.fulfillment import Fulfillment, Shipment
from fulfillment.domain.stock import Stock, StockKey

# -- stock: the share -----------------------------------------------------------------------------------------------

# A shelf with nothing on it answers like one that was never counted: there is nothing to hold, and nothing to give back.
# Rows are locked above the sort, so in key order: two batches with crossed SKUs wait for each other, never in a circle.
LOAD_STOCK: Final = """
select s.store_id, s.location, s.sku, s.on_hand, s.reserved
from unnest($1::text[], $2::text[], $3::text[]) as k(store_id, location, sku)
join stock s on s.store_id = k.store_id and s.location = k.location and s.sku = k.sku
where s.on_hand > 0
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


async def load_stock(tx: Connection, keys: Sequence[StockKey]) -> dict[StockKey, Stock]:
    """Lock and read. An SKU that was never counted has no row, and nothing to lock; an empty shelf is not locked."""
    rows = await tx.fetch(LOAD_STOCK, *columns(sorted(set(keys)), 3))
    return {StockKey(row[0], row[1], row[2]): Stock(row[3], row[4]) for row in rows}


def stock_rows(changed: Mapping[StockKey, Stock]) -> Rows:
    return Rows(STOCK, columns([(*key, *changed[key]) for key in sorted(changed)], STOCK.parameters))


# -- reservations and shipments of the orders of a batch -------------------------------------------------------------


class ReservationRow(NamedTuple):
    order_id: UUID
    operation_id: UUID
    line_id: str
    store_id: str
    location: str
    sku: str
    quantity: int
    state: str


class ReservationClosed(Exception):
    """A reservation would be made, given back or shipped a second time: a bug, stopped before it is committed."""


# Only an open reservation changes, and only by being closed: any other change returns no row.
RESERVATIONS: Final = Piece(
    """
reservations_written as (
insert into reservations as r (order_id, operation_id, line_id, store_id, location, sku, quantity, state)
select * from unnest({0}::uuid[], {1}::uuid[], {2}::text[], {3}::text[], {4}::text[], {5}::text[], {6}::int[], {7}::text[])
on conflict (order_id, operation_id, line_id) do update set state = excluded.state
where r.store_id = excluded.store_id and r.state = 'reserved' and excluded.state <> 'reserved'
returning 1)""",
    8,
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
on conflict (shipment_id) do update set status = excluded.status, ship_to = excluded.ship_to, carrier = excluded.carrier,
    tracking_number = excluded.tracking_number, shipped_at = coalesce(s.shipped_at, excluded.shipped_at),
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


def reservation_rows(change: Change[Fulfillment]) -> list[ReservationRow]:
    """What the events of a batch leave of an order's reservations: one row per reservation that they touched."""
    rows: dict[tuple[UUID, str], ReservationRow] = {}
    operation = change.before.reservation_id

    def put(lines: Iterable[PlacedLine], state: str) -> None:
        for line in lines:
            assert operation is not None, "pieces moved without a reservation"
            rows[operation, line.line_id] = ReservationRow(
                change.key, operation, line.line_id, change.store_id, line.location, line.sku, line.quantity, state
            )

    event: Event
    for event in change.events:
        match event:
            case Reserved(again=False, lines=lines):
                operation = event.operation_id
                put(lines, "reserved")
            case Released(lines=lines) | ShipmentsCancelled(lines=lines):
                put(lines, "released")
            case Shipped(lines=lines):
                put(lines, "consumed")
            case _:
                pass
    return list(rows.values())


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
_SHIPMENT_LINES: Final = """(
            select s.order_id, s.reservation_id, s.store_id, s.status, l.line_id, l.sku, l.location, l.quantity
            from shipments s, jsonb_to_recordset(s.lines) as l(line_id text, sku text, location text, quantity int)
        )"""
CHECKS: Final[dict[str, str]] = {
    "stock is never oversold": """
        select count(*), count(*) filter (where reserved < 0 or on_hand < 0 or reserved > on_hand) from stock""",
    "reserved is the sum of the open reservations": """
        select count(*), count(*) filter (where coalesce(s.reserved, 0) <> coalesce(r.pieces, 0))
        from stock s full join (
            select store_id, location, sku, sum(quantity) as pieces from reservations
            where state = 'reserved' group by store_id, location, sku
        ) r on r.store_id = s.store_id and r.location = s.location and r.sku = s.sku""",
    "a reservation is consumed by the one shipment that shipped it, else by none": f"""
        select count(*), count(*) filter (where coalesce(l.times, 0) <> (r.state = 'consumed')::int)
        from reservations r left join (
            select order_id, reservation_id, line_id, count(*) as times from {_SHIPMENT_LINES} l
            where status in ('shipped', 'delivered') group by order_id, reservation_id, line_id
        ) l on l.order_id = r.order_id and l.reservation_id = r.operation_id and l.line_id = r.line_id""",
    "a shipment's lines are its order's reservations, open, given back or shipped as it is": f"""
        select count(*), count(*) filter (where r.state is distinct from case l.status
            when 'picking' then 'reserved' when 'cancelled' then 'released' else 'consumed' end)
        from {_SHIPMENT_LINES} l left join reservations r on r.order_id = l.order_id and r.line_id = l.line_id
            and r.operation_id = l.reservation_id and r.store_id = l.store_id and r.sku = l.sku
            and r.location = l.location and r.quantity = l.quantity""",
    "a fulfilled order has no shipment left to ship": """
        select count(*), count(s.order_id)
        from fulfillments f left join (select distinct order_id from shipments where status = 'picking') s
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
