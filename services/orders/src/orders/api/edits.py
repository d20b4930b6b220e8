"""Routes of edits of a placed order: open, change, preview, confirm, discard; and the history of its lines."""

from collections.abc import Mapping
from operator import attrgetter
from typing import Annotated, Any, Final, NamedTuple
from uuid import UUID

from fastapi import APIRouter, Body, Depends, Request, Response
from pydantic import BaseModel

from chassis import journal
from chassis.declare.app import App, Outcome, Principal
from chassis.http.bodies import as_json
from chassis.http.commands import CHANGE, etag
from chassis.http.problems import Problem, answers, respond
from chassis.http.strict import Strict
from contracts.base import Code, Command, Text
from contracts.orders import ChangeEdit, ConfirmEdit, DiscardEdit, EditChanges, Edited, OpenEdit
from contracts.snapshot import OrderContent
from orders.api.closed import LEFT, closed_run, closed_runs, filled
from orders.api.loading import load
from orders.api.problems import PROBLEMS
from orders.api.requests import addressed, refusals
from orders.domain.content.amounts import payable
from orders.domain.content.previews import Preview, total
from orders.domain.decisions.actions import ACTIONS
from orders.domain.engine.story import waits_for
from orders.domain.processes import edited
from orders.domain.state.order import Order, is_invoiced
from orders.domain.state.run import Run
from orders.responses.edits import EditList, EditShown, LineHistory

NONE: Final[Mapping[str, str]] = {}


class NewEdit(EditChanges):
    """The changes; without any, they are put later."""

    reason: Text = ""


class ConfirmBody(BaseModel, extra="forbid"):
    preview: Code | None = None
    """The `preview` of the edit that was shown: 409 `edit_stale` if it would show another one now. Null: any preview is confirmed."""


class DiscardBody(BaseModel, extra="forbid"):
    reason: Text = ""


