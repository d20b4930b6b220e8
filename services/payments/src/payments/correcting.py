"""Carries out what a person has decided about a difference: the commands that bring the ledger to the other side, each once.

The ids of their operations are derived from the difference and the decision. So it is the same if the process that was asked
carries it out, the task that the decision has left, both, or one after the other died half-way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal
from uuid import UUID

from asyncpg import Record
from sqlalchemy import select

from chassis import crash
from chassis.declare.app import App, Principal
from contracts.base import Command
from contracts.differences import TheirSide
from contracts.payments import Failed, ForceRefused, Refund
from payments import comparing
from payments.domain import applying
from payments.domain.applying import Unappliable
from payments.domain.differences import About, Difference
from payments.domain.ledger import Ledger
from payments.domain.listing import Listed
from payments.tables import ledgers


class Refused(Exception):
    """A decision cannot be carried out. `code` is that of the problem, `more` its members."""

    def __init__(self, code: Literal["difference_changed", "proposal_refused"], detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.code, self.detail, self.more = code, detail, more


class NoLongerSo(Exception):
    """The ledger has changed since the difference was found."""


async def carry_out(app: App, difference_id: UUID, state: Difference, who: Principal) -> None:
    """Brings the ledger to what was decided; what of it was done before stays. Raises Refused, and any error of the database."""
    assert state.about is not None, "what was decided on was found"
    try:
        commands = await _commands(app, difference_id, state, who)
    except NoLongerSo as error:
        raise Refused("difference_changed", str(error)) from None
    except Unappliable as error:
        raise Refused("proposal_refused", str(error)) from None
    for command in commands:
        await _submit(app, who, command)
    if commands and not await _is_carried_out(app, state.about, commands, who.store_id):
        raise Refused(
            "proposal_refused", "the ledger has refused it before"
        )  # under this id: it is not decided on again
    crash.point("after_correction")


async def _submit(app: App, who: Principal, command: Command) -> None:
    outcome = await app.submit(who, command)
    if outcome.error is not None:
        raise outcome.error
    if outcome.refusal is not None:
        more = {"because": outcome.refusal.code, **outcome.refusal.more}
        raise Refused("proposal_refused", outcome.refusal.detail, **more)
    refused = next((event for event in outcome.events if isinstance(event, (Failed, ForceRefused))), None)
    if refused is not None:
        raise Refused("proposal_refused", refused.reason, because=refused.code)


async def _commands(app: App, difference_id: UUID, state: Difference, who: Principal) -> Sequence[Command]:
    """The commands of a decision; none if the ledger has what they do. Raises NoLongerSo and Unappliable."""
    about = state.about
    assert about is not None and about.order_id is not None, "a proposal is about an order"
    rows = await app.read(select(ledgers).where(ledgers.c.key == about.order_id, ledgers.c.store_id == who.store_id))
    if not rows:
        raise NoLongerSo(f"payments has no ledger of order {about.order_id}")
    if await _is_booked(app, about, who.store_id):
        return ()
    given = {"store_id": who.store_id, "actor": state.actor}
    ledger = Ledger.model_validate_json(rows[0]["doc"])
    return applying.commands(ledger, difference_id, about, state.attempt, given)


async def _is_booked(app: App, about: About, store_id: str) -> bool:
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


ASKED = "select state from operations where operation_id = $1 and store_id = $2"


async def _is_carried_out(app: App, about: About, commands: Sequence[Command], store_id: str) -> bool:
    """Whether the ledger has what was submitted: a command that is repeated after a crash gets no second answer."""
    refund = next((one for one in commands if isinstance(one, Refund)), None)
    if refund is None:
        try:
            return await _is_booked(app, about, store_id)
        except NoLongerSo:
            return False
    rows = await app.fetch(ASKED, refund.operation_id, store_id)
    return any(row["state"] in ("asked", "pending", "succeeded") for row in rows)
