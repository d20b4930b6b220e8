"""Drafts: created, and changed while they are open."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

from asyncpg import Connection
from fastapi import APIRouter, Body, Depends, Request
from pydantic import ValidationError

from chassis.declare.app import App
from chassis.http.commands import COMMAND, fingerprint, idempotency_key
from chassis.http.problems import Invalid, Problem, answers, invalid, known
from contracts.ids import order_id
from dintero_compat import drafts
from dintero_compat.api.desk import Asked, Desk
from dintero_compat.domain import placing, shapes
from dintero_compat.drafts import Draft
from dintero_compat.refusals import refused
from dintero_compat.responses import DraftDeleted, DraftShown

CHANGES = answers(
    "account_unknown", "draft_unknown", "draft_settled", "number_taken", "item_exists", "option_uncovered"
)


def add_routes(router: APIRouter, desk: Desk) -> None:
    app = desk.app
    Viewer = Annotated[Asked, Depends(desk.asked("orders.view"))]
    Editor = Annotated[Asked, Depends(desk.asked("orders.edit"))]

    @router.post(
        "/draft_orders",
        response_model=DraftShown,
        response_model_exclude_unset=True,
        dependencies=COMMAND,
        openapi_extra=CHANGES,
    )
    async def create_draft(request: Request, asked: Editor, body: shapes.Draft) -> dict[str, Any]:
        """Create a draft. With an Idempotency-Key, a repeated request is answered with the draft as it is now."""
        return shown(await created(app, request, asked, body))

    @router.get(
        "/draft_orders/{draft_id}",
        response_model=DraftShown,
        response_model_exclude_unset=True,
        openapi_extra=answers("account_unknown", "draft_unknown"),
    )
    async def read_draft(asked: Viewer, draft_id: UUID) -> dict[str, Any]:
        """A draft. After its completion, the customer and the addresses are in the order alone."""
        return shown(await app.write(lambda tx: drafts.locked(tx, asked.account, draft_id)))

    @router.put(
        "/draft_orders/{draft_id}", response_model=DraftShown, response_model_exclude_unset=True, openapi_extra=CHANGES
    )
    async def change_draft(
        asked: Editor, draft_id: UUID, body: Annotated[dict[Literal["options", "order"], dict[str, Any]], Body()]
    ) -> dict[str, Any]:
        """Replace the fields of `order` and `options` that the body states; `items` as a whole."""

        def changed(doc: Mapping[str, Any]) -> dict[str, Any]:
            return {name: {**doc[name], **body.get(name, {})} for name in ("options", "order")}

        return await _change(asked, draft_id, changed)

    @router.delete(
        "/draft_orders/{draft_id}",
        response_model=DraftDeleted,
        openapi_extra=answers("account_unknown", "draft_unknown", "draft_settled"),
    )
    async def delete_draft(asked: Editor, draft_id: UUID) -> dict[str, Any]:
        """Delete an open draft."""

        async def work(tx: Connection) -> None:
            await drafts.delete(tx, asked.account, await drafts.open_locked(tx, asked.account, draft_id))

        await app.write(work)
        return {"id": str(draft_id), "status": "deleted"}

    @router.post(
        "/draft_orders/{draft_id}/items",
        response_model=DraftShown,
        response_model_exclude_unset=True,
        openapi_extra=CHANGES,
    )
    async def add_item(asked: Editor, draft_id: UUID, body: shapes.Item) -> dict[str, Any]:
        """Add an item."""
        added = _dumped(body)
        return await _change(asked, draft_id, lambda doc: _with_items(doc, [*doc["order"]["items"], added]))

    @router.put(
        "/draft_orders/{draft_id}/items/{line_id}",
        response_model=DraftShown,
        response_model_exclude_unset=True,
        openapi_extra=answers("account_unknown", "draft_unknown", "draft_settled", "item_unknown", "option_uncovered"),
    )
    async def change_item(
        asked: Editor, draft_id: UUID, line_id: int, body: Annotated[dict[str, Any], Body()]
    ) -> dict[str, Any]:
        """Replace the fields of an item that the body states."""

        def changed(doc: Mapping[str, Any]) -> dict[str, Any]:
            items = doc["order"]["items"]
            if all(item["line_id"] != line_id for item in items):
                raise refused("item_unknown", f"the draft has no item {line_id}")
            kept = [{**item, **body, "line_id": line_id} if item["line_id"] == line_id else item for item in items]
            return _with_items(doc, kept)

        return await _change(asked, draft_id, changed)

    @router.delete(
        "/draft_orders/{draft_id}/items/{line_id}",
        response_model=DraftShown,
        response_model_exclude_unset=True,
        openapi_extra=answers("account_unknown", "draft_unknown", "draft_settled", "item_unknown"),
    )
    async def remove_item(asked: Editor, draft_id: UUID, line_id: int) -> dict[str, Any]:
        """Remove an item."""

        def changed(doc: Mapping[str, Any]) -> dict[str, Any]:
            left = [item for item in doc["order"]["items"] if item["line_id"] != line_id]
            if len(left) == len(doc["order"]["items"]):
                raise refused("item_unknown", f"the draft has no item {line_id}")
            return _with_items(doc, left)

        return await _change(asked, draft_id, changed)

    async def _change(asked: Asked, draft_id: UUID, changed: Any) -> dict[str, Any]:
        async def work(tx: Connection) -> Draft:
            draft = await drafts.open_locked(tx, asked.account, draft_id)
            try:
                body = shapes.Draft.model_validate(changed(draft.doc))
            except ValidationError as error:
                raise not_valid(error) from None
            doc = {**draft.doc, **_doc(body)}
            return await drafts.change(tx, asked.account, draft, doc, body.order.order_id or draft.number)

        return shown(await app.write(work))


async def created(app: App, request: Request, asked: Asked, body: shapes.Draft) -> Draft:
    """Stores the draft of a request; a repeated request finds it. Raises Problem 409, 501."""
    account = asked.account
    doc = _doc(body)
    parent = order_id(account.store_id, placing.CHANNEL, account.aid, "drafts")
    draft_id = app.operation_id(request, asked.who, parent)
    if idempotency_key(request) is not None:
        doc["sent"] = (await fingerprint(request)).hex()
    reserve = body.options.generate_order_id == "ALPHANUMERIC_9_RESERVE"

    async def work(tx: Connection) -> Draft:
        return await drafts.create(tx, account, draft_id, doc, body.order.order_id, reserve=reserve, by=asked.who.actor)

    draft: Draft = await app.write(work)
    if draft.doc.get("sent", doc.get("sent")) != doc.get("sent"):
        raise known("idempotency_key_reused", "use a new key per request")
    return draft


def not_valid(error: ValidationError) -> Problem:
    """Returns the problem 422 of a body that does not fit."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return invalid(*(Invalid("body", "".join(f"/{part}" for part in one["loc"]), one["msg"]) for one in found))


