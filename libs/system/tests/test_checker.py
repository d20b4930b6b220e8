"""The checker reports each violation on a topic, made on purpose here, and nothing else."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from system.checker import _services_agree, _State, violations
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
    assert seen(event(1, subject="another-order")) == [
        "topics: a record's key is its subject and the key that its body names"
    ]


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


# -- what a suspended order must not do ------------------------------------------------------------------------------


def fulfillment(version: int, word: str, operation: str = "", shipped: int = 0, **more: Any) -> Any:
    totals = {"reserved": 0, "shipped": shipped}
    body = {"order_id": KEY, "version": version, "operation_id": operation or f"op{version}", "totals": totals, **more}
    named = {"ce_source": "fulfillment", "ce_id": f"e{version}", "ce_type": f"fulfillment.{word}", "ce_subject": KEY}
    return SimpleNamespace(
        topic="fulfillment.events.v1",
        key=KEY.encode(),
        value=json.dumps(body).encode(),
        headers=[(name, value.encode()) for name, value in named.items()],
    )


ONCE_HELD = [fulfillment(1, "suspended", "h1"), fulfillment(2, "suspended", "h2")]
SUSPENDED = ["topics: nothing of a suspended order ships until it is resumed"]


def parcel(version: int) -> Any:
    return fulfillment(version, "shipped", shipped=1, shipment_id="s1")


def test_a_shipment_of_a_suspended_order_is_seen() -> None:
    assert seen(*ONCE_HELD, parcel(3)) == SUSPENDED


def test_an_order_ships_after_its_last_suspension_was_resumed_and_not_before() -> None:
    first, second = (fulfillment(n + 3, "resumed", suspension_id=f"h{n + 1}") for n in range(2))
    assert seen(*ONCE_HELD, first, parcel(4)) == SUSPENDED
    assert seen(*ONCE_HELD, first, second, parcel(5)) == []


def test_a_cancel_and_a_release_end_the_suspensions_unless_something_has_shipped() -> None:
    for word in ("cancelled", "released"):
        assert seen(*ONCE_HELD, fulfillment(3, word), parcel(4)) == []
    shipped_before = [parcel(1), fulfillment(2, "suspended", "h1", shipped=1)]
    assert seen(*shipped_before, fulfillment(3, "released", shipped=1), parcel(4)) == SUSPENDED


# -- services compared with each other--------------------------------------------------------------------------------


class Row(dict[str, Any]):
    """As the driver's: read by name, and in order."""

    def __iter__(self) -> Any:
        return iter(self.values())

    def __getitem__(self, name: Any) -> Any:
        return list(self.values())[name] if isinstance(name, int) else super().__getitem__(name)


def disagreements(
    status: str, captures: dict[str, tuple[int, int]], invoices: dict[str, int], *, not_invoiced: bool = False
) -> list[str]:
    """captures: (captured, refunded) by id. Every invoice of a cancelled order is credited."""
    captured, refunded = (sum(one[n] for one in captures.values()) for n in (0, 1))
    money = {"authorized": captured, "captured": captured, "voided": 0, "refunded": refunded}
    kinds = ["invoice", "credit"] if status == "cancelled" else ["invoice"]
    state = _State()
    state.rows = {
        "orders": [Row(key=KEY, status=status, waiting="", in_flight=False, completed=status == "approved",
                       grand_minor=captured, **money, not_invoiced=not_invoiced, captures=json.dumps(captures), not_sold=0)],
        "payments": [Row(key=KEY, **money)],
        "fulfillment": [],
        "invoicing": [Row(document_id=name, order_id=KEY, number=name, total_minor=amount, kind=kind,
                          capture_id=name if kind == "invoice" else None)
                      for name, amount in invoices.items() for kind in kinds],
    }  # fmt: skip
    return [one.name for one in _services_agree(state, set()) if one.violated]


EACH_CAPTURE = "each capture is invoiced exactly, or refunded in full without an invoice"
CREDITED = "what went back of invoiced captures is credited"


def test_a_capture_without_its_invoice_is_seen() -> None:
    both = {"c1": (5, 0), "c2": (7, 0)}
    assert disagreements("approved", both, {"c1": 5, "c2": 7}) == []
    assert disagreements("approved", both, {"c1": 5}) == [EACH_CAPTURE]
    assert disagreements("approved", both, {"c1": 5, "c2": 8}) == [EACH_CAPTURE]


def test_a_capture_that_was_in_flight_when_its_order_was_cancelled_is_refunded_without_an_invoice() -> None:
    both = {"c1": (5, 5), "c2": (7, 7)}
    assert disagreements("cancelled", both, {"c1": 5}) == []
    assert disagreements("cancelled", both, {"c1": 4}) == [EACH_CAPTURE, CREDITED]
    half = disagreements("cancelled", {"c1": (5, 5), "c2": (7, 0)}, {"c1": 5})
    assert half[0] == EACH_CAPTURE and half[1].startswith("a cancelled order")


def test_a_refund_without_its_credit_note_is_seen() -> None:
    assert disagreements("approved", {"c1": (5, 2)}, {"c1": 5}) == [CREDITED]


def test_an_order_of_a_deemed_supplier_has_no_invoice() -> None:
    assert disagreements("approved", {"c1": (5, 0)}, {}, not_invoiced=True) == []
    assert disagreements("approved", {"c1": (5, 0)}, {"c1": 5}, not_invoiced=True) == [EACH_CAPTURE]
