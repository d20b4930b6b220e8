"""One difference between a ledger and its gateway's own list: found, then applied, dismissed or gone.

It moves nothing itself. Its identity is what it is about, so it is the same one whenever it is found. To apply it, two rows are
written: the decision of a person, then, once the ledger has what it decides, the end. Between them a task carries the decision
out, beside the process that was asked; a process that dies there leaves the task.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal
from uuid import UUID, uuid5

from contracts.base import (
    Code,
    Command,
    Counter,
    Document,
    Event,
    Frozen,
    Id,
    Open,
    Personal,
    PrivateEvent,
    Text,
    Timestamp,
)
from contracts.deciding import Context, Effect, Refusal, Reported, Task, Withdrawn
from contracts.differences import (
    DifferenceClosed,
    DifferenceClosedBecause,
    DifferenceFound,
    DifferenceKeyed,
    DifferenceKind,
    OpenDifference,
    OurSide,
    Proposal,
    TheirSide,
)
from contracts.ids import derived
from contracts.payments import GatewayName
from payments.domain.disputes import DisputeDiffers
from payments.domain.pairing import Movement
from payments.domain.reconciling import Difference as Compared

NAMESPACE: Final = UUID("0c4e8a53-5a0b-5e6d-9e0d-5f6f3a0d7b21")
APPLIED_AGAIN_AFTER: Final = timedelta(minutes=10)
"""A difference that is found again this soon after it was applied was compared before."""

Status = Literal["open", "applying", "applied", "dismissed", "gone"]
"""`applying`: a person has decided to apply it, and the ledger may not have all of it yet."""

CARRY_OUT_KIND: Final = "correction"
CARRY_OUT_AFTER_SECONDS: Final = 5
"""Until then the process that was asked carries it out. Later ones find done what it has done."""
NOTE_KIND: Final = "difference"


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
    """Who closed it, or decided to apply it."""
    reason: Annotated[Text, Personal()] = ""
    attempt: Counter = 0
    """Counts the decisions to apply it."""
    request: UUID | None = None
    """The operation of the last of them."""
    refused: Text = ""
    """Why the last of them could not be carried out."""


class Correction(Frozen):
    """A decision that is to be carried out."""

    difference_id: UUID
    store_id: Code
    attempt: Counter


class Corrected(Frozen):
    """What became of it. `over`: it was no longer to be carried out."""

    state: Literal["done", "refused", "over"]
    why: Text = ""


class Note(Frozen):
    """The ledger of an order is to have a difference, or no more."""

    difference_id: UUID
    order_id: UUID
    store_id: Code
    open: OpenDifference | None


class Noted(Frozen):
    """The ledger has it."""


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
        ours=_our_side(ours) if ours is not None else None,
        theirs=TheirSide(kind=theirs.kind, reference=theirs.reference, names=theirs.names[:10], currency=theirs.currency,
            amount_minor=theirs.amount_minor, at=theirs.at) if theirs is not None else None,
    )  # fmt: skip


def _our_side(ours: Movement) -> OurSide:
    assert ours.kind in ("capture", "refund"), "reconciliations compare nothing else"
    kind: Literal["capture", "refund"] = "capture" if ours.kind == "capture" else "refund"
    return OurSide(operation_id=ours.operation_id, kind=kind, currency=ours.currency, amount_minor=ours.amount_minor)


def of_dispute(differs: DisputeDiffers) -> tuple[UUID, About]:
    """The difference about a dispute of which a gateway states what cannot be, and its id."""
    call, stated = differs.call, differs.stated
    account = call.account or call.store_id
    ours = OurSide(
        operation_id=call.dispute_id, kind="dispute", currency=call.currency, amount_minor=differs.known_minor,
        state=differs.known_state,
    ) if differs.known_state else None  # fmt: skip
    theirs = TheirSide(
        kind="dispute", reference=call.reference, names=(stated.payment[:200],) if stated.payment else (), currency=call.currency,
        amount_minor=stated.amount_minor, at=differs.at, state=stated.state,
    )  # fmt: skip
    found = About(
        gateway=call.gateway, account=account, kind="dispute_differs", proposal="ask", order_id=call.order_id, ours=ours,
        theirs=theirs, at=differs.at,
    )  # fmt: skip
    subject = (call.store_id, call.gateway, account, f"dispute\n{call.reference}")
    return uuid5(NAMESPACE, "\n".join(subject)), found


# -- commands, all of payments itself ---------------------------------------------------------------------------------


class Find(DifferenceKeyed, Command, type="payments.find_difference"):
    """A reconciliation has found it. Its operation is derived from both: found again by the same one, it has no effect."""

    about: About
    reconciliation_id: UUID | None = None
    """Null: an answer of the gateway showed it."""


class Lose(DifferenceKeyed, Command, type="payments.lose_difference"):
    """A reconciliation of its period has not found it."""

    reconciliation_id: UUID


class Apply(DifferenceKeyed, Command, type="payments.apply_difference"):
    """A person decides to apply its proposal."""

    about: About
    """What is applied: another difference by now is left open."""
    request: UUID
    """The operation of the request, which `EndApplying` ends."""
    reason: Annotated[Text, Personal()] = ""


class EndApplying(DifferenceKeyed, Command, type="payments.end_applying_difference"):
    """What was decided is carried out: the ledger has it. Or it cannot be."""

    refused: Text = ""


class Dismiss(DifferenceKeyed, Command, type="payments.dismiss_difference"):
    reason: Annotated[Text, Personal()]


class ApplyingDecided(DifferenceKeyed, PrivateEvent, type="payments.difference_decided"):
    """A person has decided to apply it. Lost with a backup, it is open again, and what it has moved is found in the ledger."""

    attempt: Counter
    request: UUID
    actor: Text
    reason: Annotated[Text, Personal()] = ""


class ApplyingRefused(DifferenceKeyed, PrivateEvent, type="payments.difference_refused"):
    """What was decided cannot be carried out: the difference is open again."""

    why: Text


# -- decisions --------------------------------------------------------------------------------------------------------


def find(state: Difference, command: Find, context: Context) -> list[Effect]:
    if state.status == "applying":
        return []  # it was compared before; what is left of it the next reconciliation finds
    is_known = _is_known(state, command.about)
    if is_known and state.status in ("open", "dismissed"):
        return []
    if is_known and state.status == "applied" and _just_closed(state, context):
        return []
    found = command.about
    event = DifferenceFound(
        difference_id=context.key, store_id=context.store_id, operation_id=command.operation_id, gateway=found.gateway,
        account=found.account, order_id=found.order_id, kind=found.kind, proposal=found.proposal, ours=found.ours,
        theirs=found.theirs, at=found.at, found_at=state.found_at or context.now,
        reconciliation_id=command.reconciliation_id,
    )  # fmt: skip
    before = state.about.order_id if state.about is not None and state.status == "open" else None
    gone = [_note(context, before, None)] if before not in (None, found.order_id) else []
    return [event, *gone, *_noted(context, found, is_open=True)]


def _is_known(state: Difference, found: About) -> bool:
    """The gateway dates no contradiction of a dispute: the first answer with it does."""
    known = state.about
    if known is not None and found.kind == "dispute_differs" and found.theirs is not None:
        found = found.model_copy(update={"at": known.at, "theirs": found.theirs.model_copy(update={"at": known.at})})
    return known == found


def _just_closed(state: Difference, context: Context) -> bool:
    return state.closed_at is not None and context.now - state.closed_at < APPLIED_AGAIN_AFTER


def lose(state: Difference, command: Lose, context: Context) -> list[Effect]:
    if state.status != "open":
        return []
    actor, why = command.actor, f"reconciliation {command.reconciliation_id} did not find it"
    return _closed(state, context, "gone", actor, why, command.operation_id)


def apply(state: Difference, command: Apply, context: Context) -> list[Effect]:
    if state.status in ("applying", "applied") and state.request == command.request:
        return []  # the same request once more
    if (no := _not_open(state)) is not None:
        return [no]
    if state.about != command.about:
        return [Refusal("difference_changed", "it has changed since it was read")]
    decided = ApplyingDecided(
        difference_id=context.key, store_id=context.store_id, attempt=state.attempt + 1, request=command.request,
        actor=command.actor, reason=command.reason,
    )  # fmt: skip
    return [decided, _carry_out(context.key, context.store_id, decided.attempt, CARRY_OUT_AFTER_SECONDS)]


def _carry_out(key: UUID, store_id: str, attempt: int, after_seconds: float) -> Task:
    body = Correction(difference_id=key, store_id=store_id, attempt=attempt)
    return Task(task_id=_carrying_out(key, attempt), kind=CARRY_OUT_KIND, body=body, after_seconds=after_seconds)


def _carrying_out(key: UUID, attempt: int) -> UUID:
    return derived(key, f"carry out {attempt}")


def end_applying(state: Difference, command: EndApplying, context: Context) -> list[Effect]:
    if state.status == "applied" and state.request == command.operation_id:
        return []  # its task was first
    if state.status != "applying" or state.request != command.operation_id:
        return [_not_open(state) or Refusal("difference_changed", state.refused or "it was not decided to apply it")]
    return _ended(state, context, command.refused, command.operation_id)


def reported(state: Difference, report: Reported, context: Context) -> list[Effect]:
    """The report of a task: the ledger has been informed, or a decision was carried out or cannot be."""
    asked, outcome = report.asked, report.outcome
    if isinstance(asked, Note):
        return []
    assert isinstance(asked, Correction) and isinstance(outcome, Corrected), "the tasks of a difference"
    if outcome.state == "over" or state.status != "applying" or state.attempt != asked.attempt:
        return []
    return _ended(state, context, outcome.why if outcome.state == "refused" else "", state.request)


def _ended(state: Difference, context: Context, refused: str, operation_id: UUID | None) -> list[Effect]:
    withdrawn = Withdrawn(_carrying_out(context.key, state.attempt))
    if refused:
        why = ApplyingRefused(difference_id=context.key, store_id=context.store_id, why=refused[:500])
        return [why, withdrawn]
    return [*_closed(state, context, "applied", state.actor, state.reason, operation_id), withdrawn]


def dismiss(state: Difference, command: Dismiss, context: Context) -> list[Effect]:
    if (no := _not_open(state)) is not None:
        return [no]
    return _closed(state, context, "dismissed", command.actor, command.reason, command.operation_id)


def _not_open(state: Difference) -> Refusal | None:
    if state.status is None:
        return Refusal("difference_unknown", "there is no difference of this id in your store")
    now = "being applied" if state.status == "applying" else state.status
    return None if state.status == "open" else Refusal("difference_closed", f"it is {now}")


def _closed(
    state: Difference,
    context: Context,
    because: DifferenceClosedBecause,
    actor: str,
    reason: str,
    operation_id: UUID | None,
) -> list[Effect]:
    assert state.about is not None, "what is open was found"
    closed = DifferenceClosed(
        difference_id=context.key, store_id=context.store_id, operation_id=operation_id,
        gateway=state.about.gateway, account=state.about.account, order_id=state.about.order_id, kind=state.about.kind,
        because=because, closed_at=context.now, actor=actor or "system:reconciliation", reason=reason,
    )  # fmt: skip
    return [closed, *_noted(context, state.about, is_open=False)]


def _noted(context: Context, about: About, *, is_open: bool) -> list[Task]:
    """The ledger of its order is informed, in the sequence in which a difference opens and closes."""
    if about.order_id is None:
        return []
    return [_note(context, about.order_id, _summary(context.key, about) if is_open else None)]


def _note(context: Context, order_id: UUID, now: OpenDifference | None) -> Task:
    body = Note(difference_id=context.key, order_id=order_id, store_id=context.store_id, open=now)
    return Task(task_id=context.new_id(f"note on {order_id}"), kind=NOTE_KIND, body=body)


def _summary(key: UUID, about: About) -> OpenDifference:
    side = about.theirs or about.ours
    assert side is not None, "a difference has a side"
    return OpenDifference(
        difference_id=key, gateway=about.gateway, kind=about.kind, proposal=about.proposal, currency=side.currency,
        amount_minor=side.amount_minor,
    )  # fmt: skip


def resumed(key: UUID, store_id: str, state: Difference) -> list[Task]:
    """The ledger of its order is informed again, also by a difference that was restored."""
    about = state.about
    if about is None or about.order_id is None:
        return []
    now = _summary(key, about) if state.status == "open" else None
    body = Note(difference_id=key, order_id=about.order_id, store_id=store_id, open=now)
    at = state.closed_at or state.found_at
    return [Task(task_id=derived(key, f"noted again, {state.status} since {at}"), kind=NOTE_KIND, body=body)]


def evolve(state: Difference, event: Event) -> Difference:
    """Both published events have all of it, so a restored database has its differences again."""
    if isinstance(event, DifferenceFound):
        found = About(
            gateway=event.gateway, account=event.account, kind=event.kind, proposal=event.proposal, order_id=event.order_id,
            ours=event.ours, theirs=event.theirs, at=event.at,
        )  # fmt: skip
        update: dict[str, Any] = {
            "status": "open", "about": found, "found_at": event.found_at, "reconciliation_id": event.reconciliation_id,
            "closed_at": None, "actor": "", "reason": "", "refused": "",
        }  # fmt: skip
        return state.model_copy(update=update)
    if isinstance(event, ApplyingDecided):
        decided = {"attempt": event.attempt, "request": event.request, "actor": event.actor, "reason": event.reason}
        return state.model_copy(update={"status": "applying", "refused": "", **decided})
    if isinstance(event, ApplyingRefused):
        return state.model_copy(update={"status": "open", "actor": "", "reason": "", "refused": event.why})
    assert isinstance(event, DifferenceClosed), event
    closed = {"status": event.because, "closed_at": event.closed_at, "actor": event.actor, "reason": event.reason}
    return state.model_copy(update=closed)