def _doc(draft: shapes.Draft) -> dict[str, Any]:
    """Returns a draft as it is stored: each item has its number. Raises Problem 409, 501."""
    if wanted := list(shapes.uncovered(draft)):
        raise refused("option_uncovered", f"not covered: {', '.join(wanted[:5])}")
    doc = {"options": _dumped(draft.options), "order": _dumped(draft.order)}
    return _with_items(doc, doc["order"].get("items", []))


def _dumped(part: shapes.Sent) -> dict[str, Any]:
    dumped: dict[str, Any] = part.model_dump(mode="json", exclude_unset=True)
    return dumped


def _with_items(doc: Mapping[str, Any], items: list[dict[str, Any]]) -> dict[str, Any]:
    """Gives items without a `line_id` the next free one. Raises Problem 409 if two have the same."""
    taken = [item["line_id"] for item in items if item.get("line_id") is not None]
    if len(set(taken)) < len(taken):
        raise refused("item_exists", "two items have the same line_id")
    following = max(taken, default=0)
    numbered = []
    for item in items:
        if item.get("line_id") is None:
            following += 1
            item = item | {"line_id": following}
        numbered.append(item)
    return {**doc, "order": {**doc["order"], "items": numbered}}


def shown(draft: Draft) -> dict[str, Any]:
    """Returns a draft in Dintero's shape."""
    order = {**draft.doc["order"], **({"order_id": draft.number} if draft.number else {})}
    gross = sum(item["gross_amount"] for item in order["items"])
    tax = sum(line["amount"] for item in order["items"] for line in item.get("tax_lines", ()))
    return {
        "id": str(draft.draft_id),
        "status": "open" if draft.status == "completing" else draft.status,
        "version": draft.version,
        "created_at": draft.created_at.isoformat(),
        "created_by": draft.created_by,
        "updated_at": draft.updated_at.isoformat(),
        "options": draft.doc["options"],
        "order": order | {"gross_amount": gross, "net_amount": gross - tax},
    }
