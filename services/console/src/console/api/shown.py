"""What the page of an order shows, made of the answers of its owners; of a silent one, what the lists have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError
from sqlalchemy.engine import RowMapping

from console.domain.deliveries import Delivery, deliveries
from console.domain.helped import Help, help_for
from console.owners import Answer
from contracts.base import SHIPPING_LINE
from contracts.personal import MASK, masked
from contracts.snapshot import OrderContent

DELIVERIES: Final = 20
"""That the page of an order shows."""
BEGINS_BEFORE: Final = timedelta(seconds=10)
MONEY: Final = ("authorized_minor", "captured_minor", "voided_minor", "refunded_minor")
STATUSES: Final = ("status", "payment_status", "fulfillment_status")


@dataclass(slots=True)
class Line:
    line_id: str
    sku: str = ""
    title: str = ""
    quantity: int | None = None
    price_minor: int | None = None
    """As the marketplace states it, before discounts; null: not stated."""
    money: Mapping[str, int] = field(default_factory=dict)
    """The sums of payments, by MONEY."""


@dataclass(slots=True)
class Waiting:
    word: str
    help: Help | None
    step: str
    since: str | None
    asks: int
    detail: str


@dataclass(slots=True)
class Shown:
    """Every value that the template reads."""

    row: RowMapping
    silent: Mapping[str, str]
    """Owner -> why its panel shows what the lists have."""
    statuses: Mapping[str, str]
    waiting: Waiting
    version: int
    money: Mapping[str, int]
    lines: Sequence[Line]
    operations: Sequence[Mapping[str, Any]]
    shipments: Sequence[Mapping[str, Any]]
    documents: Sequence[Mapping[str, Any]]
    deliveries: Sequence[Delivery]
    processes: Sequence[Mapping[str, Any]]
    holds: Sequence[Mapping[str, Any]]
    exceptions: Sequence[Mapping[str, Any]]
    timeline: Sequence[Mapping[str, Any]]
    """Newest first."""
    begun_at: str
    """A moment before the first entry of the timeline, RFC 3339; empty without one."""
    buyer: Mapping[str, Any]
    ship_to: Sequence[str]
    notes: Sequence[Mapping[str, Any]]
    allowed: frozenset[str]
    """Actions that orders allows now."""
    why_not: Mapping[str, str]
    """Action -> the code of why orders does not allow it now."""


def shown(row: RowMapping, answers: Mapping[str, Answer], *, personal: bool) -> Shown:
    """row: of the lists. personal: whether the values of personal fields are shown."""
    order = _body(answers["orders"])
    payments, fulfillment = _body(answers["payments"]), _body(answers["fulfillment"])
    content = _content(order.get("order"), personal)
    return Shown(
        row=row,
        silent={name: one.why for name, one in answers.items() if one.state in ("silent", "unset")},
        statuses={name: str(order.get(name) or row[name]) for name in STATUSES},
        waiting=waiting_of(row, order),
        version=int(order.get("version") or 0),
        money=_money(row, order, payments),
        lines=_lines(content, payments),
        operations=payments.get("operations", ()),
        shipments=[_shipment(one, personal) for one in fulfillment.get("shipments", ())],
        documents=_items(answers["invoicing"]),
        deliveries=deliveries(_items(answers["webhooks"]))[:DELIVERIES],
        processes=[one for one in order.get("processes", ()) if not one.get("end")],
        holds=[_hidden(one, ("note",), personal) for one in order.get("holds", ())],
        exceptions=order.get("exceptions", ()),
        begun_at=_begun_at(order.get("timeline", ())),
        timeline=[_hidden(one, ("reason",), personal) for one in reversed(order.get("timeline", ()))],
        buyer=content.get("buyer") or {},
        ship_to=[*_address(content.get("ship_to") or {})],
        notes=[_hidden(one, ("text", "author"), personal) for one in order.get("notes", ())],
        allowed=frozenset(one["action"] for one in order.get("legal_actions", ()) if one["allowed"]),
        why_not={one["action"]: one["why_not"] for one in order.get("legal_actions", ()) if not one["allowed"]},
    )  # fmt: skip


def _begun_at(timeline: Sequence[Mapping[str, Any]]) -> str:
    """The message that began it was on a topic before it was decided on."""
    moments = (datetime.fromisoformat(step["at"]) for step in timeline)
    first = min(moments, default=None)
    return "" if first is None else (first - BEGINS_BEFORE).isoformat()


def _body(answer: Answer) -> Mapping[str, Any]:
    return answer.body if answer.state == "answered" and isinstance(answer.body, dict) else {}


def _items(answer: Answer) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = _body(answer).get("items", ())
    return found


def waiting_of(row: RowMapping, order: Mapping[str, Any]) -> Waiting:
    """order: as orders answers it; empty if it is silent. Orders states more than its events: how often a service was asked, and
    that a message is parked."""
    if not order:
        since = row["since"].isoformat() if row["since"] is not None else None
        return Waiting(row["waiting"], help_for(row["waiting"]), row["step"], since, 0, "")
    word = str(order.get("waiting", ""))
    waits = {"exception": "person"}.get(word, word)
    process = next((one for one in order.get("processes", ()) if one["waits_for"] == waits and not one["end"]), None)
    if process is None:
        own = row["since"].isoformat() if row["since"] is not None and row["waiting"] == word else None
        return Waiting(word, help_for(word), "", own or _first_since(order, word), 0, "")
    step = f"{process['kind']}.{process['step']}"
    return Waiting(word, help_for(word), step, process["since"], process["asks"], process["detail"])


def _first_since(order: Mapping[str, Any], word: str) -> str | None:
    listed = {"hold": "holds", "exception": "exceptions"}.get(word)
    return min((one["since"] for one in order.get(listed, ())), default=None) if listed else None


def _money(row: RowMapping, order: Mapping[str, Any], payments: Mapping[str, Any]) -> Mapping[str, int]:
    """Payments' own sums; else those that orders has of them, else those of the lists."""
    stated = payments.get("totals") or order.get("money") or row
    return {name: stated[name] for name in MONEY}


