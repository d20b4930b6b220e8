"""One process of an order while it runs: the fields that every kind has, and the data of its kind."""

from __future__ import annotations

from typing import Annotated, Literal, get_args
from uuid import UUID

from pydantic import Field

from contracts.base import Document, Open, Timestamp
from contracts.orders import CancelCause
from contracts.payments import MoneyLine

Waits = Literal["", "answer", "approval", "stock", "warehouse", "outcomes", "person"]
"""What a process waits for: an answer (asked again), a person or a rule, stock to come, the warehouse, the outcome of what
was under way when it was cancelled, a person who decides about a refusal."""
End = Literal["", "done", "undone", "refused"]


class PlaceData(Document):
    kind: Literal["place"] = "place"
    stock_tries: int = 0
    """How often the stock was short; the pause before the next try grows with it."""


class SettleData(Document):
    kind: Literal["settle"] = "settle"
    lines: tuple[MoneyLine, ...]
    """To capture and to invoice."""
    capture_id: UUID | None = None
    """Null until it is captured, and where there is nothing to take."""


class UndoData(Document):
    kind: Literal["undo"] = "undo"
    cause: Annotated[CancelCause, Open()]
    cancel_operation_id: UUID | None = None
    """The request that it answers; null if no request caused it."""
    left: int = 0
    """How much was left to undo when the present step was asked: an answer that leaves as much needs a person."""


Data = PlaceData | SettleData | UndoData
DATA_TYPES: tuple[type[Data], ...] = get_args(Data)


class Run(Document):
    """A process of an order."""

    id: str
    """The kind, with a number where an order may have several: `place`, `settle:<n>`, `undo`."""
    data: Annotated[Data, Field(discriminator="kind")]
    step: str = ""
    waits: Waits = ""
    since: Timestamp
    """When the present step began."""
    operation_id: UUID | None = None
    """What it asked last, if that is open."""
    asks: int = 0
    interim: bool = False
    """The answer is outside of our services: payments reported `pending` (a bank transfer, a 3-D Secure page)."""
    due_at: Timestamp | None = None
    end: End = ""
    detail: str = ""

    @property
    def kind(self) -> str:
        return self.data.kind


class Ask(Document):
    """A command that a process sent; an answer finds its process by `operation_id`."""

    operation_id: UUID
    run: str
    step: str
    asked_at: Timestamp
    answer: str = ""
    """Type of the event that ended it; empty while it is open."""
    code: str = ""
