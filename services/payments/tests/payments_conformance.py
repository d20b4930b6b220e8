"""The gateways that pass one suite, and what each of them lacks. A case is skipped only for a reason that is stated here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, NamedTuple

import pytest
from payments_gateways import Shape, shaped

SHAPES: Final = ("test", "stripe", "dintero", "manual")

NO_BUYER: Final = "no buyer pays in a session: the money is transferred"
LACKS: Final[Mapping[str, Mapping[str, str]]] = {
    "test": {
        "one capture": "captures as often as something is left",
        "payment page": "pays at once without a token",
        "return URL": "sends no buyer back",
        "expiry": "holds an authorization for ever",
        "limit": "takes any amount",
        "events": "sends no events: it is polled",
        "disputes": "has no disputes",
    },
    "stripe": {},
    "dintero": {
        "one capture": "captures as often as something is left",
        "disputes": "sends no event of a dispute",
    },
    "manual": {
        "one capture": "captures money that has arrived, in any parts",
        "refusals": "pays what it was asked to pay",
        "late capture": "captures money that has arrived",
        "expiring keys": "moves nothing by a capture, which may be called again",
        "buyers": NO_BUYER,
        "payment page": NO_BUYER,
        "return URL": NO_BUYER,
        "expiry": "holds money that has arrived",
        "limit": "takes any amount",
        "events": "sends no events: statements are imported",
        "disputes": "has no disputes: transfers are final",
        "list": "has no list: statements are imported",
    },
}
"""Gateway -> feature -> why it has none."""


class Case(NamedTuple):
    """A line of the list that every gateway holds."""

    name: str
    tests: tuple[str, ...]
    """Functions of the conformance suite."""
    feature: str | None = None
    """Without it a gateway cannot have the case."""


CASES: Final = (
    Case("authorize, capture, refund", ("test_money_goes_the_whole_way",)),
    Case(
        "capture with the authorization",
        ("test_a_capture_that_is_asked_for_with_its_authorization_is_made_once",),
    ),
    Case("decline", ("test_a_declined_authorization_moves_nothing_and_a_new_one_may_succeed",)),
    Case(
        "refused capture, void, refund",
        ("test_what_the_gateway_refuses_has_failed_and_can_be_asked_for_again",),
        "refusals",
    ),
    Case(
        "3-D Secure",
        (
            "test_a_buyer_who_has_to_confirm_is_pending_with_what_the_storefront_needs",
            "test_a_buyer_who_does_not_pass_is_declined",
        ),
        "buyers",
    ),
    Case("payment at the gateway's page", ("test_without_a_token_the_buyer_pays_at_the_gateway",), "payment page"),
    Case("return to the shop", ("test_a_buyer_is_sent_back_to_where_the_storefront_said_before",), "return URL"),
    Case(
        "abandoned; paid too late",
        (
            "test_a_buyer_who_leaves_is_declined_and_cannot_pay_any_more",
            "test_a_buyer_who_pays_after_the_time_gets_it_back",
        ),
        "buyers",
    ),
    Case(
        "paid before the order: taken over, given back",
        (
            "test_the_order_takes_over_what_was_paid_and_captures_voids_and_refunds_it",
            "test_what_was_paid_too_much_is_never_captured",
            "test_what_was_paid_too_little_is_one_of_two_authorizations",
            "test_what_no_order_takes_over_is_given_back_once",
            "test_a_worker_that_dies_while_a_session_asks_or_gives_back_does_each_once",
        ),
        "buyers",
    ),
    Case(
        "capture and refund in parts, void the rest",
        (
            "test_it_is_captured_and_refunded_in_parts_and_the_rest_is_voided",
            "test_a_part_is_voided_before_the_rest_is_captured",
            "test_all_is_voided",
        ),
    ),
    Case(
        "authorization for one capture",
        ("test_where_one_capture_is_allowed_the_first_releases_the_rest_and_a_second_is_refused",),
        "one capture",
    ),
    Case("refund of lines that a reversal has added", ("test_lines_that_were_added_after_the_payment_are_refunded",)),
    Case("repeat with the same key", ("test_the_same_key_is_the_same_operation_also_at_the_same_time",)),
    Case(
        "repeat after a time limit, a 500 or a lost request",
        (
            "test_an_unclear_call_moves_its_amount_exactly_once",
            "test_a_silent_gateway_is_asked_until_it_answers",
            "test_a_check_of_what_never_arrived_is_unknown_and_moves_nothing",
        ),
    ),
    Case(
        "no call after the key's lifetime",
        ("test_past_the_keys_lifetime_it_is_asked_and_never_called",),
        "expiring keys",
    ),
    Case("late authorization, refund", ("test_a_late_answer_is_pending_first_and_moves_its_amount_once",)),
    Case("late capture", ("test_a_late_answer_is_pending_first_and_moves_its_amount_once",), "late capture"),
    Case("worker dies after the call", ("test_a_worker_that_died_after_the_call_asks_and_does_not_call_again",)),
    Case(
        "worker dies as it opens or cancels a buyer's payment",
        (
            "test_a_worker_that_dies_while_it_opens_the_buyers_payment_takes_it_once",
            "test_a_worker_that_dies_while_it_cancels_what_a_buyer_has_left_gives_back_once",
        ),
        "buyers",
    ),
    Case(
        "event before the answer, twice, reordered, lost",
        ("test_every_event_is_signed_and_names_its_payment",),
        "events",
    ),
    Case("currencies without minor units and with three", ("test_currencies_without_minor_units_and_with_three",)),
    Case("amount over the limit", ("test_an_amount_over_the_gateways_limit_is_declined",), "limit"),
    Case(
        "expired authorization", ("test_an_authorization_that_has_expired_refuses_its_capture_and_says_so",), "expiry"
    ),
    Case(
        "dispute opened and lost",
        (
            "test_a_dispute_names_the_payment_that_it_is_about",
            "test_a_dispute_that_is_opened_and_lost_is_booked_once_whatever_its_events",
        ),
        "disputes",
    ),
    Case(
        "list for reconciliation",
        ("test_what_has_moved_is_in_the_gateways_own_list_under_a_name_that_we_have",),
        "list",
    ),
)


@pytest.fixture(params=SHAPES)
async def shape(request: pytest.FixtureRequest) -> AsyncIterator[Shape]:
    async with shaped(request.param) as one:
        yield one


def needs(shape: Shape, feature: str) -> None:
    """Skips the test if the gateway lacks the feature."""
    assert any(feature in lacking for lacking in LACKS.values()), f"no gateway lacks {feature!r}"
    reason = LACKS[shape.name].get(feature)
    if reason is not None:
        pytest.skip(f"{shape.name} {reason}")


def is_event(event: object, kind: type, **expected: Any) -> None:
    assert isinstance(event, kind), event
    assert {name: getattr(event, name) for name in expected} == expected, event


def table() -> list[str]:
    """Which case holds at which gateway, as lines of Markdown."""
    lines = [f"| case | {' | '.join(f'`{name}`' for name in SHAPES)} |", "|---" * (len(SHAPES) + 1) + "|"]
    for case in CASES:
        cells = (LACKS[name].get(case.feature or "", "holds") for name in SHAPES)
        lines.append(f"| {case.name} | {' | '.join(cells)} |")
    return lines
