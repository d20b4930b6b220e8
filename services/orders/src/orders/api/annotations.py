"""Routes of what people attach to an order: archive, notes, tags, metadata, attachments, reference."""

from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel
from sqlalchemy import Table, select

from chassis.declare.app import App, Outcome, Principal
from chassis.http.bodies import as_json
from chassis.http.commands import CHANGE
from chassis.http.paging import Cursor, Cursors, Limit, Page
from chassis.http.problems import Invalid, Problem, answers, invalid, known, respond
from contracts.base import Counter, Id, LongText, Text
from contracts.orders import (
    AddAttachment,
    AddNote,
    Archive,
    Audience,
    ChangeTags,
    Merging,
    SetMetadata,
    SetReference,
    Unarchive,
    json_object,
)
from contracts.orders.annotations import Name, NoteText, Tags, Url
from orders.api.problems import PROBLEMS
from orders.api.requests import addressed, refusals
from orders.api.shown import plain, shown
from orders.domain.decisions.actions import ACTIONS
from orders.responses.order import AttachmentAccepted, AttachmentShown, NoteAccepted, NoteShown, OrderShown
from orders.tables import attachments, notes, orders

SHOWN_MAX: Final = 20
"""Notes and attachments, the latest ones, that an order is shown with."""
NOTES, ATTACHMENTS = Cursors("notes", UUID, Counter), Cursors("attachments", UUID, Counter)


class NoteBody(BaseModel, extra="forbid"):
    text: NoteText
    audience: Audience = "internal"
    author: Text = ""
    """The name of the person who wrote it; empty: the name of the API key."""


class TagsBody(BaseModel, extra="forbid"):
    """Tags are removed first, then added."""

    add: Tags = ()
    remove: Tags = ()


class AttachmentBody(BaseModel, extra="forbid"):
    name: Name
    description: LongText = ""
    url: Url


class ReferenceBody(BaseModel, extra="forbid"):
    reference: Id | None
    """Null removes it."""


async def latest(
    app: App, table: Table, store_id: str, key: UUID, *, before: int | None = None, limit: int = SHOWN_MAX
) -> list[dict[str, Any]]:
    """Returns notes or attachments of an order, newest first; `before`: those whose number is smaller."""
    names = [column for column in table.c if column.name not in ("order_id", "store_id")]
    query = select(*names).where(table.c.order_id == key, table.c.store_id == store_id)
    if before is not None:
        query = query.where(table.c.number < before)
    rows = await app.read(query.order_by(table.c.number.desc()).limit(limit))
    return [{name: plain(value) for name, value in row.items()} for row in rows]


