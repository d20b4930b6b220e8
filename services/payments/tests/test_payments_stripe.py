"""Stripe's rules: units of money, signatures, which answers are a no, and the shapes of the official stripe-mock."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
import stripe_mock
from hypothesis import given
from hypothesis import strategies as st
from payments_conformance import is_event
from payments_gateways import Paying, shaped

from contracts.money import EXPONENTS
from contracts.payments import Authorized, Captured, Declined, Failed, Refunded, Voided
from gatewayservers.stripe import signature
from payments.domain.gateway import GatewayCall
from payments.gateways.http import Answer
from payments.gateways.inbound import Inbound, InvalidSignature, Unreadable, verified
from payments.gateways.port import Unclear
from payments.gateways.stripe import answers, events
from payments.gateways.stripe.amounts import THREE_DECIMAL, NotChargeable, from_stripe, to_stripe
from payments.gateways.stripe.gateway import Stripe
from tests.waiting import PATIENCE_SECONDS

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
SECRET = "whsec_test"

# --------------------------------------------------------------------------------------------------------------- amounts


@given(currency=st.sampled_from(sorted(EXPONENTS)), amount=st.integers(0, 10**12))
def test_an_amount_that_can_be_charged_comes_back_as_it_was(currency: str, amount: int) -> None:
    try:
        sent = to_stripe(amount, currency)
    except NotChargeable:
        assert currency in THREE_DECIMAL or currency == "MGA" or EXPONENTS[currency] > 2, "only these have a rule"
    else:
        assert from_stripe(sent, currency) == amount
        assert sent % 10 == 0 or currency not in THREE_DECIMAL


def assert_not_chargeable(event: object, beside: str) -> None:
    assert isinstance(event, Failed) and event.code == "amount_not_chargeable" and beside in event.reason, event


@pytest.mark.parametrize(
    ("currency", "amount", "beside"),
    [("KWD", 3_333, "3330 or 3340"), ("KWD", 3, "ask for 10"), ("MGA", 250, "200 or 300")],
)
def test_an_amount_that_stripe_cannot_express_is_refused_with_those_beside_it(
    currency: str, amount: int, beside: str
) -> None:
    with pytest.raises(NotChargeable, match=beside):
        to_stripe(amount, currency)


async def test_an_amount_that_stripe_cannot_express_is_refused_before_anything_is_sent() -> None:
    async with shaped("stripe") as shape:
        order = Paying(shape, "KWD")
        declined = await order.authorize(5_124)
        assert isinstance(declined, Declined) and declined.code == "amount_not_chargeable"
        assert shape.server.books.intents == {}
        is_event(await order.authorize(10_000), Authorized, amount_minor=10_000)
        for ask in (order.capture, order.void):
            assert_not_chargeable(await ask(3_333), "3330 or 3340")
        is_event(await order.capture(10_000), Captured, amount_minor=10_000)
        assert_not_chargeable(await order.refund(3_333), "3330 or 3340")  # of one of three pieces
        is_event(await order.refund(3_330), Refunded, amount_minor=3_330)
        is_event(await order.refund(6_670), Refunded, amount_minor=6_670)
        assert await shape.moved(order.order_id) == [
            ("authorize", 10_000),
            ("capture", 10_000),
            ("refund", 3_330),
            ("refund", 6_670),
        ]


# ------------------------------------------------------------------------------------------------------------ signatures


def verify(body: bytes, header: str, secret: str = SECRET, now: datetime = NOW) -> None:
    events.verify(body, {"stripe-signature": header}, secret, now)


def test_a_signature_of_the_body_by_the_secret_within_five_minutes_is_accepted() -> None:
    for seconds in (-300, 0, 300):
        verify(b"{}", signature(b"{}", SECRET, NOW.timestamp() + seconds))


def test_while_a_secret_is_rolled_one_of_several_signatures_is_enough() -> None:
    old, new = signature(b"{}", "whsec_old", NOW.timestamp()), signature(b"{}", SECRET, NOW.timestamp())
    verify(b"{}", f"{old.rpartition(',v0')[0]},{new.split(',')[1]}")


@pytest.mark.parametrize(
    "header",
    [
        "",
        "t=",
        "v1=abc",
        "t=1,t=2,v1=abc",
        signature(b"{} ", SECRET, NOW.timestamp()),
        signature(b"{}", "whsec_other", NOW.timestamp()),
        signature(b"{}", SECRET, NOW.timestamp() - 301),
        signature(b"{}", SECRET, NOW.timestamp() + 301),
        signature(b"{}", SECRET, NOW.timestamp()).replace("v1=", "v0="),
        signature(b"{}", SECRET, NOW.timestamp()).replace(f"t={int(NOW.timestamp())}", f"t={int(NOW.timestamp()) + 1}"),
        f"t={'9' * 400},v1=\u00e9",
    ],
)
def test_any_other_signature_is_invalid(header: str) -> None:
    with pytest.raises(InvalidSignature):
        verify(b"{}", header)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"id":"evt_1","type":"x","created":1,"data":{"object":{}}}', b"\xff"]
)
def test_a_body_of_another_shape_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        events.read(body)


@pytest.mark.parametrize(
    ("event_id", "created", "subject"),
    [
        ("evt_1", 10**18, "pi_1"), ("evt_1", 10**30, "pi_1"), ("evt_1", -(10**14), "pi_1"), ("evt_1", -1, "pi_1"), ("evt_1", 7_500_000_000, "pi_1"),
        (r"evt_\u0000", 1, "pi_1"), ("evt_1", 1, r"pi_\u0000"), ("evt_1", 1, "pi_" + "1" * 500), (r"evt_\ud800", 1, "pi_1"),
    ],
)  # fmt: skip
def test_an_event_that_no_row_can_hold_is_unreadable(event_id: str, created: int, subject: str) -> None:
    """It is stored and listed as such: an error of the service would have it sent again for days."""
    body = f'{{"id":"{event_id}","type":"x","created":{created},"data":{{"object":{{"id":"{subject}"}}}}}}'
    with pytest.raises(Unreadable):
        events.read(body.encode())


def test_two_secrets_hold_while_one_replaces_the_other() -> None:
    inbound = Inbound(events.verify, events.read)
    for secret in ("whsec_old", "whsec_new"):
        headers = {"stripe-signature": signature(b"{}", secret, NOW.timestamp())}
        verified(inbound, b"{}", headers, "whsec_old\nwhsec_new\n", NOW)
        verified(inbound, b"{}", headers, secret, NOW)
    for secrets in ("whsec_older\nwhsec_newer", "", "\n"):
        with pytest.raises(InvalidSignature):
            verified(inbound, b"{}", headers, secrets, NOW)


def test_metadata_of_another_system_names_no_operation_of_ours() -> None:
    body = b'{"id":"evt_1","type":"x","created":1,"data":{"object":{"id":"pi_1","metadata":{"operation_id":"7"}}}}'
    notice = events.read(body)
    assert (notice.operation_id, notice.payment) == (None, "pi_1")


# ------------------------------------------------------------------------------------------------------- what is a no


def error(status: int, kind: str, code: str | None = None, **more: Any) -> Answer:
    return Answer(status, {"error": {"type": kind, "code": code, "message": "as stated"} | more})


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (error(402, "card_error", "card_declined", decline_code="insufficient_funds"), "insufficient_funds"),
        (error(402, "card_error", "expired_card"), "expired_card"),
        (error(400, "invalid_request_error", "charge_already_refunded"), "charge_already_refunded"),
    ],
)
def test_a_no_of_stripe_is_refused_with_its_code(answer: Answer, code: str) -> None:
    refused = answers.refused(answer)
    assert (refused.state, refused.code, refused.reason) == ("refused", code, "as stated")


@pytest.mark.parametrize(
    "answer",
    [
        error(400, "idempotency_error"),
        error(400, "invalid_request_error", "parameter_unknown"),
        error(401, "invalid_request_error"),
        error(402, "api_error"),
        error(404, "invalid_request_error", "resource_missing"),
        error(409, "invalid_request_error", "idempotency_key_in_use"),
        error(429, "invalid_request_error", "rate_limit"),
        error(500, "api_error"),
        Answer(502, None),
        Answer(402, "<html>"),
        Answer(400, {"error": "no"}),
    ],
)
def test_everything_else_is_unclear(answer: Answer) -> None:
    with pytest.raises(Unclear):
        answers.refused(answer)


def call(**more: Any) -> GatewayCall:
    usual: dict[str, Any] = {"kind": "capture", "source": "pi_1", "refers_to": UUID(int=1), "left_minor": 0}
    return GatewayCall(
        operation_id=UUID(int=7), gateway="stripe", order_id=UUID(int=2), store_id="st_1", currency="EUR",
        amount_minor=5_00, **usual | more,
    )  # fmt: skip


def intent(**more: Any) -> answers.Intent:
    return answers.intent_of({"id": "pi_1", "status": "succeeded", "amount": 10_00, "currency": "eur"} | more)


def test_metadata_that_records_more_than_was_received_proves_no_capture() -> None:
    recorded = {answers.capture_key(UUID(int=7)): "500"}
    done = answers.captured(intent(amount_received=5_00, metadata=recorded, latest_charge="ch_1"), call())
    assert done is not None and (done.state, done.gateway_reference, done.amount_minor) == ("succeeded", "ch_1", 5_00)
    with pytest.raises(Unclear, match="has received 499"):
        answers.captured(intent(amount_received=4_99, metadata=recorded), call())


async def test_an_authorization_that_the_search_does_not_find_yet_is_asked_for_with_the_same_key() -> None:
    """Done, and answered with an error; Stripe repeats the error. When the search has it, it is found."""
    async with shaped("stripe") as shape:
        shape.server.search_lag = 0.1
        order = Paying(shape)
        await shape.trouble(order.order_id, authorize="broken")
        await order.authorize(10_00)
        assert order.tries > 1
        assert await shape.moved(order.order_id) == [("authorize", 10_00)]
        assert isinstance(await order.void(), Voided)


# ---------------------------------------------------------------------------------------------------------- stripe-mock


@pytest.fixture(scope="module")
def mock() -> Iterator[str]:
    try:
        with stripe_mock.running() as url:
            yield url
    except stripe_mock.NotThere as reason:
        pytest.skip(f"stripe-mock: {reason}")


REQUESTS = [
    call(kind="authorize", source=None, refers_to=None, left_minor=None, reference="A-1", payment_token="pm_card_visa"),
    call(kind="authorize", source=None, refers_to=None, left_minor=None, reference="A-1"),
    call(kind="authorize", source=None, refers_to=None, left_minor=None, capture=True, payment_token="pm_card_visa"),
    call(),
    call(left_minor=5_00),
    call(kind="void", left_minor=5_00),
    call(kind="void"),
    call(kind="refund", source="ch_1", refers_to=UUID(int=8), left_minor=None),
    call(kind="refund", source="pi_1", refers_to=UUID(int=8), left_minor=None),
    call(kind="refund", source="pi_1", refers_to=UUID(int=8), left_minor=None, reported_as="re_1"),
]


@pytest.mark.real
@pytest.mark.parametrize("asked", REQUESTS, ids=lambda one: f"{one.kind}-{one.left_minor}-{one.source}")
async def test_every_request_has_the_shape_that_stripe_describes_and_every_answer_reads(
    mock: str, asked: GatewayCall
) -> None:
    """Only the shapes: stripe-mock keeps nothing, so its answers are about other operations."""
    stripe = Stripe(mock, "sk_test_x", 30)
    made: list[tuple[str, str]] = []
    request = stripe._http.request

    async def checked(method: str, path: str, **more: Any) -> Answer:
        try:
            answer = await request(method, path, **more)
        except Unclear as unclear:
            raise AssertionError(f"no answer: {unclear}") from unclear
        assert answer.status == 200, (method, path, more, answer)
        made.append((method, path))
        if "data" not in answer.body:
            (answers.refund_of if "refunds" in path else answers.intent_of)(answer.body)
        return answer

    stripe._http.request = checked  # type: ignore[method-assign]
    for work in (stripe.call, stripe.by_reference, stripe.action):
        with contextlib.suppress(Unclear):
            await work(asked)
    await stripe.close()
    assert any(method == "POST" for method, _ in made) and any(method == "GET" for method, _ in made)


@pytest.mark.real
def test_the_mock_would_refuse_a_parameter_that_stripe_does_not_have(mock: str) -> None:
    """Else the test above could not fail."""
    import urllib.error
    import urllib.request

    wrong = urllib.request.Request(
        f"{mock}/v1/payment_intents", b"amount=1&currency=eur&nonsense=1", {"Authorization": "Bearer sk_test_x"}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(wrong, timeout=PATIENCE_SECONDS)
    assert refused.value.code == 400
    refused.value.close()
