"""The completion of a draft: it becomes an order, or it reverses lines of one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from uuid import UUID

from asyncpg import Connection
from fastapi import APIRouter, Depends, Request
from pydantic import ValidationError

from chassis.http.commands import COMMAND
from chassis.http.problems import Problem, answers
from contracts.snapshot import OrderContent
from dintero_compat import drafts
from dintero_compat.api.desk import Asked, Desk, Money
from dintero_compat.api.drafting import created, not_valid
from dintero_compat.domain import paying, placing, reversing, shapes, showing
from dintero_compat.drafts import Draft
from dintero_compat.refusals import refused
from dintero_compat.responses import Completed, OrderShown


def add_routes(router: APIRouter, desk: Desk) -> None:
    app = desk.app
    Editor = Annotated[Asked, Depends(desk.asked("orders.edit"))]

    @router.put(
        "/draft_orders/{draft_id}/complete",
        response_model=Completed,
        response_model_exclude_unset=True,
        openapi_extra=answers(
            "account_unknown", "draft_unknown", "draft_settled", "draft_empty", "draft_unbalanced", "option_uncovered", "item_exists", "line_unknown",
            "order_unknown", "request_refused", "owner_silent",
        ),
    )  # fmt: skip
    async def complete_draft(request: Request, asked: Editor, draft_id: UUID) -> dict[str, Any]:
        """Make the draft an order; with `options.order_id`, reverse lines of that order and replace them, which needs the scope
        `payments.record`, too. Repeated, it is answered with the same order."""
        draft: Draft = await app.write(lambda tx: drafts.locked(tx, asked.account, draft_id))
        if draft.status in ("open", "completing") and not draft.doc["order"]["items"]:
            raise refused("draft_empty", "add an item first")
        if (changed := draft.doc["options"].get("order_id")) is not None:
            if all(item.get("related_item") is None for item in draft.doc["order"]["items"]):
                raise refused("option_uncovered", "not covered: lines that are added to an order and reverse none")
            order = await desk.order(asked, changed)
            await _reverse(asked, draft, order)
        else:
            draft = await _placed(asked, draft)
            assert draft.number is not None
            order = await desk.order(asked, draft.number)
        await desk.happened(request, asked, order, f"completed {draft_id}", draft_id)
        return {"orders": [await desk.whole(asked, order)]}

    @router.post(
        "/orders",
        response_model=OrderShown,
        response_model_exclude_unset=True,
        dependencies=COMMAND,
        openapi_extra=answers("account_unknown", "draft_empty", "draft_unknown", "number_taken", "item_exists", "option_uncovered", "request_refused", "owner_silent"),
    )  # fmt: skip
    async def create_order(request: Request, asked: Editor, body: shapes.DraftOrder) -> dict[str, Any]:
        """Create an order without a draft of the client's own. With an Idempotency-Key, a repeated request is answered with the same
        order as it is now. What is refused leaves nothing behind."""
        if not body.items:
            raise refused("draft_empty", "an order has at least one item")
        whole = _whole_draft(body)
        draft = await created(app, request, asked, whole)
        try:
            draft = await _placed(asked, draft)
        except Problem as problem:
            if problem.status < 500:
                await app.write(lambda tx: drafts.discard(tx, asked.account, draft.draft_id))
            raise
        assert draft.number is not None
        order = await desk.order(asked, draft.number)
        await desk.happened(request, asked, order, f"completed {draft.draft_id}", draft.draft_id)
        return await desk.whole(asked, order)

    async def _placed(asked: Asked, draft: Draft) -> Draft:
        """Asks orders to take the order. Asked again after any failure, it is the same order with the same content."""

        async def begin(tx: Connection) -> Draft:
            found = await drafts.locked(tx, asked.account, draft.draft_id)
            if found.status != "open":
                return found
            generate = bool(found.doc["options"].get("generate_order_id"))
            return await drafts.begin_completion(tx, asked.account, found, generate=generate)

        begun: Draft = await app.write(begin)
        if begun.status == "completing":
            async with _ending(asked, begun):
                body = _content(asked, begun).model_dump(mode="json")
                body |= {"channel": placing.CHANNEL, "account": asked.account.aid}
                key = f"dintero:{begun.draft_id}:{begun.version}"
                await desk.owners.write("orders", asked.who, "/v1/orders", body, key=key)
        return begun

    async def _reverse(asked: Asked, draft: Draft, order: dict[str, Any]) -> None:
        """Asks payments to reverse lines. Asked again after any failure, it finds that payments has done it."""
        if not showing.is_own(order, asked.account.aid):
            raise refused("order_unknown", "only an order of this account's drafts is changed by a draft")
        key = UUID(order["order_id"])

        async def begin(tx: Connection) -> Draft:
            found = await drafts.locked(tx, asked.account, draft.draft_id)
            return await drafts.begin_addition(tx, asked.account, found, key) if found.status == "open" else found

        begun: Draft = await app.write(begin)
        if begun.status != "completing":
            return
        async with _ending(asked, begun):
            items = shapes.Draft.model_validate(begun.doc).order.items
            money = await desk.money(asked, order["order_id"])
            if not _is_reversed(money, items):
                await _ask_to_reverse(asked, begun, order, items, money)

    async def _ask_to_reverse(
        asked: Asked, draft: Draft, order: dict[str, Any], items: list[shapes.Item], money: Money
    ) -> None:
        lines = await desk.lines(asked, order)
        ids = lines.ids
        for item in items:
            assert item.line_id is not None
            if item.line_id in ids:
                raise refused("item_exists", f"the order has a line {item.line_id}")
            if item.related_item is not None and item.related_item.line_id not in ids:
                raise refused("line_unknown", f"the order has no line {item.related_item.line_id}")
        where = f"/v1/orders/{order['order_id']}/reversals"
        wanted = [{"line_id": ids[item.related_item.line_id], "amount_minor": -item.gross_amount} for item in items
                  if item.related_item is not None]  # fmt: skip
        capture = _capture(wanted, money)
        for in_pieces in (False, True):  # payments alone has whether the lines were captured by the piece
            try:
                body = reversing.body(items, ids, draft.doc["order"]["currency"], capture, in_pieces=in_pieces)
                key = f"dintero:{draft.draft_id}:{draft.version}:{in_pieces}"
                await desk.owners.write("payments", asked.who, where, body, key=key)
                return
            except reversing.Unbalanced as error:
                raise refused("draft_unbalanced", str(error)) from None
            except Problem as problem:
                if in_pieces or problem.more.get("cause") != "price_differs":
                    raise

    @asynccontextmanager
    async def _ending(asked: Asked, draft: Draft) -> AsyncIterator[None]:
        """Records how a completion has ended: it is done; or it was refused, and the draft may be corrected. After any other failure
        it is still being completed: what was asked for may be done."""
        try:
            yield
        except Problem as problem:
            if problem.status < 500:
                await app.write(lambda tx: drafts.end_completion(tx, asked.account, draft, done=False))
            raise
        await app.write(lambda tx: drafts.end_completion(tx, asked.account, draft, done=True))


def _whole_draft(order: shapes.DraftOrder) -> shapes.Draft:
    """Raises Problem 422."""
    try:
        return shapes.Draft.model_validate({"order": order.model_dump(mode="json", exclude_unset=True)})
    except ValidationError as error:
        raise not_valid(error) from None


def _is_reversed(money: Money, items: list[shapes.Item]) -> bool:
    """Returns whether payments has this reversal: a completion before this one has asked for it."""
    lines = {line["line_id"]: line for line in (money.ledger or {"lines": ()})["lines"]}
    reversed_items = [item for item in items if item.related_item is not None]
    found = [lines.get(reversing.ours(item.line_id or 0)) for item in reversed_items]
    return all(
        line is not None and line["direction"] == -1 and line["captured_minor"] == item.gross_amount
        for line, item in zip(found, reversed_items, strict=True)
    )


def _capture(lines: list[dict[str, Any]], money: Money) -> str | None:
    """Returns the capture whose lines are reversed; null: payments decides."""
    if money.ledger is None or not paying.several_captures(money.ledger):
        return None
    found = paying.capture_for(lines, money.ledger, paying.items_of(money.ledger, money.entries), None)
    return str(found) if found is not None else None


def _content(asked: Asked, draft: Draft) -> OrderContent:
    assert draft.completed_at is not None and draft.number is not None
    try:
        return placing.content(
            shapes.Draft.model_validate(draft.doc), str(draft.draft_id), draft.number, draft.completed_at,
            ships=asked.account.ships,
        )  # fmt: skip
    except ValidationError as error:
        raise not_valid(error) from None
