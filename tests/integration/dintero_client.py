"""A client of Dintero's order management that points at Tradewind: the service `dintero_compat` beside a shop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from chassis.batch.database import Database
from chassis.declare.migrations import upgrade
from chassis.http.auth import ACT_AS, Keys
from dintero_compat.handlers import SERVICE
from dintero_compat.settings import Settings
from tests.integration.shop import Shop, service_of

AID, OTHER_AID = "T12345678", "T87654321"
MARKET = {
    "code": "dintero", "gateway": "recorded", "capture": "manual", "on_short": "cancel", "approval": "automatic",
    "seller": "shop", "locations": ["main"],
}  # fmt: skip


class Client:
    def __init__(self, session: aiohttp.ClientSession, url: str, key: str) -> None:
        self._session, self._url, self._key = session, url, key

    async def call(
        self, method: str, path: str, body: Any = None, *, aid: str = AID, **headers: str
    ) -> tuple[int, Any]:
        """path: after `/shopping`."""
        named = {"authorization": f"Bearer {self._key}", **{k.replace("_", "-"): v for k, v in headers.items()}}
        url = f"{self._url}/v1/accounts/{aid}/shopping{path}"
        async with self._session.request(method, url, json=body, headers=named) as answer:
            return answer.status, await answer.json(content_type=None)

    async def done(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        status, answer = await self.call(method, path, body, **more)
        assert status == 200, (method, path, status, answer)
        return answer

    async def token(self, secret: str | None = None) -> Any:
        login = aiohttp.BasicAuth("client", secret or self._key)
        url = f"{self._url}/v1/accounts/{AID}/auth/token"
        async with self._session.post(url, json={"grant_type": "client_credentials"}, auth=login) as answer:
            return await answer.json(content_type=None)

    async def completed(self, items: list[dict[str, Any]], **order: Any) -> dict[str, Any]:
        """Returns the order of a new draft."""
        body = {
            "options": {"generate_order_id": "ALPHANUMERIC_9"},
            "order": {"currency": "GBP", "items": items} | order,
        }
        draft = await self.done("POST", "/draft_orders", body)
        [found] = (await self.done("PUT", f"/draft_orders/{draft['id']}/complete", {}))["orders"]
        order_found: dict[str, Any] = found
        return order_found

    async def pay(self, order: str, collection: str, payment_id: str, *amounts: int, **more: Any) -> tuple[int, Any]:
        """amounts: of the lines 1, 2, ...; 0 leaves a line out. more: further fields of the body, or others in their place."""
        items = [{"line_id": n, "amount": amount} for n, amount in enumerate(amounts, 1) if amount]
        body = {"items": items, "payment_details": {"payment_id": payment_id, "psp": "Bambora"}, "success": True} | more
        return await self.call("POST", f"/orders/{order}/{collection}", body)

    async def paid(self, order: str, collection: str, payment_id: str, *amounts: int, **more: Any) -> Any:
        status, answer = await self.pay(order, collection, payment_id, *amounts, **more)
        assert status == 200, answer
        return answer


@asynccontextmanager
async def pointed_at(shop: Shop) -> AsyncIterator[Client]:
    """Starts the service and sets up its account, and the market of its orders."""
    url = shop.postgres.dsn(shop.system.database("dintero_compat"))
    await asyncio.to_thread(shop.postgres.create_database, shop.system.database("dintero_compat"))
    await upgrade(SERVICE, url)
    environment: dict[str, str] = {}
    for name in ("orders", "payments"):
        dsn = shop.postgres.dsn(shop.system.database(name))
        owner = Database(service_of(name).settings(database_url=dsn), "tests")
        key = await Keys(owner).create(None, "dintero", ["*", ACT_AS])
        await owner.close()
        environment |= {
            f"DINTERO_COMPAT_{name.upper()}_URL": shop.system.url(name),
            f"DINTERO_COMPAT_{name.upper()}_API_KEY": key,
        }
    database = Database(Settings(database_url=url), "tests")
    key = await Keys(database).create(shop.store, "till", ["*"])
    async with database.transaction() as tx:
        assert SERVICE.apply is not None
        stores = [{"aid": AID, "store": shop.store}, {"aid": OTHER_AID, "store": "another"}]
        await SERVICE.apply(tx, {"accounts": stores})
    await database.close()
    market = {"channel": "dintero", "account": AID, "terms": MARKET}
    status, answer = await shop.call("orders", "PUT", "/v1/markets/dintero", market)
    assert status == 200, answer
    member = shop.system.add("dintero_compat", role="api", **environment)
    async with aiohttp.ClientSession() as session:

        async def ready() -> bool:
            assert member.ended is None, member.ended
            try:
                async with session.get(f"{member.url}/health/ready") as answer:
                    return answer.status == 200
            except aiohttp.ClientError:
                return False

        await shop.until(ready, "the service dintero_compat")
        yield Client(session, member.url, key)
