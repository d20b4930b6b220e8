"""Operations on an order's money: what a client states as payments records it, and the ledger as Dintero's collections."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal
from uuid import UUID

from dintero_compat.domain.shapes import Payment

Collection = Literal["authorizations", "captures", "refunds", "cancellations"]
COLLECTIONS: Final[tuple[Collection, ...]] = ("authorizations", "captures", "refunds", "cancellations")
KINDS: Final[Mapping[str, tuple[Collection, ...]]] = {
    "authorize": ("authorizations",), "capture": ("captures",), "refund": ("refunds",), "void": ("cancellations",),
    "reverse": ("authorizations", "captures"),
}  # fmt: skip
"""Kinds of operations of a ledger -> collections. What is reversed and what replaces it is authorized and captured in one."""
PSP: Final = "dintero"
"""The payment system of a payment that names none, or one whose name is none of ours."""
ItemsOf = Mapping[str, Mapping[str, int]]
"""operation_id -> line id -> minor units."""


class LineUnknown(ValueError):
    """The order has no line of this number."""

    def __init__(self, line_id: int) -> None:
        super().__init__(f"the order has no line {line_id}")
        self.line_id = line_id


def record(payment: Payment, payment_id: str, currency: str, numbers: Mapping[str, int]) -> dict[str, Any]:
    """Returns the body of payments' recording mode. Amounts of a line that is named twice are summed.

    payment_id: the payment's own, or a made-up one. numbers: our line ids -> `line_id`. Raises LineUnknown.
    """
    ids = {number: line_id for line_id, number in numbers.items()}
    lines: dict[int, dict[str, Any]] = {}
    for item in payment.items:
        if item.line_id not in ids:
            raise LineUnknown(item.line_id)
        line = lines.setdefault(item.line_id, {"line_id": ids[item.line_id], "amount_minor": 0, "quantity": 0})
        line["amount_minor"] += item.amount
        line["quantity"] += item.quantity
    return {
        "gateway": psp(payment),
        "payment_id": payment_id,
        "currency": currency,
        "lines": list(lines.values()),
        "success": payment.success,
    }


def psp(payment: Payment) -> str:
    """Returns the name of the payment system as payments spells it."""
    name = re.sub("[^a-z0-9_-]+", "-", payment.payment_details.psp.casefold()).strip("-")
    return name if re.fullmatch("[a-z][a-z0-9_-]{0,31}", name) else PSP


def items_of(ledger: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Returns the amounts per line of each operation, from the entries of the books. Amounts of reversed lines are negative.

    An authorization credits the customer; a cancellation and a refund debit the customer, a capture debits what the money lies
    on. Other entries of an operation are the other sides of these, or what is booked later: a refund on its way.
    """
    kinds = {one["operation_id"]: one["kind"] for one in ledger["operations"]}
    found: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for entry in entries:
        accounts, sign = _COUNTED.get(kinds.get(entry["operation_id"], ""), ((), 0))
        if entry["account"] in accounts:
            found[entry["operation_id"]][entry["line_id"]] += sign * entry["direction"] * entry["amount_minor"]
    return {
        operation_id: {line_id: amount for line_id, amount in lines.items() if amount}
        for operation_id, lines in found.items()
    }


_COUNTED: Final[Mapping[str, tuple[tuple[str, ...], int]]] = {
    "authorize": (("customer",), -1),
    "capture": (("gateway_clearing", "marketplace_clearing", "gift_card_liability"), 1),
    "refund": (("customer",), 1),
    "void": (("customer",), 1),
    "reverse": (("customer",), -1),
}
"""Kind of an operation -> the accounts on which its amounts are, and 1 if they are debited, -1 if credited."""