def add_routes(router: APIRouter, app: App) -> None:
    view = app.principal("orders.view")
    may = {
        name: app.principal(ACTIONS[name].scope)
        for name in ("open_edit", "change_edit", "confirm_edit", "discard_edit")
    }

    @router.post(
        "/orders/{order_id}/edits", status_code=201, response_model=EditShown, dependencies=CHANGE,
        openapi_extra=refusals("open_edit"),
    )  # fmt: skip
    async def create(
        request: Request,
        who: Annotated[Principal, Depends(may["open_edit"])],
        order_id: UUID,
        body: Annotated[NewEdit, Strict(), Body(default_factory=NewEdit)],
    ) -> Response:
        """Open an edit of a placed order. Until it is confirmed or discarded, the order is asked nothing further."""
        message = OpenEdit(**addressed(app, request, who, order_id), changes=changes_of(body), reason=body.reason)
        place = {"location": f"/v1/orders/{order_id}/edits/{message.operation_id}"}
        return await executed(request, who, message, message.operation_id, 201, place)

    @router.put(
        "/orders/{order_id}/edits/{edit_id}", response_model=EditShown, dependencies=CHANGE,
        openapi_extra=refusals("change_edit"),
    )  # fmt: skip
    async def change(
        request: Request,
        who: Annotated[Principal, Depends(may["change_edit"])],
        order_id: UUID,
        edit_id: UUID,
        body: Annotated[EditChanges, Strict()],
    ) -> Response:
        """Replace the changes of an edit that is not confirmed."""
        message = ChangeEdit(**addressed(app, request, who, order_id), edit_id=edit_id, changes=body)
        return await executed(request, who, message, edit_id)

    @router.get("/orders/{order_id}/edits", response_model=EditList, openapi_extra=answers("order_unknown"))
    async def listed(who: Annotated[Principal, Depends(view)], order_id: UUID) -> Response:
        """The edits of an order, the oldest first."""
        order, version = await load(app, who, order_id)
        runs = [*await closed_runs(app, who, order_id, order, edited.KIND), *edited.of_order(order)]
        items = [shown(order, run) for run in sorted(runs, key=attrgetter("number"))]
        return respond(as_json(200, {"items": items}, etag(version)))

    @router.get(
        "/orders/{order_id}/edits/{edit_id}", response_model=EditShown,
        openapi_extra=answers("order_unknown", "edit_unknown"),
    )  # fmt: skip
    async def read(who: Annotated[Principal, Depends(view)], order_id: UUID, edit_id: UUID) -> Response:
        """The edit; while it is open with its preview: what it changes line by line, and each reason why it cannot be made."""
        order, version = await load(app, who, order_id)
        run = edited.find(order, edit_id) or await closed_run(app, who, order_id, order, edited.KIND, edit_id)
        if run is None:
            raise Problem(404, "edit_unknown", PROBLEMS["edit_unknown"].title, f"the order has no edit {edit_id}")
        return respond(as_json(200, shown(order, run), etag(version)))

    @router.post(
        "/orders/{order_id}/edits/{edit_id}/confirm", status_code=202, response_model=EditShown, dependencies=CHANGE,
        openapi_extra=refusals("confirm_edit"),
    )  # fmt: skip
    async def confirm(
        request: Request,
        who: Annotated[Principal, Depends(may["confirm_edit"])],
        order_id: UUID,
        edit_id: UUID,
        body: Annotated[ConfirmBody, Body(default_factory=ConfirmBody)],
    ) -> Response:
        """Carry an edit out. Confirming it twice changes nothing. One that leaves no piece of the order cancels it."""
        message = ConfirmEdit(**addressed(app, request, who, order_id), edit_id=edit_id, preview=body.preview)
        return await executed(request, who, message, edit_id, 202)

    @router.post(
        "/orders/{order_id}/edits/{edit_id}/discard", response_model=EditShown, dependencies=CHANGE,
        openapi_extra=refusals("discard_edit"),
    )  # fmt: skip
    async def discard(
        request: Request,
        who: Annotated[Principal, Depends(may["discard_edit"])],
        order_id: UUID,
        edit_id: UUID,
        body: Annotated[DiscardBody, Body(default_factory=DiscardBody)],
    ) -> Response:
        """End an edit that is not confirmed. The order is as it was."""
        message = DiscardEdit(**addressed(app, request, who, order_id), edit_id=edit_id, reason=body.reason)
        return await executed(request, who, message, edit_id)

    async def executed(
        request: Request, who: Principal, message: Command, edit_id: UUID, status: int = 200, headers: Mapping[str, str] = NONE,
    ) -> Response:  # fmt: skip
        """Runs a request about an edit, and answers it with the edit."""

        def answer(outcome: Outcome) -> tuple[int, Any, Mapping[str, str]]:
            run = edited.find(outcome.state, edit_id)
            return status, shown(outcome.state, run) if run is not None else LEFT, headers

        answered = await app.execute(request, who, message, answer)
        return await filled(answered, app, who, message.key, edited.KIND, edit_id, shown)

    @router.get("/orders/{order_id}/lines", response_model=LineHistory, openapi_extra=answers("order_unknown"))
    async def lines(who: Annotated[Principal, Depends(view)], order_id: UUID) -> Response:
        """The history of the order's lines, which only grows. A line that no edit has changed is shown as it was sold."""
        order, version = await load(app, who, order_id)
        assert order.content is not None
        now = current_lines(order.content)
        titles = {line.line_id: (line.sku, line.title) for line in now}
        items = [
            _row(None, line.line_id, "original", line.quantity, line.amount_minor)
            for line in now
            if line.line_id not in order.line_rows
        ]
        found = (
            await journal.entries(app.read, "orders", who.store_id, order_id, only=(Edited.TYPE,))
            if order.rows_count
            else ()
        )
        for entry in found:
            event = Edited.model_validate_json(entry.payload)
            titles = {
                **{line.external_line_id: (line.sku, line.title or line.sku or "") for line in event.order.lines},
                **titles,
            }
            items += [
                _row(row.row, row.line_id, row.kind, row.quantity, row.amount_minor)
                | {"related_to": row.related_to, "edit_id": str(event.edit_id), "at": entry.at.isoformat()}
                for row in event.lines
            ]
        named = [
            item | dict(zip(("sku", "title"), titles.get(item["line_id"], (None, "")), strict=True)) for item in items
        ]
        body = {"currency": order.content.currency, "total_minor": order.grand_minor, "items": named}
        return respond(as_json(200, body, etag(version)))


