"""The commands that fulfillment handles and the rows that its orders share. Start reading here."""

from __future__ import annotations

from pathlib import Path

from chassis.declare.service import Aggregate, Service, Share, on
from contracts.fulfillment import CancelShipments, Extend, Reduce, Release, Reserve, Restock, Resume, Start, Suspend
from fulfillment import api, store, tables
from fulfillment.domain import changes, decisions, folds, stock
from fulfillment.domain.decisions import Deliver, Ship
from fulfillment.domain.fulfillment import Fulfillment, new_fulfillment
from fulfillment.domain.stock import SetStock, StockItem
from fulfillment.settings import Settings

FULFILLMENTS = Aggregate(
    table="fulfillments",
    key="order_id",
    state=Fulfillment,
    initial=new_fulfillment,
    evolve=folds.evolve,
    handlers=(
        on(Reserve, decisions.reserve),  # fulfillment.commands.v1
        on(Release, decisions.release),
        on(Start, decisions.start),
        on(CancelShipments, decisions.cancel),
        on(Suspend, changes.suspend),  # an order that was placed
        on(Resume, changes.resume),
        on(Extend, changes.extend),
        on(Reduce, changes.reduce),
        on(Restock, changes.restock),
        on(Ship, decisions.ship),  # the warehouse, over HTTP
        on(Deliver, decisions.deliver),
    ),
    columns={"status": ("text", lambda state: state.status)},
    rows=store.rows,
    compact=folds.compact,
)

STOCK_ITEMS = Aggregate(
    table="stock_items",
    key="stock_item_id",
    state=StockItem,
    initial=stock.new_stock_item,
    evolve=stock.evolve_item,
    shows_revision=True,
    handlers=(on(SetStock, stock.set_stock),),  # over HTTP
    columns={
        "location": ("text", lambda item: item.location),
        "sku": ("text", lambda item: item.sku),
    },
)

STOCK = Share(
    name="stock",
    needs=decisions.needs,
    load=store.load_stock,
    touched=stock.touched,
    evolve=stock.evolve,
    rows=store.stock_rows,
    adopt=stock.adopt,
)

SERVICE = Service(
    name="fulfillment",
    aggregates=(FULFILLMENTS, STOCK_ITEMS),
    shares=(STOCK,),
    settings=Settings,
    metadata=tables.metadata,
    migrations=Path(__file__).resolve().parents[2] / "migrations",
    routes=api.routes,
    problems=api.PROBLEMS,
    check=store.check,
)
