"""schemathesis reads the OpenAPI document of each service and finds no contradiction: all checks, stateful, as two stores
of which neither may see what is the other's. Afterwards every promise holds for what it has left behind."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from contracts.registry import SERVICES, SNAPSHOTS
from system.processes import SAGA
from tests.integration.poison import Raw, send_raw
from tests.integration.shop import STOREFRONT, Options, Shop

ROOT = Path(__file__).parents[2]
CONFIG = "tests/integration/schemathesis.toml"
SHARE = float(os.environ.get("TRADEWIND_SCHEMATHESIS_SHARE", "0.6"))
"""How much of SECONDS a run has; `make chaos` has all."""
SECONDS = {"orders": 18, "payments": 14, "fulfillment": 9, "invoicing": 9, "webhooks": 8}
"""Time budget of each service; schemathesis shares it out over phases and operations. Within it, the cases are the same in
every run."""
PARKED = 8
"""Messages per store and service."""
SHOP = Options(services=SERVICES, markets={"slow": {"approval": "manual"}})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stores(shop: Shop) -> dict[str, Shop]:
    return await populated(shop)


async def populated(shop: Shop) -> dict[str, Shop]:
    """Two stores with orders in several states, and messages that wait for a person in every service."""
    stores = {"shop": shop, "other": await shop.another_store("other")}
    for store in stores.values():
        orders = [await store.place(account=account) for account in ("main", "main", "main", "slow", "slow")]
        await store.until_at_rest(orders)
        await store.ship_all(orders[:1])
        await store.cancel(orders[1])
        for active in (True, False):  # the first items of lists, which links take
            card = {"currency": "GBP", "amount_minor": 50_00, "activate": active}
            status, answer = await store.call("payments", "POST", "/v1/gift-cards", card)
            assert status == 201, answer
        for service in SAGA:
            topic = SNAPSHOTS if service == "orders" else f"{service}.commands.v1"
            unreadable = [replace(Raw.of(store.snapshot(account="bad")), value=b"{") for _ in range(PARKED)]
            await send_raw(store, unreadable, topic)
    return stores


def users(stores: dict[str, Shop], service: str) -> str:
    """A file of Web Fuzzing Commons: how each store shows its key."""
    shown = {
        name: [{"name": "Authorization", "value": f"Bearer {store.keys[service]}"}] for name, store in stores.items()
    }
    return json.dumps({"auth": [{"name": name, "fixedHeaders": headers} for name, headers in shown.items()]})


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_answers_as_its_openapi_document_states(
    shop: Shop, stores: dict[str, Shop], service: str, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text(users(stores, service))
    url = shop.system.url(service)
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("st")), "--config-file", CONFIG, "run", f"{url}/openapi.json", "--url", url,
        f"--max-time={SECONDS[service] * SHARE:.0f}", "--checks=all", "--no-color",
        cwd=ROOT, env=os.environ | {"KEYS": str(keys), "STOREFRONT": STOREFRONT, "STORE": shop.store, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


async def test_the_promises_hold_for_what_was_left_behind(shop: Shop) -> None:
    await shop.until_at_rest(may_wait="snapshot")  # of a generated order that states no payment
    await shop.assert_promises(parked=True)
