"""What the services have to agree on line by line: money with documents, pieces with reservations; and what no held order does.

The rules, for a settled order:

- Per line, captured - refunded - reversed = invoiced - credited, in minor units. It holds for every way in which money goes back: a refund
  of a line, goodwill (it is spread over the lines of its captures), a refund before the invoice (the refund waits for it), an
  edit, an outcome that a person stated, a refund that the marketplace made, a reversal in the books of payments. A capture that was in flight when its order was
  cancelled is refunded in full and never invoiced: 0 = 0. Where the marketplace invoices the buyer, there is no document.
- Per line, the pieces reserved are those to be delivered that have not shipped. Nothing is reserved once an order is cancelled
  or completed, nor for lines that are not the merchant's goods.
- From `orders.held` to the release of the last hold, no command goes out that moves the order on. One that was sent before
  may be repeated, and answered. A cancel and a refund go their way: they send none of these commands.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from contracts import fulfillment, invoicing, payments
from contracts.orders import Held, Released
from contracts.snapshot import SHIPPABLE, OrderContent
from system.topics import Check

PAID: Final = """
select key::text, line_id, sum(coalesce((line->>'captured_minor')::bigint, 0) - coalesce((line->>'refunded_minor')::bigint, 0)
  - coalesce((line->>'reversed_minor')::bigint, 0))::bigint
from ledgers, json_each(doc::json->'captures') as c (capture_id, capture), json_each(capture->'lines') as l (line_id, line)
group by 1, 2"""
BILLED: Final = """
select order_id::text, line->>'line_id', sum(case kind when 'invoice' then 1 else -1 end * (line->>'gross_minor')::bigint)::bigint
from documents, jsonb_array_elements(body->'lines') as line group by 1, 2"""
PIECES: Final = """
select order_id::text, line_id, coalesce(sum(quantity) filter (where state = 'reserved'), 0)::int,
  coalesce(sum(quantity) filter (where state = 'consumed'), 0)::int from reservations group by 1, 2"""
MOVES: Final = tuple(
    command.TYPE
    for command in (
        fulfillment.Reserve, fulfillment.Extend, fulfillment.Start, payments.Authorize, payments.Capture, invoicing.Issue,
    )
)  # fmt: skip
"""Commands that move an order on."""
HELD: Final = f"""
select key::text, type, operation_id::text, case when type like 'orders.%' then payload::json->>'hold_id' end as hold_id
from journal where key in (select key from journal where type = '{Held.TYPE}')
  and type in ({", ".join(f"'{name}'" for name in (Held.TYPE, Released.TYPE, *MOVES))})
order by key, id"""

ByLine = Mapping[str, Mapping[str, tuple[int, ...]]]
"""order id -> line id -> amounts or pieces."""


def by_line(rows: Iterable[Any]) -> ByLine:
    found: dict[str, dict[str, tuple[int, ...]]] = {}
    for order, line, *values in rows:
        found.setdefault(order, {})[line] = tuple(values)
    return found


def money_agrees(orders: Iterable[Any], paid: ByLine, billed: ByLine) -> Check:
    """orders: rows with `key`, `not_invoiced`, and `unbilled`, null or the amounts by line that belong on no invoice. paid: captured -
    refunded - reversed. billed: invoiced - credited."""
    check = Check("per line: captured - refunded - reversed = invoiced - credited")
    for row in orders:
        key = row["key"]
        money, documents = paid.get(key, {}), billed.get(key, {})
        unbilled: dict[str, int] = json.loads(row["unbilled"] or "{}")
        for line in sorted(money.keys() | documents.keys()):
            (minor,), (stated,) = money.get(line, (0,)), documents.get(line, (0,))
            wanted = 0 if row["not_invoiced"] else minor - unbilled.get(line, 0)
            check.expect(stated == wanted, key, "line", line, "paid", minor, "documents", stated)
    return check


def pieces_agree(orders: Iterable[Any], pieces: ByLine) -> Check:
    """orders: rows with `key`, `status`, `completed`, and `content`, null unless the order is in progress here. pieces:
    (reserved, shipped)."""
    check = Check("per line: reserved = to be delivered - shipped; nothing of a cancelled or completed order")
    for row in orders:
        key, of_order = row["key"], pieces.get(row["key"], {})
        over = row["status"] == "cancelled" or row["completed"]
        if row["content"] is None and not over:
            continue
        wanted = {} if over else to_deliver(OrderContent.model_validate_json(row["content"]))
        for line in sorted(of_order.keys() | wanted.keys()):
            reserved, shipped = of_order.get(line, (0, 0))
            left = 0 if over else wanted.get(line, 0) - shipped
            check.expect(reserved == left, key, "line", line, "reserved", reserved, "and not", left)
    return check


def to_deliver(content: OrderContent) -> dict[str, int]:
    """line id -> pieces that the merchant delivers."""
    return {
        line.external_line_id: line.pieces
        for line in content.lines
        if line.requires_shipping and line.kind in SHIPPABLE
        if (line.fulfilled_by or content.fulfilled_by) == "merchant"
    }


def held_orders_stand(journaled: Sequence[Any]) -> Check:
    """journaled: what orders stated and sent of orders that were held, each order's rows in their sequence."""
    check = Check("no held order moves while it is held")
    open_holds: dict[str, set[str]] = {}
    asked: set[str] = set()
    for row in journaled:
        holds = open_holds.setdefault(row["key"], set())
        if row["type"] == Held.TYPE:
            holds.add(row["hold_id"])
        elif row["type"] == Released.TYPE:
            holds.discard(row["hold_id"])
        else:
            stands = not holds or row["operation_id"] in asked
            check.expect(stands, row["key"], "was asked", row["type"], row["operation_id"], "while held")
            asked.add(row["operation_id"])
    return check
