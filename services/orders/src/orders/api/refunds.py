"""Routes of refunds: preview, open, read, retry, give up."""

from collections.abc import Mapping
from operator import attrgetter
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Depends, Request, Response
from pydantic import BaseModel, Field

from chassis import journal
from chassis.declare.app import App, Outcome, Principal
from chassis.http.bodies import as_json
from chassis.http.commands import CHANGE, etag
from chassis.http.problems import Problem, answers, respond
from contracts.base import Flag, Text
from contracts.deciding import Refusal
from contracts.invoicing import InvoiceLineWanted, Issue
from contracts.limits import ORDER_LINES_MAX
from contracts.orders import GiveUpRefund, Refund, RefundLine, RefundWanted, RetryRefund
from orders.api.closed import LEFT, closed_run, closed_runs, filled
from orders.api.loading import load
from orders.api.problems import PROBLEMS
from orders.api.requests import addressed, refusals
from orders.domain.content import refunds
from orders.domain.decisions.actions import ACTIONS
from orders.domain.engine.story import waits_for
from orders.domain.processes import refunded
from orders.domain.state.order import Order, is_invoiced
from orders.domain.state.run import Run
from orders.responses.refunds import RefundList, RefundOrPreview, RefundShown


class RefundedLine(RefundLine, extra="forbid"):
    """A line of a request: a field that is misspelt is refused, not ignored."""


class RefundBody(RefundWanted, extra="forbid"):
    lines: Annotated[tuple[RefundedLine, ...], Field(max_length=ORDER_LINES_MAX)] = ()
    """Each line once."""
    dry_run: Flag = False
    """Only the preview: nothing goes back."""


class GiveUpBody(BaseModel, extra="forbid"):
    reason: Text = ""


