"""A newer release adds words to open enums while this one still runs: they are read, stored, carried on and shown."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from orders_play import NOW, ORDER, STORE, Play, content, market
from pydantic import ValidationError

from chassis.batch.clock import Clock
from chassis.batch.database import Database
from chassis.batch.inbound import Inbound
from chassis.kafka.attempts import Attempts
from chassis.kafka.decoding import Decoder
from chassis.telemetry import Metrics
from contracts import payments
from contracts.base import Event, UnknownWord, json_bytes, to_json
from contracts.envelope import headers, read
from contracts.orders import Cancelled, StepFailed
from contracts.registry import topic_of
from orders.api.shown import shown
from orders.domain.state.folding import evolve
from orders.domain.state.order import Order
from orders.handlers import SERVICE
from orders.settings import Settings


def written_by_a_newer_release(event: Event, **words: str) -> tuple[str, bytes, bytes, Any]:
    """The record of an event with words that this release does not have."""
    body = json_bytes({**event.__dict__, **words})
    named = headers(ce_id="1", source=event.owner(), type=event.TYPE, time=datetime.now(UTC), subject=str(ORDER),
                    store_id=STORE, correlation_id="c")  # fmt: skip
    return topic_of(type(event)), str(ORDER).encode(), body, named


def cancelled(**more: Any) -> Cancelled:
    return Cancelled(
        order_id=ORDER, store_id=STORE, version=9, status="cancelled", payment_status="paid",
        fulfillment_status="unfulfilled", cause="customer", cancelled_at=NOW, **more,
    )  # fmt: skip


def test_a_status_of_a_newer_release_is_folded_stored_carried_and_shown_as_unknown(play: Play) -> None:
    play.in_the_warehouse()
    record = written_by_a_newer_release(cancelled(), status="returned", fulfillment_status="on_its_way", cause="fraud")
    event = read(*record).body
    assert isinstance(event, Cancelled)
    after = evolve(play.order, event)
    stored = Order.model_validate_json(to_json(after))
    assert stored == after and (stored.status, stored.fulfillment_status) == ("returned", "on_its_way")
    seen = shown(ORDER, stored, 7)
    words = ("status", "fulfillment_status", "cancel_cause", "payment_status")
    assert [seen[word] for word in words] == ["unknown", "unknown", "unknown", "paid"]
    play.order = play._replayed = stored
    play.failed(payments.Capture)  # a decision of this release: the word that it does not have stays
    assert play.order.status == "returned" and play.stated and all(e.status == "returned" for e in play.stated)  # type: ignore[attr-defined]


async def test_a_code_of_a_newer_release_reaches_its_decision(play: Play) -> None:
    play.receives(content(), market(capture="on_placement")).reserved().authorized()
    asked = play.last(payments.Capture)
    failed = payments.Failed(
        order_id=ORDER, store_id=STORE, operation_id=asked.operation_id, version=9, command="capture",
        code="gateway_refused",
    )  # fmt: skip
    topic, key, value, named = written_by_a_newer_release(failed, code="card_expired")
    settings = Settings(database_url="postgresql://nobody@127.0.0.1:1/none")
    database, metrics = Database(settings, "orders-tests"), Metrics("orders")

    async def read_clock() -> Clock:
        now = time.monotonic()
        database.clock.read(time.time(), now, now, time.time())
        return database.clock

    database.read_clock = read_clock  # type: ignore[method-assign]
    decoder = Decoder(SERVICE, settings, database, metrics, Attempts())
    raw: Any = SimpleNamespace(topic=topic, partition=0, offset=1, timestamp=0, key=key, value=value, headers=named)
    (entry,) = (await decoder.decode([raw])).entries
    await database.close()
    assert isinstance(entry, Inbound)
    play.when(entry.body)
    assert play.event(StepFailed).code == "card_expired"


def test_this_release_makes_no_word_that_it_does_not_have() -> None:
    with pytest.raises(ValidationError):
        cancelled(operation_id=None).model_copy(update={"status": "returned"})
    body: Any = cancelled().__dict__
    with pytest.raises(ValidationError):
        Cancelled(**{**body, "cause": "fraud"})
    for wrong in ("", "x" * 65, "a\0b"):
        with pytest.raises(ValidationError):
            Cancelled.model_validate_json(json_bytes({**body, "cause": wrong}))
    longest = Cancelled.model_validate_json(json_bytes({**body, "cause": "x" * 64}))
    assert type(longest.cause) is UnknownWord and to_json(longest) == longest.model_dump_json()
