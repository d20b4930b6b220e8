"""What the pictures of the console show besides the demo's orders, so that no page is empty.

Everything is made as it comes about: over the services' own routes, on topics, and at the gateways.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import aiohttp
import asyncpg
from aiokafka import AIOKafkaProducer

from contracts.envelope import headers
from contracts.ids import order_id
from contracts.registry import SNAPSHOTS
from system.installation import GATEWAY, STORE, Installation
from system.processes import CONSOLE
from system.topics import client_arguments

SECONDS_MAX: Final = 120
TERMS: Final = {
    "gateway": "test", "capture": "on_approval", "on_short": "wait", "approval": "manual", "seller": "shop", "locations": ["main"],
}  # fmt: skip
"""For a market whose orders wait for a person: all others of the demo end by themselves."""
WAITING: Final = 6
"""Orders that wait; one is on hold."""
SENT_OUT: Final = "IE"
"""The country of those that a job approves."""
STRIPE: Final = {"key": "sk_test_pictures", "secret": "whsec_pictures"}
Content = dict[str, Any]


async def set_up(installation: Installation) -> None:
    async with installation.client("fulfillment") as fulfillment:
        stock = (await called(fulfillment, "GET", "/v1/stock?limit=50"))["items"]
    stocked = [one["sku"] for one in stock if one["on_hand"] > 20]
    await orders_that_wait(installation, stocked)
    # What follows makes orders wait that have ended.
    await until(lambda: _listed(installation), "the lists of the console have every order")
    await a_message_that_fits_no_schema(installation, stocked)
    await a_dispute(installation, stocked)
    await a_payout(installation)
    await differences(installation)
    await a_replay(installation)


# -- orders -----------------------------------------------------------------------------------------------------------


async def orders_that_wait(installation: Installation, stocked: list[str]) -> None:
    """Orders of the demo's articles in a market where a person approves. One is held."""
    async with installation.client("orders") as orders:
        await called(orders, "PUT", "/v1/markets/till", _market("till", TERMS))
        for number in range(WAITING + 3):
            country = "GB" if number < WAITING else SENT_OUT
            placed = await place(orders, "till", content(f"T-{1042 + number}", number, stocked, country=country))
            if number == 2:
                held = {"reason": "fraud", "note": "The address is another one than last week."}
                await called(orders, "POST", f"/v1/orders/{placed}/holds", held)


async def place(orders: aiohttp.ClientSession, channel: str, placed: Content) -> UUID:
    key = f"{channel}-{placed['external_order_id']}"
    answer = await called(orders, "POST", "/v1/orders", {"channel": channel, "account": "main", **placed}, key)
    return UUID(answer["order_id"])


def content(external_id: str, number: int, stocked: list[str], *, country: str = "GB", **more: Any) -> Content:
    """number: which of the articles it has."""
    lines = [
        {
            "external_line_id": str(n + 1), "sku": sku, "title": sku, "quantity": {"ordered": n + 1},
            "line_total_minor": 1295 * (n + 1), "tax": [{"rate": "20.00"}],
        }
        for n, sku in enumerate((stocked * 20)[number : number + 3])
    ]  # fmt: skip
    at = datetime.now(UTC) - timedelta(minutes=40 - number)
    ship_to = {
        "name": "Anna O'Brien",
        "line1": "7 Mill Lane",
        "city": "Leeds",
        "postcode": "LS1 4AP",
        "country": country,
    }
    return {
        "external_order_id": external_id, "placed_at": at.isoformat(), "currency": "GBP", "lines": lines,
        "totals": {"grand_minor": sum(line["line_total_minor"] for line in lines)},
        "buyer": {"name": "Anna O'Brien", "email": "anna@example.com"}, "ship_to": ship_to, **more,
    }  # fmt: skip


def _market(code: str, terms: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"channel": code, "account": "main", "terms": {"code": code, **terms}}


async def _listed(installation: Installation) -> bool:
    rows = await fetch(
        installation, CONSOLE,
        "select count(*) filter (where waiting <> '' and channel = 'online-retail') as behind,"
        " count(*) filter (where channel = 'till' and waiting in ('approval', 'hold')) as waiting from order_rows",
    )  # fmt: skip
    return bool(rows[0]["behind"] == 0 and rows[0]["waiting"] == WAITING + 3)


# -- parked messages --------------------------------------------------------------------------------------------------


