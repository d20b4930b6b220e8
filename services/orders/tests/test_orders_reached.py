"""Whether an order got to a word of `?wait=`: every word is reached on an order's way, and stays reached as it goes on."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, get_args
from uuid import UUID

import pytest
from orders_play import Play, content, market

from contracts.orders import FulfillmentStatus, PaymentStatus, Status
from orders.api.shown import shown
from orders.domain.shown.reached import COLUMNS, Word, has_ended, has_reached
from orders.store import COLUMNS as OF_THE_ROW

WORDS: tuple[Word, ...] = get_args(Word)


def reached(play: Play) -> set[str]:
    order = {name: OF_THE_ROW[name][1](play.order) for name in COLUMNS}
    found = {word for word in WORDS if has_reached(order, word)}
    body: Any = shown(UUID(int=1), play.order, 1)
    assert found == {word for word in WORDS if has_reached(body, word)}, "the row and the answer state the same"
    assert has_ended(order) == has_ended(body)
    return found


def test_an_order_reaches_one_word_after_another_and_loses_none() -> None:
    play = Play().receives(content(), market(approval="manual"))
    seen = [reached(play)]
    for step in ("reserved", "authorized", "approves", "captured", "issued", "started", "shipped", "fulfilled"):
        getattr(play, step)()
        seen.append(reached(play))
    for before, after in pairwise(seen):
        assert before - {"settled"} <= after
    assert [sorted(after - before) for before, after in pairwise([set[str](), *seen])] == [
        [], [], ["authorized", "placed", "settled"], ["approved"], ["paid"], [], ["in_progress"], [], ["completed", "fulfilled", "settled"],
    ]  # fmt: skip


def test_a_cancel_is_reached_and_then_settles() -> None:
    play = Play().paid_and_in_the_warehouse().cancels()
    assert not {"cancelled", "settled"} & reached(play)
    play.shipments_cancelled()
    assert "cancelled" in reached(play) and "settled" not in reached(play)
    play.credited().refunded()
    assert {"cancelled", "refunded", "settled", "placed"} <= reached(play)


def test_what_only_a_person_moves_is_settled_and_has_not_ended() -> None:
    play = Play().receives(content(), market()).reserved().authorized().started().captured().rejected()
    assert "settled" in reached(play) and play.order.open_runs
    waiting = Play().receives(content(lifecycle="awaiting_payment"), market())
    assert "settled" not in reached(waiting)


@pytest.mark.parametrize("word", WORDS)
def test_every_word_is_one_of_a_status_or_has_a_reason(word: str) -> None:
    own = {"settled", "completed"}  # of the order as a whole
    assert word in own or word in {*get_args(Status), *get_args(PaymentStatus), *get_args(FulfillmentStatus)}
