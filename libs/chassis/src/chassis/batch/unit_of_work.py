"""Loads aggregates, decides on messages and evolves the states one by one in memory, then saves everything at once.

A message whose decision raises loses only its own changes. Lock order everywhere: parked keys, aggregates, shares, tasks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final
from uuid import UUID

from asyncpg import Connection

from chassis import crash
from chassis.batch import aggregates, statements
from chassis.batch.aggregates import Locked, Slot, StateCache
from chassis.batch.errors import StoreDiffers, TooLarge
from chassis.batch.inbound import Inbound
from chassis.batch.outbox import OutboxRow
from chassis.batch.statements import NOTHING_LOCKED, NOTHING_READ, JournalRow, LockedRows, Offsets, Timer
from chassis.declare.app import Outcome
from chassis.declare.service import Aggregate, Handler, Service, Share
from chassis.declare.sql import Rows, columns
from contracts.base import Command, Event, PrivateEvent, to_json
from contracts.deciding import Context, Decision, Folded, Refusal, Task, Unasked, Wake, Withdrawn, effects_of
from contracts.envelope import Received
from contracts.limits import JOURNAL_BYTES_MAX
from contracts.registry import topic_of

SHARED_ROWS_MAX: Final = 20_000
"""Shared rows that a transaction locks for several messages: with more, other workers wait for too long."""


class Split(Exception):
    """The entries from `at` on need a transaction of their own: they need shared rows that the entries before them named, or
    all together need too many."""

    def __init__(self, at: int) -> None:
        super().__init__(at)
        self.at = at


@cache
def _topic(model: type[Event] | type[Command]) -> str | None:
    """Returns the topic of a message; None if it is private, which only the journal has."""
    return None if issubclass(model, PrivateEvent) else topic_of(model)


class Batch:
    def __init__(self, service: Service, tx: Connection, now: datetime, cache: StateCache | None = None) -> None:
        self.service, self.tx, self.now, self._cache = service, tx, now, cache
        self.slots: dict[tuple[str, UUID], Slot] = {}
        self._shares: dict[Any, Any] = {}
        self._changed: dict[str, dict[Any, Any]] = {}
        self._journal: list[JournalRow] = []
        self._folded: list[Any] = []
        """What the listener has folded."""
        self._again: list[tuple[str, UUID, int]] = []
        self._closed: dict[tuple[str, UUID, UUID], int] = {}
        self.tasks: list[tuple[Inbound, str, Task]] = []
        self._ended: list[UUID] = []
        """Tasks that have reported or are withdrawn."""
        self.outbox: list[OutboxRow] = []
        """The published rows, after `save`; empty if earlier answers are published again, too."""

    # -- load ---------------------------------------------------------------------------------------------------------

    async def load(
        self, inbounds: Iterable[Inbound], locked: LockedRows = NOTHING_LOCKED, shared_rows_max: int | None = None
    ) -> None:
        """Lock and read the aggregates, then the rows that they share, each in key order. locked: rows that are locked already.

        Raises Split at the first message that would need more than `shared_rows_max` shared rows together with those before
        it; a single message may need more.
        """
        wanted: dict[str, tuple[Aggregate[Any], dict[UUID, str]]] = {}
        handled: list[tuple[Inbound, Aggregate[Any]]] = []
        for inbound in inbounds:
            if inbound.listened is not None:
                continue
            aggregate, _ = self._handler(inbound)
            wanted.setdefault(aggregate.table, (aggregate, {}))[1].setdefault(inbound.key, inbound.store_id)
            handled.append((inbound, aggregate))
        for _, (aggregate, keys) in sorted(wanted.items()):
            await self.load_aggregates(aggregate, keys, locked.get(aggregate.table))
        await self._load_closed(handled)
        for share in self.service.shares:
            needed: set[Any] = set()
            for n, (inbound, aggregate) in enumerate(handled):
                needed.update(share.needs(self.slots[aggregate.table, inbound.key].state, inbound.body))
                if shared_rows_max is not None and n and len(needed) > shared_rows_max:
                    raise Split(n)
            if needed:
                ordered = sorted(needed)
                self._shares |= dict.fromkeys(ordered) | dict(await share.load(self.tx, ordered))

    async def _load_closed(self, handled: Iterable[tuple[Inbound, Aggregate[Any]]]) -> None:
        """Looks up the operations that may be closed: those of commands to aggregates whose row has no room for all."""
        unknown = [
            (aggregate.table, inbound.key, inbound.body.operation_id)
            for inbound, aggregate in handled
            if (slot := self.slots[aggregate.table, inbound.key]).may_have_closed
            and isinstance(inbound.body, Command)
            and str(inbound.body.operation_id) not in slot.answered
        ]
        if unknown:
            self._closed = await statements.answered_before(self.tx, unknown)

    async def load_aggregates(
        self, aggregate: Aggregate[Any], keys: dict[UUID, str], locked: Iterable[Locked] | None = None
    ) -> None:
        if locked is None:
            locked = await aggregates.lock(self.tx, aggregate, keys)
        slots = await aggregates.load(self.tx, aggregate, keys, locked, self._cache)
        self.slots |= {(aggregate.table, key): slot for key, slot in slots.items()}

    def _handler(self, inbound: Inbound) -> tuple[Aggregate[Any], Handler]:
        found = self.service.handler_of(type(inbound.body), inbound.aggregate)
        if found is None:
            raise LookupError(f"{self.service.name} has no handler for {inbound.type}")
        return found

    # -- decide -------------------------------------------------------------------------------------------------------

    def decide(self, inbound: Inbound, position: int) -> Outcome:
        """Decide on one message and apply its effects. Raises any error of the decision; then it has no effect."""
        if inbound.listened is not None:
            return self._listen(inbound.listened)
        aggregate, handler = self._handler(inbound)
        slot, body = self.slots[aggregate.table, inbound.key], inbound.body
        if slot.store_id != inbound.store_id:
            if slot.revision:
                raise StoreDiffers(f"{inbound.key} belongs to another store than {inbound.store_id}")
            slot.belongs_to(inbound.store_id)
        if slot.touched:
            for share in self.service.shares:
                if any(key not in self._shares for key in share.needs(slot.state, body)):
                    raise Split(position)
        if isinstance(body, Wake):
            slot.woken = slot.touched = True
        if isinstance(body, Command) and (answer := self._answer(slot, body)) is not None:
            self._again.append((aggregate.table, slot.key, answer))
            return Outcome("done", slot.state, version=slot.shown_version)
        if inbound.if_versions is not None and slot.revision and slot.shown_version not in inbound.if_versions:
            return _outdated(slot, f"the present version is {slot.shown_version}")
        crash.deciding(inbound.id)
        context = Context(self.now, slot.key, slot.store_id, inbound.id, inbound.actor, inbound.type, self._shares)
        decision = handler.decide(slot.state, body, context)
        if (
            inbound.if_versions is not None
            and not slot.revision
            and any(isinstance(one, Event) for one in effects_of(decision))
        ):
            return _outdated(slot, "it does not exist")
        outcome = (
            self._apply(slot, inbound, decision)
            if decision
            else Outcome("done", slot.state, version=slot.shown_version, unheeded=_unheeded(slot, body))
        )
        if inbound.task_id is not None:
            self._ended.append(inbound.task_id)
        return outcome

    def _listen(self, event: Received) -> Outcome:
        assert self.service.listener is not None
        self._folded.append(self.service.listener.fold(event))
        return Outcome("done")

    def _answer(self, slot: Slot, command: Command) -> int | None:
        """The revision of the answer that the operation has had before."""
        known = slot.answered.get(str(command.operation_id))
        if known is None and self._closed:
            known = self._closed.get((slot.aggregate.table, slot.key, command.operation_id))
        return known

    def _apply(self, slot: Slot, inbound: Inbound, decision: Decision) -> Outcome:
        """Apply all effects of a message or, if one raises, none. Each event is folded once: here, or in the decision."""
        is_folded = isinstance(decision, Folded)
        effects, state = effects_of(decision), decision.state if isinstance(decision, Folded) else slot.state
        revision, version = slot.revision, slot.version
        answered: dict[str, int] = {}
        events: list[Event] = []
        shares: dict[Any, tuple[Share, Any]] = {}
        rows: list[JournalRow] = []
        tasks: list[Task] = []
        withdrawn: list[UUID] = []
        refusal: Refusal | None = None
        unheeded = False
        base = (inbound.id.int ^ _ROWS) & ~0xFFFF  # a message that is decided again gets the same row ids
        for n, effect in enumerate(effects):
            if isinstance(effect, Event):
                revision += 1
                if published := _topic(type(effect)) is not None:
                    version += 1
                    effect = effect.numbered(version)
                    if effect.operation_id is not None and effect.FINAL:
                        answered[str(effect.operation_id)] = revision
                if not is_folded:
                    state = slot.aggregate.evolve(state, effect)
                for share in self.service.shares:
                    for key in share.touched(effect):
                        current = shares[key][1] if key in shares else self._shares.get(key)
                        shares[key] = (share, share.evolve(current, key, effect))
                events.append(effect)
                rows.append(journal_row(slot, inbound, _id(base + n), effect, revision, version if published else None))
            elif isinstance(effect, Command):
                rows.append(journal_row(slot, inbound, _id(base + n), effect, None, None))
            elif isinstance(effect, Task):
                tasks.append(effect)
            elif isinstance(effect, Withdrawn):
                withdrawn.append(effect.task_id)
            elif isinstance(effect, Unasked):
                unheeded = True
            else:
                refusal = effect
        if rows and not revision:
            raise ValueError(
                f"{inbound.type} sends commands about an aggregate that has no event: they would not be found"
            )
        slot.state, slot.revision, slot.version = state, revision, version
        slot.answered.update(answered)
        slot.touched = slot.touched or bool(rows)
        slot.events += events
        slot.at += [self.now] * len(events)
        for key, (share, value) in shares.items():
            self._shares[key] = value
            self._changed.setdefault(share.name, {})[key] = value
        self._journal += rows
        self.tasks += [(inbound, slot.aggregate.table, task) for task in tasks]
        self._ended += withdrawn
        return Outcome("done", state, tuple(events), refusal, version=slot.shown_version, unheeded=unheeded)

    # -- save ---------------------------------------------------------------------------------------------------------

    async def save(self, offsets: Offsets = NOTHING_READ, keys: Sequence[UUID] = ()) -> Set[UUID]:
        """Write everything, and the offsets; returns those of `keys` that are parked now."""
        changed: dict[str, list[Slot]] = {}
        for slot in self.slots.values():
            if slot.touched:
                changed.setdefault(slot.aggregate.table, []).append(slot)
        timers = [timer for slots in changed.values() for slot in slots if (timer := _rearm(slot))]
        for slots in changed.values():
            slots.sort(key=lambda slot: slot.key.int)
        own = self._own_rows(changed)
        if closed := [row for slots in changed.values() for slot in slots for row in slot.bound()]:
            own.append(Rows(statements.CLOSED_OPERATIONS, columns(closed, 4)))
        written = await statements.write(
            self.tx, [*changed.values()], own, self._journal, self.now, timers, offsets, keys
        )
        if self._again:
            await statements.publish_again(self.tx, self._again)
        else:
            self.outbox = self._outbox(written.outbox)
        if self._ended:
            await self.tx.execute(statements.ENDED, self._ended)
        if self.tasks:
            await statements.save_tasks(self.tx, self.tasks, self.now)
        if self._folded and (listener := self.service.listener) is not None:
            rows = self._folded if listener.combine is None else await listener.combine(self.tx, self._folded)
            await statements.write_rows(self.tx, listener.write(rows))
        return written.parked

    def _own_rows(self, changed: Mapping[str, Sequence[Slot]]) -> list[Rows]:
        """Returns the rows of changed aggregates and shares in the service's own tables."""
        rows: list[Rows] = []
        for slots in changed.values():
            rows_of = slots[0].aggregate.rows
            if rows_of and (changes := [slot.change for slot in slots if slot.events]):
                rows += rows_of(changes)
        for share in self.service.shares:
            if share.rows and (states := self._changed.get(share.name)):
                rows.append(share.rows(dict(sorted(states.items()))))
        return rows

    def _outbox(self, pointers: Sequence[tuple[int, int]]) -> list[OutboxRow]:
        day = self.now.astimezone(UTC).date()
        published = (row for row in self._journal if row.topic is not None)
        return [
            OutboxRow(number, day, journal_id, row.key, row.store_id, row.type, row.message_id, row.topic or "", self.now,
                      row.cause_id, row.correlation_id, row.traceparent, row.payload)
            for (number, journal_id), row in zip(pointers, published, strict=True)
        ]  # fmt: skip

    @property
    def published(self) -> bool:
        """Whether the relay must publish rows after the commit."""
        return bool(self._journal or self._again)

    @property
    def moved_tasks(self) -> bool:
        """Whether a task may be able to run after the commit."""
        return bool(self.tasks or self._ended)

    @property
    def rows(self) -> int:
        return len(self._journal) + len(self._folded)


