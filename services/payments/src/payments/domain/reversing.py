"""Captured lines are changed by reversing them: a negative line for each, beside the lines that replace them.

The line that is reversed stays as it was booked. A reversal takes pieces off it at their unit price, at most those that are
captured and have not gone back; it is never reversed itself. What the lines cost less is refunded, what they cost more is
authorized and captured: docs/payments.md has an example of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any
from uuid import UUID

from contracts.deciding import Context, Decision, Effect, Refusal
from contracts.limits import EDITED_LINES_MAX, MINOR_MAX
from contracts.money import round_half_up
from contracts.payments import (
    TOKEN_REFUSED,
    MoneyLine,
    ReplacingLine,
    ReversalCode,
    ReversalRefused,
    Reverse,
    Reversed,
    ReversedLine,
)
from payments.domain import facts, prepaid, tenders
from payments.domain.commands import execute, merged, resumed_voids
from payments.domain.ledger import CapturedLine, Capturing, Ledger
from payments.domain.operation import total
from payments.domain.reversals import applied, charge_id_of, refund_id_of


class _Unfit(Exception):
    """Why it cannot be reversed. more: members of the problem."""

    def __init__(self, code: ReversalCode, reason: str, line: str | None = None, **more: int) -> None:
        super().__init__(reason)
        self.code, self.line, self.more = code, line, more

    @property
    def members(self) -> dict[str, Any]:
        return self.more if self.line is None else {"line": self.line, **self.more}


def reverse(ledger: Ledger, command: Reverse, context: Context) -> Decision:
    if command.operation_id in ledger.operations:
        return _recorded_again(ledger, command, context) if command.recorded else []
    try:
        event = _reversed(ledger, command, context)
    except _Unfit as unfit:
        return [_refused(ledger, command, context, unfit), Refusal(unfit.code, str(unfit), unfit.members)]
    after = applied(ledger, event)
    effects: list[Effect] = [event]
    for operation_id in (event.refund_id, event.charge_id):
        if operation_id is not None:
            effects += _moves(after, operation_id, command, context)
    return effects


def _recorded_again(ledger: Ledger, command: Reverse, context: Context) -> list[Effect]:
    """What a restored ledger has lost of a reversal whose difference was moved elsewhere: no other message states it."""
    effects: list[Effect] = []
    for operation_id in (refund_id_of(command.operation_id), charge_id_of(command.operation_id)):
        operation = ledger.operations.get(operation_id)
        if operation is not None and operation.state == "asked" and operation.follows is None:
            effects += _moves(ledger, operation_id, command, context)
    return effects


def _moves(ledger: Ledger, operation_id: UUID, command: Reverse, context: Context) -> list[Effect]:
    """Moves the difference, or books what has moved it elsewhere."""
    operation = ledger.operations[operation_id]
    if command.recorded:
        return [facts.succeeded(ledger, operation_id, operation, context, command.reference, recorded=True)]
    if operation.kind == "refund":
        return execute(ledger, operation_id, operation, context)
    if (session_id := prepaid.awaited(ledger, operation)) is not None:
        waiting = operation.model_copy(update={"session_id": session_id})
        return [facts.pending(ledger, operation_id, waiting, context)]
    if (taken := prepaid.taken_over(ledger, operation_id, operation, context)) is not None:
        return [*resumed_voids(taken.ledger, taken.effects, operation_id, operation, context).effects]
    more = {"reference": command.reference, "payment_token": command.payment_token}
    return execute(ledger, operation_id, operation, context, **more)


def _reversed(ledger: Ledger, command: Reverse, context: Context) -> Reversed:
    """Raises _Unfit."""
    if ledger.currency is not None and command.currency != ledger.currency:
        raise _Unfit("currency_differs", f"the order is paid in {ledger.currency}")
    if command.payment_token == TOKEN_REFUSED:
        raise _Unfit("payment_token_refused", "a card number came in place of a token")
    capture_id = _capture_of(ledger, command)
    capture, lines = ledger.captures[capture_id], merged(command.lines)
    _check_reversals(ledger, capture_id, command.reversals)
    pool = sum(one.amount_minor for one in command.reversals)
    paid, charge = _split(lines, pool)
    rest = pool - total(paid)
    ids = [line.line_id for line in lines] + ([command.refund_line_id] if rest and command.refund_line_id else [])
    _check_ids(ledger, capture, [one.line_id for one in command.reversals], ids)
    reversed_ids = {one.reverses for one in command.reversals}
    if (line := next((one for one in lines if one.replaces not in (None, *reversed_ids)), None)) is not None:
        raise _Unfit("line_unknown", f"line {line.replaces} is not reversed", line.line_id)
    if rest and command.refund_line_id is None:
        raise _Unfit("refund_line_missing", f"{rest} are to be refunded, and `refund_line_id` names no line for them")
    if total(command.lines) - pool > ledger.authorizable_minor:
        allowed = max(ledger.authorizable_minor, 0)
        raise _Unfit("exceeds_authorizable", f"an order holds at most {MINOR_MAX} minor units", allowed_minor=allowed)
    refund_line = _refund_line(command, rest)
    of_capture = paid if refund_line is None else (*paid, refund_line)
    taken_off, pays = tenders.exchanged(ledger, capture_id, command.reversals, of_capture)
    return Reversed(
        order_id=context.key,
        store_id=context.store_id,
        operation_id=command.operation_id,
        currency=command.currency,
        totals=ledger.totals(),
        capture_id=capture_id,
        reversals=command.reversals,
        lines=paid,
        amount_minor=pool,
        taken_off_gift_cards=taken_off,
        gift_cards=pays,
        refund_line=refund_line,
        refund_id=refund_id_of(command.operation_id) if rest else None,
        charge=charge,
        charge_id=charge_id_of(command.operation_id) if charge else None,
        charge_gateway=(command.gateway or capture.gateway) if charge else None,
        charge_account=(command.account if command.gateway else capture.account) if charge else None,
        recorded=command.recorded,
    )


def _refund_line(command: Reverse, rest: int) -> MoneyLine | None:
    if not rest or command.refund_line_id is None:
        return None
    return MoneyLine(line_id=command.refund_line_id, quantity=0, amount_minor=rest)


def _capture_of(ledger: Ledger, command: Reverse) -> UUID:
    """The capture that is named, or the only one that has the lines. Raises _Unfit."""
    named = command.capture_id
    if named is not None:
        if named not in ledger.captures or ledger.captures[named].gift_card_id is not None:
            raise _Unfit("capture_unknown", f"the order has no capture {named}")
        return named
    wanted = {one.reverses for one in command.reversals}
    _check_never_reversed(ledger, wanted)
    lines = {of: set(one.lines) for of, one in ledger.captures.items() if one.gift_card_id is None}
    found = [capture_id for capture_id, of_capture in lines.items() if wanted <= of_capture]
    if len(found) > 1:
        raise _Unfit("reference_ambiguous", f"{len(found)} captures have the lines, and none is named")
    if not found:
        captured = set[str]().union(*lines.values())
        missing = next((one.reverses for one in command.reversals if one.reverses not in captured), None)
        raise _Unfit(
            "line_unknown", f"no capture has line {missing}" if missing else "no capture has all lines", missing
        )
    return found[0]


def _check_never_reversed(ledger: Ledger, line_ids: Iterable[str]) -> None:
    for line_id in line_ids:
        if (line := ledger.lines.get(line_id)) is not None and line.direction == -1:
            raise _Unfit("reversal_final", f"line {line_id} is a reversal of line {line.reverses}", line_id)


def _check_reversals(ledger: Ledger, capture_id: UUID, reversals: Iterable[ReversedLine]) -> None:
    """At most what is captured and has not gone back, nor is going back, at the unit price of its line."""
    left, lines = ledger.refundable(capture_id), _of_all_tenders(ledger, ledger.captures[capture_id])
    held = _held_pieces(ledger, capture_id)
    for one in reversals:
        _check_never_reversed(ledger, [one.reverses])
        if one.reverses not in lines:
            raise _Unfit("line_unknown", f"the capture has no line {one.reverses}", one.reverses)
        line = lines[one.reverses]
        gone = line.pieces_back + held.get(one.reverses, 0)
        pieces, minor = max(line.pieces - gone, 0), left[one.reverses]
        if one.quantity > pieces or (not line.pieces and one.amount_minor > minor):
            what = f"{pieces} pieces and {minor} minor units of line {one.reverses} are left"
            raise _Unfit("exceeds_reversible", what, one.reverses, allowed_minor=minor, allowed_quantity=pieces)
        price = min(_share(line, gone, one.quantity), minor) if line.pieces else one.amount_minor
        if one.amount_minor != price:
            what = f"{one.quantity} pieces of line {one.reverses} are {price} at its unit price"
            raise _Unfit("price_differs", what, one.reverses, allowed_minor=price)
        left[one.reverses] = minor - one.amount_minor
        lines[one.reverses] = line.model_copy(update={"pieces_back": line.pieces_back + one.quantity})


def _of_all_tenders(ledger: Ledger, capture: Capturing) -> dict[str, CapturedLine]:
    """The lines of a capture, with what gift cards have paid of them."""
    lines = dict(capture.lines)
    for card_id in capture.cards:
        for line_id, line in ledger.captures[card_id].lines.items():
            captured = lines[line_id].captured_minor + line.captured_minor
            lines[line_id] = lines[line_id].model_copy(update={"captured_minor": captured})
    return lines


def _share(line: CapturedLine, gone: int, pieces: int) -> int:
    """What further pieces of a line cost. All its pieces together cost what was captured."""

    def of(count: int) -> int:
        return round_half_up(Fraction(line.captured_minor * count, line.pieces))

    return of(gone + pieces) - of(gone)


def _held_pieces(ledger: Ledger, capture_id: UUID) -> dict[str, int]:
    """Line -> pieces of open refunds."""
    held: dict[str, int] = {}
    for operation in ledger.operations.values():
        if operation.is_open and operation.refers_to == capture_id:
            for line in operation.lines:
                held[line.line_id] = held.get(line.line_id, 0) + line.quantity
    return held


def _split(lines: Iterable[ReplacingLine], pool: int) -> tuple[tuple[ReplacingLine, ...], tuple[ReplacingLine, ...]]:
    """What the capture pays of the lines, and what is left to be paid. The pieces of a line are where its money begins."""
    paid, charge = [], []
    for line in lines:
        amount = min(line.amount_minor, pool)
        pool -= amount
        if amount or not line.amount_minor:
            paid.append(line.model_copy(update={"amount_minor": amount}))
        if rest := line.amount_minor - amount:
            charge.append(line.model_copy(update={"amount_minor": rest, "quantity": 0 if amount else line.quantity}))
    return tuple(paid), tuple(charge)


def _check_ids(ledger: Ledger, capture: Capturing, reversals: list[str], others: list[str]) -> None:
    """A reversal is a new line of the order, any other line a new one of the capture. Lines that were asked for may come yet."""
    asked = {line.line_id for one in ledger.operations.values() if one.kind == "authorize" for line in one.lines}
    seen = asked | ledger.lines.keys() | set(others)
    for line_id in reversals:
        if line_id in seen:
            raise _Unfit("line_taken", f"line {line_id} exists", line_id)
        seen.add(line_id)
    seen = set(capture.lines)
    for line_id in others:
        if line_id in seen or is_reversal(ledger.lines, line_id):
            raise _Unfit("line_taken", f"line {line_id} exists", line_id)
        seen.add(line_id)
    if len(ledger.lines.keys() | {*reversals, *others}) > EDITED_LINES_MAX:
        raise _Unfit("lines_exceeded", f"the ledger of an order has at most {EDITED_LINES_MAX} lines")


def is_reversal(lines: Mapping[str, Any], line_id: str) -> bool:
    return (line := lines.get(line_id)) is not None and line.direction == -1


def _refused(ledger: Ledger, command: Reverse, context: Context, unfit: _Unfit) -> ReversalRefused:
    return ReversalRefused(
        order_id=context.key,
        store_id=context.store_id,
        operation_id=command.operation_id,
        code=unfit.code,
        capture_id=command.capture_id,
        currency=ledger.currency,
        totals=ledger.totals(),
        line=unfit.line,
        allowed_minor=unfit.more.get("allowed_minor"),
        allowed_quantity=unfit.more.get("allowed_quantity"),
        reason=str(unfit)[:500],
    )
