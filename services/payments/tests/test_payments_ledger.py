"""The ledger itself: it refuses to be wrong, it folds what a restore brings, its row keeps fields of a later version."""

from __future__ import annotations

import json

import pytest
from payments_play import (
    Play,
    asked,
    authorized,
    call,
    captured,
    declined,
    failed,
    pending,
    postponed,
    refunded,
    report,
    totals,
    uid,
    voided,
)

from contracts.base import Event
from contracts.payments import Captured, Refunded, Voided
from payments.domain.folds import evolve
from payments.domain.ledger import Ledger

STORY: list[Event] = [
    asked("a0", "authorize", 7_00),
    declined("a0", 7_00, "card_declined", "", totals()),
    asked("a1", "authorize", 50_00),
    pending("a1", "authorize", 50_00, totals()),
    authorized("a1", 50_00, totals(a=50_00), "test", "tg_1"),
    asked("c1", "capture", 30_00, "a1"),
    captured("c1", "a1", 30_00, totals(a=50_00, c=30_00), "tg_2"),
    asked("c2", "capture", 5_00, "a1"),
    failed("c2", "capture", "gateway_refused", totals(a=50_00, c=30_00), of="a1", amount_minor=5_00),
    asked("r1", "refund", 10_00, "c1"),
    refunded("r1", "c1", 10_00, totals(a=50_00, c=30_00, r=10_00), "tg_3"),
    postponed("v1", "a1"),
    asked("v1", "void", 20_00, "a1"),
    voided("v1", "a1", 20_00, totals(a=50_00, c=30_00, v=20_00, r=10_00), "tg_4"),
]


def folded(events: list[Event]) -> Ledger:
    ledger = Ledger()
    for event in events:
        ledger = evolve(ledger, event)  # type: ignore[arg-type]
    return ledger


def published(events: list[Event]) -> list[Event]:
    return [event for event in events if event.TYPE not in ("payments.asked", "payments.void_postponed")]


def test_the_published_events_alone_give_the_same_money() -> None:
    """After a restore the private events since the backup are gone; nothing that counts was in them alone."""
    whole, restored = folded(STORY), folded(published(STORY))
    for field in ("currency", "authorized_minor", "captured_minor", "voided_minor", "refunded_minor", "lines",
                  "captures", "authorizations"):  # fmt: skip
        assert getattr(restored, field) == getattr(whole, field), field
    assert {i: (o.kind, o.state, o.amount_minor, o.refers_to) for i, o in restored.operations.items()} == {
        i: (o.kind, o.state, o.amount_minor, o.refers_to) for i, o in whole.operations.items()
    }


def test_a_pending_event_alone_holds_its_amounts() -> None:
    ledger = folded([
        authorized("a1", 50_00, totals(a=50_00), "test", "tg_1"),
        pending("c1", "capture", 40_00, totals(a=50_00), of="a1"),
    ])  # fmt: skip
    assert ledger.capturable(uid("a1")) == {"1": 10_00}
    assert ledger.in_flight(uid("a1"))


def test_a_report_that_outlived_a_restore_is_known_again(play: Play) -> None:
    """The capture was published, the backup with its open task came back, and the task reports once more."""
    play.given(*published(STORY))
    play.when(report(call("c1", "capture", 30_00, "a1"), "succeeded", "tg_2"))
    play.then()


@pytest.mark.parametrize(
    "event",
    [
        captured("c9", "a1", 20_01, totals()),
        voided("v9", "a1", 20_01, totals()),
        refunded("r9", "c1", 30_01, totals()),
    ],
)
def test_an_event_that_would_break_a_promise_cannot_be_folded(event: Captured | Voided | Refunded) -> None:
    """Promise 3: asserted here, and again as a check constraint of the table."""
    ledger = folded(published(STORY)[:5])  # authorized 50, captured 30
    with pytest.raises(AssertionError):
        evolve(ledger, event)


def test_one_capture_is_not_refunded_with_the_money_of_another() -> None:
    """Nor one authorization drawn on for another: the order's line would have room, the single one has not."""
    ledger = folded([
        authorized("a1", 30_00, totals(a=30_00)),
        authorized("a2", 20_00, totals(a=50_00)),
        captured("c1", "a1", 30_00, totals(a=50_00, c=30_00)),
        captured("c2", "a2", 5_00, totals(a=50_00, c=35_00)),
    ])  # fmt: skip
    for event in (
        refunded("r1", "c2", 5_01, totals()),
        captured("c3", "a1", 1, totals()),
        voided("v1", "a1", 1, totals()),
    ):
        with pytest.raises(AssertionError, match="of (capture|authorization)"):
            evolve(ledger, event)


def test_an_authorization_is_folded_once() -> None:
    with pytest.raises(AssertionError, match="twice"):
        folded([authorized("a1", 1, totals(a=1)), authorized("a1", 1, totals(a=2))])


def test_a_capture_is_folded_once() -> None:
    with pytest.raises(AssertionError, match="twice"):
        folded([authorized("a1", 2, totals(a=2)), captured("c1", "a1", 1, totals()), captured("c1", "a1", 1, totals())])


def test_a_row_keeps_what_a_newer_version_wrote() -> None:
    """A rolling deploy loses nothing: unknown fields survive at every level."""
    row = json.loads(folded(STORY).model_dump_json())
    row["newer"] = 1
    for inner in (
        row["lines"]["1"],
        *row["authorizations"].values(),
        *row["captures"].values(),
        *row["operations"].values(),
    ):
        inner["newer"] = {"a": [1]}
    next(iter(row["authorizations"].values()))["lines"]["1"]["newer"] = "x"
    ledger = Ledger.model_validate(row)
    again = evolve(ledger, refunded("r2", "c1", 1, totals()))
    kept = json.loads(again.model_dump_json())
    assert kept["newer"] == 1
    assert kept["lines"]["1"]["newer"] == {"a": [1]}
    assert next(iter(kept["captures"].values()))["newer"] == {"a": [1]}
    assert next(iter(kept["authorizations"].values()))["lines"]["1"]["newer"] == "x"


def test_lines_that_an_event_does_not_touch_stay_the_same_objects() -> None:
    """The store writes the lines that changed, compared by identity."""
    before = folded([authorized("a1", {"1": 5, "2": 5}, totals(a=10))])
    after = evolve(before, captured("c1", "a1", {"1": 5}, totals(a=10, c=5)))
    assert after.lines["2"] is before.lines["2"]
    assert after.lines["1"] is not before.lines["1"]


def test_closed_operations_have_lines_only_where_a_person_may_overrule_a_gateways_refusal() -> None:
    ledger = folded(STORY)
    with_lines = {operation_id for operation_id, operation in ledger.operations.items() if operation.lines}
    assert with_lines == {uid("a0"), uid("c2")}
    assert ledger.capturable(uid("a1")) == {"1": 0} and ledger.refundable(uid("c1")) == {"1": 20_00}, "nothing is held"
