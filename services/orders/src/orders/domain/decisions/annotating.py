"""Decisions on what people attach to an order. A request that changes nothing states nothing."""

from __future__ import annotations

from contracts.deciding import Context, Decision
from contracts.orders import (
    AddAttachment,
    AddNote,
    Archive,
    Archived,
    AttachmentAdded,
    ChangeTags,
    MetadataChanged,
    NoteAdded,
    ReferenceChanged,
    SetMetadata,
    SetReference,
    TagsChanged,
    Unarchive,
    Unarchived,
)
from orders.domain.decisions import actions
from orders.domain.engine.story import Story
from orders.domain.processes.kinds import PROCESSES
from orders.domain.state.annotations import NONE, metadata_after, tags_after
from orders.domain.state.order import Order


def archive(order: Order, request: Archive, context: Context) -> Decision:
    if (answer := actions.check("archive", order, context, request)) is not None:
        return [*answer]
    story = Story(order, context, PROCESSES)
    story.state(Archived, answers=request.operation_id, actor=request.actor, archived_at=context.now)
    return story.decision()


def unarchive(order: Order, request: Unarchive, context: Context) -> Decision:
    if (answer := actions.check("unarchive", order, context, request)) is not None:
        return [*answer]
    story = Story(order, context, PROCESSES)
    story.state(Unarchived, answers=request.operation_id, actor=request.actor)
    return story.decision()


def add_note(order: Order, request: AddNote, context: Context) -> Decision:
    if (answer := actions.check("add_note", order, context, request)) is not None:
        return [*answer]
    story = Story(order, context, PROCESSES)
    story.state(
        NoteAdded, answers=request.operation_id, actor=request.actor, note_id=request.operation_id,
        number=(order.annotations or NONE).notes + 1, at=context.now, author=request.author or request.actor,
        audience=request.audience, text=request.text,
    )  # fmt: skip
    return story.decision()


def change_tags(order: Order, request: ChangeTags, context: Context) -> Decision:
    if (answer := actions.check("change_tags", order, context, request)) is not None:
        return [*answer]
    story = Story(order, context, PROCESSES)
    before = (order.annotations or NONE).tags
    after = tags_after(before, request.add, request.remove)
    story.state(
        TagsChanged, answers=request.operation_id, actor=request.actor, tags=after,
        added=tuple(sorted({*after} - {*before})), removed=tuple(sorted({*before} - {*after})),
    )  # fmt: skip
    return story.decision()


def set_metadata(order: Order, request: SetMetadata, context: Context) -> Decision:
    if (answer := actions.check("set_metadata", order, context, request)) is not None:
        return [*answer]
    story = Story(order, context, PROCESSES)
    after = metadata_after(order.metadata, request.metadata, request.mode)
    story.state(MetadataChanged, answers=request.operation_id, actor=request.actor, metadata=after)
    return story.decision()


def add_attachment(order: Order, request: AddAttachment, context: Context) -> Decision:
    if (answer := actions.check("add_attachment", order, context, request)) is not None:
        return [*answer]
    story = Story(order, context, PROCESSES)
    story.state(
        AttachmentAdded, answers=request.operation_id, actor=request.actor, attachment_id=request.operation_id,
        number=(order.annotations or NONE).attachments + 1, at=context.now, name=request.name,
        description=request.description, url=request.url,
    )  # fmt: skip
    return story.decision()


def set_reference(order: Order, request: SetReference, context: Context) -> Decision:
    if (answer := actions.check("set_reference", order, context, request)) is not None:
        return [*answer]
    story = Story(order, context, PROCESSES)
    story.state(ReferenceChanged, answers=request.operation_id, actor=request.actor, reference=request.reference)
    return story.decision()
