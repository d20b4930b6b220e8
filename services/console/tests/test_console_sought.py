"""What a tail shows of a record, and which records fit; over any bytes that a sender may have written."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.http.problems import Problem
from chassis.kafka.inspection import partitions_of
from console import tailing
from console.sought import Record, Sought
from console.tailing import Place, cursor_of, partitions, place_of
from contracts.examples import example
from contracts.registry import PARTITIONS, TOPICS

ORDER = UUID("9e258b3a-59d3-55e8-8613-8db92e8f2de8")
RECEIVED = example("orders.received") or b""


def record(**more: Any) -> Record:
    fields: dict[str, Any] = {
        "topic": "orders.events.v1", "partition": 1, "offset": 2, "timestamp": 0, "raw_key": str(ORDER).encode(),
        "value": RECEIVED, "raw_headers": [("ce_type", b"orders.received"), ("ce_storeid", b"st_1")],
    }  # fmt: skip
    return Record(**fields | more)


def test_a_body_is_shown_without_what_is_personal_and_not_found_by_it() -> None:
    buyer = json.loads(RECEIVED)["order"]["buyer"]
    one = record()
    assert buyer["name"] not in one.text and one.masked["order"]["buyer"]["name"] == "***"
    assert not Sought(None, text=buyer["name"]).fits(one)
    number = json.loads(RECEIVED)["number"]
    assert Sought(None, text=number.upper()).fits(one) and number in one.excerpt(number)


@pytest.mark.parametrize(
    ("sought", "fits"),
    [
        ({}, True), ({"order": ORDER}, True), ({"order": uuid4()}, False), ({"type": "orders.received"}, True),
        ({"type": "orders."}, True), ({"type": "orders.rec"}, False), ({"type": "payments."}, False),
        ({"topic": "orders.events.v1"}, True), ({"topic": "payments.events.v1"}, False), ({"text": "no such"}, False),
    ],
)  # fmt: skip
def test_filters_have_to_fit_all(sought: dict[str, Any], fits: bool) -> None:
    assert Sought(None, **sought).fits(record()) is fits


def test_a_person_sees_the_messages_of_their_stores_and_none_without_a_store() -> None:
    mine = Sought(frozenset({"st_1"}))
    assert mine.fits(record())
    assert not mine.fits(record(raw_headers=[("ce_type", b"orders.received"), ("ce_storeid", b"st_2")]))
    assert not mine.fits(record(raw_headers=[]))


@pytest.mark.parametrize("value", [None, b"", b"\xff", b"[]", b"{}", RECEIVED[: len(RECEIVED) // 2]])
def test_a_body_that_is_not_of_its_type_is_not_shown(value: bytes | None) -> None:
    assert record(value=value).masked is None and record(value=value).excerpt("x") == ""


raw = st.binary(max_size=40)


@given(
    st.builds(
        record, raw_key=st.none() | raw, value=st.none() | raw,
        raw_headers=st.lists(st.tuples(st.sampled_from(["ce_type", "ce_storeid", "other"]), st.none() | raw)),
    ),
    st.text(max_size=3),
)  # fmt: skip
def test_no_record_of_any_sender_is_an_error(one: Record, text: str) -> None:
    Sought(None, "", ORDER, "orders.", text).fits(one)
    assert isinstance(one.excerpt(text), str) and isinstance(one.store_id, str) and one.at.tzinfo is not None


# -- places -----------------------------------------------------------------------------------------------------------


def test_an_order_is_looked_for_where_services_publish_it_and_in_all_partitions_of_connectors() -> None:
    parts = partitions(Sought(None, order=ORDER))
    of_services = {part.partition for part in parts if not part.topic.startswith("marketplace.")}
    assert len(of_services) == 1 and len(parts) == len(TOPICS) - 2 + 2 * PARTITIONS


@given(st.sampled_from(["back", "on"]), st.data())
def test_a_page_goes_on_where_its_cursor_states(way: tailing.Way, data: st.DataObject) -> None:
    parts = partitions_of(data.draw(st.lists(st.sampled_from(sorted(TOPICS)), min_size=1, unique=True)))
    place = Place(way, {part: data.draw(st.integers(0, 2**63 - 1)) for part in parts[::5]})
    assert place_of(cursor_of(place), parts[::5]) == place


@pytest.mark.parametrize("cursor", ["", "nonsense", cursor_of(Place("on", {}))])
def test_a_cursor_of_another_page_is_refused(cursor: str) -> None:
    with pytest.raises(Problem, match="page before"):
        place_of(cursor, partitions(Sought(None, "orders.events.v1")))
