"""`GET /v1/journal` of every service: what was decided about one aggregate, and why."""

from collections.abc import Callable
from datetime import datetime
from inspect import Parameter, Signature
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, Field, ValidationError

from chassis import journal
from chassis.declare.app import Principal
from chassis.declare.service import Service
from chassis.http.bodies import as_json
from chassis.http.paging import Cursor, Cursors, Limit, Page, RowNumber
from chassis.http.problems import Invalid, invalid, respond
from chassis.journal import Entry
from chassis.process.parts import Parts
from contracts.personal import masked

PERSONAL: Final = "personal.view"
"""The scope that shows the values of `Personal` fields."""
ENTRIES: Final = Cursors("journal", RowNumber)


class JournalEntry(BaseModel):
    """An event of the aggregate, or a command that it sent to a service."""

    service: str
    """Whose journal it is in: it decided the entry, and sent it if it is published."""
    at: datetime
    kind: Literal["event", "command"]
    type: str
    revision: int | None
    """Counts the events of the aggregate, private ones too; null for a command."""
    version: int | None
    """Counts the published events of the aggregate; null for a command and for a private event."""
    published: bool
    """Whether it is on a topic; false for a private event."""
    message_id: UUID
    """`ce_id` on the topic."""
    operation_id: UUID | None
    actor: str
    """`api-key:<name>` or `person:<subject>` of a request; else the service, the timer or the task that sent the message."""
    via: str | None
    """The API key that acted for the person; null if no key did."""
    cause_type: str
    cause_id: str
    """The message on which it was decided: its `ce_id`, which is `message_id` in the journal of the service that sent it. The
    cause of a request, a timer, a report of a task or a connector's record is in no journal."""
    correlation_id: str
    body: dict[str, Any] | None = Field(
        description="A personal value is `***` without the scope `personal.view`; null then for a type of another release."
    )


def routes(app: Parts) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["journal"])
    subject, read_as = _subject(app.service), Bodies(app.service)

    @router.get("/journal", response_model=Page[JournalEntry])
    async def entries(
        who: Annotated[Principal, Depends(app.principal("journal.view"))],
        of: Annotated[tuple[str, UUID], Depends(subject)],
        operation_id: UUID | None = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Response:
        """The events of one aggregate and the commands that it sent, newest last. An unknown key has none."""
        table, key = of
        (after,) = ENTRIES.after(cursor) or (0,)
        found = await journal.entries(
            app.read, table, who.store_id, key, after=after, limit=limit + 1, operation_id=operation_id
        )
        page = ENTRIES.page(found, limit, lambda entry: (entry.id,))
        personal = who.may(PERSONAL)
        shown = [_shown(app.service.name, entry, read_as(entry, personal=personal)) for entry in page["items"]]
        return respond(as_json(200, {**page, "items": shown}))

    return router


def _subject(service: Service) -> Callable[..., tuple[str, UUID]]:
    """A dependency that reads table and key of one aggregate: each has a query parameter named by its key field."""
    tables = {aggregate.key: aggregate.table for aggregate in service.aggregates}

    def subject(**keys: UUID | None) -> tuple[str, UUID]:
        named = [(tables[name], key) for name, key in keys.items() if key is not None]
        if len(named) != 1:
            raise invalid(Invalid("query", "", f"Value error, name one of {', '.join(tables)}"))
        return named[0]

    def parameter(name: str, table: str) -> Parameter:
        about: Any = Query(description=f"The key of one of {table}.")
        if len(tables) == 1:
            return Parameter(name, Parameter.KEYWORD_ONLY, annotation=Annotated[UUID, about])
        return Parameter(name, Parameter.KEYWORD_ONLY, annotation=Annotated[UUID | None, about], default=None)

    named = Signature([parameter(name, table) for name, table in tables.items()])
    subject.__signature__ = named  # type: ignore[attr-defined]  # where FastAPI reads the parameters
    return subject


class Bodies:
    """Reads the bodies of a service's journal for an answer."""

    def __init__(self, service: Service) -> None:
        self._models = journal.models(service)

    def __call__(self, entry: Entry, *, personal: bool) -> Any:
        """Returns the body as JSON values. personal: with the values of `Personal` fields.

        Without them a body that the model of its type cannot read is None: which of its values are personal is not stated.
        """
        if personal:
            return orjson.loads(entry.payload)
        model = self._models.get(entry.type)
        try:
            return masked(model.model_validate_json(entry.payload)) if model is not None else None
        except ValidationError:
            return None


def _shown(service: str, entry: Entry, body: Any) -> dict[str, Any]:
    return {
        "service": service, "at": entry.at, "kind": "command" if entry.revision is None else "event", "type": entry.type,
        "revision": entry.revision, "version": entry.version, "published": entry.topic is not None,
        "message_id": entry.message_id, "operation_id": entry.operation_id, "actor": entry.actor, "via": entry.via,
        "cause_type": entry.cause_type, "cause_id": entry.cause_id, "correlation_id": entry.correlation_id, "body": body,
    }  # fmt: skip
