"""What a reversal makes of a ledger: negative lines, the lines that replace them, and the operations that move the difference.

A capture pays other lines than before, so the money that its gateway has taken stays the same. In the order's lines a reversal
has the amounts that it takes off, with `direction` -1: the sums of all lines are what was authorized and captured.
An authorization stays as its gateway has granted it.
"""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from contracts.ids import derived
from contracts.payments import MoneyLine, Reversed, ReversedLine
from payments.domain.ledger import CapturedLine, Ledger, Line, Operation, total

REFUND: Final = "refund of the difference"
CHARGE: Final = "authorization of the difference"


def refund_id_of(reversal_id: UUID) -> UUID:
    return derived(reversal_id, REFUND)


def charge_id_of(reversal_id: UUID) -> UUID:
    return derived(reversal_id, CHARGE)


def capture_id_of_charge(charge_id: UUID) -> UUID:
    """The operation that captures the difference, if its gateway has only authorized it."""
    return derived(charge_id, "capture of the difference")


def applied(ledger: Ledger, event: Reversed) -> Ledger:
    """Also opens the operations of the difference: they must not be lost if a backup has none of the private events."""
    capture = ledger.captures[event.capture_id]
    of_capture, of_order = {**capture.lines}, {**ledger.lines}
    for one in event.reversals:
        of_capture[one.reverses] = _taken_off(of_capture[one.reverses], one)
        of_order[one.reverses] = _reversed(of_order[one.reverses], one)
        assert one.line_id not in of_order, f"line {one.line_id} exists"
        of_order[one.line_id] = _mirror(one)
    for line in paid_lines(event):
        assert line.line_id not in of_capture, f"line {line.line_id} is captured"
        of_capture[line.line_id] = CapturedLine(captured_minor=line.amount_minor, pieces=line.quantity)
        of_order[line.line_id] = _paid(of_order.get(line.line_id) or Line(), line)
    return ledger.model_copy(
        update={
            "lines": of_order,
            "captures": {**ledger.captures, event.capture_id: capture.model_copy(update={"lines": of_capture})},
            "operations": {**ledger.operations, **_operations(event, capture.gateway)},
        }
    )


def paid_lines(event: Reversed) -> tuple[MoneyLine, ...]:
    """What the capture pays instead. Together as much as is reversed."""
    return event.lines if event.refund_line is None else (*event.lines, event.refund_line)


def _taken_off(line: CapturedLine, one: ReversedLine) -> CapturedLine:
    after = line.model_copy(
        update={
            "reversed_minor": line.reversed_minor + one.amount_minor,
            "pieces_back": line.pieces_back + one.quantity,
        }
    )
    assert after.left_minor >= 0 and after.pieces_back <= after.pieces, f"line {one.reverses}: {after}"
    return after


def _reversed(line: Line, one: ReversedLine) -> Line:
    after = line.model_copy(update={"reversed_minor": line.reversed_minor + one.amount_minor})
    assert line.direction == 1, f"line {one.reverses} is a reversal"
    assert after.refunded_minor + after.reversed_minor <= after.captured_minor, f"line {one.reverses}: {after}"
    return after


def _mirror(one: ReversedLine) -> Line:
    amount = one.amount_minor
    return Line(direction=-1, reverses=one.reverses, authorized_minor=amount, captured_minor=amount)


def _paid(line: Line, more: MoneyLine) -> Line:
    assert line.direction == 1, f"line {more.line_id} is a reversal"
    return line.model_copy(
        update={
            "authorized_minor": line.authorized_minor + more.amount_minor,
            "captured_minor": line.captured_minor + more.amount_minor,
        }
    )


def _operations(event: Reversed, gateway: str) -> dict[UUID, Operation]:
    """The reversal, which is done, and what it asks for."""
    assert event.operation_id is not None, "a reversal is an operation"
    common: dict[str, Any] = {"currency": event.currency, "gateway": gateway}
    refers = common | {"refers_to": event.capture_id}
    opened = common | {"state": "asked", "follows": event.operation_id}
    made = {
        event.operation_id: Operation(kind="reverse", state="succeeded", amount_minor=event.amount_minor, **refers),
    }
    if event.refund_id is not None and (line := event.refund_line) is not None:
        made[event.refund_id] = Operation(
            kind="refund", amount_minor=line.amount_minor, lines=(line,), **{**opened, **refers}
        )
    if event.charge_id is not None:
        charged = opened | {"gateway": event.charge_gateway or gateway, "account": event.charge_account}
        made[event.charge_id] = Operation(
            kind="authorize", amount_minor=total(event.charge), lines=event.charge, with_capture=True, **charged
        )
    return made
