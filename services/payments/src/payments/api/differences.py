"""Differences between ledgers and gateways: listed, applied by one click, or left."""

from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, StringConstraints
from sqlalchemy import select, tuple_

from chassis.declare.app import App, Outcome, Principal
from chassis.http.commands import CHANGE, etag, precondition
from chassis.http.paging import Cursor, Cursors, Limit, Page
from chassis.http.problems import Problem, answers, known
from contracts.base import Text, Timestamp, shown_word
from contracts.differences import DifferenceKind, OurSide, Proposal, TheirSide
from contracts.ids import derived
from contracts.payments import GatewayName
from payments import correcting
from payments.correcting import Refused
from payments.domain.differences import About, Apply, Difference, Dismiss, EndApplying, Status
from payments.tables import differences

LIST = Cursors("differences", Timestamp, UUID)
TITLES: Final = {
    "difference_changed": "The difference has changed",
    "difference_closed": "The difference is closed",
    "difference_unknown": "No such difference",
}
REFUSED: Final = ("difference_unknown", "difference_closed", "difference_changed")


class Stated(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    reason: Text = ""


class Left(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    reason: Annotated[Text, StringConstraints(min_length=1)]
    """Why nothing is corrected."""


class DifferenceShown(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)

    difference_id: UUID
    version: int
    status: Literal["open", "applying", "applied", "dismissed", "gone", "unknown"]
    """`applying`: it was decided, and is carried out within seconds. `gone`: a later reconciliation did not find it."""
    gateway: str
    account: str
    kind: DifferenceKind | Literal["unknown"]
    proposal: Proposal | Literal["unknown"]
    """What `apply` does. `book`: the ledger books what the gateway has made. `refund`: the gateway gives back what it took twice.
    `ask`: nothing; a person finds out first."""
    order_id: UUID | None
    ours: OurSide | None
    theirs: TheirSide | None
    at: Timestamp
    """When the movement was made that is in question."""
    found_at: Timestamp
    reconciliation_id: UUID | None
    """In which it was found, or changed last. Null: an answer of the gateway showed it."""
    closed_at: Timestamp | None
    actor: str
    """Who closed it, or decided to apply it."""
    reason: str
    refused: str
    """Why the last decision to apply it could not be carried out; empty: it was, or there was none."""


def add_routes(router: APIRouter, app: App) -> None:
    Reconciler = Annotated[Principal, Depends(app.principal("payments.reconcile"))]

    @router.get("/differences", response_model=Page[DifferenceShown])
    async def list_differences(
        who: Reconciler,
        status: Status | None = None,
        kind: DifferenceKind | None = None,
        gateway: GatewayName | None = None,
        order_id: UUID | None = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Any:
        """The differences of the store, those found last first."""
        found = select(differences).where(differences.c.store_id == who.store_id)
        filters = {"status": status, "kind": kind, "gateway": gateway, "order_id": order_id}
        found = found.where(*(differences.c[name] == value for name, value in filters.items() if value is not None))
        if (last := LIST.after(cursor)) is not None:
            found = found.where(tuple_(differences.c.found_at, differences.c.key) < last)
        rows = await app.read(found.order_by(differences.c.found_at.desc(), differences.c.key.desc()).limit(limit + 1))
        page = LIST.page(rows, limit, key=lambda row: (row["found_at"], row["key"]))
        return {**page, "items": [shown(row["key"], _state(row), row["version"]) for row in page["items"]]}

    @router.get(
        "/differences/{difference_id}", response_model=DifferenceShown, openapi_extra=answers("difference_unknown")
    )
    async def one(difference_id: UUID, who: Reconciler, response: Response) -> Any:
        row = await _row(difference_id, who)
        response.headers.update(etag(row["version"]))
        return shown(difference_id, _state(row), row["version"])

    @router.post(
        "/differences/{difference_id}/apply", response_model=DifferenceShown, dependencies=CHANGE,
        openapi_extra=answers(*REFUSED, "proposal_missing", "proposal_refused"),
    )  # fmt: skip
    async def apply(request: Request, difference_id: UUID, body: Stated, who: Reconciler) -> Response:
        """Carry out the proposal, once: the movement is booked, or the gateway is asked to give it back. The latter also needs the
        scope `payments.refund`."""
        if (before := await app.answered(request, who)) is not None:
            return before
        row = await _row(difference_id, who)
        state, operation_id = _state(row), app.operation_id(request, who, difference_id)
        assert state.about is not None, "a row is of a difference that was found"
        if state.status == "open":
            precondition(request, row["version"])
            if state.about.proposal == "ask" or state.about.order_id is None:
                raise Problem(
                    409,
                    "proposal_missing",
                    "Nothing is proposed",
                    "Find out what has happened; then record or dismiss it.",
                )
            if state.about.proposal == "refund" and not who.may("payments.refund"):
                raise known("scope_missing", "to give it back this call needs the scope payments.refund, too")
            state = await _decide(difference_id, state.about, operation_id, body.reason, who)
        if state.status == "applying" and state.request == operation_id:
            await _carry_out(difference_id, state, operation_id, who)
        command = EndApplying(
            difference_id=difference_id, store_id=who.store_id, actor=who.actor, operation_id=operation_id
        )
        return await app.execute(request, who, command, lambda outcome: _answer(difference_id, outcome))

    @router.post(
        "/differences/{difference_id}/dismiss", response_model=DifferenceShown, dependencies=CHANGE,
        openapi_extra=answers(*REFUSED),
    )  # fmt: skip
    async def dismiss(request: Request, difference_id: UUID, body: Left, who: Reconciler) -> Response:
        """Leave it as it is. It stays dismissed when it is found again, unless it has changed."""
        await _row(difference_id, who)
        command = Dismiss(
            difference_id=difference_id, store_id=who.store_id, actor=who.actor, reason=body.reason,
            operation_id=app.operation_id(request, who, difference_id),
        )  # fmt: skip
        return await app.execute(request, who, command, lambda outcome: _answer(difference_id, outcome))

    async def _row(key: UUID, who: Principal) -> Any:
        found = select(differences).where(differences.c.key == key, differences.c.store_id == who.store_id)
        rows = await app.read(found)
        if not rows:
            raise Problem(404, "difference_unknown", "No such difference", f"This store has no difference {key}.")
        return rows[0]

    async def _decide(difference_id: UUID, about: About, operation_id: UUID, reason: str, who: Principal) -> Difference:
        """Stores the decision: from here on it is carried out, by this process or another. Raises Problem."""
        command = Apply(
            difference_id=difference_id, store_id=who.store_id, actor=who.actor, about=about, reason=reason,
            operation_id=derived(operation_id, "decided"), request=operation_id,
        )  # fmt: skip
        outcome = await app.submit(who, command)
        if outcome.refusal is not None:
            code = outcome.refusal.code
            raise Problem(404 if code == "difference_unknown" else 409, code, TITLES[code], outcome.refusal.detail)
        if not isinstance(outcome.state, Difference):
            raise known("service_failed", "nothing was done; the operators see it in the log")
        return outcome.state

    async def _carry_out(difference_id: UUID, state: Difference, operation_id: UUID, who: Principal) -> None:
        try:
            await correcting.carry_out(app, difference_id, state, who)
        except Refused as error:
            command = EndApplying(
                difference_id=difference_id, store_id=who.store_id, actor=who.actor, operation_id=operation_id,
                refused=error.detail[:500] or error.code,
            )  # fmt: skip
            await app.submit(who, command)
            if error.code == "difference_changed":
                raise Problem(409, "difference_changed", TITLES[error.code], error.detail) from None
            raise Problem(
                409, "proposal_refused", "The proposal cannot be carried out", error.detail, **error.more
            ) from None


def _state(row: Any) -> Difference:
    return Difference.model_validate_json(row["doc"])


def _answer(difference_id: UUID, outcome: Outcome) -> tuple[int, Any]:
    return 200, shown(difference_id, outcome.state, outcome.version)


def shown(difference_id: UUID, state: Difference, version: int) -> dict[str, Any]:
    about = state.about
    assert about is not None, "a difference that is shown was found"
    return {
        "difference_id": difference_id, "version": version, "status": shown_word(state.status, Status),
        "gateway": about.gateway, "account": about.account, "kind": shown_word(about.kind, DifferenceKind),
        "proposal": shown_word(about.proposal, Proposal), "order_id": about.order_id, "ours": about.ours, "theirs": about.theirs,
        "at": about.at, "found_at": state.found_at, "reconciliation_id": state.reconciliation_id, "closed_at": state.closed_at,
        "actor": state.actor, "reason": state.reason, "refused": state.refused,
    }  # fmt: skip