def add_routes(router: APIRouter, app: App) -> None:
    view = app.principal("orders.view")
    may = {name: app.principal(action.scope) for name, action in ACTIONS.items()}

    @router.post(
        "/orders/{order_id}/archive", response_model=OrderShown, dependencies=CHANGE,
        openapi_extra=refusals("archive"),
    )  # fmt: skip
    async def archive(request: Request, who: Annotated[Principal, Depends(may["archive"])], order_id: UUID) -> Response:
        """Leave the order out of lists that do not ask for archived ones. It changes no status, and the order goes on."""
        message = Archive(**addressed(app, request, who, order_id))
        return await app.execute(request, who, message, lambda o: (200, shown(order_id, o.state, o.version)))

    @router.post(
        "/orders/{order_id}/unarchive", response_model=OrderShown, dependencies=CHANGE,
        openapi_extra=refusals("unarchive"),
    )  # fmt: skip
    async def unarchive(
        request: Request, who: Annotated[Principal, Depends(may["unarchive"])], order_id: UUID
    ) -> Response:
        """Show the order in all lists again."""
        message = Unarchive(**addressed(app, request, who, order_id))
        return await app.execute(request, who, message, lambda o: (200, shown(order_id, o.state, o.version)))

    @router.post(
        "/orders/{order_id}/notes", status_code=201, response_model=NoteAccepted, dependencies=CHANGE,
        openapi_extra=refusals("add_note"),
    )  # fmt: skip
    async def add_note(
        request: Request, who: Annotated[Principal, Depends(may["add_note"])], order_id: UUID, body: NoteBody
    ) -> Response:
        """Add a note, for the store's people or for the customer. It is never changed: a correction is another note."""
        message = AddNote(**addressed(app, request, who, order_id), **body.model_dump())

        def answer(outcome: Outcome) -> tuple[int, Any]:
            return 201, {"note_id": str(message.operation_id), **shown(order_id, outcome.state, outcome.version)}

        return await app.execute(request, who, message, answer)

    @router.post(
        "/orders/{order_id}/attachments", status_code=201, response_model=AttachmentAccepted, dependencies=CHANGE,
        openapi_extra=refusals("add_attachment"),
    )  # fmt: skip
    async def add_attachment(
        request: Request,
        who: Annotated[Principal, Depends(may["add_attachment"])],
        order_id: UUID,
        body: AttachmentBody,
    ) -> Response:
        """Add a link, http or https. The address is stored, never opened."""
        message = AddAttachment(**addressed(app, request, who, order_id), **body.model_dump())

        def answer(outcome: Outcome) -> tuple[int, Any]:
            return 201, {"attachment_id": str(message.operation_id), **shown(order_id, outcome.state, outcome.version)}

        return await app.execute(request, who, message, answer)

    @router.post(
        "/orders/{order_id}/tags", response_model=OrderShown, dependencies=CHANGE,
        openapi_extra=refusals("change_tags"),
    )  # fmt: skip
    async def change_tags(
        request: Request, who: Annotated[Principal, Depends(may["change_tags"])], order_id: UUID, body: TagsBody
    ) -> Response:
        """Remove tags, then add tags; both or, if too many would remain, neither."""
        message = ChangeTags(**addressed(app, request, who, order_id), add=body.add, remove=body.remove)
        return await app.execute(request, who, message, lambda o: (200, shown(order_id, o.state, o.version)))

    async def set_metadata(
        request: Request, who: Principal, order_id: UUID, body: dict[str, Any], mode: Merging
    ) -> Response:
        try:
            metadata = json_object(body)
        except ValueError as error:
            raise invalid(Invalid("body", "", f"Value error, {error}")) from None
        message = SetMetadata(**addressed(app, request, who, order_id), metadata=metadata, mode=mode)
        return await app.execute(request, who, message, lambda o: (200, shown(order_id, o.state, o.version)))

    @router.patch(
        "/orders/{order_id}/metadata", response_model=OrderShown, dependencies=CHANGE,
        openapi_extra=refusals("set_metadata"),
    )  # fmt: skip
    async def merge_metadata(
        request: Request, who: Annotated[Principal, Depends(may["set_metadata"])], order_id: UUID,
        body: dict[str, Any],
    ) -> Response:  # fmt: skip
        """Merge an object into the metadata, as RFC 7396 states: null removes a member, an object is merged member by member."""
        return await set_metadata(request, who, order_id, body, "merge")

    @router.put(
        "/orders/{order_id}/metadata", response_model=OrderShown, dependencies=CHANGE,
        openapi_extra=refusals("set_metadata"),
    )  # fmt: skip
    async def replace_metadata(
        request: Request, who: Annotated[Principal, Depends(may["set_metadata"])], order_id: UUID,
        body: dict[str, Any],
    ) -> Response:  # fmt: skip
        """Replace the metadata whole."""
        return await set_metadata(request, who, order_id, body, "replace")

    @router.put(
        "/orders/{order_id}/reference", response_model=OrderShown, dependencies=CHANGE,
        openapi_extra=refusals("set_reference"),
    )  # fmt: skip
    async def set_reference(
        request: Request, who: Annotated[Principal, Depends(may["set_reference"])], order_id: UUID, body: ReferenceBody
    ) -> Response:
        """Store the id of the order in a system of the store."""
        message = SetReference(**addressed(app, request, who, order_id), reference=body.reference)
        return await app.execute(request, who, message, lambda o: (200, shown(order_id, o.state, o.version)))

    async def page(
        who: Principal, order_id: UUID, table: Table, cursors: Cursors, limit: int, cursor: str | None
    ) -> Response:
        place = cursors.after(cursor)
        if place is not None and place[0] != order_id:
            raise known("cursor_invalid", "use next_cursor of the page before, of the same order")
        rows = await latest(app, table, who.store_id, order_id, before=place[1] if place else None, limit=limit + 1)
        if not rows and not await app.read(
            select(orders.c.key).where(orders.c.key == order_id, orders.c.store_id == who.store_id)
        ):
            raise Problem(404, "order_unknown", PROBLEMS["order_unknown"].title, f"no order {order_id} in your store")
        return respond(as_json(200, cursors.page(rows, limit, lambda row: (order_id, row["number"]))))

    @router.get(
        "/orders/{order_id}/notes", response_model=Page[NoteShown], openapi_extra=answers("order_unknown")
    )  # fmt: skip
    async def list_notes(
        who: Annotated[Principal, Depends(view)], order_id: UUID, limit: Limit = 50, cursor: Cursor = None
    ) -> Response:
        """The notes of an order, newest first."""
        return await page(who, order_id, notes, NOTES, limit, cursor)

    @router.get(
        "/orders/{order_id}/attachments", response_model=Page[AttachmentShown], openapi_extra=answers("order_unknown")
    )  # fmt: skip
    async def list_attachments(
        who: Annotated[Principal, Depends(view)], order_id: UUID, limit: Limit = 50, cursor: Cursor = None
    ) -> Response:
        """The attachments of an order, newest first."""
        return await page(who, order_id, attachments, ATTACHMENTS, limit, cursor)
