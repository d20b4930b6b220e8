"""The commands that payments handles, the reports of gateways, and its calls outside the transaction. Start reading here."""

from __future__ import annotations

from pathlib import Path

from chassis.declare.service import Aggregate, Service, Share, on
from contracts.deciding import Reported, Wake
from contracts.payments import (
    Authorize,
    CancelSession,
    Capture,
    CheckDispute,
    CheckRefunds,
    Force,
    OpenSession,
    Record,
    Refund,
    ReturnPrepayment,
    Reverse,
    Void,
)
from payments import api, asking, bookkeeping, differing, gift_card_store, invariants, reconciling, store
from payments.domain import (
    answers,
    balances,
    commands,
    compaction,
    differences,
    disputes,
    elsewhere,
    folds,
    forcing,
    gift_cards,
    ledger,
    noting,
    prepaying,
    recording,
    reversing,
    sessions,
    waking,
)
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
        on(Authorize, sessions.authorize),
        on(Capture, commands.capture),
        on(Void, commands.void),
        on(Refund, commands.refund),
        on(Force, forcing.force),
        on(Record, recording.record),
        on(OpenSession, sessions.open_session),
        on(CancelSession, sessions.cancel_session),
        on(ReturnPrepayment, prepaying.give_back),
        on(CheckDispute, disputes.check),
        on(CheckRefunds, elsewhere.check),
        on(noting.NoteDifference, noting.note),
        on(Reverse, reversing.reverse),
        on(Reported, answers.reported),
        on(Wake, waking.wake),
    ),
    columns={
        "currency": ("text", lambda state: state.currency),
        "gateway": ("text", lambda state: state.gateway),
        "authorized_minor": ("bigint", lambda state: state.authorized_minor),
        "captured_minor": ("bigint", lambda state: state.captured_minor),
        "voided_minor": ("bigint", lambda state: state.voided_minor),
        "refunded_minor": ("bigint", lambda state: state.refunded_minor),
    },
    wake_at=waking.wake_at,
    resume=answers.resumed,
    rows=store.rows,
    compact=compaction.compact,
)

GIFT_CARDS = Aggregate(
    table="gift_cards",
    key="gift_card_id",
    state=gift_cards.GiftCard,
    initial=gift_cards.new_gift_card,
    evolve=gift_cards.evolve,
    shows_revision=True,
    handlers=(
        on(gift_cards.Issue, gift_cards.issue),  # over HTTP
        on(gift_cards.Activate, gift_cards.activate),
        on(gift_cards.Deactivate, gift_cards.deactivate),
        on(gift_cards.Adjust, gift_cards.adjust),
        on(gift_cards.Extend, gift_cards.extend),
        on(gift_cards.ReplaceCode, gift_cards.replace_code),
        on(Wake, gift_cards.woken),
    ),
    columns={
        "currency": ("text", lambda state: state.currency),
        "state": ("text", lambda state: state.state),
        "code_sha256": ("text", lambda state: state.code_sha256),
    },
    wake_at=gift_cards.wake_at,
    rows=gift_card_store.card_rows,
)

BALANCES = Share(
    name="balances of gift cards",
    needs=balances.needs,
    load=gift_card_store.load,
    touched=balances.touched,
    evolve=balances.evolve,
    rows=gift_card_store.balance_rows,
    adopt=balances.adopt,
)

DIFFERENCES = Aggregate(
    table="differences",
    key="difference_id",
    state=differences.Difference,
    initial=differences.new_difference,
    evolve=differences.evolve,
    handlers=(
        on(differences.Find, differences.find),  # a reconciliation
        on(differences.Lose, differences.lose),
        on(differences.Apply, differences.apply),  # over HTTP
        on(differences.EndApplying, differences.end_applying),
        on(differences.Dismiss, differences.dismiss),
        on(Reported, differences.reported),
    ),
    resume=differences.resumed,
    columns={
        "status": ("text", lambda state: state.status),
        "kind": ("text", lambda state: state.about and state.about.kind),
        "gateway": ("text", lambda state: state.about and state.about.gateway),
        "account": ("text", lambda state: state.about and state.about.account),
        "order_id": ("uuid", lambda state: state.about and state.about.order_id),
        "at": ("timestamptz", lambda state: state.about and state.about.at),
        "found_at": ("timestamptz", lambda state: state.found_at),
    },
)

EARLIER = Share(
    name="earlier operations",
    needs=compaction.earlier,
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
    aggregates=(LEDGERS, GIFT_CARDS, DIFFERENCES),
    shares=(BALANCES, EARLIER, ASKING, RECORDED),
    settings=Settings,
    metadata=metadata,
    migrations=Path(__file__).parents[2] / "migrations",
    tasks=lambda app: (*registry.tasks(app), *differing.tasks(app)),
    routes=api.routes,
    problems=api.PROBLEMS,
    apply=accounts.apply,
    processes=store.PROCESSES,
    loops=lambda app: {**bookkeeping.loops(app), **reconciling.loops(app), **asking.loops(app)},
    check=invariants.check,
)
