"""The checker reports each violation on a topic, made on purpose here, and nothing else."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from contracts.snapshot import OrderContent
from system.checker import _services_agree, _State, violations
from system.lines import by_line, held_orders_stand, money_agrees, pieces_agree, to_deliver
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


def gift_card(version: int) -> Any:
    """An event of payments that is not about an order."""
    record, key = event(version), "0f3f2a53-31f5-5f0a-8d55-6a3f5b1f6f10"
    body = {"gift_card_id": key, "version": version, "operation_id": f"card{version}"}
    named = {
        "ce_source": "payments",
        "ce_id": f"card{version}",
        "ce_type": "payments.gift_card_activated",
        "ce_subject": key,
    }
    headers = [(name, value.encode()) for name, value in named.items()]
    return SimpleNamespace(topic=record.topic, key=key.encode(), value=json.dumps(body).encode(), headers=headers)


def test_the_events_of_a_gift_card_have_versions_and_no_totals_of_an_order() -> None:
    assert seen(gift_card(1), event(1), gift_card(2)) == []
    assert seen(gift_card(1), gift_card(3)) == ["topics: the versions of an order's events are 1..n, in order"]


def test_the_events_of_a_session_have_versions_of_the_order_and_no_totals() -> None:
    opened = event(2)
    opened.value = json.dumps({"order_id": KEY, "version": 2, "operation_id": "op2"}).encode()
    first, shrunk = event(1, authorized_minor=5), event(3)
    assert seen(first, opened) == []
    assert seen(first, opened, shrunk) == ["topics: money only grows, with the version"]


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


def test_a_suspension_that_comes_after_the_end_of_its_attempt_is_none() -> None:
    late = [fulfillment(1, "cancelled"), fulfillment(2, "suspended", "h1"), fulfillment(3, "reserved", lines=[{}])]
    assert seen(*late, parcel(4)) == []
    assert seen(*late, fulfillment(4, "suspended", "h2"), parcel(5)) == SUSPENDED


# -- services compared with each other--------------------------------------------------------------------------------


class Row(dict[str, Any]):
    """As the driver's: read by name, and in order."""

    def __iter__(self) -> Any:
        return iter(self.values())

    def __getitem__(self, name: Any) -> Any:
        return list(self.values())[name] if isinstance(name, int) else super().__getitem__(name)


def disagreements(
    status: str, captures: dict[str, tuple[int, ...]], invoices: dict[str, int], *, not_invoiced: bool = False
) -> list[str]:
    """captures: by id (captured, refunded), and what it pays if lines were reversed. Every invoice of a cancelled order is
    credited."""
    captures = {name: one if len(one) == 3 else (*one, one[0]) for name, one in captures.items()}
    captured, refunded = (sum(one[n] for one in captures.values()) for n in (2, 1))
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


# -- line by line -----------------------------------------------------------------------------------------------------

PAID = {"a": 500, "shipping": 300}


def money_of_lines(
    kept: dict[str, int], billed: dict[str, int], *, not_invoiced: bool = False, unbilled: dict[str, int] | None = None
) -> list[str]:
    rows = [[Row(key=KEY, line=name, minor=minor) for name, minor in each.items()] for each in (kept, billed)]
    order = Row(key=KEY, not_invoiced=not_invoiced, unbilled=json.dumps(unbilled) if unbilled else None)
    return money_agrees([order], by_line(rows[0]), by_line(rows[1])).examples


def test_a_line_whose_documents_differ_from_its_money_is_seen_though_the_sums_agree() -> None:
    assert money_of_lines(PAID, PAID) == []
    assert money_of_lines(PAID, {"a": 499, "shipping": 301}) == [
        f"{KEY} line a paid 500 documents 499",
        f"{KEY} line shipping paid 300 documents 301",
    ]
    assert money_of_lines(PAID, {"a": 500}) == [f"{KEY} line shipping paid 300 documents 0"]
    assert money_of_lines({"a": 500}, PAID) == [f"{KEY} line shipping paid 0 documents 300"]


def test_a_capture_that_went_back_before_its_invoice_needs_no_document() -> None:
    assert money_of_lines({"a": 0, "shipping": 0}, {}) == []
    assert money_of_lines({"a": 1, "shipping": 0}, {}) == [f"{KEY} line a paid 1 documents 0"]


def test_what_a_person_has_left_on_no_invoice_is_no_document_missing() -> None:
    assert money_of_lines(PAID, {"a": 500}, unbilled={"shipping": 300}) == []
    assert money_of_lines(PAID, PAID, unbilled={"shipping": 300}) == [f"{KEY} line shipping paid 300 documents 300"]


