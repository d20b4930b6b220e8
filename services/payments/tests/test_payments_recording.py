"""Recording mode: the money moved elsewhere, and payments is informed."""

from __future__ import annotations

from collections import Counter
from typing import Any
from unittest.mock import patch
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from payments_play import (
    Play,
    authorize,
    authorized,
    capture,
    captured,
    force,
    pending,
    record,
    record_refused,
    total,
    totals,
    uid,
    void,
    voided,
)

from contracts.deciding import Refusal, Task
from contracts.ids import recorded_id
from contracts.payments import (
    Authorized,
    Captured,
    Declined,
    Failed,
    PaymentName,
    Record,
    RecordRefused,
    Refunded,
    Voided,
)
from payments.domain import compaction, recording
from payments.domain.operation import capture_id_of

LINES = {"1": 30_00, "2": 20_00}
ALL = 50_00


def own(kind: str, payment_id: str) -> UUID:
    return recorded_id("st_1", "psp", kind, payment_id)


def elsewhere(event: Any) -> Any:
    """As it is booked when it was recorded."""
    name = PaymentName(system="psp", payment_id=event.gateway_reference)
    return event.model_copy(update={"recorded": True, "payment": name})


def test_what_happened_elsewhere_is_booked_and_no_gateway_is_asked(play: Play) -> None:
    play.when(record("authorize", "A", LINES))
    play.then(elsewhere(authorized(own("authorize", "A"), LINES, totals(ALL), "recorded", "A")))
    play.when(record("capture", "C", {"1": 10_00}))
    [event] = play.effects
    assert isinstance(event, Captured) and event.recorded and event.gateway_reference == "C"
    assert event.authorization_id == own("authorize", "A") and event.capture_id == own("capture", "C")
    play.when(record("refund", "R", {"1": 4_00}))
    play.when(record("void", "V", {"2": 20_00}))
    assert play.left() == (ALL, 10_00, 20_00, 4_00)
    assert play.ledger.lines["1"].refunded_minor == 4_00 and play.ledger.lines["2"].voided_minor == 20_00


def test_an_authorization_that_was_captured_at_once_is_one_record(play: Play) -> None:
    play.when(record("authorize", "A", LINES, capture=True))
    assert play.left() == (ALL, ALL, 0, 0)
    play.when(record("refund", "R", {"2": 20_00}))
    assert play.left() == (ALL, ALL, 0, 20_00)
    assert play.ledger.operations[own("refund", "R")].refers_to == capture_id_of(own("authorize", "A"))


@pytest.mark.parametrize("closed_max", [1, 8])
def test_the_payment_systems_own_id_tells_a_repetition(play: Play, closed_max: int) -> None:
    """Under any id of the request; also when the ledger's document no longer has the operation."""
    with patch.object(compaction, "CLOSED_MAX", closed_max):
        for kind, payment_id in (("authorize", "A"), ("capture", "C"), ("refund", "R")):
            play.when(record(kind, payment_id, {"1": 10_00}, op=f"first {kind}"))
        for kind, payment_id in (("authorize", "A"), ("capture", "C"), ("refund", "R")):
            assert play.when(record(kind, payment_id, {"1": 10_00}, op=f"second {kind}")) == []
    assert play.left() == (10_00, 10_00, 0, 10_00)


def test_one_id_with_other_amounts_is_refused(play: Play) -> None:
    play.when(record("authorize", "A", LINES))
    event, refusal = play.when(record("authorize", "A", {"1": 1}, op="again"))
    why = f"A of psp was recorded as succeeded with {ALL} EUR"
    assert event == record_refused("authorize", "A", "payment_differs", why, totals(ALL), op="again")
    assert refusal == Refusal("payment_differs", why)


def test_one_id_of_two_payment_systems_is_two_operations(play: Play) -> None:
    play.when(record("authorize", "A", {"1": 10_00}))
    play.when(record("authorize", "A", {"1": 10_00}, system="other"))
    assert play.left() == (20_00, 0, 0, 0)


