"""The problems that the routes answer: RFC 9457, with the member `error` of Dintero's shape beside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from chassis.declare.app import About, Problems
from chassis.http.problems import Problem

PROBLEMS: Final[Problems] = {
    "account_unknown": About(404, "No such account", "No account of this id belongs to the store of the API key.",
        "An operator lists it in the file of `python -m dintero_compat apply`."),
    "draft_unknown": About(404, "No such draft", "This account has no draft of this id.",
        "Use the `id` that `POST .../draft_orders` answered."),
    "draft_settled": About(409, "The draft is no longer open", "It is completed, being completed, or deleted.",
        "Create a new draft; `PUT .../complete` may be repeated."),
    "draft_empty": About(409, "The draft has no items", "An order has at least one line.", "Add items, then complete it."),
    "item_unknown": About(404, "No such item", "The draft has no item of this `line_id`.",
        "`GET .../draft_orders/{id}` lists its items."),
    "item_exists": About(409, "The line_id is taken", "Two items of a draft have the same `line_id`.",
        "Leave `line_id` out: the next free one is used."),
    "number_taken": About(409, "The order_id is taken", "Another order or draft of this account has it.",
        "Choose another one, or let one be generated with `generate_order_id`."),
    "order_unknown": About(404, "No such order", "This account has no order of this id.",
        "Use the `order_id` of the completed draft, or the `id` of the order."),
    "order_ended": About(409, "The order is cancelled", "A cancelled order is neither closed nor opened again.",
        "`GET .../orders/{order_id}` shows its `status`."),
    "operation_unknown": About(404, "No such operation", "The order has no operation of this id in this collection.",
        "`GET` on the collection lists them."),
    "line_unknown": About(409, "No such line", "The order has no line of this `line_id`.", "`GET .../orders/{order_id}` lists `items`."),
    "refund_divided": About(409, "No capture has all these amounts left",
        "A refund draws on one capture, and the amounts are spread over several, or were refunded before.",
        "State a refund for each capture, each with a `payment_id` of its own."),
    "request_refused": About(409, "It was refused", "Orders or payments refused the request; `cause` is their code.",
        "`detail` states why, `/problems/<cause>` of that service how to go on."),
    "draft_unbalanced": About(409, "The lines do not add up", "The new lines cost less than is reversed.",
        "Add a line for the rest, and refund it after the completion."),
    "reversal_exceeded": About(409, "More is stated than was reversed", "A negative amount is of a line that no draft has reversed, or is more than it has.",
        "`allowed_minor` is what is left of line `line`."),
    "payment_differs": About(409, "The payment was stated with other amounts", "The same `payment_id` was stated for other lines or amounts.",
        "Give each authorization and each capture a `payment_id` of its own."),
    "operation_uncovered": About(501, "This part of the API is not covered", "Tradewind does not answer this call of Dintero's API.",
        "`covered` lists the calls that are."),
    "option_uncovered": About(501, "This option is not covered", "The draft asks for what Tradewind does not do; the detail names it.",
        "Leave it out; docs/dintero-compat.md lists what is covered."),
    "filter_uncovered": About(501, "This filter is not covered", "The list is not searched by this parameter.",
        "Leave it out; docs/dintero-compat.md lists the filters."),
    "comment_unknown": About(404, "No such comment", "The order shows no comment of this id: it is deleted, or not among the latest ones.",
        "`GET .../orders/{order_id}` lists `comments`."),
    "owner_silent": About(503, "Orders or payments does not answer", "A service that is asked gave no usable answer in time.",
        "Send the same request again: what it has done already is recognised by `payment_id`, by the draft, or by Idempotency-Key."),
}  # fmt: skip


def refused(code: str, detail: str, *, status: int | None = None, **more: Any) -> Problem:
    """Returns a problem of this service. status: null is that of its kind."""
    about = PROBLEMS[code]
    return Problem(status or about.status, code, about.title, detail, **more)


def in_their_shape(code: str, detail: str, more: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns what Dintero's clients read of a problem. more: its further members; `cause`, if there is one, is the code."""
    return {"error": {"code": str(more.get("cause") or code), "message": detail}}


def order_unknown() -> Problem:
    return refused("order_unknown", "no order of this id in this account")
