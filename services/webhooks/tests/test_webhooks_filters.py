"""Which events an endpoint receives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from webhooks.domain.filters import Condition, Filter


@dataclass
class Event:
    type: str = "orders.placed"
    facts: dict[str, str] | None = None
    data: Any = field(default_factory=dict)


BOL = {"channel": "bol", "account": "a1", "market": "nl"}


def on(path: str, *values: Any) -> Filter:
    return Filter([], [Condition.of(path, values)])


@pytest.mark.parametrize(
    ("types", "wanted"),
    [([], True), (["orders.placed"], True), (["orders.*"], True), (["payments.*", "orders.placed"], True),
     (["payments.*"], False), (["orders.placed_again"], False), (["order.*"], False)],
)  # fmt: skip
def test_types_are_names_or_all_of_a_service(types: list[str], wanted: bool) -> None:
    assert Filter(types).wants(Event()) == wanted


def test_a_type_of_a_newer_release_belongs_to_its_service() -> None:
    assert Filter(["orders.*"]).wants(Event("orders.teleported"))


def test_a_fact_of_the_order_decides_once_it_is_known() -> None:
    assert on("channel", "bol", "amazon").wants(Event(facts=BOL))
    assert not on("market", "de").wants(Event(facts=BOL))
    assert on("market", "de").wants(Event(facts=None))


@pytest.mark.parametrize(
    ("data", "wanted"),
    [({"refund": {"reason": "damaged"}}, True), ({"refund": {"reason": "lost"}}, False), ({"refund": {}}, True), ({}, True),
     ({"refund": None}, True), ({"refund": {"reason": None}}, False),
     ({"refund": [{"reason": "lost"}, {"reason": "damaged"}]}, True), ({"refund": [{"reason": "lost"}]}, False)],
)  # fmt: skip
def test_a_condition_on_the_data_lets_events_pass_that_lack_the_field(data: Any, wanted: bool) -> None:
    assert on("data.refund.reason", "damaged").wants(Event(data=data)) == wanted


def test_all_conditions_have_to_be_fulfilled() -> None:
    both = Filter([], [Condition.of("channel", ["bol"]), Condition.of("data.currency", ["EUR"])])
    assert both.wants(Event(facts=BOL, data={"currency": "EUR"}))
    assert not both.wants(Event(facts=BOL, data={"currency": "GBP"}))
    assert not both.wants(Event(facts={**BOL, "channel": "till"}, data={"currency": "EUR"}))


def test_true_is_not_one() -> None:
    assert not on("data.lines", 1).wants(Event(data={"lines": True}))
