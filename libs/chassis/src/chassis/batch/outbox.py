"""A row of the outbox with the journal row that it points to."""

from __future__ import annotations

from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID


class OutboxRow(NamedTuple):
    """A pointer and the journal row that it points to."""

    id: int
    day: date
    journal_id: int
    key: UUID
    store_id: str
    type: str
    message_id: str
    topic: str
    at: datetime
    cause_id: str
    correlation_id: str
    traceparent: str | None
    payload: str
