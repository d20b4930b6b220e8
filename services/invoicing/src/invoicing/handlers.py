"""The commands that invoicing handles and the rows that its orders share. Start reading here."""

from __future__ import annotations

from pathlib import Path

from chassis.declare.service import Aggregate, Service, Share, on
from contracts.invoicing import Credit, Issue
from invoicing import api, invariants, store
from invoicing.domain import billing, series
from invoicing.settings import Settings
from invoicing.tables import metadata

BILLINGS = Aggregate(
    table="billings",
    key="order_id",
    state=billing.Billings,
    initial=billing.initial,
    evolve=billing.evolve,
    handlers=(  # invoicing.commands.v1
        on(Issue, billing.issue),
        on(Credit, billing.credit),
    ),
    rows=store.document_rows,
)

SERIES = Share(
    name="series",
    needs=billing.needs,
    load=store.load_series,
    touched=series.touched,
    evolve=series.evolve,
    rows=store.series_rows,
)

DOCUMENTS = Share(
    name="documents",
    needs=billing.needs_documents,
    load=store.load_documents,
    touched=lambda event: (),
    evolve=lambda state, key, event: state,
)

SERVICE = Service(
    name="invoicing",
    aggregates=(BILLINGS,),
    shares=(SERIES, DOCUMENTS),
    settings=Settings,
    metadata=metadata,
    migrations=Path(__file__).parents[2] / "migrations",
    routes=api.routes,
    problems=api.PROBLEMS,
    apply=store.apply,
    check=invariants.check,
)