async def a_message_that_fits_no_schema(installation: Installation, stocked: list[str]) -> None:
    """Snapshots of a connector that states an amount as a text: orders parks them, what follows of the same order waits, and one
    is discarded."""
    producer = AIOKafkaProducer(**client_arguments(installation.system.kafka.bootstrap_servers))
    await producer.start()
    try:
        for number in range(6):
            external_id = f"M-{311 + number // 2}"
            wrong = content(external_id, number, stocked)
            if number % 2 == 0:
                wrong["lines"][0]["line_total_minor"] = "12.95"
            key = str(order_id(STORE, "fair", "main", external_id))
            now = datetime.now(UTC)
            source = {"channel": "fair", "account": "main", "updated_at": now.isoformat(), "content_hash": uuid4().hex}
            named = headers(
                ce_id=uuid4().hex, source="fair/main", type="marketplace.snapshot", time=now, subject=key, store_id=STORE,
                correlation_id=key,
            )  # fmt: skip
            value = json.dumps({"source": source, "order": wrong}).encode()
            await producer.send_and_wait(SNAPSHOTS, value, key=key.encode(), headers=list(named))
    finally:
        await producer.stop()

    async def parked() -> Any:
        rows = await fetch(
            installation, "orders", "select id from parked where state = 'waiting' and cause = 'bad_body'"
        )
        return rows if len(rows) == 3 else None

    first = (await until(parked, "orders has parked three messages"))[0]["id"]
    async with installation.client("orders") as orders:
        reason = {"reason": "The marketplace has taken the order back."}
        await called(orders, "POST", f"/v1/parked/{first}/discard", reason)


# -- payments ---------------------------------------------------------------------------------------------------------


async def a_dispute(installation: Installation, stocked: list[str]) -> None:
    """Two orders of a web shop are paid at a gateway in Stripe's shapes; the buyer of one disputes the charge."""
    system = installation.system
    events = f"{system.url('payments')}/v1/gateways/stripe/main/events"
    command = [sys.executable, "-m", "gatewayservers.stripe", "--port", "{port}", "--api-key", STRIPE["key"]]
    stripe = system.add("stripe", command=[*command, "--webhook", events, "--webhook-secret", STRIPE["secret"]])
    files = {name: _file(installation, f"stripe-{name}", value) for name, value in STRIPE.items()}
    account = {
        "store": STORE, "gateway": "stripe", "account": "main", "url": stripe.url,
        "credentials": {"api_key": f"file:{files['key']}"}, "webhook_secret": f"file:{files['secret']}",
    }  # fmt: skip
    accounts = _file(installation, "accounts.yaml", json.dumps({"gateway_accounts": [account]}))
    await asyncio.to_thread(system.run, "payments", "apply", str(accounts))
    async with installation.client("orders") as orders, installation.client("payments") as payments:
        terms = {**TERMS, "gateway": "stripe", "account": "main", "approval": "automatic"}
        await called(orders, "PUT", "/v1/markets/web", _market("web", terms))
        placed = [
            await place(orders, "web", content(f"W-{7001 + n}", n, stocked, payment_token="pm_card_visa"))
            for n in range(2)
        ]
        charges = [
            await until(lambda key=key: _charge(payments, key), "an order of the web shop is paid") for key in placed
        ]
        async with aiohttp.ClientSession(stripe.url) as gateway:
            await called(gateway, "POST", f"/disputes/{charges[0]}?end=open")

        async def disputed() -> bool:
            return bool((await called(payments, "GET", "/v1/disputes"))["items"])

        await until(disputed, "payments has the dispute")


async def _charge(payments: aiohttp.ClientSession, key: UUID) -> str | None:
    """Returns the gateway's reference of what was captured for an order."""
    async with payments.get(f"/v1/payments/{key}") as answer:
        operations = (await answer.json())["operations"] if answer.status == 200 else []
    done = (one for one in operations if one["kind"] == "capture" and one["state"] == "succeeded")
    return next((str(one["gateway_reference"]) for one in done), None)