def test_a_payment_of_another_order_is_refused(play: Play) -> None:
    play.when(record("authorize", "A", LINES))
    other = recording.Known(uid("other order"), play.operations[own("authorize", "A")])
    play.recorded_as = lambda key: other  # type: ignore[method-assign]
    event, _ = play.when(record("authorize", "A", LINES))
    assert (
        isinstance(event, RecordRefused) and event.code == "payment_taken" and str(uid("other order")) in event.reason
    )


CASES: list[tuple[Record, str, dict[str, Any]]] = [
    (record("capture", "C", {"1": 30_01}), "exceeds_capturable", {"line": "1", "allowed_minor": 30_00}),
    (record("capture", "C", {"1": 1, "2": 20_01}), "exceeds_capturable", {"line": "2", "allowed_minor": 20_00}),
    (record("void", "V", {"1": 30_01}), "exceeds_capturable", {"line": "1", "allowed_minor": 30_00}),
    (record("capture", "C", {"3": 1}), "line_unknown", {"line": "3"}),
    (record("capture", "C", {"1": 1}, currency="USD"), "currency_differs", {}),
    (record("capture", "C", {"1": 1}, of="nothing"), "authorization_unknown", {}),
    (record("refund", "R", {"1": 1}), "capture_unknown", {}),
    (record("authorize", "B", {"1": 10**15}), "exceeds_authorizable", {"allowed_minor": 10**15 - ALL}),
]


@pytest.mark.parametrize(("command", "code", "members"), CASES, ids=[f"{one[0].kind}:{one[1]}" for one in CASES])
def test_what_the_ledger_has_no_room_for_is_refused_with_the_line_and_what_is_left(
    play: Play, command: Record, code: str, members: dict[str, Any]
) -> None:
    play.when(record("authorize", "A", LINES))
    event, refusal = play.when(command)
    assert isinstance(event, RecordRefused) and isinstance(refusal, Refusal)
    assert (event.code, refusal.code, dict(refusal.more)) == (code, code, members)
    assert play.left() == (ALL, 0, 0, 0)


def test_a_refund_beyond_its_capture_is_refused(play: Play) -> None:
    play.when(record("authorize", "A", LINES, capture=True))
    play.when(record("refund", "R", {"1": 20_00}))
    event, _ = play.when(record("refund", "S", {"1": 10_01}))
    assert isinstance(event, RecordRefused)
    assert (event.code, event.line, event.allowed_minor) == ("exceeds_refundable", "1", 10_00)
    assert event.reason == "1001 of line 1 are stated, 1000 are left"


def test_what_came_too_early_is_booked_when_it_is_stated_again(play: Play) -> None:
    """A refusal burns no id."""
    [refused, _] = play.when(record("capture", "C", {"1": 10_00}))
    assert isinstance(refused, RecordRefused) and refused.code == "authorization_unknown"
    assert refused.reason == "the order has no authorization yet"
    play.when(record("authorize", "A", LINES))
    play.when(record("capture", "C", {"1": 10_00}, op="again"))
    assert play.left() == (ALL, 10_00, 0, 0)


def test_of_several_authorizations_one_is_to_be_named(play: Play) -> None:
    play.when(record("authorize", "A", LINES))
    play.when(record("authorize", "B", LINES))
    [refused, _] = play.when(record("capture", "C", {"1": 10_00}))
    assert isinstance(refused, RecordRefused) and refused.code == "reference_ambiguous"
    assert refused.reason == "the order has 2 authorizations: name one as authorization_id"
    play.when(record("capture", "C", {"1": 10_00}, op="again", of=own("authorize", "B")))
    assert play.left() == (2 * ALL, 10_00, 0, 0)


