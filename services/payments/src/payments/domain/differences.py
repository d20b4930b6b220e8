"""One difference between a ledger and its gateway's own list: found, then applied, dismissed or gone.

It moves nothing itself. Its identity is what it is about, so it is the same one whenever it is found.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal
from uuid import UUID, uuid5

from contracts.base import Command, Document, Event, Frozen, Id, Open, Personal, Text, Timestamp
from contracts.deciding import Context, Effect, Refusal
from contracts.differences import (
    DifferenceClosed,
    DifferenceClosedBecause,
    DifferenceFound,
    DifferenceKeyed,
    DifferenceKind,
    OurSide,
    Proposal,
    TheirSide,
)
from contracts.payments import GatewayName
from payments.domain.reconciling import Difference as Compared

NAMESPACE: Final = UUID("0c4e8a53-5a0b-5e6d-9e0d-5f6f3a0d7b21")
APPLIED_AGAIN_AFTER: Final = timedelta(minutes=10)
"""A difference that is found again this soon after it was applied was compared before."""

Status = Literal["open", "applied", "dismissed", "gone"]


class About(Frozen):
    """What differs."""

    gateway: GatewayName
    account: Id
    kind: Annotated[DifferenceKind, Open()]
    proposal: Annotated[Proposal, Open()]
    order_id: UUID | None = None
    ours: OurSide | None = None
    theirs: TheirSide | None = None
    at: Timestamp
    """When the movement was made that is in question: by the gateway's list or, if it has none, by our ledger."""


class Difference(Document):
    schema_version: int = 1
    status: Annotated[Status, Open()] | None = None
    """Null: it was never found."""
    about: About | None = None
    found_at: Timestamp | None = None
    """When it was found first."""
    reconciliation_id: UUID | None = None
    """Which found it last, or in which it last changed."""
    closed_at: Timestamp | None = None
    actor: Text = ""
    """Who closed it."""
    reason: Annotated[Text, Personal()] = ""


def new_difference(key: UUID, store_id: str) -> Difference:
    return Difference()


def difference_id(store_id: str, gateway: str, account: str, compared: Compared) -> UUID:
    """The id of what a comparison found: of the gateway's movement or, if it has none, of our operation."""
    if compared.theirs is not None:
        subject = f"{compared.theirs.kind}\n{compared.theirs.reference}"
    else:
        assert compared.ours is not None, "a difference has a side"
        subject = f"ours\n{compared.ours.operation_id}"
    return uuid5(NAMESPACE, "\n".join((store_id, gateway, account, subject)))


def about(gateway: str, account: str, compared: Compared, ours_at: datetime | None) -> About:
    """ours_at: of our operation; needed where the gateway has no movement."""
    ours, theirs = compared.ours, compared.theirs
    at = theirs.at if theirs is not None else ours_at
    assert at is not None, "what only we have has its time from our ledger"
    return About(
        gateway=gateway, account=account, kind=compared.kind, proposal=compared.proposal, order_id=compared.order_id, at=at,
        ours=OurSide(operation_id=ours.operation_id, kind=ours.kind, currency=ours.currency, amount_minor=ours.amount_minor)
        if ours is not None else None,
        theirs=TheirSide(kind=theirs.kind, reference=theirs.reference, names=theirs.names[:10], currency=theirs.currency,
            amount_minor=theirs.amount_minor, at=theirs.at) if theirs is not None else None,
    )  # fmt: skip


# -- commands, all of payments itself ---------------------------------------------------------------------------------


class Find(DifferenceKeyed, Command, type="payments.find_difference"):
    """A reconciliation has found it. Its operation is derived from both: found again by the same one, it has no effect."""

    about: About
    reconciliation_id: UUID


class Lose(DifferenceKeyed, Command, type="payments.lose_difference"):
    """A reconciliation of its period has not found it."""

    reconciliation_id: UUID


class Apply(DifferenceKeyed, Command, type="payments.apply_difference"):
    """Its proposal was carried out: the ledger has it."""

    about: About
    """What was applied: another difference by now is left open."""
    reason: Annotated[Text, Personal()] = ""


class Dismiss(DifferenceKeyed, Command, type="payments.dismiss_difference"):
    reason: Annotated[Text, Personal()]


# -- decisions --------------------------------------------------------------------------------------------------------


def find(state: Difference, command: Find, context: Context) -> list[Effect]:
    is_known = state.about == command.about
    if is_known and state.status in ("open", "dismissed"):
        return []
    if is_known and state.status == "applied" and _just_closed(state, context):
        return []
    found = command.about
    return [
        DifferenceFound(
            difference_id=context.key, store_id=context.store_id, operation_id=command.operation_id, gateway=found.gateway,
            account=found.account, order_id=found.order_id, kind=found.kind, proposal=found.proposal, ours=found.ours,
            theirs=found.theirs, at=found.at, found_at=state.found_at or context.now,
            reconciliation_id=command.reconciliation_id,
        )
    ]  # fmt: skip


def _just_closed(state: Difference, context: Context) -> bool:
    return state.closed_at is not None and context.now - state.closed_at < APPLIED_AGAIN_AFTER


def lose(state: Difference, command: Lose, context: Context) -> list[Effect]:
    if state.status != "open":
        return []
    return [_closed(state, command, context, "gone", f"reconciliation {command.reconciliation_id} did not find it")]


def apply(state: Difference, command: Apply, context: Context) -> list[Effect]:
    if (no := _not_open(state)) is not None:
        return [no]
    if state.about != command.about:
        return [Refusal("difference_changed", "it has changed since it was read")]
    return [_closed(state, command, context, "applied", command.reason)]


def dismiss(state: Difference, command: Dismiss, context: Context) -> list[Effect]:
    if (no := _not_open(state)) is not None:
        return [no]
    return [_closed(state, command, context, "dismissed", command.reason)]


def _not_open(state: Difference) -> Refusal | None:
    if state.status is None:
        return Refusal("difference_unknown", "there is no difference of this id in your store")
    return None if state.status == "open" else Refusal("difference_closed", f"it is {state.status}")


def _closed(
    state: Difference, command: Command, context: Context, because: DifferenceClosedBecause, reason: str
) -> DifferenceClosed:
    assert state.about is not None, "what is open was found"
    return DifferenceClosed(
        difference_id=context.key, store_id=context.store_id, operation_id=command.operation_id,
        gateway=state.about.gateway, account=state.about.account, order_id=state.about.order_id, kind=state.about.kind,
        because=because, closed_at=context.now, actor=command.actor or "system:reconciliation", reason=reason,
    )  # fmt: skip


def evolve(state: Difference, event: Event) -> Difference:
    """Both events are published and have all of it, so a restored database has its differences again."""
    if isinstance(event, DifferenceFound):
        found = About(
            gateway=event.gateway, account=event.account, kind=event.kind, proposal=event.proposal, order_id=event.order_id,
            ours=event.ours, theirs=event.theirs, at=event.at,
        )  # fmt: skip
        update: dict[str, Any] = {
            "status": "open", "about": found, "found_at": event.found_at, "reconciliation_id": event.reconciliation_id,
            "closed_at": None, "actor": "", "reason": "",
        }  # fmt: skip
        return state.model_copy(update=update)
    assert isinstance(event, DifferenceClosed), event
    closed = {"status": event.because, "closed_at": event.closed_at, "actor": event.actor, "reason": event.reason}
    return state.model_copy(update=closed)