def operations(
    ledger: Mapping[str, Any],
    entries: Sequence[Mapping[str, Any]],
    numbers: Mapping[str, int],
    details: Mapping[tuple[str, str], Mapping[str, Any]],
) -> dict[str, list[dict[str, Any]]]:
    """Returns the collections of an order, the oldest operation first. Operations without an outcome are left out.

    details: (collection, id of an operation) -> what a client has stated of it beside its amounts.

    An attempt that failed has its amount and no items: no money of a line has moved.
    """
    items = items_of(ledger, entries)
    of_capture = {one["operation_id"]: one["refers_to"] for one in ledger["operations"] if one["kind"] == "capture"}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in COLLECTIONS}
    for one in ledger["operations"]:
        if one["state"] in ("asked", "pending"):
            continue
        parts: list[dict[str, Any]] = [
            {"line_id": numbers.get(line_id), "amount": amount}
            for line_id, amount in items.get(one["operation_id"], {}).items()
        ]
        drawn_on = one["refers_to"]
        authorization = of_capture.get(drawn_on) if one["kind"] in ("refund", "reverse") else drawn_on
        shown = operation(
            one["operation_id"],
            sum(part["amount"] for part in parts) if one["kind"] == "reverse" else one["amount_minor"],
            parts,
            success=one["state"] == "succeeded",
            at=one["at"],
            authorization_id=authorization,
            details={"payment_id": one["gateway_reference"]} if one["gateway_reference"] else {},
        )
        for collection in KINDS.get(one["kind"], ()):
            found[collection].append({**shown, **details.get((collection, one["operation_id"]), {})})
    return found


def operation(
    operation_id: str | None, amount: int, items: Sequence[Mapping[str, Any]], *, success: bool, at: str,
    authorization_id: str | None, details: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Returns one operation. Its id is the `operation_id` of payments: what `authorization_id` of later ones names."""
    return {
        "id": operation_id, "created_at": at, "amount": amount, "items": list(items), "success": success,
        "payment_details": dict(details), **({"authorization_id": authorization_id} if authorization_id else {}), "_links": [],
    }  # fmt: skip


def capture_for(
    lines: Sequence[Mapping[str, Any]], ledger: Mapping[str, Any], items: ItemsOf, authorization_id: str | None
) -> UUID | None:
    """Returns the capture that a refund or a reversal draws on: the oldest one that has all its amounts left; None if there is none.

    lines: of `record`. Dintero's refunds name an authorization at most, ours a capture.
    """
    done = [one for one in ledger["operations"] if one["state"] == "succeeded"]
    reverses = {line["line_id"]: line["reverses"] for line in ledger["lines"] if line["direction"] == -1}
    for capture in (one for one in done if one["kind"] == "capture"):
        later = [one for one in done if one["refers_to"] == capture["operation_id"]]
        names = {capture["refers_to"], *(one["operation_id"] for one in later if one["kind"] == "reverse")}
        if authorization_id is not None and authorization_id not in names:
            continue
        left = Counter(items.get(capture["operation_id"], {}))
        for one in later:
            for line_id, amount in items.get(one["operation_id"], {}).items():
                if one["kind"] == "refund":
                    left[line_id] -= amount
                else:  # a reversal: it takes its negative amounts off the lines that it names, and pays the others
                    left[reverses.get(line_id, line_id)] += amount
        if all(line["amount_minor"] <= left[line["line_id"]] for line in lines):
            return UUID(capture["operation_id"])
    return None


def exceeded(lines: Sequence[Mapping[str, Any]], ledger: Mapping[str, Any]) -> tuple[str, int, int] | None:
    """Returns the first line that has less left, over all captures, than a refund states: its id, what is stated, what is left."""
    left = {line["line_id"]: line["refundable_minor"] for line in ledger["lines"]}
    for line in lines:
        if line["amount_minor"] > left.get(line["line_id"], 0):
            return line["line_id"], line["amount_minor"], left.get(line["line_id"], 0)
    return None


def several_captures(ledger: Mapping[str, Any]) -> bool:
    """Returns whether a refund or a reversal has to name its capture."""
    captures = [one for one in ledger["operations"] if one["kind"] == "capture" and one["state"] == "succeeded"]
    return len(captures) > 1


def reversal_of(line_id: str, ledger: Mapping[str, Any], items: ItemsOf) -> str | None:
    """Returns the id of the reversal that has added a line."""
    for one in ledger["operations"]:
        if one["kind"] == "reverse" and line_id in items.get(one["operation_id"], {}):
            found: str = one["operation_id"]
            return found
    return None
