"""One process of an order while it runs: the fields that every kind has, and the data of one kind."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from pydantic import PlainValidator, SerializeAsAny

from contracts.base import Document, Timestamp

Waits = Literal["", "answer", "approval", "hold", "stock", "warehouse", "outcomes", "invoice", "person", "confirm"]
"""What a process waits for: an answer (asked again), a person or a rule, the release of all holds, stock to come, the
warehouse, the outcome of what was under way when it was cancelled or edited, the invoice of a capture, a person who decides
about a refusal, the confirmation of an edit."""
End = Literal["", "done", "undone", "refused"]


class RunData(Document):
    """What a process of one kind remembers. The subclass of a kind is defined beside its steps; the default of `kind` is its name."""

    KINDS: ClassVar[dict[str, type[RunData]]] = {}
    kind: str

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        kind = cls.model_fields["kind"].default
        if RunData.KINDS.setdefault(kind, cls) is not cls:
            raise TypeError(f"{cls.__name__}: the kind {kind!r} has the data {RunData.KINDS[kind].__name__}")


def _of_its_kind(value: Any) -> RunData:
    if isinstance(value, RunData):
        return value
    if (kind := value["kind"]) not in RunData.KINDS:
        raise ValueError(f"no kind of process {kind!r} is declared")
    return RunData.KINDS[kind].model_validate(value)


class Run(Document):
    """A process of an order."""

    id: str
    """The kind, with a number where an order may have several: `place`, `settle:<n>`, `refund:<n>`, `undo`."""
    data: Annotated[SerializeAsAny[RunData], PlainValidator(_of_its_kind)]
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

    @property
    def number(self) -> int:
        """Its number among those of its kind, from 1; 0 for a kind of which an order has one."""
        return int(self.id.partition(":")[2] or 0)


def last_number(runs: Iterable[Run], kind: str) -> int:
    """The number of the newest process of a kind; 0: there was none. The newest one is always in the order's document."""
    return max((run.number for run in runs if run.kind == kind), default=0)


class Ask(Document):
    """A command that a process sent; an answer finds its process by `operation_id`."""

    operation_id: UUID
    run: str
    step: str
    asked_at: Timestamp
    answer: str = ""
    """Type of the event that ended it; empty while it is open."""
    code: str = ""
