"""What a batch writes: only what changed; and the declarations that hold the service together."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from payments_play import NOW, STORE, authorized, captured, failed, totals, uid

from chassis.declare.service import Aggregate, Change, Share
from contracts.base import Command, Event, PrivateEvent
from contracts.differences import DifferenceKeyed
from contracts.gift_cards import GiftCardKeyed
from contracts.registry import MESSAGES
from payments import handlers, store
from payments.domain import folds, gift_cards
from payments.domain.folds import evolve
from payments.domain.ledger import Ledger
from payments.handlers import SERVICE
from payments.tables import entries, ledger_lines, ledgers, operations

PRIVATE: set[type[Event]] = {
    model
    for model in vars(folds).values()
    if isinstance(model, type) and issubclass(model, PrivateEvent) and model is not PrivateEvent
}


def change(order: str, before: list[Event], events: list[Event]) -> Change[Ledger]:
    state = Ledger()
    for event in before:
        state = evolve(state, event)  # type: ignore[arg-type]
    after = state
    for event in events:
        after = evolve(after, event)  # type: ignore[arg-type]
    return Change(uid(order), STORE, state, after, tuple(events), (NOW,) * len(events))


def written(*changes: Change[Ledger]) -> tuple[list[Any], list[Any]]:
    """The rows of lines and of operations."""
    lines, done, booked = store.rows(changes)
    assert (lines.piece, done.piece, booked.piece) == (store.LINES, store.OPERATIONS, store.ENTRIES)
    return list(zip(*lines.arguments, strict=True)), list(zip(*done.arguments, strict=True))


def test_a_batch_writes_the_lines_and_operations_of_all_its_orders() -> None:
    whole = [change(f"o{n}", [], [authorized("a", {"1": n, "2": 5}, totals(a=n + 5)), captured("c", "a", {"1": n}, totals())])
             for n in range(100)]  # fmt: skip
    lines, done = written(*whole)
    assert (len(lines), len(done)) == (200, 200)


def test_only_what_changed_is_written() -> None:
    lines, done = written(
        change(
            "o", [authorized("a", {"1": 7, "2": 5}, totals(a=12))], [captured("c", "a", {"2": 5}, totals(a=12, c=5))]
        ),
    )
    assert lines == [(uid("o"), STORE, "2", 1, None, 5, 5, 0, 0, 0)]
    assert [row[0] for row in done] == [uid("c")]


def test_a_batch_that_books_nothing_has_no_statement_for_entries() -> None:
    """The trigger of the entries costs time without rows, too."""
    refused = failed("c", "capture", "authorization_unknown", totals(), "a?")
    assert store.ENTRIES not in [rows.piece for rows in store.rows([change("o", [], [refused])])]


def test_an_operation_id_that_had_another_effect_is_named() -> None:
    _, done, _ = store.rows([change("o", [], [authorized("a", 1, totals(a=1))])])
    assert done.written == "operations_written"
    refused = done.otherwise()
    assert isinstance(refused, store.OperationTaken)
    assert str(uid("a")) in str(refused)


@pytest.mark.parametrize("table", [ledgers, ledger_lines])
def test_the_promises_are_check_constraints_too(table: Any) -> None:
    checks = {str(c.sqltext) for c in table.constraints if hasattr(c, "sqltext")}
    assert {"captured_minor + voided_minor <= authorized_minor", "refunded_minor <= captured_minor"} <= checks


def test_every_constraint_and_index_has_a_name() -> None:
    for table in (ledger_lines, operations, entries):
        assert all(constraint.name for constraint in table.constraints)
    assert all(index.name for table in (ledgers, ledger_lines, operations) for index in table.indexes)


def test_payments_handles_every_command_that_is_addressed_to_it() -> None:
    wanted = {m for m in MESSAGES.values() if m.owner() == "payments" and issubclass(m, Command)}
    assert set(SERVICE.handles()) == wanted


def test_every_aggregate_and_every_shared_row_that_is_declared_is_in_the_service() -> None:
    """Without its shares a decision finds no balance of a gift card, and no operation that the ledger no longer has."""
    declared = vars(handlers).values()
    assert {one.name for one in declared if isinstance(one, Share)} == {share.name for share in SERVICE.shares}
    assert {one.table for one in declared if isinstance(one, Aggregate)} == {one.table for one in SERVICE.aggregates}


def test_every_event_of_payments_can_be_folded() -> None:
    owned = {m for m in MESSAGES.values() if m.owner() == "payments" and issubclass(m, Event)} | PRIVATE
    of_cards = {model for model in owned if issubclass(model, GiftCardKeyed)}
    of_differences = {model for model in owned if issubclass(model, DifferenceKeyed)}
    for module, models in ((folds, owned - of_cards - of_differences), (gift_cards, of_cards)):
        matched = Path(inspect.getfile(module)).read_text()
        assert all(f"case {model.__name__}():" in matched for model in models)


def test_private_events_are_not_published() -> None:
    assert len(PRIVATE) > 1 and {model.TYPE for model in PRIVATE}.isdisjoint(MESSAGES)


def test_every_share_and_aggregate_of_the_handlers_is_declared() -> None:
    """A decision finds no row of a share that the service does not have: no gift card, no repetition."""
    found = [one for one in vars(handlers).values() if isinstance(one, (Share, Aggregate))]
    assert len(found) > 6 and set(map(id, found)) == set(map(id, (*SERVICE.aggregates, *SERVICE.shares)))
