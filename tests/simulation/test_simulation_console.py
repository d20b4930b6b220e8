"""The row of an order that the console makes of the lists of all services is the row that their events have made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import Any
from uuid import UUID

import pytest
from saga_play import Saga
from saga_world import BEGIN, STORE, Host, World

from chassis.http.bodies import as_json
from console.domain.fold import Stated, fold
from console.domain.listed import Elsewhere, row_of
from console.domain.row import OrderRow
from contracts.base import OrderKeyed
from contracts.invoicing import Credited, Issued
from contracts.registry import is_published
from orders.api.listing import item
from orders.search import SHOWN
from orders.store import COLUMNS, PARTS

ACTS = 120
MONEY = ("authorized_minor", "captured_minor", "voided_minor", "refunded_minor")


@pytest.mark.parametrize("seed", range(25))
def test_a_row_made_of_the_lists_is_the_row_made_of_the_events(seed: int) -> None:
    rng, saga = Random(seed), Saga()
    saga.opens(rng)
    for n, act in enumerate(["an_order_comes_in", *rng.choices(list(Saga.ACTS), list(Saga.ACTS.values()), k=ACTS)]):
        getattr(saga, act)(rng)
        if n % 20 == 0:
            compare(saga.world)
    saga.ends()
    compare(saga.world)


def compare(world: World) -> None:
    live = folded(world)
    for key, order in world.orders.states().items():
        if not order.known:
            continue
        row = row_of(STORE, listed(world.orders, key), elsewhere(world, key))
        assert comparable(row) == comparable(live[key])


def comparable(row: OrderRow) -> OrderRow:
    """Without times that lists state otherwise: see `console.domain.listed`. A failed request of a document has a version, and
    is in no list."""
    versions = {name: version for name, version in row.versions.items() if name != "invoicing"}
    times = dict.fromkeys(("since", "changed_at", "received_at", "invoiced_at"))
    return row._replace(**times, versions=versions)


def folded(world: World) -> dict[UUID, OrderRow]:
    rows: dict[UUID, OrderRow] = {}
    for host in hosts(world):
        for event in host.journal:
            if is_published(type(event)) and isinstance(event, OrderKeyed):
                before = rows.get(event.key, OrderRow(event.key, STORE))
                stated = Stated(event.key, STORE, host.service.name, event.version, BEGIN, event)  # type: ignore[attr-defined]
                rows[event.key] = fold(before, stated)
    return rows


def hosts(world: World) -> Iterator[Host]:
    yield from (world.orders, world.payments, world.fulfillment, world.invoicing)


def listed(host: Host, key: UUID) -> Any:
    """The item of `GET /v1/orders?content=true`, as it arrives."""
    row = host.rows["orders", key]
    parts = {name: json.loads(row.state.model_dump_json())[name] for name in PARTS}
    columns = {name: value(row.state) for name, (_, value) in COLUMNS.items()}
    stored = (
        columns
        | {"key": key, "version": row.version, "updated_at": BEGIN}
        | {n: json.dumps(v) for n, v in parts.items()}
    )
    stored["tags"] = list(row.state.annotations.tags) if row.state.annotations is not None else None
    stored["doc"] = row.state.model_dump_json(exclude=set(PARTS))
    assert set(SHOWN) <= set(stored)
    return json.loads(as_json(200, item(stored)).body)


def elsewhere(world: World, key: UUID) -> Elsewhere:
    ledger, goods = world.payments.rows.get(("ledgers", key)), world.fulfillment.rows.get(("fulfillments", key))
    documents = [
        {"version": one.version, "kind": "invoice" if isinstance(one, Issued) else "credit", "number": one.number,
         "total_minor": one.total_minor}
        for one in world.invoicing.journal if isinstance(one, (Issued, Credited)) and one.order_id == key
    ]  # fmt: skip
    return Elsewhere(
        {"version": ledger.version, **{name: getattr(ledger.state.totals(), name) for name in MONEY}} if ledger else None,
        {"version": goods.version, "reserved": goods.state.totals.reserved, "shipped": goods.state.totals.shipped} if goods else None,
        [one.tracking_number for one in goods.state.shipments if one.tracking_number] if goods else (),
        documents,
    )  # fmt: skip
