"""What a reversal makes of a ledger: negative lines, the lines that replace them, and the operations that move the difference.

A capture pays other lines than before, so the money that each of its tenders has paid stays the same. In the order's lines a reversal
has the amounts that it takes off, with `direction` -1: the sums of all lines are what was authorized and captured.
An authorization stays as its gateway has granted it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple
from uuid import UUID

from contracts.gift_cards import GIFT_CARD
from contracts.ids import derived
from contracts.payments import GiftCardPart, MoneyLine, Reversed, ReversedLine
from payments.domain.ledger import CapturedLine, Capturing, Ledger, Line
from payments.domain.operation import Operation, by_cards, card_operation_id, rest_of, total

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
    captures, of_order = {**ledger.captures}, {**ledger.lines}
    for capture_id, tender in by_tender(event).items():
        captures[capture_id] = _exchanged(captures[capture_id], tender)
    for one in event.reversals:
        of_order[one.reverses] = _reversed(of_order[one.reverses], one)
        assert one.line_id not in of_order, f"line {one.line_id} exists"
        of_order[one.line_id] = _mirror(one)
    for line in paid_lines(event):
        of_order[line.line_id] = _paid(of_order.get(line.line_id) or Line(), line)
    gateway = captures[event.capture_id].gateway
    operations = {**ledger.operations, **_operations(event, gateway)}
    return ledger.model_copy(update={"lines": of_order, "captures": captures, "operations": operations})


class Tender(NamedTuple):
    """What a reversal does to the capture of one tender: both amounts are the same."""

    operation_id: UUID
    gateway: str | None
    """None: that of the capture."""
    taken_off: tuple[ReversedLine, ...]
    paid: tuple[MoneyLine, ...]


def by_tender(event: Reversed) -> dict[UUID, Tender]:
    """By capture: the gateway's, which counts the pieces, then those of the gift cards that have paid a part."""
    assert event.operation_id is not None, "a reversal is an operation"
    found = {
        event.capture_id: Tender(
            event.operation_id,
            None,
            rest_of(event.reversals, event.taken_off_gift_cards),
            rest_of(paid_lines(event), event.gift_cards),
        )
    }
    by_id = {one.line_id: one for one in event.reversals}
    for off, pays in zip(event.taken_off_gift_cards, event.gift_cards, strict=True):
        taken_off = (
            by_id[line.line_id].model_copy(update={"quantity": 0, "amount_minor": line.amount_minor})
            for line in off.lines
        )
        found[card_operation_id(event.capture_id, off.gift_card_id)] = Tender(
            card_operation_id(event.operation_id, off.gift_card_id), GIFT_CARD, tuple(taken_off), pays.lines
        )
    return found


def _exchanged(capture: Capturing, tender: Tender) -> Capturing:
    lines = {**capture.lines}
    for one in tender.taken_off:
        lines[one.reverses] = _taken_off(lines[one.reverses], one)
    for line in tender.paid:
        assert line.line_id not in lines, f"line {line.line_id} is captured"
        lines[line.line_id] = CapturedLine(captured_minor=line.amount_minor, pieces=line.quantity)
    return capture.model_copy(update={"lines": lines})


def paid_lines(event: Reversed) -> tuple[MoneyLine, ...]:
    """What the capture pays instead. Together as much as is reversed."""
    lines = plain(event.lines)
    return lines if event.refund_line is None else (*lines, event.refund_line)


def plain(lines: Iterable[MoneyLine | ReversedLine]) -> tuple[MoneyLine, ...]:
    """Without what they state of their articles: the ledger has only amounts."""
    return tuple(
        MoneyLine(line_id=line.line_id, quantity=line.quantity, amount_minor=line.amount_minor) for line in lines
    )


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
    # What was moved elsewhere follows nothing: a restored ledger would ask a gateway to move it again.
    opened = common | {"state": "asked", "follows": None if event.recorded else event.operation_id}
    made = {
        tender.operation_id: Operation(
            kind="reverse",
            state="succeeded",
            amount_minor=sum(one.amount_minor for one in tender.taken_off),
            currency=event.currency,
            gateway=tender.gateway or gateway,
            refers_to=capture_id,
        )
        for capture_id, tender in by_tender(event).items()
    }
    for part in event.gift_cards:
        card_id = card_operation_id(event.operation_id, part.gift_card_id)
        made[card_id] = made[card_id].model_copy(update={"gateway_reference": str(part.gift_card_id)})
    if event.refund_id is not None and (line := event.refund_line) is not None:
        parts = _parts_of(line.line_id, event.gift_cards)
        amount = line.amount_minor - by_cards(parts)
        made[event.refund_id] = Operation(
            kind="refund", amount_minor=amount, lines=(line,), gift_cards=parts, **{**opened, **refers}
        )
    if event.charge_id is not None:
        charged = opened | {"gateway": event.charge_gateway or gateway, "account": event.charge_account}
        made[event.charge_id] = Operation(
            kind="authorize", amount_minor=total(event.charge), lines=plain(event.charge), with_capture=True, **charged
        )
    return made


def _parts_of(line_id: str, parts: Iterable[GiftCardPart]) -> tuple[GiftCardPart, ...]:
    """What the cards pay of one line."""
    found = ((part, tuple(line for line in part.lines if line.line_id == line_id)) for part in parts)
    return tuple(part.model_copy(update={"lines": lines}) for part, lines in found if lines)
