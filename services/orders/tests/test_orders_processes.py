"""What the engine promises to every declared kind: precedence, the undo beside its step, the event that ended a step."""

from __future__ import annotations

import pytest
from orders_play import NOW, Play, content, line, market, uid
from pydantic import ValidationError

from contracts.invoicing import Credit, Issue
from contracts.orders import PaymentChanged, Retried, StepFailed
from contracts.payments import Authorize, Capture, MoneyLine, Refund, Void
from orders.domain.engine.process import Process, Processes, Step
from orders.domain.processes.kinds import PROCESSES, UNDO
from orders.domain.processes.place import PLACE, PlaceData
from orders.domain.processes.settle import SETTLE, SettleData
from orders.domain.state.order import Order
from orders.domain.state.run import Run


def test_a_pair_of_kinds_that_is_not_decided_stops_the_import() -> None:
    decided = dict(PROCESSES.precedence)
    del decided["settle", "undo"]
    with pytest.raises(TypeError, match=r"undecided \{\('settle', 'undo'\)\}"):
        Processes((PLACE, SETTLE, UNDO), decided)


def test_a_pair_of_an_undeclared_kind_stops_the_import() -> None:
    with pytest.raises(TypeError, match="undeclared"):
        Processes((PLACE, SETTLE, UNDO), {**PROCESSES.precedence, ("return", "undo"): "pauses"})


def test_a_kind_has_one_class_of_data_and_a_run_of_no_kind_is_not_read() -> None:
    with pytest.raises(TypeError, match="PlaceData"):
        type("Another", (PlaceData,), {})
    run = {"id": "x", "data": {"kind": "x"}, "since": NOW}
    with pytest.raises(ValidationError, match="no kind of process 'x' is declared"):
        Run.model_validate(run)


def test_a_process_has_the_data_of_its_kind_and_steps_of_different_names() -> None:
    with pytest.raises(TypeError, match="the data of another kind"):
        Process("settle", PlaceData, ())
    step = Step("approve", ask=None, yes=None, waits="approval")
    with pytest.raises(TypeError, match="two steps of one name"):
        Process("place", PlaceData, (step, step))


def test_the_undo_is_the_declared_undos_in_reverse_behind_the_one_that_decides() -> None:
    assert [step.name for step in UNDO.steps] == [
        "stop",
        "outcomes",
        "credit",
        "refund",
        "void",
        "release",
        "give_back",
    ]


def test_a_process_that_is_excluded_does_not_begin(play: Play) -> None:
    play.receives(content(), market())
    assert PROCESSES.excluded("place", play.order.runs) and not PROCESSES.excluded("undo", play.order.runs)
    play.cancels()
    assert PROCESSES.excluded("undo", play.order.runs)


def capture_ids(order: Order) -> list[object]:
    return [run.data.capture_id for run in order.runs.values() if isinstance(run.data, SettleData)]


def test_a_capture_has_an_id_of_its_own(play: Play) -> None:
    """The id that payments states is invoiced and refunded, not the id of the operation that asked."""
    play.in_the_warehouse()
    play.captured(capture_id=uid("another"))
    assert play.last(Issue).capture_id == uid("another") and capture_ids(play.order) == [uid("another")]
    play.issued().cancels().shipments_cancelled().credited()
    assert play.last(Refund).capture_id == uid("another")


def test_a_capture_that_was_answered_while_paused_is_invoiced_by_its_own_id(play: Play) -> None:
    play.in_the_warehouse().cancels()
    play.captured(capture_id=uid("another"))
    assert not play.sent
    play.too_late()
    assert play.last(Issue).capture_id == uid("another")