def add_routes(router: APIRouter, app: App) -> None:
    view = app.principal("orders.view")
    may = {name: app.principal(ACTIONS[name].scope) for name in ("refund", "retry_refund", "give_up_refund")}

    @router.post(
        "/orders/{order_id}/refunds", status_code=201, response_model=RefundOrPreview, dependencies=CHANGE,
        openapi_extra=refusals("refund"),
    )  # fmt: skip
    async def create(
        request: Request,
        who: Annotated[Principal, Depends(may["refund"])],
        order_id: UUID,
        body: RefundBody,
        dry_run: bool = False,
    ) -> Response:
        """Give money back. With `dry_run`, here or in the body: 200 and what would go back and be credited."""
        if dry_run or body.dry_run:
            return await preview(who, order_id, body)
        wanted = {name: getattr(body, name) for name in RefundWanted.model_fields}
        message = Refund(
            **addressed(app, request, who, order_id), **wanted,
        )  # fmt: skip
        place = f"/v1/orders/{order_id}/refunds/{message.operation_id}"

        def answer(outcome: Outcome) -> tuple[int, Any, Mapping[str, str]]:
            return 201, _shown_if_there(outcome.state, message.operation_id), {"location": place}

        answered = await app.execute(request, who, message, answer)
        return await filled(answered, app, who, order_id, refunded.KIND, message.operation_id, shown)

    async def preview(who: Principal, order_id: UUID, wanted: RefundWanted) -> Response:
        order, version = await load(app, who, order_id)
        if (code := ACTIONS["refund"].guard(order, None)) == "order_cancelled":
            raise Problem(409, code, PROBLEMS[code].title, "all its money goes back")
        parts = refunded.planned(order, wanted)
        if isinstance(parts, Refusal):
            about = PROBLEMS[parts.code]
            raise Problem(about.status, parts.code, about.title, parts.detail, **parts.more)
        previews = [await part_preview(who, order_id, order, part) for part in parts]
        assert order.content is not None
        amount = sum(part.amount_minor for part in parts)
        body = {
            "currency": order.content.currency,
            "amount_minor": amount,
            "cancels_order": amount == refunded.left_minor(order),
            "parts": previews,
        }
        return respond(as_json(200, body, etag(version)))

    async def part_preview(who: Principal, order_id: UUID, order: Order, part: refunds.Part) -> dict[str, Any]:
        capture = order.facts.captures[str(part.capture_id)]
        told: dict[str, Any] = {
            "capture_id": str(part.capture_id),
            "amount_minor": part.amount_minor,
            "lines": [line.model_dump() for line in part.lines],
            "credited": "now" if capture.invoice_id else "when_invoiced" if is_invoiced(order) else "never",
            "credit": None,
        }
        if capture.invoice_id is not None and (invoiced := await issued(who, order_id, capture.invoice_id)):
            before = refunded.gone_of(order, capture)
            lines = refunds.credit_lines(invoiced, before, part)
            told["credit"] = {
                "invoice_id": str(capture.invoice_id),
                "invoice_number": capture.invoice_number,
                "net_minor": sum(line.net_minor for line in lines),
                "vat_minor": sum(line.vat_minor for line in lines),
                "total_minor": sum(line.gross_minor for line in lines),
                "lines": [
                    line.model_dump(include={"line_id", "quantity", "rate", "net_minor", "vat_minor", "gross_minor"})
                    for line in lines
                ],
            }
        return told

    async def issued(who: Principal, order_id: UUID, invoice_id: UUID) -> tuple[InvoiceLineWanted, ...]:
        """The lines that an invoice was asked for with; empty if the journal does not have the request."""
        entries = await journal.entries(app.read, "orders", who.store_id, order_id, operation_id=invoice_id)
        asked = [Issue.model_validate_json(entry.payload) for entry in entries if entry.type == Issue.TYPE]
        return asked[-1].lines if asked else ()

    @router.get("/orders/{order_id}/refunds", response_model=RefundList, openapi_extra=answers("order_unknown"))
    async def listed(who: Annotated[Principal, Depends(view)], order_id: UUID) -> Response:
        """The refunds of an order, the oldest first."""
        order, version = await load(app, who, order_id)
        runs = [*await closed_runs(app, who, order_id, order, refunded.KIND), *refunded.of_order(order.runs)]
        items = [shown(order, run) for run in sorted(runs, key=attrgetter("number"))]
        return respond(as_json(200, {"items": items}, etag(version)))

    @router.get(
        "/orders/{order_id}/refunds/{refund_id}", response_model=RefundShown,
        openapi_extra=answers("order_unknown", "refund_unknown"),
    )  # fmt: skip
    async def read(who: Annotated[Principal, Depends(view)], order_id: UUID, refund_id: UUID) -> Response:
        order, version = await load(app, who, order_id)
        run = refunded.find(order, refund_id) or await closed_run(app, who, order_id, order, refunded.KIND, refund_id)
        if run is None:
            raise Problem(
                404, "refund_unknown", PROBLEMS["refund_unknown"].title, f"the order has no refund {refund_id}"
            )
        return respond(as_json(200, shown(order, run), etag(version)))

    @router.post(
        "/orders/{order_id}/refunds/{refund_id}/retry", status_code=202, response_model=RefundShown, dependencies=CHANGE,
        openapi_extra=refusals("retry_refund"),
    )  # fmt: skip
    async def retry(
        request: Request, who: Annotated[Principal, Depends(may["retry_refund"])], order_id: UUID, refund_id: UUID
    ) -> Response:
        """Try the refused step again, as a new operation, once its cause is corrected."""
        message = RetryRefund(
            **addressed(app, request, who, order_id), refund_id=refund_id,
        )  # fmt: skip
        answered = await app.execute(
            request, who, message, lambda outcome: (202, _shown_if_there(outcome.state, refund_id))
        )
        return await filled(answered, app, who, order_id, refunded.KIND, refund_id, shown)

    @router.post(
        "/orders/{order_id}/refunds/{refund_id}/give_up", response_model=RefundShown, dependencies=CHANGE,
        openapi_extra=refusals("give_up_refund"),
    )  # fmt: skip
    async def give_up(
        request: Request,
        who: Annotated[Principal, Depends(may["give_up_refund"])],
        order_id: UUID,
        refund_id: UUID,
        body: Annotated[GiveUpBody, Body(default_factory=GiveUpBody)],
    ) -> Response:
        """End a refused refund. What has gone back stays refunded and credited; the rest does not go back."""
        message = GiveUpRefund(
            **addressed(app, request, who, order_id), refund_id=refund_id, reason=body.reason,
        )  # fmt: skip
        answered = await app.execute(
            request, who, message, lambda outcome: (200, _shown_if_there(outcome.state, refund_id))
        )
        return await filled(answered, app, who, order_id, refunded.KIND, refund_id, shown)


def _shown_if_there(order: Order, refund_id: UUID) -> dict[str, Any] | None:
    run = refunded.find(order, refund_id)
    return shown(order, run) if run is not None else LEFT


def shown(order: Order, run: Run) -> dict[str, Any]:
    """A refund as the API shows it."""
    data = refunded.data_of(run)
    assert order.content is not None
    return {
        "refund_id": str(data.refund_id),
        "number": run.number,
        "process": run.id,
        "state": refunded.state_of(run),
        "waits_for": waits_for(run),
        "detail": run.detail,
        "since": run.since.isoformat(),
        "reason": data.cause,
        "note": data.note,
        "actor": data.actor,
        "requested_at": data.requested_at.isoformat(),
        "currency": order.content.currency,
        "amount_minor": data.amount_minor,
        "refunded_minor": data.refunded_minor,
        "restock": data.restock,
        "reference": data.reference,
        "parts": [
            {
                "capture_id": str(part.capture_id),
                "amount_minor": part.amount_minor,
                "lines": [line.model_dump() for line in part.lines],
                "operation_id": part.refund_id and str(part.refund_id),
                "credit_note_id": part.credit_note_id and str(part.credit_note_id),
            }
            for part in data.parts
        ],
    }