class SoldLine(NamedTuple):
    line_id: str
    sku: str | None
    title: str
    quantity: int
    amount_minor: int | None


def current_lines(content: OrderContent) -> list[SoldLine]:
    """Returns the lines as they are sold now. Their amounts are null until the marketplace has stated every price."""
    if content.priced:
        return [SoldLine(*line[:5]) for line in payable(content)]
    return [
        SoldLine(line.external_line_id, line.sku, line.title or line.sku or line.external_line_id, line.pieces, None)
        for line in content.lines
        if line.pieces
    ]


def _row(row: int | None, line_id: str, kind: str, quantity: int, amount_minor: int | None) -> dict[str, Any]:
    return {"row": row, "line_id": line_id, "kind": kind, "quantity": quantity, "amount_minor": amount_minor,
            "related_to": None, "edit_id": None, "at": None}  # fmt: skip


def changes_of(body: EditChanges) -> EditChanges:
    return EditChanges(**{name: getattr(body, name) for name in EditChanges.model_fields})


def shown(order: Order, run: Run) -> dict[str, Any]:
    """An edit as the API shows it; with a preview as long as it is not true or discarded."""
    data = edited.data_of(run)
    preview = edited.preview(order, run) if not data.outcome and not run.end and order.status == "editing" else None
    return {
        "edit_id": str(data.edit_id),
        "process": run.id,
        "state": edited.state_of(run),
        "waits_for": waits_for(run),
        "detail": data.explanation or run.detail,
        "code": data.code,
        "cause": data.cause,
        "actor": data.actor,
        "reason": data.reason,
        "opened_at": data.opened_at.isoformat(),
        "expires_at": data.expires_at.isoformat(),
        "changes": data.changes.model_dump(mode="json"),
        "preview": _preview(order, preview) if preview is not None else None,
    }


def _preview(order: Order, preview: Preview) -> dict[str, Any]:
    change, money = preview.difference, preview.money
    assert order.content is not None
    documents = is_invoiced(order)
    skus = {line.line_id: line.sku for line in change.lines}

    def pieces(moved: dict[str, int]) -> list[dict[str, Any]]:
        return [{"line_id": line_id, "sku": skus[line_id], "quantity": quantity} for line_id, quantity in moved.items()]

    return {
        "preview": preview.digest,
        "currency": order.content.currency,
        "total_minor": change.total_before,
        "new_total_minor": change.total_after,
        "difference_minor": change.total_after - change.total_before,
        "discount_left_minor": preview.discount_minor,
        "cancels_order": edited.cancels(preview.content),
        "lines": [
            {
                "line_id": line.line_id, "sku": line.sku, "title": line.title, "changes": line.changes,
                "quantity_before": line.pieces_before, "quantity_after": line.pieces_after,
                "amount_before_minor": line.amount_before, "amount_after_minor": line.amount_after,
            }
            for line in change.lines
        ],
        "stock": {"reserve": pieces(change.to_reserve), "release": pieces(change.to_release)},
        "payments": {
            "authorize_minor": total(money.authorize), "void_minor": money.voided_minor, "refund_minor": total(money.refund),
        },
        "documents": {
            "credit_minor": total(money.refund) if documents else 0,
            "invoice_minor": total(money.authorize) if documents else 0,
        },
        "why_not": [{"code": one.code, "detail": one.detail, "lines": list(one.lines)} for one in preview.why_not],
    }  # fmt: skip
