"""Folds a service's own published events back into a database that was restored from a backup."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from chassis.batch import statements
from chassis.batch.inbound import Inbound
from chassis.batch.unit_of_work import Batch, journal_row
from chassis.declare.service import Aggregate


class Adopted(NamedTuple):
    """An own event that was read from the own topic, with the id and the time of its first publication."""

    inbound: Inbound
    message_id: str
    at: datetime


async def adopt(batch: Batch, own: Sequence[Adopted]) -> int:
    """Fold events that this service published and its database lost; events up to the stored version change nothing.

    They are written to the journal again and not published again.
    Raises ValueError if an event between the stored version and the next one is missing.
    Shared rows are folded afterwards, see `chassis.kafka.recovery`.
    """
    owned = [(batch.service.aggregate_of(one.inbound.body), one) for one in own]
    keys: dict[str, tuple[Aggregate[Any], dict[UUID, str]]] = {}
    for aggregate, (inbound, _, _) in owned:
        keys.setdefault(aggregate.table, (aggregate, {}))[1][inbound.key] = inbound.store_id
    for _, (aggregate, stores) in sorted(keys.items()):
        await batch.load_aggregates(aggregate, stores)
    rows: list[tuple[Any, ...]] = []
    lost: dict[tuple[str, UUID], Inbound] = {}
    for aggregate, (inbound, message_id, at) in owned:
        slot, event = batch.slots[aggregate.table, inbound.key], inbound.body
        if event.version <= slot.version:
            continue
        if event.version != slot.version + 1:
            raise ValueError(
                f"version {event.version} of {inbound.key} follows version {slot.version}: events are missing"
            )
        slot.revision, slot.version = slot.revision + 1, event.version
        slot.state = aggregate.evolve(slot.state, event)
        slot.touched = True
        slot.events.append(event)
        slot.at.append(at)
        if event.operation_id is not None and event.FINAL:
            slot.answered[str(event.operation_id)] = slot.revision
        rows.append((*journal_row(slot, inbound, message_id, event, slot.revision, event.version), at))
        lost[aggregate.table, inbound.key] = inbound
    for place, inbound in lost.items():
        slot = batch.slots[place]
        if (resume := slot.aggregate.resume) is not None:
            tasks = resume(inbound.key, inbound.store_id, slot.state)
            batch.tasks += [(inbound, slot.aggregate.table, task) for task in tasks]
    if rows:
        await batch.save()
        await statements.journal_adopted(batch.tx, rows)
    return len(rows)
