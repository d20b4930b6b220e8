"""What fulfillment obeys and what its orders share. Start reading here."""

from __future__ import annotations

from pathlib import Path

from chassis.declare.service import Aggregate, Service, Share, on
from contracts.fulfillment import CancelShipments, Release, Reserve, Start
from fulfillment import api, store, tables
from fulfillment.domain import fulfilment, stock
from fulfillment.domain.fulfilment import Deliver, Fulfilment, Ship
from fulfillment.domain.stock import SetStock, StockItem
from fulfillment.settings import Settings

FULFILMENTS = Aggregate(
    table="fulfilments",
    key="order_id",
    state=Fulfilment,
    initial=fulfilment.new_fulfilment,
    evolve=fulfilment.evolve,
    handlers=(
        on(Reserve, fulfilment.reserve),  # fulfillment.commands.v1
        on(Release, fulfilment.release),
        on(Start, fulfilment.start),
        on(CancelShipments, fulfilment.cancel),
        on(Ship, fulfilment.ship),  # the warehouse, over HTTP
        on(Deliver, fulfilment.deliver),
    ),
    columns={"status": ("text", lambda state: state.status)},
    rows=store.rows,
)

STOCK_ITEMS = Aggregate(
    table="stock_items",
    key="stock_item_id",
    state=StockItem,
    initial=stock.new_stock_item,
    evolve=stock.evolve_item,
    handlers=(on(SetStock, stock.set_stock),),  # over HTTP
    columns={
        "location": ("text", lambda item: item.location),
        "sku": ("text", lambda item: item.sku),
    },
)

STOCK = Share(
    name="stock",
    needs=fulfilment.needs,
    load=store.load_stock,
    touched=stock.touched,
    evolve=stock.evolve,
    rows=store.stock_rows,
    adopt=stock.adopt,
)

SERVICE = Service(
    name="fulfillment",
    aggregates=(FULFILMENTS, STOCK_ITEMS),
    shares=(STOCK,),
    settings=Settings,
    metadata=tables.metadata,
    migrations=Path(__file__).resolve().parents[2] / "migrations",
    routes=api.routes,
    problems=api.PROBLEMS,
    check=store.check,
)
