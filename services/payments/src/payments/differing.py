"""Tasks of differences: what was decided is carried out also if the process that was asked died, the ledger of the order is
informed of what is open, and what a gateway contradicts of a dispute becomes one."""

from __future__ import annotations

from typing import cast

from sqlalchemy import select

from chassis.declare.app import App, Principal
from chassis.declare.service import Attempt, TaskKind
from contracts.ids import derived
from payments import correcting
from payments.domain.differences import (
    CARRY_OUT_KIND,
    NOTE_KIND,
    Corrected,
    Correction,
    Difference,
    Find,
    Note,
    Noted,
    of_dispute,
)
from payments.domain.disputes import DIFFERS_KIND, DisputeDiffers
from payments.domain.noting import NoteDifference
from payments.settings import Settings
from payments.tables import differences

ACTOR = "reconciliation"


def tasks(app: App) -> tuple[TaskKind, ...]:
    settings = cast(Settings, app.settings)

    async def carry_out(decided: Correction, attempt: Attempt) -> Corrected:
        found = select(differences.c.doc).where(
            differences.c.key == decided.difference_id, differences.c.store_id == decided.store_id
        )
        rows = await app.read(found)
        state = Difference.model_validate_json(rows[0]["doc"]) if rows else Difference()
        if (state.status, state.attempt) != ("applying", decided.attempt):
            return Corrected(state="over")
        try:
            await correcting.carry_out(app, decided.difference_id, state, _system(decided.store_id))
        except correcting.Refused as refused:
            return Corrected(state="refused", why=(refused.detail or refused.code)[:500])
        return Corrected(state="done")

    async def note(noted: Note, attempt: Attempt) -> Noted:
        command = NoteDifference(
            order_id=noted.order_id, store_id=noted.store_id, operation_id=attempt.task_id, actor=f"system:{ACTOR}",
            difference_id=noted.difference_id, open=noted.open,
        )  # fmt: skip
        outcome = await app.submit(_system(noted.store_id), command)
        if outcome.error is not None:
            raise outcome.error
        return Noted()

    async def find(differs: DisputeDiffers, attempt: Attempt) -> Noted:
        difference_id, about = of_dispute(differs)
        command = Find(
            difference_id=difference_id, store_id=differs.call.store_id, actor=f"system:{ACTOR}", about=about,
            operation_id=derived(difference_id, f"found by {attempt.task_id}"),
        )  # fmt: skip
        outcome = await app.submit(_system(differs.call.store_id), command)
        if outcome.error is not None:
            raise outcome.error
        return Noted()

    carrying = TaskKind(
        kind=CARRY_OUT_KIND, body=Correction, outcome=Corrected, run=carry_out, lease_seconds=settings.gateway_lease_seconds
    )  # fmt: skip
    noting = TaskKind(kind=NOTE_KIND, body=Note, outcome=Noted, run=note, lease_seconds=settings.gateway_lease_seconds)
    finding = TaskKind(
        kind=DIFFERS_KIND, body=DisputeDiffers, outcome=Noted, run=find, lease_seconds=settings.gateway_lease_seconds
    )
    return carrying, noting, finding


def _system(store_id: str) -> Principal:
    return Principal(ACTOR, store_id, frozenset(), kind="system")
