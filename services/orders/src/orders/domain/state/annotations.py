"""What people attach to an order, as its state has it, and the folds of those events.

The row has tags, reference and counts. Notes and attachments are rows of tables of their own, so an order stays small
however many it has; metadata is a part of the row that only its own changes write.
"""

from __future__ import annotations

import json
from typing import Any, Final

from contracts.base import Document, Event, Timestamp
from contracts.orders import (
    Archived,
    AttachmentAdded,
    Merging,
    MetadataChanged,
    NoteAdded,
    ReferenceChanged,
    TagsChanged,
    Unarchived,
    json_object,
)


class Annotations(Document):
    archived_at: Timestamp | None = None
    reference: str | None = None
    tags: tuple[str, ...] = ()
    """Sorted."""
    notes: int = 0
    attachments: int = 0


NONE: Final = Annotations()


def folded(annotations: Annotations | None, event: Event) -> dict[str, object]:
    """Returns the fields of the order that the event changes: `annotations`, or `metadata`."""
    if isinstance(event, MetadataChanged):
        return {"metadata": event.metadata}
    match event:
        case Archived():
            change: dict[str, object] = {"archived_at": event.archived_at}
        case Unarchived():
            change = {"archived_at": None}
        case NoteAdded():
            change = {"notes": event.number}
        case AttachmentAdded():
            change = {"attachments": event.number}
        case TagsChanged():
            change = {"tags": event.tags}
        case ReferenceChanged():
            change = {"reference": event.reference}
        case _:
            raise TypeError(f"{type(event).__name__} annotates no order")
    return {"annotations": (annotations or NONE).model_copy(update=change)}


FOLDED: Final = (
    Archived,
    Unarchived,
    NoteAdded,
    AttachmentAdded,
    TagsChanged,
    MetadataChanged,
    ReferenceChanged,
)


def tags_after(present: tuple[str, ...], add: tuple[str, ...], remove: tuple[str, ...]) -> tuple[str, ...]:
    """Removed first, then added: a tag in both is there afterwards.

    >>> tags_after(("b", "late"), add=("b", "a"), remove=("late", "b"))
    ('a', 'b')
    """
    return tuple(sorted({*present} - {*remove} | {*add}))


def metadata_after(present: str | None, given: str, mode: Merging) -> str:
    """Returns the metadata after a change. `merge` applies `given` as a JSON merge patch (RFC 7396): null removes a member, an
    object is merged member by member, any other value replaces what is there.

    Raises ValueError if the result is larger than what is stored.

    >>> metadata_after('{"erp": {"id": 7, "state": "new"}, "old": 1}', '{"erp": {"state": "sent"}, "old": null}', "merge")
    '{"erp":{"id":7,"state":"sent"}}'
    """
    return given if mode == "replace" else json_object(_patched(json.loads(present or "{}"), json.loads(given)))


def _patched(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _patched(result.get(name), value)
    return result