def test_a_refused_attempt_is_kept_and_moves_nothing(play: Play) -> None:
    [declined] = play.when(record("authorize", "A", LINES, outcome="failed", code="no_funds", reason="not enough"))
    assert isinstance(declined, Declined) and (declined.code, declined.reason) == ("no_funds", "not enough")
    [failed] = play.when(record("capture", "C", {"1": 5}, outcome="failed", code="expired"))
    assert isinstance(failed, Failed) and failed.recorded and failed.reason == "expired"
    assert play.left() == (0, 0, 0, 0)
    assert [(one.kind, one.state) for one in play.operations.values()] == [
        ("authorize", "declined"),
        ("capture", "failed"),
    ]


# -- what the ledger waits for ----------------------------------------------------------------------------------------


def test_an_operation_of_the_gateway_recorded_waits_until_payments_is_informed(play: Play) -> None:
    play.when(authorize("a1", LINES, gateway="recorded"))
    told = pending("a1", "authorize", LINES, totals(), reference=None).model_copy(update={"gateway": "recorded"})
    play.then(told)
    play.when(record("authorize", "A", LINES))
    play.then(elsewhere(authorized("a1", LINES, totals(ALL), "recorded", "A")))
    play.when(capture("c1", "a1", {"1": 30_00}))
    play.when(record("capture", "C", {"1": 30_00}))
    play.then(elsewhere(captured("c1", "a1", {"1": 30_00}, totals(ALL, 30_00), "C")))
    assert play.when(record("capture", "C", {"1": 30_00}, op="again")) == []


def test_a_refused_attempt_ends_what_waits_for_it(play: Play) -> None:
    play.when(authorize("a1", LINES, gateway="recorded"))
    [declined] = play.when(record("authorize", "A", LINES, outcome="failed"))
    assert isinstance(declined, Declined) and declined.operation_id == uid("a1")


def test_other_amounts_do_not_end_what_waits(play: Play) -> None:
    play.when(authorize("a1", LINES, gateway="recorded"))
    play.when(record("authorize", "A", {"1": 30_00}))
    assert play.ledger.operations[uid("a1")].is_open and play.left() == (30_00, 0, 0, 0)


def test_a_request_that_comes_after_its_record_is_done(play: Play) -> None:
    """The order asked while a till recorded the authorization: nothing is left pending, and nothing is booked twice."""
    play.when(record("authorize", "A", LINES))
    late = authorize("a1", LINES, gateway="recorded").model_copy(update={"unless_recorded": True})
    assert play.when(late) == [] == play.when(late)
    assert not any(one.is_open for one in play.ledger.operations.values()) and play.left() == (ALL, 0, 0, 0)
    play.when(record("capture", "C", LINES))
    assert play.when(late) == []
    at_once = Play()
    at_once.when(record("authorize", "A", LINES, capture=True))
    assert at_once.when(late) == [] and at_once.left() == (ALL, ALL, 0, 0)


@pytest.mark.parametrize("before", ["other amounts", "a void", "a void that waits", "no flag"])
def test_a_request_waits_for_a_record_of_its_own_if_the_one_before_is_none_for_it(play: Play, before: str) -> None:
    amounts = {"1": 30_00} if before == "other amounts" else LINES
    play.when(record("authorize", "A", amounts))
    if before == "a void":
        play.when(record("void", "V", {"1": 1}))
    if before == "a void that waits":
        play.when(void("v1", own("authorize", "A")))
    late = authorize("a1", LINES, gateway="recorded")
    play.when(late.model_copy(update={"unless_recorded": before != "no flag"}))
    assert play.ledger.operations[uid("a1")].is_open


def test_a_request_for_more_of_the_same_is_not_done_by_what_the_order_had_before(play: Play) -> None:
    """An edit adds as much as the order has cost. Recorded while it asks, it is done; what was there before is another one."""
    play.when(record("authorize", "A", LINES))
    more = authorize("a2", LINES, gateway="recorded")
    more = more.model_copy(update={"unless_recorded": True, "authorizations_before": 1})
    waits = Play()
    waits.when(record("authorize", "A", LINES))
    waits.when(more)
    assert waits.ledger.operations[uid("a2")].is_open
    play.when(record("authorize", "B", LINES))
    assert play.when(more) == [] and play.left() == (2 * ALL, 0, 0, 0)
    assert not any(one.is_open for one in play.ledger.operations.values())


