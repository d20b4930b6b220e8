"""Dintero's rules: its token, signatures, which answers are a no and which can be tried again, and one effect without a key."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from payments_gateways import API_KEY, DINTERO_ACCOUNT, Paying, Shape, shaped

from chassis.declare.service import TryAgain
from contracts.payments import Authorized, Captured, Declined, Failed, MoneyLine, Pending, Voided
from gatewayservers.dintero import signature
from payments.domain.gateway import GatewayCall
from payments.gateways.accounts import Access
from payments.gateways.dintero import answers, events
from payments.gateways.dintero.gateway import SETTLED_SECONDS, Dintero
from payments.gateways.dintero.tokens import EARLY_SECONDS_MAX
from payments.gateways.http import Answer
from payments.gateways.inbound import InvalidSignature, Unreadable
from payments.gateways.port import Action, Unclear
from tests.waiting import patience

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
SECRET = "whsec_test"
OURS, OTHER = UUID(int=7), UUID(int=9)


@pytest.fixture
async def shape() -> AsyncIterator[Shape]:
    async with shaped("dintero") as one:
        yield one


async def authorized(shape: Shape, amount: int = 10_00) -> Paying:
    order = Paying(shape)
    assert isinstance(await order.authorize(amount), Authorized)
    return order


# ----------------------------------------------------------------------------------------------------------------- token


async def test_one_token_is_fetched_for_many_requests_at_the_same_time(shape: Shape) -> None:
    orders = await asyncio.gather(*(authorized(shape) for _ in range(5)))
    await asyncio.gather(*(order.capture(10_00) for order in orders))
    assert len(shape.server.tokens) == 1


async def test_a_token_that_is_rejected_is_replaced_and_the_request_made_once(shape: Shape) -> None:
    order = await authorized(shape)
    shape.server.tokens.clear()
    assert isinstance(await order.capture(10_00), Captured)
    assert order.tries == 2, "neither the authorization nor the capture was tried again"
    assert await shape.moved(order.order_id) == [("authorize", 10_00), ("capture", 10_00)]


async def test_a_token_is_replaced_before_it_expires(shape: Shape) -> None:
    order, gateway = await authorized(shape), shape.gateway
    assert isinstance(gateway, Dintero)
    left = gateway._api._expires_at - time.monotonic()
    assert 0 < left <= shape.server.token_seconds - EARLY_SECONDS_MAX
    gateway._api._expires_at -= left
    assert isinstance(await order.capture(10_00), Captured)
    assert len(shape.server.tokens) == 2


async def test_wrong_credentials_are_unclear_and_in_no_error(shape: Shape) -> None:
    credentials = {"client_id": "client", "client_secret": "sk_wrong"}
    access = Access(shape.url, credentials, {"account_id": DINTERO_ACCOUNT, "return_url": "https://x"})
    wrong = Dintero(access, 8)
    with pytest.raises(Unclear, match="no access token: status 401") as unclear:
        await wrong.by_reference(call(kind="authorize", source=None))
    assert "sk_wrong" not in repr(unclear.value) and "sk_wrong" not in repr(access) and API_KEY not in repr(access)
    await wrong.close()


# -------------------------------------------------------------------------------------------------------------- webhooks


def verify(body: bytes, header: str | None) -> None:
    events.verify(body, {} if header is None else {"event-signature": header}, SECRET, NOW)


def test_a_signature_of_the_body_by_the_secret_is_accepted() -> None:
    verify(b"{}", signature(b"{}", SECRET))


@pytest.mark.parametrize(
    "header",
    [None, "", "abc", signature(b"{} ", SECRET), signature(b"{}", "other"), signature(b"{}", SECRET)[:-1], "é"],
)
def test_any_other_signature_is_invalid(header: str | None) -> None:
    with pytest.raises(InvalidSignature):
        verify(b"{}", header)


PING = b'{"account_id":"T12345678","event":"ping","event_delivery":"d1"}'
ATTEMPT = b"""{"account_id":"T12345678","event":"checkout_authorization","event_delivery":"d2",
    "authorization":{"merchant_reference":"%s","session_id":"T12345678.s","error":"cancelled"}}"""
CHANGED = b"""{"account_id":"T12345678","event":"checkout_transaction","event_delivery":"d3","transaction":{
    "id":"T12345678.t","merchant_reference":"%s","updated_at":"2026-11-29T12:00:00Z","events":[{"event":"AUTHORIZE"},
    {"event":"CAPTURE","event_reference":"%s"}]}}"""


def test_a_delivery_names_its_payment_and_the_operation_of_its_last_event() -> None:
    notice = events.read(CHANGED % (str(OTHER).encode(), str(OURS).encode()))
    assert (notice.event_id, notice.payment, notice.operation_id) == ("d3", "T12345678.t", OURS)
    assert notice.occurred_at == NOW
    failed = events.read(ATTEMPT % str(OURS).encode())
    assert (failed.payment, failed.subject, failed.operation_id) == (None, "T12345678.s", OURS)
    foreign = events.read(CHANGED % (b"A-1", b"their reference"))
    assert (foreign.payment, foreign.operation_id) == ("T12345678.t", None)
    assert events.read(PING).subject == "T12345678"


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b"\xff", PING.replace(b'"d1"', b'""'), CHANGED.replace(b'"T12345678.t"', b'""'),
     PING.replace(b'"d1"', b'"d\\u0000"'), CHANGED.replace(b'"T12345678.t"', b'"%s"' % (b"T" * 501)),
     CHANGED.replace(b"2026-11-29T", b"0001-01-01T")]
)  # fmt: skip
def test_a_body_of_another_shape_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        events.read(body)


# ----------------------------------------------------------------------------------------- what a transaction's events mean


def call(**more: Any) -> GatewayCall:
    usual: dict[str, Any] = {"kind": "capture", "source": "T1.t", "refers_to": UUID(int=1), "left_minor": 0}
    return GatewayCall(
        operation_id=OURS, gateway="dintero", order_id=UUID(int=2), store_id="st_1", currency="EUR", amount_minor=5_00,
        **usual | more,
    )  # fmt: skip


def event(name: str, success: bool = True, of: UUID | None = OURS, **more: Any) -> dict[str, Any]:
    reference = {"event_reference": str(of)} if of else {}
    return {"id": "3", "event": name, "success": success, "amount": 5_00} | reference | more


def transaction(*made: dict[str, Any], status: str = "AUTHORIZED") -> answers.Transaction:
    return answers.transaction_of({"id": "T1.t", "status": status, "amount": 10_00, "currency": "EUR", "events": made})


STARTED = event("INITIATE_CAPTURE", request_id="r1")
ENDED = event("CAPTURE", of=None, correlation_request_id="r1")
FINAL = {"code": "no_funds", "message": "m", "retry_policy": "DO_NOT_RETRY"}
AGAIN = {"code": "offline", "message": "m", "retry_policy": {"policy": "RETRY_AFTER_DELAY", "retry_after": 7}}


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        ([], None),
        ([event("CAPTURE", of=OTHER)], None),
        ([event("REFUND")], None),
        ([event("CAPTURE")], ("succeeded", "")),
        ([STARTED], ("pending", "")),
        ([event("INITIATE_CAPTURE")], ("pending", "")),
        ([event("INITIATE_CAPTURE", False, error=FINAL)], None),
        ([STARTED, ENDED], ("succeeded", "")),
        ([STARTED, ENDED | {"success": False, "error": FINAL}], ("refused", "no_funds")),
        ([STARTED, ENDED | {"correlation_request_id": "r2"}], ("pending", "")),
        ([event("CAPTURE", False, error=FINAL)], ("refused", "no_funds")),
        ([event("CAPTURE", False, error={"message": "m", "type": "REJECTED_BY_ACQUIRER"})], ("refused", "REJECTED_BY_ACQUIRER")),
        ([event("CAPTURE", False)], ("refused", "failed")),
        ([event("CAPTURE", False, error=AGAIN)], None),
        ([event("CAPTURE", False, error={"message": "m", "type": ["ACQUIRER_HOST_OFFLINE"]})], None),
        ([event("CAPTURE", False, error={"retry_policy": "RETRY_IMMEDIATELY"}), event("CAPTURE")], ("succeeded", "")),
    ],
)  # fmt: skip
def test_a_capture_is_what_the_events_of_its_reference_state(made: list[Any], expected: tuple[str, str] | None) -> None:
    found = answers.recorded(transaction(*made), call())
    assert (None if found is None else (found.state, found.code)) == expected


def test_an_accepted_capture_that_failed_is_refused_whatever_its_policy() -> None:
    """It is only asked for, and not called again."""
    failed = transaction(STARTED, ENDED | {"success": False, "error": AGAIN})
    assert answers.recorded(failed, call()) is None
    outcome = answers.recorded(failed, call(ask_only=True))
    assert outcome is not None and (outcome.state, outcome.code, outcome.later) == ("refused", "offline", True)
    final = transaction(STARTED, ENDED | {"success": False, "error": FINAL})
    outcome = answers.recorded(final, call(ask_only=True))
    assert outcome is not None and (outcome.code, outcome.later) == ("no_funds", False)


def test_a_capture_that_was_made_twice_has_moved_twice_its_amount() -> None:
    """The ledger parks what differs from what it asked for, until a person has compared both sides."""
    outcome = answers.recorded(transaction(event("CAPTURE"), event("CAPTURE", id="4")), call())
    assert outcome is not None and outcome.amount_minor == 10_00


@pytest.mark.parametrize(
    ("status", "made", "expected"),
    [
        ("AUTHORIZED", [], None),
        ("PARTIALLY_CAPTURED", [event("CAPTURE")], None),
        ("AUTHORIZATION_VOIDED", [], "succeeded"),
        ("CAPTURED", [event("CAPTURE")], "succeeded"),
        ("AUTHORIZED", [event("INITIATE_VOID", of=None)], "pending"),
        ("AUTHORIZED", [event("INITIATE_VOID", of=None), event("VOID", False, None, error=FINAL)], None),
        ("AUTHORIZED", [event("VOID", False, None, error=FINAL), event("INITIATE_VOID", of=None)], "pending"),
        ("PARTIALLY_CAPTURED_REFUNDED", [event("CAPTURE"), event("VOID", of=None)], "succeeded"),
    ],
)
def test_a_void_is_known_by_what_is_still_held(status: str, made: list[Any], expected: str | None) -> None:
    """A failed one does not name its operation, so only one that was accepted before is refused by it."""
    found = answers.recorded(transaction(*made, status=status), call(kind="void"))
    assert (found.state if found else None) == expected
    asked = answers.recorded(transaction(*made, status=status), call(kind="void", ask_only=True))
    has_failed = expected is None and len(made) > 1
    assert (asked.state if asked else None) == ("refused" if has_failed else expected)


OTHERS = st.builds(
    event, st.sampled_from(["CAPTURE", "INITIATE_CAPTURE", "REFUND", "VOID", "AUTHORIZE", "SETTLEMENT"]), st.booleans(),
    st.just(OTHER), request_id=st.sampled_from(["x", "y"]), correlation_request_id=st.sampled_from(["x", "y", None]),
)  # fmt: skip


@given(made=st.sampled_from([[], [STARTED], [STARTED, ENDED], [event("CAPTURE")], [event("CAPTURE", False, error=FINAL)]]),
       others=st.lists(st.tuples(OTHERS, st.integers(0, 9)), max_size=8))  # fmt: skip
def test_events_of_other_operations_change_nothing(made: list[Any], others: list[tuple[Any, int]]) -> None:
    mixed = [*made]
    for other, place in others:
        mixed.insert(place, other)
    assert answers.recorded(transaction(*mixed), call()) == answers.recorded(transaction(*made), call())


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("INITIATED", "pending"), ("ON_HOLD", "pending"), ("AUTHORIZED", "succeeded"), ("REFUNDED", "succeeded"),
        ("AUTHORIZATION_VOIDED", "refused"), ("DECLINED", "refused"), ("FAILED", "refused"),
    ],
)  # fmt: skip
def test_an_authorization_is_the_status_of_its_transaction(status: str, expected: str) -> None:
    ours = transaction(status=status).model_copy(update={"merchant_reference": str(OURS)})
    asked = call(kind="authorize", source=None)
    found = answers.authorized([ours], asked)
    assert found is not None and found.state == expected
    assert answers.authorized([ours.model_copy(update={"merchant_reference": str(OTHER)})], asked) is None
    if expected == "succeeded":
        failed = ours.model_copy(update={"id": "T1.u", "status": "FAILED"})
        assert answers.authorized([failed, ours], asked) == found, "the session that was paid counts"
        with pytest.raises(Unclear, match="2 transactions"):
            answers.authorized([ours, ours.model_copy(update={"id": "T1.u"})], asked)


@pytest.mark.parametrize(
    ("product", "days"),
    [("dintero_psp.creditcard", 7), ("bambora.vipps", 7), ("collector.invoice", 90), ("walley.invoice", 90),
     ("klarna.klarna", None), ("payex.swish", None), ("", None)],
)  # fmt: skip
def test_an_authorization_is_held_as_long_as_dintero_documents_for_its_kind_of_payment(
    product: str, days: int | None
) -> None:
    granted = datetime(2026, 3, 1, 12, tzinfo=UTC)
    made = event("AUTHORIZE", of=None, created_at=granted.isoformat())
    ours = transaction(made).model_copy(update={"payment_product_type": product, "merchant_reference": str(OURS)})
    found = answers.authorized([ours], call(kind="authorize", source=None))
    assert found is not None and found.held_until == (granted + timedelta(days=days) if days else None)
    taken = ours.model_copy(update={"status": "PARTIALLY_CAPTURED"})
    assert taken.held_until is None


@pytest.mark.parametrize(
    "body", [None, [], {}, {"id": "T1.t", "status": "NEW", "amount": 1, "currency": "EUR"}, "<html>"]
)
def test_an_answer_that_is_no_transaction_is_unclear(body: Any) -> None:
    with pytest.raises(Unclear):
        answers.transaction_of(body)


CANCELLED = [{"name": "INITIATED"}, {"name": "CANCELLED"}]


@pytest.mark.parametrize(
    ("session", "status", "expected"),
    [
        ({"events": CANCELLED}, None, ("refused", "session_cancelled")),
        ({"expires_at": "2026-11-29T11:59:59Z"}, None, ("refused", "session_expired")),
        ({"expires_at": "2026-11-29T12:00:01"}, None, ("pending", "")),
        ({"events": CANCELLED}, "AUTHORIZATION_VOIDED", ("refused", "authorization_expired")),
        ({"events": CANCELLED}, "AUTHORIZED", ("pending", "")),
        ({"expires_at": "2026-11-29T11:59:59Z"}, "INITIATED", ("pending", "")),
        ({}, "FAILED", ("refused", "failed")),
        ({}, "CAPTURED", ("succeeded", "")),
    ],
)
def test_a_session_has_ended_when_nothing_can_be_paid_and_nothing_is_held(
    session: dict[str, Any], status: str | None, expected: tuple[str, str]
) -> None:
    paid = transaction(status=status).model_copy(update={"merchant_reference": str(OURS)}) if status else None
    found = answers.abandoned(
        answers.session_of({"id": "T1.s"} | session), paid, call(kind="authorize", source=None), NOW
    )
    assert (found.state, found.code) == expected


# ------------------------------------------------------------------------------------------------- one effect without a key


async def test_the_server_of_these_tests_would_move_a_repeated_capture_again(shape: Shape) -> None:
    """Else the tests of this section could not fail."""
    order = await authorized(shape)
    [payment] = shape.server.books.transactions.values()
    for _ in range(2):
        status, _ = shape.server.books.operate(payment, "capture", {"amount": 4_00, "capture_reference": "r"}, None)
        assert status == 200
    assert await shape.moved(order.order_id) == [("authorize", 10_00), ("capture", 4_00), ("capture", 4_00)]


async def test_a_worker_that_was_held_up_after_reading_requests_nothing(shape: Shape) -> None:
    """Meanwhile its lease has ended, and another worker has made the capture."""
    order = await authorized(shape)
    other = Dintero(_access(shape), 8)
    asked, gateway = order.calling("capture", 4_00), shape.gateway
    assert isinstance(gateway, Dintero)
    read = gateway._source

    async def slow(call: GatewayCall) -> answers.Transaction | None:
        found = await read(call)
        assert (await other.call(asked)).state == "succeeded"
        gateway._clock = lambda: 1e9
        return found

    gateway._source = slow  # type: ignore[method-assign]
    with pytest.raises(Unclear, match="held up"):
        await gateway.call(asked)
    gateway._source = read  # type: ignore[method-assign]
    found = await gateway.by_reference(asked)
    assert found is not None and found.state == "succeeded"
    assert await shape.moved(order.order_id) == [("authorize", 10_00), ("capture", 4_00)]
    await other.close()


@pytest.mark.parametrize(("trouble", "seconds"), [("lost", SETTLED_SECONDS), ("down", None)])
async def test_what_may_still_arrive_is_not_requested_again_at_once(
    shape: Shape, trouble: str, seconds: float | None
) -> None:
    """`down` is Dintero's own 503: it has not begun."""
    order = await authorized(shape)
    await shape.trouble(order.order_id, capture=trouble)
    asked = order.calling("capture", 4_00)
    with pytest.raises(TryAgain) as again:
        await order.policy.run(asked, order.attempt(asked))
    usual = order.knobs.gateway_retry_seconds
    assert again.value.after_seconds == (usual if seconds is None else seconds)


