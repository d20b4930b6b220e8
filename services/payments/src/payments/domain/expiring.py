"""Authorizations that their issuers hold for some days only: a day before the end what is left of one is published, once."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from contracts.deciding import Context
from contracts.payments import ExpiryAnnounced
from payments.domain.ledger import Authorization, Ledger

NOTICE: Final = timedelta(days=1)
"""Time for a person, or a buyer, before the issuer releases the amount."""


def due(ledger: Ledger) -> Iterable[tuple[datetime, UUID]]:
    """When which authorization has to be published as expiring."""
    for authorization_id, one in ledger.authorizations.items():
        if one.held_until is not None and not one.is_expiring and _left(one):
            yield one.held_until - NOTICE, authorization_id


def event(ledger: Ledger, authorization_id: UUID, context: Context) -> ExpiryAnnounced:
    one = ledger.authorizations[authorization_id]
    assert one.held_until is not None and ledger.currency is not None, "it is due"
    return ExpiryAnnounced(
        order_id=context.key,
        store_id=context.store_id,
        currency=ledger.currency,
        totals=ledger.totals(),
        authorization_id=authorization_id,
        gateway=one.gateway,
        account=one.account,
        held_until=one.held_until,
        amount_minor=_left(one),
    )


def folded(ledger: Ledger, published: ExpiryAnnounced) -> Ledger:
    one = ledger.authorizations[published.authorization_id].model_copy(update={"is_expiring": True})
    return ledger.model_copy(update={"authorizations": {**ledger.authorizations, published.authorization_id: one}})


def _left(authorization: Authorization) -> int:
    return sum(line.left_minor for line in authorization.lines.values())