def test_a_person_may_state_the_outcome_at_once_because_nobody_is_asked(play: Play) -> None:
    play.when(authorize("a1", LINES, gateway="recorded"))
    effects = play.when(force("f1", "a1", "failed"))
    assert isinstance(effects[1], Declined) and not any(isinstance(one, Task) for one in effects)
    assert play.ledger.operations[uid("a1")].recorded == "stated"


def test_a_void_that_waits_for_a_capture_goes_on_when_it_is_recorded(play: Play) -> None:
    play.when(authorize("a1", LINES, gateway="recorded"))
    play.when(record("authorize", "A", LINES))
    play.when(capture("c1", "a1", {"1": 30_00}))
    play.when(void("v1", "a1"), id="m2")
    _, waits = play.when(record("capture", "C", {"1": 30_00}), id="m3")
    assert waits == pending("v1", "void", {"2": 20_00}, totals(ALL, 30_00), of="a1", reference=None).model_copy(
        update={"gateway": "recorded"}
    )
    play.when(record("void", "V", {"2": 20_00}), id="m4")
    play.then(elsewhere(voided("v1", "a1", {"2": 20_00}, totals(ALL, 30_00, 20_00), "V")))


# -- any sequence -----------------------------------------------------------------------------------------------------

AMOUNTS = st.dictionaries(st.sampled_from(["1", "2"]), st.integers(1, 60), min_size=1)
RECORDS = st.builds(
    lambda kind, n, amounts, happened, at_once: record(
        kind, f"P{n}", amounts, outcome="succeeded" if happened else "failed", capture=at_once and kind == "authorize"
    ),
    st.sampled_from(["authorize", "capture", "void", "refund"]),
    st.integers(1, 6),
    AMOUNTS,
    st.sampled_from([True, True, True, False]),
    st.booleans(),
)


@given(commands=st.lists(RECORDS, max_size=30), closed_max=st.sampled_from([1, 8]))
def test_any_sequence_keeps_the_guards_and_books_each_payment_once(commands: list[Record], closed_max: int) -> None:
    play, booked = Play(), Counter[tuple[str, str]]()
    with patch.object(compaction, "CLOSED_MAX", closed_max):
        for n, command in enumerate(commands):
            command = command.model_copy(update={"operation_id": uid(f"request {n}")})
            before = play.left()
            for effect in play.when(command, id=f"m{n}"):
                if isinstance(effect, (Authorized, Captured, Voided, Refunded)):
                    booked[command.kind, command.payment_id] += 1
                    assert effect.amount_minor == total({one.line_id: one.amount_minor for one in command.lines})
                else:
                    assert play.left() == before, "a refusal and a refused attempt move nothing"
            for line in play.ledger.lines.values():
                assert 0 <= line.refunded_minor <= line.captured_minor
                assert line.captured_minor + line.voided_minor <= line.authorized_minor
    assert max(booked.values(), default=1) == 1


@pytest.mark.parametrize(
    ("again", "line"), [({"1": 20, "2": 10}, "1"), ({"1": 10, "3": 20}, "3"), ({"1": 10, "2": 5, "3": 15}, "2")]
)
@pytest.mark.parametrize("kind", ["authorize", "capture", "refund"])
def test_a_repetition_with_the_same_total_of_other_lines_is_refused_and_names_the_line(
    play: Play, kind: str, again: dict[str, int], line: str
) -> None:
    was = {"1": 10, "2": 20}
    for one in ("authorize", "capture", "refund"):
        play.when(record(one, "A", was))
        if one == kind:
            break
    before = play.ledger
    play.when(record(kind, "A", was, op="same"))
    play.then()
    play.when(record(kind, "A", again, op="again"))
    event, refusal = play.effects
    assert isinstance(event, RecordRefused) and isinstance(refusal, Refusal)
    assert (event.code, event.line, refusal.code) == ("payment_differs", line, "payment_differs")
    assert play.ledger == before