async def test_a_failure_that_may_be_retried_is_after_the_time_that_dintero_states(shape: Shape) -> None:
    order = await authorized(shape)
    operate = shape.server.books.operate

    def offline(payment: Any, kind: str, body: Any, trouble: str | None) -> Any:
        shape.server.books.operate = operate
        shape.server.books._event(payment, "CAPTURE", False, body["amount"], body["capture_reference"], error=AGAIN)
        return 400, {"error": {"code": "offline", "message": "m"}}

    shape.server.books.operate = offline
    asked = order.calling("capture", 4_00)
    with pytest.raises(TryAgain) as again:
        await order.policy.run(asked, order.attempt(asked))
    assert again.value.after_seconds == 7
    assert (await order.policy.run(asked, order.attempt(asked, 2))).state == "succeeded"
    assert await shape.moved(order.order_id) == [("authorize", 10_00), ("capture", 4_00)]


async def test_a_payment_of_the_same_reference_is_not_made_twice_by_two_processes(shape: Shape) -> None:
    order, other = Paying(shape), Dintero(_access(shape), 8)
    operation_id = UUID(int=77)
    order.decide(order.authorizing(10_00, operation_id=operation_id))
    asked = order.tasks[0].body
    assert isinstance(asked, GatewayCall)
    outcomes = await asyncio.gather(shape.gateway.call(asked), other.call(asked))
    assert {one.state for one in outcomes} == {"succeeded"} and len({one.gateway_reference for one in outcomes}) == 1
    assert await shape.moved(order.order_id) == [("authorize", 10_00)]
    await other.close()


