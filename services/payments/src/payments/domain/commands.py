"""What payments does when it is asked: authorize, capture, void, refund. A no is an event; checks in the order written.

The marketplace's money lies with the marketplace: asked is done. Other gateways are asked through a task, and none is
asked to move nothing. An operation is handled once; asking again finds it in `operations` and changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from contracts.deciding import Context, Effect, Folded
from contracts.limits import MINOR_MAX, QUANTITY_MAX
from contracts.payments import Authorize, Capture, Failed, FailureCode, MoneyLine, Refund, Void, Voided
from payments.domain import facts
from payments.domain.gateway import AT_ONCE, GatewayCall, task
from payments.domain.ledger import Asked, Ledger, Operation, VoidPostponed, evolve, total


def authorize(ledger: Ledger, command: Authorize, context: Context) -> list[Effect]:
    if command.operation_id in ledger.operations:
        return []
    amount = total(command.lines)
    wish = Operation(
        kind="authorize",
        state="asked",
        amount_minor=amount,
        currency=command.currency,
        gateway=command.gateway,
        lines=merged(command.lines),
    )
    if ledger.currency is not None and command.currency != ledger.currency:
        reason = f"the order is paid in {ledger.currency}"
        return [facts.declined(ledger, command.operation_id, wish, context, "currency_differs", reason)]
    if ledger.authorized_minor + amount > MINOR_MAX:
        reason = f"an order holds at most {MINOR_MAX} minor units"
        return [facts.declined(ledger, command.operation_id, wish, context, "amount_too_large", reason)]
    return _fulfil(ledger, command.operation_id, wish, context, command.reference)


def capture(ledger: Ledger, command: Capture, context: Context) -> list[Effect]:
    if command.operation_id in ledger.operations:
        return []
    authorization = ledger.authorizations.get(command.authorization_id)
    wish = Operation(
        kind="capture",
        state="asked",
        amount_minor=total(command.lines),
        currency=command.currency,
        refers_to=command.authorization_id,
        gateway=authorization.gateway if authorization else None,
        lines=merged(command.lines),
    )
    if authorization is None:
        return [facts.failed(ledger, command.operation_id, wish, context, "authorization_unknown")]
    left = ledger.capturable(command.authorization_id)
    no = _no_to(ledger, command.operation_id, wish, left, "authorization_exceeded", context)
    return [no] if no else _fulfil(ledger, command.operation_id, wish, context)


def void(ledger: Ledger, command: Void, context: Context) -> list[Effect]:
    """A goal: release what is left. It waits for what is in flight, because what is left depends on it."""
    if command.operation_id in ledger.operations:
        return []
    asked = ledger.operation(command.authorization_id, context)
    if asked is None or asked.kind != "authorize":
        wish = Operation(kind="void", state="asked", currency=ledger.currency, refers_to=command.authorization_id)
        return [facts.failed(ledger, command.operation_id, wish, context, "authorization_unknown")]
    if ledger.in_flight(command.authorization_id):
        return [
            VoidPostponed(
                order_id=context.key,
                store_id=context.store_id,
                operation_id=command.operation_id,
                authorization_id=command.authorization_id,
            )
        ]
    return _void_now(ledger, command.operation_id, command.authorization_id, asked, context)


def refund(ledger: Ledger, command: Refund, context: Context) -> list[Effect]:
    if command.operation_id in ledger.operations:
        return []
    captured = ledger.captures.get(command.capture_id)
    wish = Operation(
        kind="refund",
        state="asked",
        amount_minor=total(command.lines),
        currency=command.currency,
        refers_to=command.capture_id,
        gateway=captured.gateway if captured else None,
        lines=merged(command.lines),
    )
    if captured is None:
        return [facts.failed(ledger, command.operation_id, wish, context, "capture_unknown")]
    left = ledger.refundable(command.capture_id)
    no = _no_to(ledger, command.operation_id, wish, left, "capture_exceeded", context)
    return [no] if no else _fulfil(ledger, command.operation_id, wish, context)


def resumed_voids(ledger: Ledger, answer: Sequence[Effect], authorization_id: UUID, context: Context) -> Folded:
    """`answer` has ended something on an authorization, and is folded: what becomes of the voids that waited for it."""
    effects = [*answer]
    for operation_id, operation in ledger.operations.items():
        if not operation.postponed or operation.refers_to != authorization_id:
            continue
        if ledger.in_flight(authorization_id):
            break
        made = _void_now(ledger, operation_id, authorization_id, operation, context)
        for effect in made:
            if isinstance(effect, (Asked, Voided)):  # every event that it can make
                ledger = evolve(ledger, effect)
        effects += made
    return Folded(effects, ledger)


def merged(lines: tuple[MoneyLine, ...]) -> tuple[MoneyLine, ...]:
    """Lines that are named more than once become one, at the place of the first."""
    by_id: dict[str, MoneyLine] = {}
    for line in lines:
        first = by_id.get(line.line_id)
        if first is not None:
            quantity = min(first.quantity + line.quantity, QUANTITY_MAX)
            amount = min(first.amount_minor + line.amount_minor, MINOR_MAX)  # the checks add up the lines as they came
            line = line.model_copy(update={"quantity": quantity, "amount_minor": amount})
        by_id[line.line_id] = line
    return lines if len(by_id) == len(lines) else tuple(by_id.values())


def _fulfil(
    ledger: Ledger, operation_id: UUID, wish: Operation, context: Context, reference: str | None = None
) -> list[Effect]:
    """Done at once if no gateway has to be asked; else ask, and hold the lines until there is an answer."""
    if wish.gateway in AT_ONCE or wish.amount_minor == 0:
        return [facts.succeeded(ledger, operation_id, wish, context)]
    assert wish.gateway is not None and wish.currency is not None, (
        "a checked operation names its gateway and its currency"
    )
    asked = Asked(
        order_id=context.key,
        store_id=context.store_id,
        operation_id=operation_id,
        kind=wish.kind,
        gateway=wish.gateway,
        currency=wish.currency,
        refers_to=wish.refers_to,
        lines=wish.lines,
        amount_minor=wish.amount_minor,
    )
    call = GatewayCall(
        operation_id=operation_id,
        gateway=wish.gateway,
        kind=wish.kind,
        order_id=context.key,
        store_id=context.store_id,
        currency=wish.currency,
        amount_minor=wish.amount_minor,
        refers_to=wish.refers_to,
        reference=reference,
    )
    return [asked, task(call)]


def _no_to(
    ledger: Ledger, operation_id: UUID, wish: Operation, left: dict[str, int], exceeds: FailureCode, context: Context
) -> Failed | None:
    """The first reason not to draw the lines from what is left per line, if there is one."""
    if wish.currency != ledger.currency:
        return facts.failed(ledger, operation_id, wish, context, "currency_differs", f"paid in {ledger.currency}")
    unknown = [line.line_id for line in wish.lines if line.line_id not in left]
    if unknown:
        return facts.failed(ledger, operation_id, wish, context, "line_unknown", f"no line {unknown[0]}"[:500])
    allowed = sum(min(line.amount_minor, left[line.line_id]) for line in wish.lines)
    if allowed < wish.amount_minor:
        return facts.failed(ledger, operation_id, wish, context, exceeds, allowed_minor=allowed)
    return None


def _void_now(
    ledger: Ledger, operation_id: UUID, authorization_id: UUID, asked: Operation, context: Context
) -> list[Effect]:
    """Void what is left of an authorization on which nothing is in flight; of a declined one that is nothing.

    `asked` names currency and gateway of a declined one.
    """
    authorization = ledger.authorizations.get(authorization_id)
    lines = tuple(
        MoneyLine(line_id=line_id, quantity=line.pieces, amount_minor=line.left_minor)
        for line_id, line in (authorization.lines.items() if authorization else ())
        if line.left_minor
    )
    wish = Operation(
        kind="void",
        state="asked",
        amount_minor=total(lines),
        currency=asked.currency,
        refers_to=authorization_id,
        gateway=authorization.gateway if authorization else asked.gateway,
        lines=lines,
    )
    return _fulfil(ledger, operation_id, wish, context)
