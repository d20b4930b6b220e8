"""Services that a console asks, in memory: they have a few orders, do what is requested, and publish events to the console."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from aiohttp import web
from console_world import NOW, Life, Publisher, content
from fake_topics import FakeTopics

from contracts import orders

AT = NOW.isoformat()
NOT_NOW = {
    "approve": "order_approved",
    "cancel": "order_cancelled",
    "hold": "order_cancelled",
    "capture": "capture_automatic",
    "refund": "refund_empty",
}
EMPTY: Mapping[str, Any] = {"items": [], "next_cursor": None}


@dataclass
class FakeOrder:
    life: Life
    waiting: str = "approval"
    allowed: tuple[str, ...] = ("approve", "cancel", "hold")
    captured_minor: int = 0
    holds: list[Mapping[str, Any]] = field(default_factory=list)
    exceptions: list[Mapping[str, Any]] = field(default_factory=list)

    def shown(self) -> Mapping[str, Any]:
        """As `GET /v1/orders/{order_id}` answers."""
        return {
            **self.life.statuses, "waiting": self.waiting, "version": self.life.versions["orders"],
            "order": content(self.life.number).model_dump(mode="json"), "holds": self.holds, "exceptions": self.exceptions,
            "notes": [],
            "money": {"authorized_minor": 20_00, "captured_minor": self.captured_minor, "voided_minor": 0, "refunded_minor": 0},
            "processes": [],
            "legal_actions": [
                {"action": name, "allowed": name in self.allowed, "why_not": None if name in self.allowed else NOT_NOW.get(name)}
                for name in ("approve", "capture", "hold", "refund", "cancel")
            ],
            "timeline": [
                {"at": AT, "type": "orders.received", "message_id": str(self.life.order_id),
                 "caused_by": {"type": "marketplace.snapshot", "actor": "marketplace:amazon"}}
            ],
        }  # fmt: skip

    def under_way(self) -> Mapping[str, Any]:
        """As `GET /v1/processes` answers."""
        names = ("ask", "give_up", "force")
        return {
            "order_id": str(self.life.order_id), "waiting": self.waiting,
            "legal_actions": [
                {"action": one, "allowed": one in self.allowed, "detail": None if one in self.allowed else "no step waits"} for one in names
            ],
            "processes": [
                {"kind": "place", "step": "reserve", "waits_for": self.waiting, "since": AT, "end": None, "asks": 2, "detail": None,
                 "forcible_operation_id": None}
            ] if "ask" in self.allowed else [],
        }  # fmt: skip


class FakeShop:
    """Answers as every service at one address. `answers` adds those of a page: path -> body."""

    def __init__(self) -> None:
        self.publisher: Publisher | None = None
        self.topics = FakeTopics()
        self.orders: dict[UUID, FakeOrder] = {}
        self.answers: dict[str, Any] = {}
        self.requests: list[tuple[str, Any]] = []
        """(path, body) of each that changes something."""
        self.publishes = True
        """Whether the console gets the events of what is requested."""
        self.unpublished: list[Any] = []

    async def add(self, number: str, **more: Any) -> FakeOrder:
        """An order that waits for approval."""
        order = await self.receive(number, **more)
        await self.publish(order.life.next(orders.Placed, status="placed", payment_status="authorized", placed_at=NOW))
        return order

    async def receive(self, number: str, **more: Any) -> FakeOrder:
        """An order that waits for the answer of a service."""
        life = Life(number=number)
        order = FakeOrder(life, **more)
        self.orders[life.order_id] = order
        await self.publish(life.received())
        return order

    async def hold(self, order: FakeOrder) -> None:
        hold_id = uuid4()
        order.waiting, order.allowed = "hold", ("release", "cancel")
        order.holds = [{"hold_id": str(hold_id), "reason": "fraud", "note": "", "placed_by": "rule:fraud", "since": AT}]
        await self.publish(
            order.life.next(orders.Held, hold_id=hold_id, reason="fraud", placed_by="rule:fraud", since=NOW)
        )

    async def complete(self, order: FakeOrder) -> None:
        """It is paid and shipped: only such an order has a refund."""
        order.waiting, order.allowed, order.captured_minor = "", ("archive", "refund"), 20_00
        statuses = {"status": "approved", "payment_status": "paid", "fulfillment_status": "fulfilled"}
        approved = order.life.next(orders.Approved, **statuses, approved_at=NOW, actor="person:ann")
        done = order.life.next(orders.Completed, **statuses, completed_at=NOW, grand_minor=20_00, currency="EUR")
        await self.publish(approved, order.life.paid(authorized_minor=20_00, captured_minor=20_00), done)

    async def publish(self, *events: Any) -> None:
        assert self.publisher is not None
        records = [self.publisher.record(one) for one in events]
        self.topics.append(*records)
        await self.publisher.take(*records)

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_get("/{path:.*}", self._read)
        application.router.add_post("/v1/orders/{order_id}/{action:.*}", self._act)
        return application

    async def _read(self, request: web.Request) -> web.Response:
        if request.path in self.answers:
            return web.json_response(self.answers[request.path])
        if request.path == "/openapi.json":
            return web.Response(status=404)
        _, _, kind, *rest = request.path.split("/")
        if kind == "processes":
            asked = [self.orders[UUID(one)] for one in request.query.getall("order_id")]
            return web.json_response({**EMPTY, "items": [one.under_way() for one in asked]})
        if kind == "orders" and rest:
            return web.json_response(self.orders[UUID(rest[0])].shown())
        if kind in ("payments", "fulfillments") and rest:
            return web.Response(status=404)
        return web.json_response(EMPTY)

    async def _act(self, request: web.Request) -> web.Response:
        order, action = self.orders[UUID(request.match_info["order_id"])], request.match_info["action"]
        self.requests.append((request.path, await request.json()))
        happens = {"approve": self._approved, "cancel": self._cancelled}.get(action)
        events = [happens(order)] if happens is not None else []
        if self.publishes:
            await self.publish(*events)
        else:
            self.unpublished += events
        return web.json_response({"version": order.life.versions["orders"]}, status=202)

    async def approve(self, order: FakeOrder) -> None:
        await self.publish(self._approved(order))

    def _approved(self, order: FakeOrder) -> Any:
        order.waiting, order.allowed, order.holds = "warehouse", ("cancel", "hold"), []
        return order.life.next(orders.Approved, status="approved", approved_at=NOW, actor="person:ann")

    def _cancelled(self, order: FakeOrder) -> Any:
        order.waiting, order.allowed, order.holds = "", (), []
        return order.life.next(
            orders.Cancelled, status="cancelled", payment_status="voided", cause="customer", cancelled_at=NOW
        )