def _access(shape: Shape) -> Access:
    credentials = {"client_id": "client", "client_secret": API_KEY}
    return Access(shape.url, credentials, {"account_id": DINTERO_ACCOUNT, "return_url": "https://x"})


# ---------------------------------------------------------------------------------------------------------- what is requested


async def test_a_part_is_captured_with_its_lines_and_the_last_one_releases_the_rest(shape: Shape) -> None:
    order, sent = await authorized(shape), list[tuple[str, Any]]()
    operate = shape.server.books.operate

    def recorded(payment: Any, kind: str, body: Any, trouble: str | None) -> Any:
        sent.append((kind, {name: body.get(name) for name in ("amount", "items", "final_capture")}))
        return operate(payment, kind, body, trouble)

    shape.server.books.operate = recorded
    await order.capture(3_00)
    assert isinstance(await order.void(2_00), Voided), "nothing is requested: it is released with the last capture"
    await order.capture(5_00)
    await order.refund(1_00)
    assert sent == [
        ("capture", {"amount": 3_00, "items": _items(3_00), "final_capture": None}),
        ("capture", {"amount": 5_00, "items": _items(5_00), "final_capture": True}),
        ("refund", {"amount": 1_00, "items": _items(1_00), "final_capture": None}),
    ]
    assert sorted(await shape.moved(order.order_id)) == [
        ("authorize", 10_00), ("capture", 3_00), ("capture", 5_00), ("refund", 1_00), ("void", 2_00),
    ]  # fmt: skip
    [payment] = shape.server.books.transactions.values()
    assert payment.order["items"] == [{"id": "1", "description": "1"} | one for one in _items(10_00)]


