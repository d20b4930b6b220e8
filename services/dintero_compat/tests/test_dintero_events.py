"""Events of an order and their state; filters and places of lists."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from dintero_compat.domain import happening, searching
from dintero_compat.domain.searching import Place

AT = datetime(2026, 11, 21, 9, tzinfo=UTC)


def step(word: str, minute: int, **more: Any) -> dict[str, Any]:
    return {
        "type": word, "message_id": str(uuid4()), "at": (AT + timedelta(minutes=minute)).isoformat(), "version": minute,
        "caused_by": {"actor": "person:ann"},
    } | more  # fmt: skip


def stated(service: str, state: str, minute: int = 0) -> dict[str, Any]:
    at = (AT + timedelta(minutes=minute)).isoformat()
    return {"id": str(uuid4()), "created_at": at, "service": service, "state": state, "service_status": "x"}


REQUEST = {"id": str(uuid4()), "created_at": (AT + timedelta(minutes=2)).isoformat(), "request": {"path": "/x"}}


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([], "pending"),
        ([stated("courier", "success")], "success"),
        ([stated("courier", "pending"), stated("courier", "success")], "success"),
        ([stated("courier", "success"), stated("store", "pending")], "pending"),
        ([stated("courier", "failure"), stated("courier", "success")], "failure"),
        ([stated("courier", "error")], "failure"),
    ],
)
def test_the_state_of_all_events(events: list[dict[str, Any]], state: str) -> None:
    assert happening.state(events) == state


def test_events_are_those_of_orders_and_those_stored_in_the_order_of_time() -> None:
    steps = [
        step("orders.received", 1),
        step("fulfillment.reserve", 1),
        step("orders.cancel_refused", 3, reason="shipped"),
    ]
    stored = [REQUEST, stated("courier", "success", 4)]
    found = happening.together(steps, stored, "true")
    words = [one.get("service_status", "request") for one in found["events"]]
    assert (words, found["state"]) == (["received", "request", "cancel_refused", "x"], "failure")
    assert found["events"][2]["description"] == "shipped"
    assert happening.together(steps, stored, "api-event")["events"] == [REQUEST]
    assert REQUEST not in happening.together(steps, stored, "service-event")["events"]


NOTHING: dict[str, Any] = dict.fromkeys(("status", "payment_status", "currency", "since", "until", "after"))


def test_filters_are_those_of_orders() -> None:
    def query(**asked: Any) -> list[tuple[str, Any]]:
        return searching.query("T12345678", **NOTHING | asked)[3:]

    assert query() == [("archived", "any")]
    assert query(status="cancelled") == [("status", "cancelled"), ("archived", "any")]
    assert query(status="closed")[0] == ("archived", "true") and ("status", "approved") in query(status="open")
    assert ("payment_status", "authorized") in query(payment_status="pending")
    assert ("payment_status", "free") in query(payment_status="paid")
    assert query(since=AT)[1:] == [("ordered_from", AT.isoformat())]
    inclusive = (AT + timedelta(microseconds=1)).isoformat()
    assert query(until=AT)[1:] == [("ordered_to", inclusive)]
    later = Place(AT + timedelta(hours=1), UUID(int=1))
    assert query(until=AT, after=later)[1:] == [("ordered_to", inclusive)]


def test_a_page_begins_after_the_last_order_of_the_one_before_also_if_several_have_its_date() -> None:
    items = [{"ordered_at": AT.isoformat(), "order_id": str(UUID(int=n))} for n in (3, 2, 1)]
    assert [place.id.int for place in searching.following(items, Place(AT, UUID(int=2)))] == [1]
    assert len(searching.following(items, None)) == 3