def test_a_partial_refund_followed_by_a_cancel_undoes_the_rest_and_no_more(play: Play) -> None:
    """2 pieces for 10.00 and 5.00: after 4.00 of line 1 came back, 6.00 and 5.00 are left of it."""
    play.in_the_warehouse(content(line("1", 10_00, quantity=2), line("2", 5_00))).captured().issued()
    part = [MoneyLine(line_id="1", quantity=1, amount_minor=4_00)]
    capture, invoice = play.last(Issue).capture_id, play.last(Issue).operation_id
    play.when(play.refund(capture, part))
    play.when(play.credit_note(uid("part"), invoice, part))
    play.when(play.credit_note(uid("stated again"), invoice, part, note="part"))  # the same credit note counts once
    play.cancels().shipments_cancelled()
    assert [type(one) for one in play.sent] == [Credit]
    assert play.last(Credit).lines == ()
    play.credited()
    assert [type(one) for one in play.sent] == [Refund]
    assert [(one.line_id, one.quantity, one.amount_minor) for one in play.last(Refund).lines] == [
        ("1", 1, 6_00),
        ("2", 1, 5_00),
    ]
    play.refunded()
    assert play.status == "cancelled/refunded/unfulfilled" and play.money["refunded"] == play.money["captured"]


def test_what_came_back_in_full_is_not_undone_again(play: Play) -> None:
    play.in_the_warehouse().captured().issued()
    capture, invoice = play.last(Issue).capture_id, play.last(Issue).operation_id
    play.when(play.refund(capture, [MoneyLine(line_id="1", quantity=1, amount_minor=10_00)]))
    play.when(play.credit_note(uid("all"), invoice))
    play.cancels().shipments_cancelled()
    assert not [one for one in play.commands if isinstance(one, (Credit, Refund))] and not play.order.open_runs


def test_a_refund_that_another_refund_has_made_too_large_is_asked_for_again_as_the_rest(play: Play) -> None:
    """4.00 is on its way back at the gateway when the cancel asks for 10.00: payments refuses, then reports the 4.00."""
    play.paid_and_in_the_warehouse().cancels().shipments_cancelled().credited().failed(Refund).then(StepFailed)
    part = [MoneyLine(line_id="1", quantity=0, amount_minor=4_00)]
    play.when(play.refund(play.last(Capture).operation_id, part)).then(PaymentChanged, Retried, asks=[Refund])
    assert (play.event(Retried).process, play.event(Retried).step, play.event(Retried).operation_id) == (
        "undo",
        "refund",
        None,
    )
    assert [one.amount_minor for one in play.last(Refund).lines] == [6_00]
    play.refunded()
    assert play.status == "cancelled/refunded/unfulfilled" and not play.order.open_runs


def test_a_refused_refund_ends_when_another_refund_leaves_nothing(play: Play) -> None:
    play.paid_and_in_the_warehouse().cancels().shipments_cancelled().credited().failed(Refund)
    play.when(play.refund(play.last(Capture).operation_id, play.last(Capture).lines)).then(PaymentChanged)
    assert play.status == "cancelled/refunded/unfulfilled" and not play.order.open_runs


def test_each_authorization_is_voided_as_far_as_it_is_not_captured(play: Play) -> None:
    """10.00 is authorized and captured, then 3.00 of the same line are authorized beside it."""
    play.receives(
        content(), market(approval="manual", capture="on_placement")
    ).reserved().authorized().captured().issued()
    first = play.last(Authorize)
    more = MoneyLine(line_id="1", quantity=1, amount_minor=3_00)
    play.authorized(first.model_copy(update={"operation_id": uid("second"), "lines": (more,)}))
    facts = [*play.order.facts.authorizations.values()]
    assert [(one.spent, one.left_by_line) for one in facts] == [(True, {}), (False, {"1": 3_00})]
    play.cancels().credited().refunded()
    assert [type(one) for one in play.sent] == [Void] and play.last(Void).authorization_id == uid("second")
    play.voided().released()
    assert not play.order.open_runs and play.money == {
        "authorized": 13_00,
        "captured": 10_00,
        "voided": 3_00,
        "refunded": 10_00,
    }