def _content(content: Any, personal: bool) -> Mapping[str, Any]:
    if not isinstance(content, dict):
        return {}
    if personal:
        return content
    try:
        return masked(OrderContent.model_validate(content))
    except ValidationError:  # of a newer release: nothing states what is personal in it
        return {"lines": content.get("lines", ())}


def _lines(content: Mapping[str, Any], payments: Mapping[str, Any]) -> Sequence[Line]:
    money: dict[str, dict[str, int]] = {}
    for one in payments.get("lines", ()):
        sums = money.setdefault(one["line_id"], dict.fromkeys(MONEY, 0))
        for name in MONEY:
            sums[name] += one[name]  # of a reversal it is negative
    lines = [
        Line(one["external_line_id"], one.get("sku") or "", one.get("title") or one.get("sku") or "",
             one["quantity"]["ordered"] - one["quantity"].get("cancelled", 0), one.get("line_total_minor"))
        for one in content.get("lines", ())
    ]  # fmt: skip
    known = {line.line_id for line in lines}
    shipping = (content.get("totals") or {}).get("shipping_minor")
    if shipping or SHIPPING_LINE in money:
        lines.append(Line(SHIPPING_LINE, "", "Shipping", None, shipping))
    lines += [Line(line_id) for line_id in money if line_id not in known and line_id != SHIPPING_LINE]
    for line in lines:
        line.money = money.get(line.line_id, {})
    return lines


def _shipment(shipment: Mapping[str, Any], personal: bool) -> Mapping[str, Any]:
    return {
        **_hidden(shipment, ("tracking_number",), personal),
        "pieces": sum(one["quantity"] for one in shipment["lines"]),
    }


def _hidden(value: Mapping[str, Any], names: Sequence[str], personal: bool) -> Mapping[str, Any]:
    return value if personal else {**value, **{name: MASK for name in names if value.get(name)}}


def _address(address: Mapping[str, Any]) -> Iterator[str]:
    for names in (
        ("name",),
        ("company",),
        ("line1", "house_number"),
        ("line2",),
        ("postcode", "city"),
        ("region", "country"),
    ):
        if line := " ".join(str(address[name]) for name in names if address.get(name)):
            yield line
