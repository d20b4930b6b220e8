"""The gateway `manual` in the shape of the others: its tables in memory, and a bank that pays what they wait for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from aiohttp import web
from asyncpg import ConnectionDoesNotExistError

from gatewayservers.faults import Faults
from payments.domain.gateway import GatewayCall, GatewayOutcome
from payments.gateways import manual
from payments.gateways.manual import AT_ONCE, Manual

ASKING: ContextVar[GatewayCall] = ContextVar("asking")


@dataclass
class Transfer:
    order_id: UUID
    kind: str
    reference: str
    amount_minor: int
    moves_at: float
    """When its money has moved; infinite: it does not come in time."""
    is_read: bool = False
    """The first answer has been given: a late transfer has not moved at that time, however slow the test is."""


@dataclass
class Bank:
    faults: Faults
    transfers: dict[UUID, Transfer] = field(default_factory=dict)
    at_once: dict[UUID, GatewayCall] = field(default_factory=dict)
    """Captures: no transfer shows them."""

    async def fetch(self, statement: str, *arguments: Any) -> Sequence[Any]:
        """What the database does, and troubles it: `timed_out` and `broken` after it has written, `lost` and `down` before."""
        call = ASKING.get()
        trouble = self.faults.of(str(call.order_id), call.kind)
        is_write = statement in (manual.EXPECT, manual.GIVE_BACK) or call.kind in AT_ONCE
        if trouble == "silent":
            raise ConnectionDoesNotExistError("no answer")
        is_first = (
            is_write
            and trouble in ("timed_out", "broken", "lost", "down")
            and self.faults.is_first(str(call.operation_id))
        )
        if is_first and trouble in ("lost", "down"):
            raise ConnectionDoesNotExistError("nothing was written")
        rows = self._executed(statement, call, trouble, arguments)
        if is_first:
            raise ConnectionDoesNotExistError("it was written")
        return rows

    def _executed(
        self, statement: str, call: GatewayCall, trouble: str | None, arguments: tuple[Any, ...]
    ) -> Sequence[Any]:
        if statement in (manual.EXPECT, manual.GIVE_BACK):
            late = {"late": self.faults.times.late_ms / 1000, "declined": float("inf")}.get(trouble or "", 0.0)
            reference = call.reference or str(call.order_id)
            transfer = Transfer(call.order_id, call.kind, reference, call.amount_minor, time.time() + late)
            self.transfers.setdefault(call.operation_id, transfer)
            return []
        if statement is manual.FOUND:
            one = self.transfers.get(arguments[0])
            if one is None:
                return []
            moved = time.time() >= one.moves_at and (one.is_read or trouble != "late")
            one.is_read = True
            return [{"reference": one.reference, "moved": moved, "expired": one.moves_at == float("inf")}]
        assert statement is manual.DONE, statement
        self.at_once.setdefault(call.operation_id, call)
        found = [one for one in self.transfers.values() if one.order_id == arguments[0] and one.kind == "authorize"]
        return [{"reference": one.reference} for one in found[:1]]

    def moved(self, order_id: str | None) -> list[dict[str, Any]]:
        now = time.time()
        arrived = [(one.order_id, one.kind, one.amount_minor) for one in self.transfers.values() if now >= one.moves_at]
        made = [(one.order_id, one.kind, one.amount_minor) for one in self.at_once.values()]
        sequence = ("authorize", "capture", "void", "refund")
        return [
            {"kind": kind, "amount_minor": amount}
            for of, kind, amount in sorted([*arrived, *made], key=lambda one: sequence.index(one[1]))
            if order_id in (None, str(of))
        ]

    def app(self) -> web.Application:
        """What a test asks of every gateway's server."""

        async def charges(request: web.Request) -> web.StreamResponse:
            return web.json_response({"charges": self.moved(request.query.get("order_id"))})

        async def trouble(request: web.Request) -> web.StreamResponse:
            told = await request.json()
            self.faults.tell(UUID(request.match_info["order_id"]), dict(told))
            return web.json_response(told)

        app = web.Application()
        app.router.add_get("/charges", charges)
        app.router.add_put("/trouble/{order_id}", trouble)
        return app


class OfBank(Manual):
    """The gateway that is tested, over the bank's tables."""

    def __init__(self, bank: Bank) -> None:
        super().__init__(bank.fetch, 14)

    async def call(self, call: GatewayCall) -> GatewayOutcome:
        ASKING.set(call)
        return await super().call(call)

    async def by_key(self, call: GatewayCall) -> GatewayOutcome | None:
        ASKING.set(call)
        return await super().by_key(call)
