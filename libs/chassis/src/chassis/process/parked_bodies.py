"""Bodies of the requests about parked messages, and of their answers."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from chassis.http.paging import RowNumber
from chassis.work import parked as work
from contracts.base import Code, Text

State = Literal["waiting", "replayed", "edited", "discarded"]
ReplayOutcome = Literal["replayed", "edited", "discarded", "stopped", "unreplayable", "unknown"]


class Edit(BaseModel, extra="forbid"):
    value: Annotated[str, Field(max_length=1_100_000)]
    """The whole new body, JSON text."""
    dry_run: bool = False
    """Only check the body: nothing is stored, and nothing is replayed."""


class Discard(BaseModel, extra="forbid"):
    reason: Text = ""
    """Why it may be lost: stored with the message and shown."""


class BulkDiscard(BaseModel):
    """The waiting messages that fit all filters given; at least one is."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "anyOf": [
                {"required": [name], "properties": {name: {"type": kind}}}
                for name, kind in (("ids", "array"), ("key", "string"), ("cause", "string"))
            ]
        },
    )

    reason: Annotated[Text, Field(min_length=1)]
    ids: Annotated[list[RowNumber], Field(max_length=work.DISCARD_MAX)] | None = None
    key: UUID | None = None
    """The record key: an order id, or the id of another aggregate."""
    cause: Code | None = None


class BulkReplay(BaseModel, extra="forbid"):
    """A set that does not grow: messages that are parked meanwhile are not in it."""

    ids: Annotated[list[RowNumber], Field(min_length=1, max_length=work.REPLAY_MAX)]


class ParkedMessage(BaseModel):
    """A message that was set aside, in a list."""

    id: int
    key: UUID | None
    """The id in the record key; null if the record has none that can be read."""
    store_id: str | None
    type: str | None
    topic: str
    partition: int | None
    offset: int | None
    cause: str
    detail: str
    raised_at: str | None
    """The line of our code that raised the error, `<module>:<line>`; null without one."""
    state: State
    version: int
    """Counts the changes of the record: edited, failed again, settled."""
    parked_at: datetime
    edited_from: int | None
    """The message whose body was edited."""
    settled_by: str | None
    settled_at: datetime | None
    reason: str | None


class RecordHeader(BaseModel):
    name: str
    value: str | None


class ParkedWhole(ParkedMessage):
    """The message with its bytes, as text: bytes that are not UTF-8 are replaced."""

    record_key: str | None
    headers: list[RecordHeader]
    value: str | None
    """Null: the record has none, or it cannot be masked."""
    value_bytes: int | None
    """Size of the whole value; null: all of it is stored."""
    masked: bool
    """Whether the scope `personal.view` is missing. Personal values of `value` are `***` then, and a body that does not validate
    is null: which of its values are personal is not stated."""
    stack: list[str]
    """`<module>:<line> <function>`: our code that the error has passed, the line that raised it last."""
    behind: int
    """Messages of its key that wait behind it."""


class ParkedGroup(BaseModel):
    """Waiting messages that failed for one reason."""

    service: str
    cause: str
    raised_at: str | None
    types: list[str]
    count: int
    or_more: bool
    """10,000 messages are counted, and there are more; then the next two numbers may be too small."""
    keys: int
    """Orders, and other aggregates, that wait."""
    behind: int
    """Messages that are in no group: each waits behind one of these. The oldest 10,000 of all groups are counted."""
    oldest_at: datetime
    newest_at: datetime
    newest_id: int
    """`id_max` of a list that has exactly the messages of now."""
    detail: str
    """What the newest message states."""


class ParkedGroups(BaseModel):
    items: list[ParkedGroup]
    """At most 500, the largest first."""


class ParkedKey(BaseModel):
    """An order, or another aggregate, that waits behind a parked message."""

    key: UUID
    since: datetime
    """When the first of its messages that wait was parked."""


class Replayed(BaseModel):
    replayed: int
    """Number of messages that were replayed."""
    left: int
    """Number of messages of the key that still wait."""


class Edited(Replayed):
    stopped_at: int | None = None
    """A later message of the key that failed."""
    detail: str | None = None


class ReplayedOne(BaseModel):
    id: int
    outcome: ReplayOutcome
    """`edited`, `discarded`: before this request. `stopped`: it failed again, or one of its key before it did."""
    detail: str


class BulkReplayed(BaseModel):
    items: list[ReplayedOne]
    """An outcome per message, in the order of the request."""


class Discarded(BaseModel):
    discarded: int
    """The id of the message."""


class BulkDiscarded(BaseModel):
    discarded: int
    """Number of messages."""
    more: bool
    """Whether messages that fit may be left."""
