"""The servers that gateways are tested against have books that can be trusted: Stripe's with its idempotency, Dintero's without."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from gatewayservers import dintero, dintero_book
from gatewayservers.faults import Faults, Times
from gatewayservers.serving import listening
from gatewayservers.stripe import DECLINES, Server

ORDER = UUID(int=7)
AUTHORIZE = {
    "amount": "1000", "currency": "eur", "capture_method": "manual", "confirm": "true", "payment_method": "pm_card_visa",
    "metadata[order_id]": str(ORDER), "metadata[operation_id]": "op",
}  # fmt: skip


class Client:
    def __init__(self, url: str, session: aiohttp.ClientSession, faults: Faults) -> None:
        self.url, self.session, self.faults = url, session, faults

    async def post(self, path: str, key: str, **form: str) -> tuple[int, Any]:
        headers = {"Idempotency-Key": key}
        async with self.session.post(self.url + path, data=form, headers=headers) as answer:
            return answer.status, await answer.json()

    async def moved(self) -> list[tuple[str, int]]:
        async with self.session.get(f"{self.url}/charges") as answer:
            return [(one["kind"], one["amount_minor"]) for one in (await answer.json())["charges"]]


@pytest.fixture
async def stripe() -> AsyncIterator[Client]:
    faults = Faults(Times(latency_ms=0, hold_ms=1))
    async with listening(Server(faults, "sk").app()) as url:
        async with aiohttp.ClientSession(headers={"Authorization": "Bearer sk"}) as session:
            yield Client(url, session, faults)


async def test_a_repeated_key_has_the_first_answer_and_no_second_effect(stripe: Client) -> None:
    first = await stripe.post("/v1/payment_intents", "k", **AUTHORIZE)
    assert first[0] == 200 and await stripe.post("/v1/payment_intents", "k", **AUTHORIZE) == first
    status, other = await stripe.post("/v1/payment_intents", "k", **AUTHORIZE | {"amount": "2000"})
    assert (status, other["error"]["type"]) == (400, "idempotency_error")
    assert await stripe.moved() == [("authorize", 10_00)]


@pytest.mark.parametrize(
    ("trouble", "status", "moved"), [("broken", 500, 1), ("timed_out", 504, 1), ("lost", 504, 0), ("down", 503, 0)]
)
async def test_a_trouble_states_whether_the_money_moved(stripe: Client, trouble: str, status: int, moved: int) -> None:
    stripe.faults.tell(ORDER, {"authorize": trouble})
    assert (await stripe.post("/v1/payment_intents", "k", **AUTHORIZE))[0] == status
    assert len(await stripe.moved()) == moved
    again, _ = await stripe.post("/v1/payment_intents", "k", **AUTHORIZE)
    assert again == (500 if trouble == "broken" else 200), "an error that was answered is repeated, as Stripe does"
    assert await stripe.moved() == [("authorize", 10_00)]


async def test_it_never_captures_more_than_it_holds_nor_refunds_more_than_it_took(stripe: Client) -> None:
    _, intent = await stripe.post("/v1/payment_intents", "a", **AUTHORIZE)
    path = f"/v1/payment_intents/{intent['id']}/capture"
    assert (await stripe.post(path, "c1", amount_to_capture="600", final_capture="false"))[0] == 200
    assert (await stripe.post(path, "c2", amount_to_capture="401"))[0] == 400
    assert (await stripe.post(path, "c3", amount_to_capture="0"))[0] == 200
    assert (await stripe.post("/v1/refunds", "r1", payment_intent=intent["id"], amount="601"))[0] == 400
    assert await stripe.moved() == [("authorize", 10_00), ("capture", 6_00), ("void", 4_00)]


async def test_a_decline_moves_nothing(stripe: Client) -> None:
    status, body = await stripe.post("/v1/payment_intents", "a", **AUTHORIZE | {"payment_method": DECLINES})
    assert (status, body["error"]["code"]) == (402, "card_declined")
    assert await stripe.moved() == []


# --------------------------------------------------------------------------------------------------------------- Dintero


@pytest.fixture
def book() -> dintero_book.Books:
    return dintero_book.Books("T12345678", late_ms=0)


def pay(book: dintero_book.Books, reference: str, is_strict: bool = True, token: str = dintero.PAYS) -> tuple[int, Any]:
    order = {"amount": 1000, "currency": "EUR", "merchant_reference": reference}
    session = {"order": order, "customer": {"tokens": {"p.card": {"payment_token": token}}}}
    payment = {"payment_product_type": "p.card", "operation": "unscheduled_purchase"}
    return book.pay({"session": session, "payment": payment}, is_strict, None)


def moved(book: dintero_book.Books) -> list[tuple[str, int]]:
    return [(one.kind, one.amount) for one in book.moved]


def test_dintero_rejects_a_repeated_merchant_reference_only_if_it_is_asked_to(book: dintero_book.Books) -> None:
    assert pay(book, "a")[0] == 200
    with pytest.raises(dintero_book.Refused, match="another session"):
        pay(book, "a")
    assert pay(book, "a", is_strict=False)[0] == 200
    assert moved(book) == [("authorize", 1000)] * 2


def test_dintero_moves_a_repeated_capture_again_and_never_more_than_it_holds(book: dintero_book.Books) -> None:
    payment = book.transaction(pay(book, "a")[1]["id"])
    for amount, status in ((400, 200), (400, 200), (400, None), (200, 200)):
        body = {"amount": amount, "capture_reference": "c"}
        if status is None:
            with pytest.raises(dintero_book.Refused, match="at most 200"):
                book.operate(payment, "capture", body, None)
        else:
            assert book.operate(payment, "capture", body, None)[0] == status
    assert payment.status == "CAPTURED"
    with pytest.raises(dintero_book.Refused, match="at most 1000"):
        book.operate(payment, "refund", {"amount": 1001}, None)
    assert book.operate(payment, "refund", {"amount": 1000}, None)[1]["status"] == "REFUNDED"
    assert moved(book) == [("authorize", 1000), ("capture", 400), ("capture", 400), ("capture", 200), ("refund", 1000)]


def test_what_dintero_accepts_runs_until_it_ends_with_an_event_that_names_its_request(book: dintero_book.Books) -> None:
    payment = book.transaction(pay(book, "a")[1]["id"])
    book.late_ms = 3_600_000
    assert book.operate(payment, "capture", {"amount": 600, "capture_reference": "c"}, "late")[0] == 202
    with pytest.raises(dintero_book.Refused, match="at most 400"):
        book.operate(payment, "capture", {"amount": 401}, None)
    assert (payment.status, book.settled(payment).events[-1]["event"]) == ("AUTHORIZED", "INITIATE_CAPTURE")
    payment.runs[0].settles_at = 0
    started, ended = book.settled(payment).events[-2:]
    assert ended["event"] == "CAPTURE" and ended["correlation_request_id"] == started["request_id"]
    assert payment.status == "PARTIALLY_CAPTURED"


def test_a_payment_that_dintero_declines_moves_nothing(book: dintero_book.Books) -> None:
    assert pay(book, "a", token=dintero.DECLINES)[0] == 400
    assert moved(book) == [] and [one.status for one in book.transactions.values()] == ["FAILED"]
