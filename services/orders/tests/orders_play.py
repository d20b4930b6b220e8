"""A play: an order, the messages that come to it, and what it states and asks. And the words of its stories.

    play.receives(content(), market(capture="on_placement"))
    play.then(Received, asks=[Reserve])
    play.reserved()

Answers answer the last command of their kind that the order sent. After every message the state is written and read again,
and folded once more from the journal: both must be the state of the decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from orders_answers import Answers
from orders_people import People
from orders_words import NOW, ORDER, STORE, content, costs, line, market, uid

from contracts.snapshot import OrderContent

__all__ = ["NOW", "ORDER", "STORE", "Play", "content", "costs", "line", "market", "uid"]


class Play(People, Answers):
    def in_the_warehouse(self, told: OrderContent | None = None, **terms: Any) -> Self:
        """Reserved, authorized, approved by rule, started."""
        self.receives(told or content(), market(**terms)).reserved().authorized()
        return self.started()

    def in_the_warehouse_at(self, told: OrderContent, at: Mapping[str, str], **terms: Any) -> Self:
        """`at`: line id -> location."""
        self.receives(told, market(**terms)).reserved().authorized()
        return self.started(at)

    def paid_and_in_the_warehouse(self) -> Self:
        return self.in_the_warehouse().captured().issued()
