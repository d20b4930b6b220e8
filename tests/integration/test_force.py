"""A gateway that does not answer, or answers no: a person states the outcome, and what the gateway reports later moves nothing."""

from __future__ import annotations

from typing import Any

import aiohttp

from contracts.ids import order_id
from tests.integration.shop import Options, Shop

SHOP = Options(
    gateway=("--latency-ms", "2", "--hold-ms", "1000"),
    settings={
        "PAYMENTS_GATEWAY_TIMEOUT_SECONDS": "0.3",
        "PAYMENTS_GATEWAY_LEASE_SECONDS": "2",
        "PAYMENTS_GATEWAY_RETRY_SECONDS": "0.1",
        "PAYMENTS_GATEWAY_BACKOFF_SECONDS_MAX": "0.5",
    },
)


async def trouble(shop: Shop, order: str, told: dict[str, str | None]) -> None:
    assert shop.gateway is not None
    async with (
        aiohttp.ClientSession() as http,
        http.put(f"{shop.gateway.url}/trouble/{order}", json=told) as answer,
    ):
        assert answer.status == 200, await answer.text()


async def place(shop: Shop, told: dict[str, str | None]) -> str:
    """An order at the gateway that has this trouble from the first call on."""
    number = shop.number()
    await trouble(shop, str(order_id(shop.store, "api", "gateway", number)), told)
    return await shop.place([("S001", 1, 700)], number=number, account="gateway")


async def force(shop: Shop, order: str, operation: str, outcome: str) -> tuple[int, Any]:
    body = {"operation_id": operation, "outcome": outcome, "reference": "by phone", "reason": "the bank confirms it"}
    return await shop.call("orders", "POST", f"/v1/orders/{order}/force", body)


def kind(problem: dict[str, str]) -> str:
    return problem["type"].rpartition("/")[2]


async def asked(shop: Shop, order: str, times: int = 1) -> str | None:
    """The operation that the order waits for, once it was asked for so many times."""
    processes = (await shop.order(order))["processes"]
    return next((one["operation_id"] for one in processes if one["operation_id"] and one["asks"] >= times), None)


async def operations(shop: Shop, order: str, kind: str) -> list[tuple[Any, ...]]:
    """(state, recorded, gateway reference) of each operation of a kind, as payments shows it."""
    status, ledger = await shop.call("payments", "GET", f"/v1/payments/{order}")
    assert status == 200, ledger
    found = [one for one in ledger["operations"] if one["kind"] == kind]
    return [(one["state"], one["recorded"], one["gateway_reference"]) for one in found]


async def test_a_person_states_what_a_silent_gateway_does_not_and_its_later_report_moves_nothing(shop: Shop) -> None:
    """Promise 3. The gateway carries out both authorizations, after a person has stated one as done and one as failed."""
    done, lost = await place(shop, {"authorize": "silent"}), await place(shop, {"authorize": "silent"})

    async def payments_is_asked() -> str | None:
        run = (await shop.order(done))["processes"][0]
        return run["operation_id"] if run["step"] == "authorize" else None

    target = await shop.until(payments_is_asked, "the authorization is asked for")
    status, problem = await force(shop, done, target, "succeeded")
    assert (status, kind(problem)) == (409, "not_forceable") and "has been asked since" in problem["detail"]

    for order, outcome in ((done, "succeeded"), (lost, "failed")):
        target = await shop.until(lambda order=order: asked(shop, order, times=2), "it is asked for again")
        for _ in range(2):
            status, answer = await force(shop, order, target, outcome)
            assert status == 202, answer

    async def stated() -> bool:
        return [(await shop.order(order))["status"] for order in (done, lost)] == ["approved", "cancelled"]

    await shop.until(stated, "both go on")
    assert await operations(shop, done, "authorize") == [("succeeded", "unconfirmed", "by phone")]
    assert await operations(shop, lost, "authorize") == [("declined", "unconfirmed", None)]
    for order in (done, lost):
        await trouble(shop, order, {"authorize": None})

    async def contradicted() -> Any:
        return next((one for one in (await shop.order(lost))["exceptions"]), None)

    found = await shop.until(contradicted, "the gateway's other report")
    assert found["code"] == "outcome_contradicted" and found["resolutions"] == ["accept", "keep"]
    await shop.until_at_rest([done, lost])
    [(state, recorded, reference)] = await operations(shop, done, "authorize")
    assert (state, recorded) == ("succeeded", "confirmed") and reference.startswith("tg_")
    assert await operations(shop, lost, "authorize") == [("declined", "contradicted", None)]
    shown = await shop.order(lost)
    assert (shown["status"], shown["money"]["authorized_minor"]) == ("cancelled", 0)
    [forced] = [step for step in (await shop.order(done))["timeline"] if step["type"] == "orders.forced"][:1]
    assert forced["reason"] == "the bank confirms it" and forced["caused_by"]["actor"].startswith("api-key:")
    await shop.assert_promises()


async def test_a_refusal_is_overruled_and_the_order_goes_on(shop: Shop) -> None:
    """The gateway has refused the capture for good; the money came another way."""
    order = await place(shop, {"capture": "declined"})

    async def refused() -> str | None:
        steps = (await shop.order(order))["timeline"]
        if not any(step["type"] == "orders.step_failed" for step in steps):
            return None
        return next(step["operation_id"] for step in steps if step["type"] == "payments.capture")

    target = await shop.until(refused, "the capture is refused")
    status, problem = await force(shop, order, target, "failed")
    assert (status, kind(problem)) == (409, "not_forceable"), problem
    status, answer = await force(shop, order, target, "succeeded")
    assert status == 202, answer
    await shop.until_at_rest([order])
    assert (await shop.order(order))["payment_status"] == "paid"
    assert await operations(shop, order, "capture") == [("succeeded", "stated", "by phone")]
    await shop.assert_promises()
