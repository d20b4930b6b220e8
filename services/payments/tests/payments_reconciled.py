"""The words of stories about reconciliations: a store that pays at the test gateway, and what a gateway has beside its ledger."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from payments_database import URL
from payments_gateways import QUICK

from chassis.declare.app import Principal
from chassis.process.app import App
from contracts.base import Command
from contracts.payments import Authorize, Capture, MoneyLine, Refund
from gatewayservers import plain
from gatewayservers.faults import Faults
from gatewayservers.serving import listening
from payments.handlers import SERVICE
from payments.invariants import check
from payments.reconciling import Reconciler
from payments.settings import Settings
from tests.test_hostile_requests import Client
from tests.waiting import until

SCOPES = ["payments.view", "payments.reconcile", "payments.refund"]


@dataclass
class Books:
    """A store, its gateway, and the process of payments between them."""

    app: App
    client: Client
    gateway: plain.Book
    faults: Faults
    store_id: str
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    async def submit(self, command: type[Command], order_id: UUID, amount: int, wait: bool = True, **more: Any) -> UUID:
        who = Principal("tests", self.store_id, frozenset({"*"}))
        line = MoneyLine(line_id="1", quantity=0, amount_minor=amount)
        given = {
            "order_id": order_id,
            "store_id": self.store_id,
            "operation_id": uuid4(),
            "actor": who.actor,
            "currency": "EUR",
        }
        message = command(**given, lines=(line,), **more)
        await self.app.submit(who, message)
        return await self.ended(message.operation_id) if wait else message.operation_id

    async def ended(self, operation_id: UUID) -> UUID:
        async def has_ended() -> bool:
            found = await self.app.fetch("select state from operations where operation_id = $1", operation_id)
            return bool(found) and found[0]["state"] not in ("asked", "pending")

        await until(has_ended, f"the outcome of {operation_id}")
        return operation_id

    async def paid(self, amount: int, captured: int | None = None) -> tuple[UUID, UUID, UUID]:
        """An order that is authorized, and captured in full or in part: its id, its authorization, its capture."""
        order_id = uuid4()
        authorization_id = await self.submit(Authorize, order_id, amount, gateway="test", reference="A-1")
        capture_id = await self.submit(Capture, order_id, captured or amount, authorization_id=authorization_id)
        return order_id, authorization_id, capture_id

    async def refund(self, order_id: UUID, capture_id: UUID, amount: int) -> UUID:
        return await self.submit(Refund, order_id, amount, capture_id=capture_id)

    def made(self, **more: Any) -> str:
        """The gateway makes something that no operation of ours has asked for. Returns its name of it."""
        name, now = f"tg_{uuid4().hex[:12]}", time.time()
        entry = {"key": str(uuid4()), "order_id": "", "currency": "EUR", "refers_to": None, "reference": "", "code": "",
                 "state": "succeeded", "at": now, "settles_at": now, "account": self.store_id}  # fmt: skip
        self.gateway.write(plain.Entry(**entry | {"gateway_reference": name} | more))
        return name

    def again(self, operation_id: UUID) -> str:
        """The gateway makes an operation a second time."""
        name = f"tg_{uuid4().hex[:12]}"
        self.gateway.write(replace(self.at_gateway(operation_id), gateway_reference=name))
        return name

    def at_gateway(self, operation_id: UUID) -> plain.Entry:
        return next(entry for entry in self.gateway.entries if entry.key == str(operation_id))

    def forgets(self, operation_id: UUID) -> None:
        """The gateway has no operation that it has answered."""
        self.gateway.forget(self.at_gateway(operation_id))

    def at_gateway_as(self, operation_id: UUID, **other: Any) -> None:
        """The gateway has an operation otherwise than it has answered."""
        place = self.gateway.entries.index(self.at_gateway(operation_id))
        self.gateway.entries[place] = replace(self.gateway.entries[place], **other)

    async def http(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, key: str | None = None
    ) -> tuple[int, Any]:
        headers = {"idempotency_key": key.encode()} if key else {}
        status, answer = await self.client(
            method, path, json.dumps(body).encode() if body is not None else b"", **headers
        )
        return status, json.loads(answer)

    async def asked(self) -> str:
        """Asks for a reconciliation of all that has happened. Returns its path."""
        period = {
            "begins_at": (self.began - timedelta(minutes=1)).isoformat(),
            "ends_at": (self.began + timedelta(hours=1)).isoformat(),
        }
        status, one = await self.http("POST", "/v1/reconciliations", {"gateway": "test", **period})
        assert (status, one["state"]) == (202, "listing"), one
        return f"/v1/reconciliations/{one['reconciliation_id']}"

    async def reconciled(self) -> dict[str, Any]:
        path = await self.asked()
        while await Reconciler(self.app).one():
            pass
        _, one = await self.http("GET", path)
        assert one["state"] == "done", one
        left = "select (select count(*) from reconciled_rows) + (select count(*) from reconciled_orders) as count"
        assert (await self.app.fetch(left))[0]["count"] == 0
        return dict(one)

    async def differences(self, query: str = "") -> list[dict[str, Any]]:
        status, page = await self.http("GET", f"/v1/differences{query}")
        assert status == 200, page
        items: list[dict[str, Any]] = page["items"]
        return items

    async def kinds(self) -> dict[str, str]:
        """Kind -> status, of all differences."""
        return {one["kind"]: one["status"] for one in await self.differences()}

    async def moved(self, order_id: UUID) -> tuple[int, int]:
        """What the ledger has captured and refunded of an order, and the invariants of all."""
        async with self.app.database.transaction() as tx:
            assert [name for name, _, violated in await check(tx) if violated] == []
        row = (await self.app.fetch("select captured_minor, refunded_minor from ledgers where key = $1", order_id))[0]
        return row["captured_minor"], row["refunded_minor"]

    def moved_at_gateway(self, *kinds: str) -> int:
        return sum(
            entry.amount_minor for entry in self.gateway.entries if entry.kind in kinds and entry.state == "succeeded"
        )


@contextlib.asynccontextmanager
async def books() -> AsyncIterator[Books]:
    gateway, faults = plain.Book(None, 3600), Faults(QUICK)
    async with listening(plain.Server(gateway, faults).app()) as url:
        app = App(SERVICE, Settings(database_url=URL, test_gateway_url=url, gateway_poll_seconds=0.05), "api")
        running = [asyncio.create_task(run) for run in (app.shell.run(), app.tasks.run())]
        store_id = f"st_{uuid4().hex[:8]}"
        client = Client(app, await app.keys.create(store_id, f"books {uuid4()}", SCOPES))
        try:
            yield Books(app, client, gateway, faults, store_id)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            await app.tasks.close()
            await app.database.close()
