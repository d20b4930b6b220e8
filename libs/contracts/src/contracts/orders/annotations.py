"""What people attach to an order, and what that order then has: archive, notes, tags, metadata, attachments, reference.

Nothing of it is a status, and no process reads it.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints

from contracts.base import Command, Counter, Id, LongText, Open, OrderKeyed, Personal, Text, Timestamp, json_bytes
from contracts.limits import METADATA_BYTES_MAX, METADATA_DEPTH_MAX, TAGS_MAX, URL_LENGTH_MAX
from contracts.orders.event import OrderEvent

Audience = Literal["internal", "customer"]
"""Who may read a note: the store's people alone, or the customer, too."""
Merging = Literal["merge", "replace"]
"""`merge`: a JSON merge patch (RFC 7396), in which null removes a member. `replace`: the object replaces the present one."""
Tag = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_:-]{1,25}$")]
Tags = Annotated[tuple[Tag, ...], Field(max_length=TAGS_MAX)]
NoteText = Annotated[str, StringConstraints(min_length=1, max_length=10_000, pattern=r"^[^\x00]*$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^\x00]*$")]
URL_PATTERN: Final = r"^https?://[A-Za-z0-9._~:\[\]%-]{1,255}([/?#][A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*)?$"
Url = Annotated[str, StringConstraints(max_length=URL_LENGTH_MAX, pattern=URL_PATTERN)]
"""An absolute http or https address in ASCII, without credentials: `javascript:` and `data:` addresses would run in the
browser of the person who opens them."""
JSON_OBJECT_PATTERN: Final = r"^\{[^\x00]*\}$"
_INTEGER_MAX: Final = 2**53 - 1


def json_object(value: Any) -> str:
    """Returns a JSON object as compact text, without changing a value of it.

    Raises ValueError for: another JSON value, more than METADATA_BYTES_MAX bytes of UTF-8, more than METADATA_DEPTH_MAX
    levels, a number that is not finite or an integer beyond 2^53, text with NUL or without a form in UTF-8.
    """
    if not isinstance(value, dict):
        raise ValueError("a JSON object is expected")
    _check(value, METADATA_DEPTH_MAX)
    text = json_bytes(value)
    if len(text) > METADATA_BYTES_MAX:
        raise ValueError(f"it has {len(text)} bytes, at most {METADATA_BYTES_MAX} are stored")
    return text.decode()


def _check(value: Any, levels: int) -> None:
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise ValueError("text has no NUL and no half of a surrogate pair")
    elif isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise ValueError("a number is finite")
    elif isinstance(value, int):
        if abs(value) > _INTEGER_MAX:
            raise ValueError("an integer is between -2^53 and 2^53; send a longer one as text")
    elif value is not None:
        if not levels:
            raise ValueError(f"it is nested deeper than {METADATA_DEPTH_MAX} levels")
        for below in (*value, *value.values()) if isinstance(value, dict) else value:
            _check(below, levels - 1)


def _compact(text: str) -> str:
    try:
        value = json.loads(text)  # orjson would round a long integer
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None
    return json_object(value)


JsonObject = Annotated[
    str, StringConstraints(max_length=METADATA_BYTES_MAX, pattern=JSON_OBJECT_PATTERN), AfterValidator(_compact)
]
"""A JSON object as text: its members have no schema of ours, so a message carries it as one value."""


# -- requests ---------------------------------------------------------------------------------------------------------


class Archive(OrderKeyed, Command, type="orders.archive"):
    """Leaves the order out of lists that do not ask for archived ones. It changes no status, and the order goes on."""


class Unarchive(OrderKeyed, Command, type="orders.unarchive"):
    """Shows the order in all lists again."""


class AddNote(OrderKeyed, Command, type="orders.add_note"):
    """Adds a note. A note is never changed or removed: a correction is another one."""

    text: Annotated[NoteText, Personal()]
    audience: Audience = "internal"
    author: Annotated[Text, Personal()] = ""
    """The name of the person who wrote it; empty: the actor."""


class ChangeTags(OrderKeyed, Command, type="orders.change_tags"):
    """Removes tags, then adds tags; both or, if too many would remain, neither."""

    add: Tags = ()
    remove: Tags = ()


class SetMetadata(OrderKeyed, Command, type="orders.set_metadata"):
    metadata: Annotated[JsonObject, Personal()]
    mode: Merging = "merge"


class AddAttachment(OrderKeyed, Command, type="orders.add_attachment"):
    """Adds a link. It is never changed or removed."""

    name: Annotated[Name, Personal()]
    description: Annotated[LongText, Personal()] = ""
    url: Annotated[Url, Personal()]


class SetReference(OrderKeyed, Command, type="orders.set_reference"):
    """The id of the order in a system of the store; null removes it."""

    reference: Id | None


# -- events -----------------------------------------------------------------------------------------------------------


class Archived(OrderEvent, type="orders.archived"):
    archived_at: Timestamp
    actor: Text


class Unarchived(OrderEvent, type="orders.unarchived"):
    actor: Text


class NoteAdded(OrderEvent, type="orders.note_added"):
    note_id: UUID
    """The operation of the request that added it."""
    number: Counter
    """Counts the notes of the order from 1."""
    at: Timestamp
    actor: Text
    author: Annotated[Text, Personal()]
    audience: Annotated[Audience, Open()]
    text: Annotated[LongText, Personal()]


class TagsChanged(OrderEvent, type="orders.tags_changed"):
    actor: Text
    added: Tags = ()
    removed: Tags = ()
    tags: Tags
    """All tags after the change, sorted."""


class MetadataChanged(OrderEvent, type="orders.metadata_changed"):
    actor: Text
    metadata: Annotated[JsonObject, Personal()]
    """The whole object after the change."""


class AttachmentAdded(OrderEvent, type="orders.attachment_added"):
    attachment_id: UUID
    """The operation of the request that added it."""
    number: Counter
    """Counts the attachments of the order from 1."""
    at: Timestamp
    actor: Text
    name: Annotated[Text, Personal()]
    description: Annotated[LongText, Personal()] = ""
    url: Annotated[Url, Personal()]


class ReferenceChanged(OrderEvent, type="orders.reference_changed"):
    actor: Text
    reference: Id | None
    """Null: it was removed."""
