"""What an order's timer is for: sessions and buyers whose time is over, what was paid in a session and waits for its order, and
authorizations that expire soon."""

from __future__ import annotations

from datetime import datetime

from contracts.deciding import Context, Decision, Folded, Wake
from payments.domain import expiring, prepaying, sessions
from payments.domain.folds import evolve
from payments.domain.ledger import Ledger


def wake_at(ledger: Ledger) -> datetime | None:
    return min((at for at, _ in (*sessions.due(ledger), *prepaying.due(ledger), *expiring.due(ledger))), default=None)


def wake(ledger: Ledger, message: Wake, context: Context) -> Decision:
    ended = prepaying.expired(sessions.expired(ledger, context), context)
    effects, ledger = [*ended.effects], ended.state
    for at, authorization_id in [*expiring.due(ledger)]:
        if at <= context.now:
            published = expiring.event(ledger, authorization_id, context)
            effects, ledger = [*effects, published], evolve(ledger, published)
    return Folded(effects, ledger)
