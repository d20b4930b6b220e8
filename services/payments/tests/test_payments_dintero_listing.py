"""Dintero's transactions as a list of captures and refunds: one row per event, its names, and what the list leaves out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from payments_gateways import STORE, Paying, shaped

from gatewayservers import dintero
from payments.domain.listing import Listed, Listing
from payments.domain.pairing import Movement
from payments.domain.reconciling import differences
from payments.gateways import http
from payments.gateways.dintero.answers import transaction_of
from payments.gateways.dintero.listing import page_of, query
from payments.gateways.port import Unclear

OURS, AUTHORIZED = str(uuid4()), str(uuid4())
DAY = Listing(STORE, datetime(2026, 11, 28, tzinfo=UTC), datetime(2026, 11, 29, tzinfo=UTC))


def event(kind: str, amount: int, number: int, hour: int = 12, day: int = 28, **more: Any) -> dict[str, Any]:
    at = f"2026-11-{day}T{hour:02}:00:00Z"
    return {"id": str(number), "event": kind, "success": True, "amount": amount, "created_at": at} | more


def transaction(*events: dict[str, Any], name: str = "T12345678.a") -> Any:
    return transaction_of(
        {"id": name, "status": "CAPTURED", "amount": 10_00, "currency": "EUR", "merchant_reference": AUTHORIZED, "events": events}
    )  # fmt: skip


def rows(*events: dict[str, Any], kind: str = "capture") -> list[Listed]:
    return [*page_of([transaction(*events)], DAY._replace(cursor=f"{kind} ")).rows]


def test_each_event_of_the_period_is_a_row_under_its_names() -> None:
    events = (
        event("AUTHORIZE", 10_00, 1, 9),
        event("CAPTURE", 3_00, 2, 10, event_reference=OURS),
        event("CAPTURE", 4_00, 3, 11),
        event("REFUND", 1_00, 4, 12, event_reference=OURS),
    )
    assert [(one.reference, one.names, one.amount_minor, one.at.hour) for one in rows(*events)] == [
        ("T12345678.a/2", (OURS, "T12345678.a", AUTHORIZED), 3_00, 10),
        ("T12345678.a/3", ("T12345678.a", AUTHORIZED), 4_00, 11),
    ]
    [refund] = rows(*events, kind="refund")
    assert (refund.kind, refund.reference, refund.currency, refund.amount_minor) == (
        "refund",
        "T12345678.a/4",
        "EUR",
        1_00,
    )


def test_what_was_accepted_first_has_the_name_of_its_request() -> None:
    started = event("INITIATE_CAPTURE", 5_00, 2, request_id="r1", event_reference=OURS)
    [row] = rows(started, event("CAPTURE", 5_00, 3, correlation_request_id="r1"))
    assert (row.names[0], row.amount_minor) == (OURS, 5_00)


def test_what_failed_and_what_is_of_another_day_is_left_out() -> None:
    others = (
        event("CAPTURE", 1_00, 2, success=False),
        event("INITIATE_CAPTURE", 2_00, 3),
        event("CAPTURE", 3_00, 4, 23, day=27),
        event("CAPTURE", 4_00, 5, 0, day=29),
    )
    assert rows(*others) == []
    assert [one.amount_minor for one in rows(*others, event("CAPTURE", 5_00, 6, 0))] == [5_00]


def test_the_list_is_of_captures_and_then_of_refunds_and_has_no_upper_limit() -> None:
    """A transaction of which something is captured after the period may have an earlier capture within it."""
    first = query(DAY, 25)
    assert first == {"captured_at.gte": "2026-11-28T00:00:00Z", "limit": "25"}
    asked = DAY._replace(cursor=page_of([transaction()], DAY).cursor)
    assert query(asked, 5) == {
        "captured_at.gte": first["captured_at.gte"],
        "limit": "5",
        "starting_after": "T12345678.a",
    }
    asked = asked._replace(cursor=page_of([], asked).cursor)
    assert query(asked, 25) == {"refunded_at.gte": "2026-11-28T00:00:00Z", "limit": "25"}
    assert page_of([], asked).cursor is None


@pytest.mark.parametrize(
    "events",
    [
        [event("CAPTURE", 1_00, 2) | {"created_at": None}],
        [event("CAPTURE", 1_00, 2) | {"amount": None}],
        [event("CAPTURE", 1_00, 2) | {"id": None}, event("CAPTURE", 1_00, 3) | {"id": None}],
    ],
)
def test_a_list_that_does_not_read_is_asked_for_again_rather_than_shown_with_gaps(events: list[Any]) -> None:
    with pytest.raises(Unclear):
        rows(*events)


def test_a_list_that_does_not_go_on_is_not_read_for_ever() -> None:
    asked = DAY._replace(cursor="capture T12345678.a")
    with pytest.raises(Unclear, match="ends with it"):
        page_of([transaction()], asked)


async def test_an_answer_that_is_too_long_is_asked_for_in_smaller_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    async with shaped("dintero") as shape:
        for _ in range(7):
            order = Paying(shape)
            await order.authorize(10_00)
            await order.capture(10_00)
        one = len(str(shape.server.books.shown(next(iter(shape.server.books.transactions.values())))))
        monkeypatch.setattr(http, "ANSWER_BYTES_MAX", 3 * one)
        now = datetime.now(UTC)
        asked = Listing(STORE, now.replace(hour=0, minute=0), now.replace(year=now.year + 1))
        page = await shape.gateway.listed(asked)
        assert len(page.rows) == 1 and page.cursor is not None
        found = [*page.rows]
        while page.cursor is not None:
            page = await shape.gateway.listed(asked._replace(cursor=page.cursor))
            found += page.rows
        assert len({row.reference for row in found}) == len(found) == 7


async def test_what_dintero_made_alone_or_twice_is_found() -> None:
    """A capture made in its back office has no name of ours; one that was made twice has the same name twice."""
    async with shaped("dintero") as shape:
        order = Paying(shape)
        await order.authorize(10_00)
        await order.capture(2_00)
        books: dintero.Books = shape.server.books
        [payment] = books.transactions.values()
        [capture_id] = order.ledger.captures
        books.operate(payment, "capture", {"amount": 2_00, "capture_reference": str(capture_id)}, None)
        books.operate(payment, "capture", {"amount": 3_00}, None)
        books.operate(payment, "refund", {"amount": 1_00}, None)
        now = datetime.now(UTC)
        asked, listed = Listing(STORE, now.replace(hour=0, minute=0), now.replace(year=now.year + 1)), []
        while True:
            page = await shape.gateway.listed(asked)
            listed += page.rows
            if page.cursor is None:
                break
            asked = asked._replace(cursor=page.cursor)
        ours = order.ledger.operations[capture_id]
        movement = Movement(
            capture_id, order.order_id, "capture", "EUR", 2_00, (str(capture_id), ours.gateway_reference or "")
        )
        orders = {payment.id: order.order_id}
        found = differences(listed, [movement], orders)
        assert [(one.kind, one.proposal, one.theirs and one.theirs.amount_minor) for one in found] == [
            ("made_twice", "refund", 2_00), ("not_booked", "book", 3_00), ("not_booked", "book", 1_00)]  # fmt: skip
