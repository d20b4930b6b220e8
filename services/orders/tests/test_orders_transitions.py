"""The table of transitions against an expectation that is written apart from it."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest

from contracts.orders import (
    Approved,
    Cancelled,
    CancelRefused,
    Completed,
    EditDiscarded,
    Edited,
    EditOpened,
    FulfillmentChanged,
    PaymentChanged,
    Placed,
    Received,
    Reinstated,
    Status,
)
from orders.api.listing import Reached
from orders.domain.state import transitions

STATUSES = ("unreceived", "pending", "editing", "placing", "placed", "approved", "cancelled")
FULFILLMENT = ("unfulfilled", "in_progress", "fulfilled", "not_required")
EVENTS = (
    Received, EditOpened, EditDiscarded, Edited, Placed, Approved, Cancelled, Reinstated, FulfillmentChanged, PaymentChanged, Completed, CancelRefused,
)  # fmt: skip

# One line per event and status before it: the statuses after it, besides the same.
STATUS_EXPECTED = """
orders.received    unreceived  pending placing approved cancelled
orders.edited      pending     placing approved
orders.placed      placing     placed
orders.approved    placed      approved
orders.cancelled   pending     cancelled
orders.cancelled   placing     cancelled
orders.cancelled   placed      cancelled
orders.cancelled   approved    cancelled
orders.cancelled   editing     cancelled
orders.edit_opened placed      editing
orders.edit_opened approved    editing
orders.edited      editing     placed approved
orders.edit_discarded editing  placed approved
orders.reinstated  cancelled   pending placing approved
"""
FULFILLMENT_EXPECTED = """
orders.received             unfulfilled   not_required fulfilled
orders.edited               unfulfilled   not_required fulfilled
orders.edited               not_required  unfulfilled fulfilled
orders.edited               in_progress   not_required
orders.reinstated           unfulfilled   not_required fulfilled
orders.reinstated           in_progress   unfulfilled not_required fulfilled
orders.reinstated           fulfilled     unfulfilled not_required
orders.reinstated           not_required  unfulfilled fulfilled
orders.fulfillment_changed  unfulfilled   in_progress fulfilled
orders.fulfillment_changed  in_progress   fulfilled unfulfilled
"""


def expected(text: str) -> dict[tuple[str, str], set[str]]:
    rows = [line.split() for line in text.strip().splitlines()]
    return {(event, before): set(after) for event, before, *after in rows}


def allows(event: str, status: tuple[str, str], fulfillment: tuple[str, str]) -> bool:
    try:
        transitions.check(event, status, fulfillment)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.TYPE)
def test_an_event_changes_the_statuses_as_expected_and_in_no_other_way(event: type[Received]) -> None:
    status, fulfillment = expected(STATUS_EXPECTED), expected(FULFILLMENT_EXPECTED)
    for before, after in product(STATUSES, STATUSES):
        may = before == after or after in status.get((event.TYPE, before), set())
        assert allows(event.TYPE, (before, after), ("unfulfilled", "unfulfilled")) == may, f"{before} -> {after}"
    for before, after in product(FULFILLMENT, FULFILLMENT):
        may = before == after or after in fulfillment.get((event.TYPE, before), set())
        assert allows(event.TYPE, ("approved", "approved"), (before, after)) == may, f"{before} -> {after}"


def test_a_word_of_a_newer_release_may_become_any_other() -> None:
    assert allows("orders.placed", ("returned", "placed"), ("on_its_way", "fulfilled"))


def test_the_statuses_of_lists_are_those_that_an_order_can_have() -> None:
    reached = {word for transition in transitions.ORDER for word in transition.after}
    assert {*get_args(Reached)} == reached == {*get_args(Status)} - {"draft"}
