"""What the engine promises to every declared kind: precedence, the undo beside its step, the event that ended a step."""

from __future__ import annotations

from itertools import product

import pytest
from orders_play import Play, content, market, uid

from contracts.invoicing import Issue
from contracts.payments import Refund
from orders.domain.order import Order
from orders.domain.place import PLACE
from orders.domain.process import Process, Processes, Step
from orders.domain.processes import PROCESSES, UNDO
from orders.domain.run import PlaceData, SettleData
from orders.domain.settle import SETTLE


def test_a_pair_of_kinds_that_is_not_decided_stops_the_import() -> None:
    decided = dict(PROCESSES.precedence)
    del decided["settle", "undo"]
    with pytest.raises(TypeError, match=r"undecided \{\('settle', 'undo'\)\}"):
        Processes((PLACE, SETTLE, UNDO), decided)


def test_a_pair_of_an_undeclared_kind_stops_the_import() -> None:
    with pytest.raises(TypeError, match="undeclared"):
        Processes((PLACE, SETTLE, UNDO), {**PROCESSES.precedence, ("edit", "undo"): "pauses"})


def test_a_kind_without_its_data_in_a_run_stops_the_import() -> None:
    with pytest.raises(TypeError, match="exactly the declared kinds"):
        Processes((PLACE, SETTLE), dict.fromkeys(product(("place", "settle"), repeat=2), "beside"))


def test_a_process_has_the_data_of_its_kind_and_steps_of_different_names() -> None:
    with pytest.raises(TypeError, match="the data of another kind"):
        Process("settle", PlaceData, ())
    step = Step("approve", ask=None, yes=None, waits="approval")
    with pytest.raises(TypeError, match="two steps of one name"):
        Process("place", PlaceData, (step, step))


def test_the_undo_is_the_declared_undos_in_reverse_behind_the_one_that_decides() -> None:
    assert [step.name for step in UNDO.steps] == ["stop", "outcomes", "credit", "refund", "void", "release"]


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