async def a_payout(installation: Installation) -> None:
    """A settlement report: five captures of the demo, one with another amount, one that is unknown, and a monthly fee."""
    captures = await _captures(installation, 6)
    day = datetime.now(UTC).date().isoformat()
    rows = [(one["gateway_reference"], one["amount_minor"], one["amount_minor"] // 70) for one in captures]
    rows[5] = (rows[5][0], rows[5][1] - 250, rows[5][2])
    rows += [("tg_990001", 31_90, 45), ("", 0, 12_00)]
    lines = [
        f"{day},row-{n},{'charge' if reference else 'fee'},{reference},{_major(gross)},{_major(fee)}"
        for n, (reference, gross, fee) in enumerate(rows, 1)
    ]
    report = {
        "format": "csv", "gateway": "test", "account": STORE, "statement_id": f"payout {day}",
        "payout_minor": sum(gross - fee for _, gross, fee in rows), "content": "\n".join(["day,id,kind,reference,gross,fee", *lines]),
        "mapping": {
            "on": "day", "row_id": "id", "kind": "kind", "kinds": {"charge": "capture", "fee": "fee"}, "references": ["reference"],
            "gross": "gross", "fee": "fee", "fixed_currency": "GBP",
        },
    }  # fmt: skip
    async with installation.client("payments") as payments:
        await called(payments, "POST", "/v1/settlements", report)


async def differences(installation: Installation) -> None:
    """A refund that a person made in the gateway's dashboard, and a charge for an unknown order."""
    refunded = (await _captures(installation, 1))[0]
    begun = datetime.now(UTC) - timedelta(minutes=30)
    unknown, authorization = str(uuid4()), str(uuid4())
    async with aiohttp.ClientSession(installation.system.url(GATEWAY)) as gateway:
        for key, movement in (
            (str(uuid4()), {"kind": "refund", "order_id": str(refunded["order_id"]), "amount_minor": 500,
                            "source": refunded["gateway_reference"]}),
            (authorization, {"kind": "authorize", "order_id": unknown, "amount_minor": 4_990}),
            (str(uuid4()), {"kind": "capture", "order_id": unknown, "amount_minor": 4_990, "refers_to": authorization}),
        ):  # fmt: skip
            # Without a trouble of its own, the rule of the demo may decline it.
            movement |= {"currency": "GBP", "reference": key, "account": STORE, "trouble": "none"}
            await called(gateway, "POST", "/operations", movement, key)
    async with installation.client("payments") as payments:
        period = {"begins_at": begun.isoformat(), "ends_at": datetime.now(UTC).isoformat()}
        asked = await called(payments, "POST", "/v1/reconciliations", {"gateway": "test", **period})

        async def done() -> bool:
            found = await called(payments, "GET", f"/v1/reconciliations/{asked['reconciliation_id']}")
            assert found["state"] != "failed", found
            return bool(found["state"] == "done")

        await until(done, "the reconciliation is done")


async def _captures(installation: Installation, count: int) -> list[asyncpg.Record]:
    """Captures of which nothing was refunded."""
    return await fetch(
        installation, "payments",
        "select c.order_id, c.gateway_reference, c.amount_minor from operations c where c.gateway = 'test' and c.kind = 'capture'"
        " and c.state = 'succeeded' and c.amount_minor > 1000 and not exists (select from operations r"
        f" where r.order_id = c.order_id and r.kind = 'refund') order by c.operation_id limit {count:d}",
    )  # fmt: skip


def _major(amount_minor: int) -> str:
    return f"{amount_minor // 100}.{amount_minor % 100:02}"


# -- webhooks ---------------------------------------------------------------------------------------------------------


async def a_replay(installation: Installation) -> None:
    """The events of the last minutes to the oldest endpoint once more. The receivers of the demo are gone, so nothing arrives."""
    async with installation.client("webhooks") as webhooks:
        [oldest, *_] = (await called(webhooks, "GET", "/v1/endpoints"))["items"]
        since = (datetime.now(UTC) - timedelta(minutes=20)).isoformat()
        await called(webhooks, "POST", f"/v1/endpoints/{oldest['endpoint_id']}/replay", {"from": since})


# -- by which it is done ----------------------------------------------------------------------------------------------


async def called(
    client: aiohttp.ClientSession, method: str, path: str, body: Mapping[str, Any] | None = None, key: str = ""
) -> Any:
    sent = {"idempotency-key": key} if key else {}
    async with client.request(method, path, json=body, headers=sent) as answer:
        assert answer.status < 300, f"{method} {path}: {await answer.text()}"
        return await answer.json()


def _file(installation: Installation, name: str, text: str) -> Path:
    path = installation.system.logs.resolve() / name
    path.write_text(text, encoding="utf-8")
    return path


async def fetch(installation: Installation, service: str, query: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(installation.system.dsn(service))
    try:
        return await connection.fetch(query)
    finally:
        await connection.close()


async def until(found: Callable[[], Awaitable[Any]], what: str) -> Any:
    """Returns what is found first that is true. Raises TimeoutError with what was awaited."""
    try:
        async with asyncio.timeout(SECONDS_MAX):
            while not (one := await found()):
                await asyncio.sleep(0.25)
            return one
    except TimeoutError:
        raise TimeoutError(f"not within {SECONDS_MAX} s: {what}") from None