def test_where_the_marketplace_invoices_the_buyer_no_line_has_a_document() -> None:
    assert money_of_lines(PAID, {}, not_invoiced=True) == []
    assert len(money_of_lines(PAID, PAID, not_invoiced=True)) == 2


def content(*lines: dict[str, Any]) -> str:
    common = {"external_order_id": "N1", "placed_at": "2026-11-20T10:00:00Z", "currency": "EUR", "totals": {}}
    named = [{"external_line_id": str(n), "line_total_minor": 5, **line} for n, line in enumerate(lines, 1)]
    return json.dumps({**common, "lines": named})


SOLD = content(
    {"quantity": {"ordered": 5, "cancelled": 1}},
    {"quantity": {"ordered": 2}, "cancellation": {"executed": True}},
    {"quantity": {"ordered": 1}, "requires_shipping": False},
    {"quantity": {"ordered": 1}, "kind": "service"},
    {"quantity": {"ordered": 1}, "fulfilled_by": "marketplace"},
)


def pieces_of_lines(
    pieces: dict[str, tuple[int, int]], *, status: str = "approved", completed: bool = False, sold: str | None = SOLD
) -> list[str]:
    """pieces: line -> (reserved, shipped)."""
    rows = [Row(key=KEY, line=line, reserved=one[0], shipped=one[1]) for line, one in pieces.items()]
    order = Row(key=KEY, status=status, completed=completed, content=sold)
    return pieces_agree([order], by_line(rows)).examples


def test_the_merchants_goods_are_what_is_delivered() -> None:
    assert to_deliver(OrderContent.model_validate_json(SOLD)) == {"1": 4, "2": 0}


def test_pieces_that_are_not_those_to_be_delivered_are_seen() -> None:
    assert pieces_of_lines({"1": (4, 0)}) == pieces_of_lines({"1": (1, 3)}) == pieces_of_lines({"1": (0, 4)}) == []
    assert pieces_of_lines({"1": (5, 0)}) == [f"{KEY} line 1 reserved 5 and not 4"]
    assert pieces_of_lines({"1": (3, 0)}) == [f"{KEY} line 1 reserved 3 and not 4"]
    assert pieces_of_lines({}) == [f"{KEY} line 1 reserved 0 and not 4"]
    assert pieces_of_lines({"1": (4, 0), "2": (2, 0)}) == [f"{KEY} line 2 reserved 2 and not 0"]
    assert pieces_of_lines({"1": (4, 0), "3": (1, 0)}) == [f"{KEY} line 3 reserved 1 and not 0"]
    assert pieces_of_lines({"1": (0, 5)}) == [f"{KEY} line 1 reserved 0 and not -1"]


def test_a_piece_that_stays_reserved_at_the_end_of_its_order_is_seen() -> None:
    for end in ({"status": "cancelled", "sold": None}, {"completed": True, "sold": None}):
        assert pieces_of_lines({"1": (0, 4)}, **end) == []
        assert pieces_of_lines({"1": (1, 3)}, **end) == [f"{KEY} line 1 reserved 1 and not 0"]


def test_an_order_that_has_not_begun_here_is_not_compared() -> None:
    assert pieces_of_lines({}, status="pending", sold=None) == []


# -- what a held order must not do ------------------------------------------------------------------------------------


def standing(*journaled: tuple[str, str]) -> list[str]:
    """journaled: type of a message, with its hold or its operation."""
    rows = [Row(key=KEY, type=name, operation_id=named, hold_id=named) for name, named in journaled]
    return held_orders_stand(rows).examples


HOLD, RELEASE = ("orders.held", "h1"), ("orders.released", "h1")


def test_a_command_that_moves_a_held_order_is_seen() -> None:
    for command in ("fulfillment.start", "payments.capture", "payments.authorize", "invoicing.issue"):
        assert standing((command, "c1"), HOLD, RELEASE, (command, "c2")) == []
        assert standing(HOLD, (command, "c1")) == [f"{KEY} was asked {command} c1 while held"]


def test_an_order_is_held_until_the_last_hold_is_released() -> None:
    capture, second = ("payments.capture", "c1"), ("orders.held", "h2")
    assert len(standing(HOLD, second, RELEASE, capture)) == 1
    assert standing(HOLD, second, RELEASE, ("orders.released", "h2"), capture) == []


def test_what_was_asked_before_a_hold_may_be_asked_again() -> None:
    capture = ("payments.capture", "c1")
    assert standing(capture, HOLD, capture) == []
    assert len(standing(capture, HOLD, ("payments.capture", "c2"))) == 1
