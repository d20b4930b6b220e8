"""The service desk of the demo: cancels, edits and refunds orders, and reverses captured lines, each when its order has got that far.

A request is repeated with the same idempotency key until it is answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final, Literal, Protocol
from uuid import UUID

import aiohttp
import asyncpg

from demo.changes import Body, body_of, is_change, is_reversal, line_of
from demo.retail import RetailOrder
from demo.trouble import Trouble
from system.installation import Installation

CONNECTIONS: Final = 8
PAUSE_SECONDS: Final = 0.2
PROGRESS: Final = """
select key, revision, status, payment_status = 'paid' as paid, completed_at is not null as completed, waiting from orders
where key = any($1)"""

Progress = Mapping[str, Any]
"""A row of `PROGRESS`."""
Api = Literal["orders", "payments"]


class Refused(Exception):
    """A request was answered with a problem that a repetition would not change. The message is its code."""


class Request(Protocol):
    """What the desk does with one order, in one step or several."""

    async def advance(self, http: Http, key: UUID, order: Progress) -> bool:
        """Sends what is due now. Returns whether nothing is left to do. Raises Refused, or an error of the client."""


def request_of(trouble: Trouble, order: RetailOrder) -> Request | None:
    """What the desk does with an order that has this trouble, if anything."""
    if trouble == "cancelled":
        return Cancel()
    if is_change(trouble):
        line = line_of(trouble, order)
        assert line is not None, order.external_order_id  # the trouble applies
        body = body_of(trouble, line, order)
        if is_reversal(trouble):
            return Reversal(body, order.total_minor)
        return (Refund if trouble == "refunded" else Edit)(body)
    return None


class Cancel:
    """Cancels an order whose money was captured."""

    async def advance(self, http: Http, key: UUID, order: Progress) -> bool:
        if order["paid"]:
            await http.post(f"{key}/cancel", {"cause": "customer", "reason": "changed my mind"}, f"cancel-{key}")
        return bool(order["paid"])


class Edit:
    """Edits an order whose money was captured; done when the edit has become true or is discarded."""

    def __init__(self, changes: Body) -> None:
        self._changes = changes
        self._confirmed = False

    async def advance(self, http: Http, key: UUID, order: Progress) -> bool:
        if self._confirmed:
            return bool(order["status"] != "editing")
        if order["paid"]:
            await self._edit(http, key)
        return False

    async def _edit(self, http: Http, key: UUID) -> None:
        """As a person does: opens the edit, puts its changes, reads the preview, confirms exactly that."""
        opened = await http.post(f"{key}/edits", {"reason": "the customer called"}, f"edit-{key}")
        edit = f"{key}/edits/{opened['edit_id']}"
        await http.send("PUT", edit, self._changes, f"change-{key}")
        preview = (await http.send("GET", edit))["preview"]["preview"]
        try:
            await http.post(f"{edit}/confirm", {"preview": preview}, f"confirm-{key}-{preview}")
        except Refused as refused:
            if str(refused) != "edit_stale":
                raise
            return  # the order has moved since the preview: the next round reads it anew
        self._confirmed = True


class Refund:
    """Refunds a completed order; done when the money is back, credited, and the goods are in stock again."""

    def __init__(self, wanted: Body) -> None:
        self._wanted = wanted
        self._opened = False

    async def advance(self, http: Http, key: UUID, order: Progress) -> bool:
        if self._opened:
            return bool(order["waiting"] == "")
        if order["completed"]:
            await http.post(f"{key}/refunds", self._wanted, f"refund-{key}")
            self._opened = True
        return False


class Reversal:
    """Replaces a captured piece of a completed order in payments; done when the order has the difference and its documents."""

    def __init__(self, wanted: Body, captured_minor: int) -> None:
        """captured_minor: of the whole order, before."""
        self._wanted, self._captured_minor, self._refunded_minor = wanted, captured_minor, 0
        self._seen_revision: int | None = None
        """The revision of the order that was read last; None: nothing was reversed yet."""

    async def advance(self, http: Http, key: UUID, order: Progress) -> bool:
        if not order["completed"] or order["waiting"] != "" or order["revision"] == self._seen_revision:
            return False
        if self._seen_revision is None:
            await self._reverse(http, key)
            self._seen_revision = order["revision"]
            return False
        told = await http.send("GET", str(key))
        self._seen_revision = order["revision"]  # an order is long: it is read once for each of its states
        money = told["money"]["captured_minor"], told["money"]["refunded_minor"]
        is_known = any(remark["code"] == "lines_reversed" for remark in told["remarks"])
        return is_known and money == (self._captured_minor, self._refunded_minor) and told["waiting"] == ""

    async def _reverse(self, http: Http, key: UUID) -> None:
        answer = await http.post(f"{key}/reversals", self._wanted, f"reverse-{key}", "payments")
        self._captured_minor += answer["charge_minor"]
        self._refunded_minor = answer["refund_minor"]


class Http:
    """The APIs of orders and payments."""

    def __init__(self, orders: aiohttp.ClientSession, payments: aiohttp.ClientSession) -> None:
        self._clients: Mapping[Api, aiohttp.ClientSession] = {"orders": orders, "payments": payments}

    async def post(self, path: str, body: Body, idempotency_key: str, api: Api = "orders") -> Any:
        return await self.send("POST", path, body, idempotency_key, api)

    async def send(
        self, method: str, path: str, body: Body | None = None, idempotency_key: str | None = None, api: Api = "orders"
    ) -> Any:
        """Returns the answer. Raises Refused, aiohttp.ClientError, TimeoutError or OSError."""
        headers = {} if idempotency_key is None else {"idempotency-key": idempotency_key}
        async with self._clients[api].request(method, f"/v1/orders/{path}", json=body, headers=headers) as response:
            if response.status >= 500:
                response.raise_for_status()
            answer = await response.json(content_type=None)
        if response.status >= 400:
            raise Refused(answer["type"].rpartition("/")[2])
        return answer


class Desk:
    def __init__(self, installation: Installation, requests: Mapping[UUID, Request]) -> None:
        self.installation = installation
        self.pending = dict(requests)
        self.unshipped = {str(key) for key, one in requests.items() if isinstance(one, (Cancel, Edit))}
        """Ids of orders that the warehouse must not ship: those to cancel, and those to edit until that is done."""
        self.refused: dict[UUID, str] = {}
        """Order id -> the code of its refusal."""

    @property
    def done(self) -> bool:
        return not self.pending

    async def run(self) -> None:
        """Returns when each request is done or refused, or its order waits for a person."""
        database = await asyncpg.connect(self.installation.system.dsn("orders"))
        try:
            async with (
                self.installation.client("orders", CONNECTIONS) as orders,
                self.installation.client("payments", CONNECTIONS) as payments,
            ):
                http = Http(orders, payments)
                while self.pending:
                    rows = await database.fetch(PROGRESS, list(self.pending))
                    await asyncio.gather(*(self._advance(http, row["key"], dict(row)) for row in rows))
                    await asyncio.sleep(PAUSE_SECONDS)
        finally:
            await database.close()

    async def _advance(self, http: Http, key: UUID, order: Progress) -> None:
        request = self.pending[key]
        try:
            done = order["waiting"] == "exception" or await request.advance(http, key, order)
        except Refused as refused:
            self.refused[key] = str(refused)
            done = True
        except (aiohttp.ClientError, TimeoutError, OSError):
            return
        if done:
            del self.pending[key]
            if isinstance(request, Edit):
                self.unshipped.discard(str(key))
