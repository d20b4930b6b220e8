"""An authorization takes over what its buyer has paid in a session before the order asked for it. No gateway is asked for that.

Paid is what the gateway has to take: the authorization is answered at once. Paid is more: the rest is given back. Paid is less:
that much is an authorization of its own, over the first lines, and the gateway is asked for the rest. A session whose buyer is still
paying is waited for.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

from contracts.deciding import Context, Effect
from contracts.payments import MoneyLine
from payments.domain import disputes, facts
from payments.domain.folds import evolve
from payments.domain.gateway import task
from payments.domain.ledger import Ledger
from payments.domain.operation import Operation, by_cards, total
from payments.domain.prepayment_folds import part_id, return_id_of, without
from payments.domain.session_state import Session


class Taken(NamedTuple):
    effects: list[Effect]
    ledger: Ledger
    """After them."""
    rest: Operation | None
    """What the gateway is still to be asked for; None: the authorization is answered."""


def without_parts(ledger: Ledger, authorization_id: UUID, requested: Operation) -> Operation:
    """What is still to be authorized, if sessions have paid parts of it before: a restored ledger has those, and has lost that its
    gateway was asked for the rest."""
    for part, one in ledger.authorizations.items():
        if one.session_id is not None and part == part_id(authorization_id, one.session_id):
            lines = without(requested.lines, {name: line.authorized_minor for name, line in one.lines.items()})
            requested = requested.model_copy(update={"lines": lines, "amount_minor": total(lines)})
    return requested


def in_another_currency(ledger: Ledger, currency: str) -> UUID | None:
    """A session in another currency that was paid for the order, or is being paid."""
    return next((name for name, one in _unclaimed(ledger) if one.currency != currency), None)


def awaited(ledger: Ledger, requested: Operation) -> UUID | None:
    """The session in which the buyer is paying what is requested."""
    return next((name for name, one in _unclaimed(ledger) if one.state == "open" and _fits(one, requested)), None)


def taken_over(ledger: Ledger, authorization_id: UUID, requested: Operation, context: Context) -> Taken | None:
    """None: nothing was paid that the authorization can take over."""
    due = requested.amount_minor
    found = ((name, one) for name, one in _unclaimed(ledger) if one.state != "open" and _fits(one, requested))
    session_id, session = next(found, (None, None))
    if not due or session_id is None or session is None or session.prepayment is None:
        return None
    paid = requested.model_copy(
        update={
            "session_id": session_id,
            "account": session.account,
            "with_capture": session.prepayment.captured,
        }
    )
    if (has := session.prepayment.amount_minor) < due and is_of_a_change(ledger, requested):
        return None
    if has < due:
        first = _first(requested.gateway_lines, has)
        paid = paid.model_copy(update={"lines": first, "gift_cards": (), "amount_minor": has})
        effects, ledger = _granted(ledger, part_id(authorization_id, session_id), paid, session, context)
        lines = without(requested.lines, {line.line_id: line.amount_minor for line in first})
        rest = requested.model_copy(
            update={"session_id": None, "lines": lines, "amount_minor": total(lines) - by_cards(requested.gift_cards)}
        )
        return Taken(effects, ledger, rest)
    effects, ledger = _granted(ledger, authorization_id, paid, session, context)
    return Taken(effects, ledger, None)


def is_of_a_change(ledger: Ledger, requested: Operation) -> bool:
    """Whether it is what a change of captured lines costs more, and is captured with it: that is paid by one authorization. A part of it
    would be captured by none."""
    return requested.follows is not None or (requested.with_capture and bool(ledger.captured_minor))


def _granted(
    ledger: Ledger, authorization_id: UUID, paid: Operation, session: Session, context: Context
) -> tuple[list[Effect], Ledger]:
    assert paid.session_id is not None and session.prepayment is not None, "it was paid in a session"
    prepayment = session.prepayment
    event = facts.succeeded(
        ledger, authorization_id, paid, context, prepayment.gateway_reference, held_until=prepayment.held_until
    )
    disputed = disputes.stated_again(ledger, context)
    ledger, back = evolve(ledger, event), return_id_of(paid.session_id)
    if prepayment.amount_minor == paid.amount_minor:
        return [event, *disputed], ledger
    return [event, *disputed, task(ledger.call(context.key, context.store_id, back, ledger.operations[back]))], ledger


def _unclaimed(ledger: Ledger) -> Iterable[tuple[UUID, Session]]:
    """Sessions that were paid before their order, or are being paid, and that no authorization has or waits for."""
    for session_id, session in ledger.sessions.items():
        if session.gateway is None or (session.authorization_id is not None and session.state == "open"):
            continue
        if session.state == "open" or (session.prepayment is not None and session.prepayment.state == "held"):
            yield session_id, session


def _fits(session: Session, requested: Operation) -> bool:
    return session.currency == requested.currency and not session.is_elsewhere(requested.gateway, requested.account)


def _first(lines: Iterable[MoneyLine], amount: int) -> tuple[MoneyLine, ...]:
    """So much of the first lines. The pieces of a line are where its money begins."""
    first = []
    for line in lines:
        if part := min(line.amount_minor, amount):
            first.append(line.model_copy(update={"amount_minor": part}))
            amount -= part
    return tuple(first)
