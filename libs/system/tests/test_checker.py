"""The checker reports each violation on a topic, made on purpose here, and nothing else."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from system.checker import violations
from system.topics import Reader

SERVICES = ("orders", "payments", "fulfillment", "invoicing")
KEY = "cdac17fa-748d-5c30-afb4-776fd89a573f"
NOTHING = {"authorized_minor": 0, "captured_minor": 0, "voided_minor": 0, "refunded_minor": 0}


def event(version: int, *, ce_id: str = "", key: str = KEY, subject: str | None = None, **totals: int) -> Any:
    body = {"order_id": key, "version": version, "operation_id": f"op{version}", "totals": NOTHING | totals}
    named = {"ce_source": "payments", "ce_id": ce_id or f"e{version}", "ce_type": "payments.captured",
             "ce_subject": subject or key}  # fmt: skip
    return SimpleNamespace(
        topic="payments.events.v1",
        key=key.encode(),
        value=json.dumps(body).encode(),
        headers=[(name, value.encode()) for name, value in named.items()],
    )


def seen(*records: Any) -> list[str]:
    reader = Reader(SERVICES)
    for record in records:
        reader.fold(record)
    return [one.partition(":")[0] + ":" + one.split(":")[1] for one in violations(reader.read.checks)]


def test_events_in_order_and_partly_repeated_violate_nothing() -> None:
    first, second = event(1, authorized_minor=5), event(2, authorized_minor=5, captured_minor=5)
    assert seen(first, second, first, second) == []


def test_a_gap_is_seen() -> None:
    assert seen(event(1), event(3)) == ["topics: the versions of an order's events are 1..n, in order"]


def test_a_wrong_order_is_seen() -> None:
    assert seen(event(2), event(1)) == ["topics: the versions of an order's events are 1..n, in order"]


def test_one_id_for_two_things_is_seen() -> None:
    assert seen(event(1), event(1, authorized_minor=7)) == ["topics: one (source, id) has one content"]


def test_a_key_that_is_not_the_subject_is_seen() -> None:
    assert seen(event(1, subject="another-order")) == ["topics: an event's key is its subject and its order"]


def test_money_that_shrinks_is_seen() -> None:
    grown, shrunk = event(1, authorized_minor=5), event(2, authorized_minor=4)
    assert seen(grown, shrunk) == ["topics: money only grows, with the version"]


def test_more_captured_than_authorized_is_seen() -> None:
    assert seen(event(1, authorized_minor=5, captured_minor=6)) == [
        "topics: refunded <= captured, captured + voided <= authorized"
    ]


def test_records_of_other_sources_violate_nothing() -> None:
    poison = event(9)
    poison.headers = [("ce_source", b"connector"), ("ce_id", b"\xff")]
    poison.value = b"no json"
    assert seen(poison, event(1)) == []


def test_a_repeated_answer_is_counted() -> None:
    reader = Reader(SERVICES)
    for record in (event(1), event(1)):
        reader.fold(record)
    assert reader.read.answered["payments"]["op1"] == 2
    assert reader.read.repeated == 1
