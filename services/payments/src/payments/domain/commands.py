"""What payments does when it is asked: authorize, capture, void, refund. A no is an event; checks in the order written.

An authorization may be asked for with its capture: one call, one answer. Its gateway's outcome states whether it was captured.

The marketplace's money lies with the marketplace: asked is done. Other gateways are asked through a task, and none is
asked to move nothing. An operation is handled once; asking again finds it in `operations` and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar
from uuid import UUID

from contracts.deciding import Context, Effect, Folded
from contracts.limits import MINOR_MAX, QUANTITY_MAX
from contracts.payments import (
    TOKEN_REFUSED,
    Authorize,
    Capture,
    Captured,
    Failed,
    FailureCode,
    MoneyLine,
    Pending,
    Refund,
    Void,
    Voided,
)
from payments.domain import facts, prepaid, session_folds, tenders
from payments.domain.folds import evolve
from payments.domain.gateway import AT_ONCE, INFORMED, Kind, is_done_uncalled, task
from payments.domain.ledger import Authorization, Capturing, Ledger, Line
from payments.domain.ledger_events import Asked, VoidPostponed
from payments.domain.operation import Operation, by_cards, total
from payments.domain.reversals import capture_id_of_charge
from payments.domain.tenders import NotRedeemable


def authorize(ledger: Ledger, command: Authorize, context: Context) -> list[Effect]:
    if command.operation_id in ledger.operations or (command.unless_recorded and _is_recorded(ledger, command)):
        return []
    requested = Operation(
        kind="authorize",
        state="asked",
        amount_minor=total(command.lines),
        currency=command.currency,
        gateway=command.gateway,
        account=command.account,
        lines=merged(command.lines),
        with_capture=command.capture,
    )
    requested = prepaid.without_parts(ledger, command.operation_id, requested)
    amount = requested.amount_minor
    if command.payment_token == TOKEN_REFUSED:
        reason = "a card number came in place of a token"
        return [facts.declined(ledger, command.operation_id, requested, context, "payment_token_refused", reason)]
    if ledger.currency is not None and command.currency != ledger.currency:
        reason = f"the order is paid in {ledger.currency}"
        return [facts.declined(ledger, command.operation_id, requested, context, "currency_differs", reason)]
    if (line := reversal_among(ledger, command.lines)) is not None:
        return [facts.declined(ledger, command.operation_id, requested, context, "line_taken", f"{line} is a reversal")]
    if (session_id := prepaid.in_another_currency(ledger, command.currency)) is not None:
        reason = f"session {session_id} is paid in another currency"
        return [facts.declined(ledger, command.operation_id, requested, context, "currency_differs", reason)]
    parts = tenders.held(ledger, command.operation_id, command.gift_cards)
    if amount - by_cards(parts) > ledger.authorizable_minor:
        reason = f"an order holds at most {MINOR_MAX} minor units"
        return [facts.declined(ledger, command.operation_id, requested, context, "amount_too_large", reason)]
    redeemed: list[Effect] = []
    if command.gift_cards and not parts:
        try:
            parts = tenders.redeemed(
                command.gift_cards, requested.lines, command.currency, context.store_id, context.shares, context.now
            )
        except NotRedeemable as no:
            return [facts.declined(ledger, command.operation_id, requested, context, no.code, str(no))]
        if parts:
            redeemed = [facts.redeemed(ledger, command.operation_id, requested, parts, context)]
    requested = requested.model_copy(update={"gift_cards": parts, "amount_minor": amount - by_cards(parts)})
    if requested.amount_minor and (session_id := prepaid.awaited(ledger, requested)) is not None:
        waiting = requested.model_copy(update={"session_id": session_id})
        return [*redeemed, facts.pending(ledger, command.operation_id, waiting, context)]
    if (taken := prepaid.taken_over(ledger, command.operation_id, requested, context)) is not None:
        redeemed, ledger = [*redeemed, *taken.effects], taken.ledger
        if taken.rest is None:
            return redeemed
        requested = taken.rest
    session_id = session_folds.waiting_for(ledger, requested)
    executed = execute(
        ledger,
        command.operation_id,
        requested,
        context,
        reference=command.reference,
        payment_token=command.payment_token,
        return_url=ledger.sessions[session_id].return_url if session_id else None,
    )
    return [*redeemed, *executed]


def _is_recorded(ledger: Ledger, command: Authorize) -> bool:
    """Whether exactly these amounts were authorized elsewhere, besides what was authorized before, and nothing of it is released or
    is to be."""
    wanted = {line.line_id: line.amount_minor for line in merged(command.lines)}
    voided = {one.refers_to for one in ledger.operations.values() if one.kind == "void" and one.is_open}
    later = [item for item in ledger.authorizations.items() if item[1].gift_card_id is None]
    return any(
        one.gateway in INFORMED
        and authorization_id not in voided
        and {line_id: line.authorized_minor - line.voided_minor for line_id, line in one.lines.items()} == wanted
        for authorization_id, one in later[command.authorizations_before or 0 :]
    )


def capture(ledger: Ledger, command: Capture, context: Context) -> list[Effect]:
    if command.operation_id in ledger.operations:
        return []
    authorization = ledger.authorizations.get(command.authorization_id)
    requested = _of_lines("capture", command, command.authorization_id, authorization)
    if authorization is None:
        return [facts.failed(ledger, command.operation_id, requested, context, "authorization_unknown")]
    left = ledger.capturable(command.authorization_id)
    no = _no_to(ledger, command.operation_id, requested, left, "authorization_exceeded", context)
    return [no] if no else execute(ledger, command.operation_id, requested, context)


def void(ledger: Ledger, command: Void, context: Context) -> list[Effect]:
    """Without lines a goal: release what is left. It waits for what is in flight, because what is left depends on it.

    With lines it releases exactly them, of what is not held; it waits for the answer to the authorization alone.
    """
    if command.operation_id in ledger.operations:
        return []
    asked = ledger.operation(command.authorization_id, context)
    if asked is None or asked.kind != "authorize":
        requested = Operation(kind="void", state="asked", currency=ledger.currency, refers_to=command.authorization_id)
        return [facts.failed(ledger, command.operation_id, requested, context, "authorization_unknown")]
    lines = merged(command.lines)
    if asked.is_open if lines else ledger.in_flight(command.authorization_id):
        return [
            VoidPostponed(
                order_id=context.key,
                store_id=context.store_id,
                operation_id=command.operation_id,
                authorization_id=command.authorization_id,
                lines=lines,
            )
        ]
    if not lines:
        return _void_rest(ledger, command.operation_id, command.authorization_id, asked, context)
    left = ledger.capturable(command.authorization_id) if command.authorization_id in ledger.authorizations else None
    held = not command.expired
    return _void_lines(ledger, command.operation_id, command.authorization_id, asked, lines, left, context, held=held)


def refund(ledger: Ledger, command: Refund, context: Context) -> list[Effect]:
    if command.operation_id in ledger.operations:
        return []
    captured = ledger.captures.get(command.capture_id)
    requested = _of_lines("refund", command, command.capture_id, captured)
    if captured is None:
        return [facts.failed(ledger, command.operation_id, requested, context, "capture_unknown")]
    left = ledger.refundable(command.capture_id)
    no = _no_to(ledger, command.operation_id, requested, left, "capture_exceeded", context)
    if no is not None:
        return [no]
    if command.recorded:
        requested = tenders.shared(ledger, requested)
        return [facts.succeeded(ledger, command.operation_id, requested, context, command.reference, recorded=True)]
    return execute(ledger, command.operation_id, requested, context)


def _of_lines(
    kind: Kind, command: Capture | Refund, refers_to: UUID, source: Authorization | Capturing | None
) -> Operation:
    """Returns the operation that the command requests. source: what it refers to; None if the ledger does not have it."""
    return Operation(
        kind=kind,
        state="asked",
        amount_minor=total(command.lines),
        currency=command.currency,
        refers_to=refers_to,
        gateway=source.gateway if source else None,
        lines=merged(command.lines),
    )


def resumed_voids(
    ledger: Ledger, ending: Sequence[Effect], operation_id: UUID, operation: Operation, context: Context
) -> Folded:
    """`ending` has ended an operation, and its events are folded: what becomes of the voids that waited for that."""
    authorization_id = operation_id if operation.kind == "authorize" else operation.refers_to
    effects = [*ending]
    if operation.follows is not None and operation.kind == "authorize":
        made = _captured_next(ledger, capture_id_of_charge(operation_id), context)
        ledger, effects = _folded(ledger, made), effects + made
    if operation.kind == "refund" or authorization_id is None:
        return Folded(effects, ledger)
    for void_id, waiting in ledger.operations.items():
        if not waiting.postponed or waiting.refers_to != authorization_id:
            continue
        if not waiting.lines and ledger.in_flight(authorization_id):
            break  # it claims all that is left, so later ones wait behind it
        if waiting.lines:
            left = ledger.free(authorization_id) if authorization_id in ledger.authorizations else None
            made = _void_lines(ledger, void_id, authorization_id, waiting, waiting.lines, left, context)
        else:
            made = _void_rest(ledger, void_id, authorization_id, waiting, context)
        ledger, effects = _folded(ledger, made), effects + made
    return Folded(effects, ledger)


def _captured_next(ledger: Ledger, capture_id: UUID, context: Context) -> list[Effect]:
    """Captures what a reversal has authorized, unless its gateway has done both, or has declined it."""
    waiting = ledger.operations.get(capture_id)
    return execute(ledger, capture_id, waiting, context) if waiting is not None and waiting.state == "asked" else []


def _folded(ledger: Ledger, made: Sequence[Effect]) -> Ledger:
    for effect in made:
        if isinstance(effect, (Asked, Pending, Captured, Voided, Failed)):  # every event that it can make
            ledger = evolve(ledger, effect)
    return ledger


def reversal_among(ledger: Ledger, lines: Iterable[MoneyLine]) -> str | None:
    """The first of the lines that is a reversal: nothing is authorized under its id."""
    return next((one.line_id for one in lines if ledger.lines.get(one.line_id, Line()).direction == -1), None)


L = TypeVar("L", bound=MoneyLine)


def merged(lines: tuple[L, ...]) -> tuple[L, ...]:
    """Lines that are named more than once become one, at the place of the first."""
    by_id: dict[str, L] = {}
    for line in lines:
        first = by_id.get(line.line_id)
        if first is not None:
            quantity = min(first.quantity + line.quantity, QUANTITY_MAX)
            amount = min(first.amount_minor + line.amount_minor, MINOR_MAX)  # the checks add up the lines as they came
            line = line.model_copy(update={"quantity": quantity, "amount_minor": amount})
        by_id[line.line_id] = line
    return lines if len(by_id) == len(lines) else tuple(by_id.values())


def execute(
    ledger: Ledger, operation_id: UUID, requested: Operation, context: Context, **more: str | None
) -> list[Effect]:
    """Done at once if no gateway has to be asked; else ask, and hold the lines until there is an answer or we are informed.

    more: further fields of the gateway's call.
    """
    if requested.kind != "authorize":
        requested = tenders.shared(ledger, requested)
    if is_done_uncalled(requested.gateway, requested.amount_minor):
        # A marketplace pays it out under its own name of the order.
        name = more.get("reference") if requested.gateway in AT_ONCE else None
        return [facts.succeeded(ledger, operation_id, requested, context, name)]
    if requested.gateway in INFORMED:
        return [facts.pending(ledger, operation_id, requested, context)]
    assert requested.gateway is not None and requested.currency is not None, (
        "a checked operation names its gateway and its currency"
    )
    match requested.kind:
        case "reverse" | "prepay" | "return":
            raise AssertionError(f"a {requested.kind} is asked for by an event of its own")
        case kind:
            pass
    asked = Asked(
        order_id=context.key,
        store_id=context.store_id,
        operation_id=operation_id,
        kind=kind,
        gateway=requested.gateway,
        account=requested.account,
        currency=requested.currency,
        refers_to=requested.refers_to,
        lines=requested.lines,
        amount_minor=requested.amount_minor,
        with_capture=requested.with_capture,
        gift_cards=requested.gift_cards,
    )
    call = ledger.call(context.key, context.store_id, operation_id, requested)
    return [asked, task(call.model_copy(update=more) if more else call)]


def _no_to(
    ledger: Ledger,
    operation_id: UUID,
    requested: Operation,
    left: dict[str, int],
    exceeds: FailureCode,
    context: Context,
) -> Failed | None:
    """The first reason not to draw the lines from what is left per line, if there is one."""
    if requested.currency != ledger.currency:
        return facts.failed(ledger, operation_id, requested, context, "currency_differs", f"paid in {ledger.currency}")
    unknown = [line.line_id for line in requested.lines if line.line_id not in left]
    if unknown:
        return facts.failed(ledger, operation_id, requested, context, "line_unknown", f"no line {unknown[0]}"[:500])
    allowed = sum(min(line.amount_minor, left[line.line_id]) for line in requested.lines)
    if allowed < requested.amount_minor:
        return facts.failed(ledger, operation_id, requested, context, exceeds, allowed_minor=allowed)
    return None


def _void_rest(
    ledger: Ledger, operation_id: UUID, authorization_id: UUID, asked: Operation, context: Context
) -> list[Effect]:
    """Void what is left of an authorization on which nothing is in flight; of a declined one that is nothing.

    `asked` names currency and gateway of a declined one.
    """
    authorization = ledger.authorizations.get(authorization_id)
    left = ledger.free(authorization_id) if authorization else {}
    lines = tuple(
        MoneyLine(line_id=line_id, quantity=line.pieces, amount_minor=left[line_id])
        for line_id, line in (authorization.lines.items() if authorization else ())
        if left[line_id]
    )
    requested = Operation(
        kind="void",
        state="asked",
        amount_minor=total(lines),
        currency=asked.currency,
        refers_to=authorization_id,
        gateway=authorization.gateway if authorization else asked.gateway,
        lines=lines,
    )
    return execute(ledger, operation_id, requested, context)


def _void_lines(
    ledger: Ledger,
    operation_id: UUID,
    authorization_id: UUID,
    asked: Operation,
    lines: tuple[MoneyLine, ...],
    left: dict[str, int] | None,
    context: Context,
    held: bool = True,
) -> list[Effect]:
    """Void exactly these amounts. left: what of each line may be voided; null: the authorization was declined. held: by the
    issuer, so that the gateway is asked to release it.

    `asked` names currency and gateway of a declined one.
    """
    authorization = ledger.authorizations.get(authorization_id)
    requested = Operation(
        kind="void",
        state="asked",
        amount_minor=total(lines),
        currency=asked.currency,
        refers_to=authorization_id,
        gateway=authorization.gateway if authorization else asked.gateway,
        lines=lines,
    )
    if left is None:
        return [facts.failed(ledger, operation_id, requested, context, "authorization_exceeded", allowed_minor=0)]
    no = _no_to(ledger, operation_id, requested, left, "authorization_exceeded", context)
    if no is not None:
        return [no]
    if not held:
        return [facts.succeeded(ledger, operation_id, tenders.shared(ledger, requested), context, None)]
    return execute(ledger, operation_id, requested, context)
