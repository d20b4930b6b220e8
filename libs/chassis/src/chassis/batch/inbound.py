"""A message as a batch handles it: from a topic, a request, a timer, a task or a replay."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from chassis.batch.record import Record
from chassis.declare.app import Outcome, Rendered
from contracts.envelope import Received

Origin = Literal["topic", "http", "timer", "task", "replay"]


@dataclass(slots=True)
class Inbound:
    origin: Origin
    key: UUID
    store_id: str
    id: UUID
    """Root of every id that the decision derives. It is a function of store and key, too, for every origin."""
    type: str
    body: Any
    correlation_id: str
    traceparent: str | None = None
    actor: str = ""
    via: str | None = None
    """The actor of the API key that acts for the person in `actor`."""
    ce_id: str | None = None
    """The id that its sender gave to a record."""
    aggregate: str | None = None
    """The table of the aggregate, for timers and reports; the type of other messages determines it."""
    claim: UUID | None = None
    """Its row in the inbox; null if another mechanism deduplicates it (Idempotency-Key, task, timer)."""
    record: Record | None = None
    listened: Received | None = None
    """The record as it was read, if it is for the service's listener."""
    task_id: UUID | None = None
    parked_id: int | None = None
    idempotency: Idempotency | None = None
    render: Callable[[Outcome], Rendered] | None = None
    if_versions: Container[int] | None = None
    """The versions of the aggregate that the request accepts; null: any, and none."""

    @property
    def cause(self) -> str:
        """What the journal, and `ce_causationid` of a record, name as the cause of what is decided on it."""
        return self.ce_id if self.ce_id is not None else str(self.id)


@dataclass(frozen=True, slots=True)
class Idempotency:
    store_id: str
    key: str
    """SHA-256 of principal, method, path and Idempotency-Key, in hex."""
    fingerprint: bytes
    """SHA-256 of query and body."""