def _items(amount: int) -> list[dict[str, Any]]:
    line = MoneyLine(line_id="1", quantity=1, amount_minor=amount)
    return [{"line_id": line.line_id, "quantity": line.quantity, "amount": line.amount_minor}]


async def test_without_a_token_the_buyer_is_sent_to_the_page_of_the_session(shape: Shape) -> None:
    order = Paying(shape)
    authorizing = asyncio.create_task(order.authorize(10_00, None))
    async with patience():
        while not any(isinstance(event, Pending) for event in order.events):
            await asyncio.sleep(0.01)
    [session] = shape.server.payments
    [(operation_id, operation)] = order.ledger.operations.items()
    asked = order.ledger.call(order.order_id, "st_1", operation_id, operation)
    expected = Action("pay", redirect_url=f"{shape.url}/v1/view/{session}")
    assert await shape.gateway.action(asked) == expected and session not in repr(expected)
    await shape.post(f"/buyers/{session}/fail")
    declined = await authorizing
    assert isinstance(declined, Declined) and declined.code == "rejected"
    assert await shape.gateway.action(asked) is None


async def test_what_the_transaction_cannot_carry_out_is_refused_when_dintero_rejects_it(shape: Shape) -> None:
    """Half was captured in Dintero's Backoffice: there is no event of ours, and too little is left."""
    order = await authorized(shape)
    [payment] = shape.server.books.transactions.values()
    shape.server.books.operate(payment, "capture", {"amount": 6_00}, None)
    failed = await order.capture(5_00)
    assert isinstance(failed, Failed) and failed.reason.startswith("amount_exceeded: 400 are left")


@pytest.mark.parametrize(
    ("status", "code"), [(400, "bad_request"), (403, "forbidden"), (404, "x"), (429, "x"), (500, "x")]
)
def test_an_error_alone_is_no_no(status: int, code: str) -> None:
    unclear = answers.unclear(Answer(status, {"error": {"code": code, "message": "m"}}))
    assert str(unclear) == f"Dintero answered with status {status}: {code}"
    assert answers.excluded(transaction(), call()) is None
