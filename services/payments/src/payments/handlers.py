"""The commands that payments handles, the reports of gateways, and its calls outside the transaction. Start reading here."""

from __future__ import annotations

from pathlib import Path

from chassis.declare.service import Aggregate, Service, Share, on
from contracts.deciding import Reported
from contracts.payments import Authorize, Capture, Force, Record, Refund, Void
from payments import api, bookkeeping, store
from payments.domain import answers, commands, folds, forcing, ledger, recording
from payments.gateways import accounts, registry
from payments.settings import Settings
from payments.tables import metadata

LEDGERS = Aggregate(
    table="ledgers",
    key="order_id",
    state=ledger.Ledger,
    initial=lambda key, store_id: ledger.Ledger(),
    evolve=folds.evolve,
    handlers=(
        on(Authorize, commands.authorize),
        on(Capture, commands.capture),
        on(Void, commands.void),
        on(Refund, commands.refund),
        on(Force, forcing.force),
        on(Record, recording.record),
        on(Reported, answers.reported),
    ),
    columns={
        "currency": ("text", lambda state: state.currency),
        "gateway": ("text", lambda state: state.gateway),
        "authorized_minor": ("bigint", lambda state: state.authorized_minor),
        "captured_minor": ("bigint", lambda state: state.captured_minor),
        "voided_minor": ("bigint", lambda state: state.voided_minor),
        "refunded_minor": ("bigint", lambda state: state.refunded_minor),
    },
    resume=answers.resumed,
    rows=store.rows,
    compact=ledger.compact,
)

EARLIER = Share(
    name="earlier operations",
    needs=ledger.earlier,
    load=store.load_earlier,
    touched=lambda event: (),
    evolve=lambda state, key, event: state,
)

ASKING = Share(
    name="tasks of the gateways",
    needs=forcing.asking,
    load=store.load_asking,
    touched=lambda event: (),
    evolve=lambda state, key, event: state,
)

RECORDED = Share(
    name="operations of payment systems elsewhere",
    needs=recording.recorded,
    load=store.load_recorded,
    touched=lambda event: (),
    evolve=lambda state, key, event: state,
)

SERVICE = Service(
    name="payments",
    aggregates=(LEDGERS,),
    shares=(EARLIER, ASKING, RECORDED),
    settings=Settings,
    metadata=metadata,
    migrations=Path(__file__).parents[2] / "migrations",
    tasks=registry.tasks,
    routes=api.routes,
    problems=api.PROBLEMS,
    apply=accounts.apply,
    processes=store.PROCESSES,
    loops=bookkeeping.loops,
    check=store.check,
)