def _outdated(slot: Slot, detail: str) -> Outcome:
    return Outcome("outdated", slot.state, refusal=Refusal("version_outdated", detail), version=slot.shown_version)


def _unheeded(slot: Slot, body: Any) -> bool:
    """Whether a message without effects may have some when it is redelivered: its order, or the request that it answers, may
    not exist yet."""
    return slot.revision == 0 or (isinstance(body, Event) and body.operation_id is not None)


_ROWS: Final = UUID("5b0e6a3c-91d4-4f27-8c63-d2a7f05e9b18").int


def _id(number: int) -> str:
    """Returns the UUID of this number as text, as the row and the header of its record have it."""
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def journal_row(
    slot: Slot, inbound: Inbound, row_id: str, message: Event | Command, revision: int | None, version: int | None
) -> JournalRow:
    topic = _topic(type(message))
    payload = to_json(message)
    if len(payload) > JOURNAL_BYTES_MAX // 4 and len(payload.encode()) > JOURNAL_BYTES_MAX:
        raise TooLarge(
            f"{message.TYPE} would have {len(payload.encode())} bytes, at most {JOURNAL_BYTES_MAX} are published"
        )
    return JournalRow(
        slot.key, slot.store_id, slot.aggregate.table, revision, version, message.TYPE, row_id, message.operation_id,
        topic, inbound.actor, inbound.type, inbound.cause, inbound.correlation_id, inbound.traceparent, payload,
        inbound.via,
    )  # fmt: skip


def _rearm(slot: Slot) -> Timer | None:
    """The timer row to write for a changed aggregate, if any.

    A timer that is too early stays and is set again when it fires: most orders get their answer before. A timer without
    purpose is deleted: it would wake the aggregate and write its row for nothing.
    """
    due = slot.aggregate.wake_at(slot.state)
    early_enough = due is not None and slot.armed_at is not None and slot.armed_at <= due
    if not slot.woken and (early_enough or due == slot.armed_at):
        return None
    slot.armed_at = due
    return (slot.aggregate.table, slot.key, due)
