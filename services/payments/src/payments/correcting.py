"""Whether a difference is still so, and the commands that apply its proposal to the ledger of its order."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from asyncpg import Record
from fastapi import Request
from sqlalchemy import select

from chassis.declare.app import App, Principal
from contracts.base import Command
from contracts.differences import TheirSide
from payments import comparing
from payments.domain import applying
from payments.domain.differences import About, Difference
from payments.domain.ledger import Ledger
from payments.domain.listing import Listed
from payments.tables import ledgers


class NoLongerSo(Exception):
    """The ledger has changed since the difference was found."""


async def commands(
    app: App, request: Request, difference_id: UUID, state: Difference, who: Principal
) -> Sequence[Command]:
    """The commands of an open difference; none if they were given before, and only the difference does not have it yet.

    Raises NoLongerSo and `applying.Unappliable`.
    """
    about = state.about
    assert about is not None and about.order_id is not None, "a proposal is about an order"
    rows = await app.read(select(ledgers).where(ledgers.c.key == about.order_id, ledgers.c.store_id == who.store_id))
    if not rows:
        raise NoLongerSo(f"payments has no ledger of order {about.order_id}")
    if await _is_done(app, about, who.store_id):
        return ()
    operation_id = app.operation_id(request, who, about.order_id)
    given = {"store_id": who.store_id, "actor": who.actor}
    ledger = Ledger.model_validate_json(rows[0]["doc"])
    return applying.commands(ledger, difference_id, about, operation_id, given)


async def _is_done(app: App, about: About, store_id: str) -> bool:
    """Compares the movement in question with the ledger as it is now. Returns whether the proposal was carried out already.
    Raises NoLongerSo."""
    theirs, order_id = about.theirs, about.order_id
    assert theirs is not None and order_id is not None, "what can be applied is listed by the gateway"
    if about.kind == "made_twice":
        return False  # the ledger has its other half; whether it was given back meanwhile only its answer shows
    if theirs.kind not in ("capture", "refund"):
        raise NoLongerSo(f"{theirs.kind} is no kind of this release")
    listed = Listed(
        "capture" if theirs.kind == "capture" else "refund", theirs.reference, theirs.names, theirs.currency,
        theirs.amount_minor, theirs.at,
    )  # fmt: skip
    ours = await app.fetch(comparing.MOVED, [order_id], store_id, about.gateway)
    if any(_is_stated(row, about.gateway, theirs) for row in ours):
        return True
    found = [one.kind for one in comparing.compared(order_id, [listed], ours) if one.theirs is not None]
    if about.kind not in found:
        now = f"it is {found[0]} now" if found else "the ledger has the movement now"
        raise NoLongerSo(now)
    return False


def _is_stated(row: Record, gateway: str, theirs: TheirSide) -> bool:
    """Whether an operation of the ledger was recorded, or forced, as this movement."""
    named = (row["system"], row["payment_id"]) == (gateway, theirs.reference) or (
        row["recorded"] is not None and row["gateway_reference"] == theirs.reference
    )
    stated = (row["kind"], row["amount_minor"], row["currency"], row["state"])
    return named and stated == (theirs.kind, theirs.amount_minor, theirs.currency, "succeeded")
