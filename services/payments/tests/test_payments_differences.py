"""A difference between ledger and gateway: the same one whenever it is found, closed once; and what applies its proposal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from payments_play import authorized, captured, totals

from contracts.deciding import Context, Refusal
from contracts.differences import DifferenceClosed, DifferenceFound, TheirSide
from contracts.ids import recorded_id
from contracts.payments import Record
from payments.domain import applying, differences
from payments.domain.applying import Unappliable, allotted
from payments.domain.differences import About, Apply, Difference, Dismiss, Find, Lose
from payments.domain.folds import evolve
from payments.domain.ledger import Ledger, capture_id_of
from payments.domain.listing import Listed
from payments.domain.pairing import Movement
from payments.domain.reconciling import Difference as Compared
from payments.handlers import DIFFERENCES, SERVICE

NOW, KEY, ORDER = datetime(2026, 11, 29, tzinfo=UTC), UUID(int=1), UUID(int=7)


class Story:
    """One difference and what happens to it."""

    def __init__(self) -> None:
        self.state, self.now = Difference(), NOW

    def tell(self, kind: type[Any], later: timedelta = timedelta(), **more: Any) -> Any:
        self.now += later
        given = {"difference_id": KEY, "store_id": "st_1", "operation_id": uuid4(), "actor": "person:ann"}
        decide = {
            Find: differences.find,
            Lose: differences.lose,
            Apply: differences.apply,
            Dismiss: differences.dismiss,
        }[kind]
        effects = decide(self.state, kind(**given, **more), Context(self.now, KEY, "st_1", uuid4()))
        for effect in effects:
            if isinstance(effect, (DifferenceFound, DifferenceClosed)):
                self.state = differences.evolve(self.state, effect)
        return effects[0] if effects else None

    def find(self, amount: int = 500, later: timedelta = timedelta()) -> Any:
        return self.tell(Find, later, about=about(amount), reconciliation_id=uuid4())


def about(
    amount: int = 500, kind: Any = "not_booked", proposal: Any = "book", what: Any = "capture", **more: Any
) -> About:
    theirs = TheirSide(kind=what, reference="ch_1", names=("pi_1",), currency="EUR", amount_minor=amount, at=NOW)
    return About(
        gateway="stripe", account="main", kind=kind, proposal=proposal, order_id=ORDER, theirs=theirs, at=NOW, **more
    )


def test_a_difference_is_found_once_and_again_only_when_it_has_changed_or_was_closed() -> None:
    story = Story()
    assert isinstance(story.find(), DifferenceFound) and story.find() is None
    assert isinstance(story.find(400), DifferenceFound), "it has changed"
    assert story.tell(Lose, reconciliation_id=uuid4()).because == "gone"
    assert story.tell(Lose, reconciliation_id=uuid4()) is None
    assert isinstance(story.find(400), DifferenceFound)
    assert story.state.found_at == NOW


def test_what_was_dismissed_stays_so_until_it_changes() -> None:
    story = Story()
    story.find()
    assert story.tell(Dismiss, reason="known").because == "dismissed"
    assert story.find(later=timedelta(days=9)) is None
    assert isinstance(story.find(400), DifferenceFound) and story.state.reason == ""


def test_what_was_applied_and_is_found_later_is_open_again() -> None:
    story = Story()
    story.find()
    assert story.tell(Apply, about=about()).because == "applied"
    assert story.find(later=timedelta(minutes=9)) is None, "it was compared before"
    assert isinstance(story.find(later=timedelta(minutes=2)), DifferenceFound)


def test_a_closed_changed_or_unknown_difference_refuses() -> None:
    story = Story()
    assert story.tell(Dismiss, reason="x").code == "difference_unknown"
    story.find()
    refused = story.tell(Apply, about=about(400))
    assert isinstance(refused, Refusal) and refused.code == "difference_changed"
    story.tell(Apply, about=about())
    for kind, more in ((Apply, {"about": about()}), (Dismiss, {"reason": "x"})):
        assert story.tell(kind, **more).code == "difference_closed"


def test_a_decision_on_a_difference_needs_no_row_of_a_gift_card_or_an_operation() -> None:
    story = Story()
    story.find()
    given = {"difference_id": KEY, "store_id": "st_1", "operation_id": uuid4(), "actor": "person:ann"}
    messages = [
        Find(**given, about=about(), reconciliation_id=uuid4()),
        Lose(**given, reconciliation_id=uuid4()),
        Apply(**given, about=about()),
        Dismiss(**given, reason="seen"),
    ]
    assert {type(message) for message in messages} == {handler.message for handler in DIFFERENCES.handlers}
    for state in (Difference(), story.state):
        assert [key for share in SERVICE.shares for one in messages for key in share.needs(state, one)] == []


def test_its_id_is_that_of_what_it_is_about() -> None:
    ours = Movement(UUID(int=3), ORDER, "capture", "EUR", 500, ())
    theirs = Listed("capture", "ch_1", (), "EUR", 500, NOW)
    ids = {
        differences.difference_id(store, gateway, account, compared)
        for store in ("st_1", "st_2") for gateway in ("stripe", "test") for account in ("main", "other")
        for compared in (
            Compared("not_booked", "book", ORDER, None, theirs), Compared("made_twice", "refund", ORDER, ours, theirs),
            Compared("not_at_gateway", "ask", ORDER, ours, None), Compared("not_booked", "book", ORDER, None, theirs._replace(kind="refund")),
        )
    }  # fmt: skip
    assert len(ids) == 2 * 2 * 2 * 3, "another kind of difference of the same movement is the same one"


# ------------------------------------------------------------------------------------------------------------ applying

WHO = {"store_id": "st_1", "actor": "person:ann"}


def ledger(*amounts: int, reference: str = "pi_1") -> Ledger:
    """Authorized in full, captured so many times."""
    state, authorization = Ledger(), str(UUID(int=100))
    events = [authorized(authorization, 10_00, totals(), gateway="stripe", reference=reference)]
    events += [captured(str(UUID(int=200 + n)), authorization, amount, totals()) for n, amount in enumerate(amounts)]
    for event in events:
        state = evolve(state, event)
    return state


def test_a_capture_is_booked_on_the_authorization_that_it_names() -> None:
    [record] = applying.commands(ledger(4_00), KEY, about(6_00), uuid4(), WHO)
    assert isinstance(record, Record)
    assert (record.kind, record.system, record.payment_id) == ("capture", "stripe", "ch_1")
    assert sum(line.amount_minor for line in record.lines) == 6_00
    assert record.refers_to in ledger().authorizations
    with pytest.raises(Unappliable, match="nothing that this capture draws on"):
        applying.commands(ledger(reference="pi_2"), KEY, about(), uuid4(), WHO)


def test_a_refund_is_booked_on_a_capture_that_has_room() -> None:
    state = ledger(2_00, 5_00)
    [record] = applying.commands(state, KEY, about(3_00, what="refund"), uuid4(), WHO)
    assert isinstance(record, Record)
    assert sum(one.captured_minor for one in state.captures[record.refers_to].lines.values()) == 5_00  # type: ignore[index]


def test_nothing_is_done_where_nothing_is_proposed() -> None:
    with pytest.raises(Unappliable):
        applying.commands(ledger(), KEY, about(kind="amount_differs", proposal="ask"), uuid4(), WHO)


def test_what_was_made_twice_is_booked_at_its_gateway_and_given_back_under_one_id() -> None:
    state = ledger(4_00)
    [capture] = state.captures
    ours: Any = {"operation_id": capture, "kind": "capture", "currency": "EUR", "amount_minor": 4_00}
    twice = about(4_00, "made_twice", "refund", ours=ours)
    for _ in range(2):
        record, refund = applying.commands(state, KEY, twice, uuid4(), WHO)
        assert isinstance(record, Record)
        assert (record.kind, record.capture, record.gateway) == ("authorize", True, "stripe")
        first = recorded_id("st_1", "stripe", "authorize", "ch_1")
        assert (refund.capture_id, refund.operation_id) == (capture_id_of(first), applying.derived(KEY, "refund"))  # type: ignore[attr-defined]


@given(
    st.integers(0, 10**6),
    st.dictionaries(st.text("ab1", min_size=1, max_size=3), st.integers(0, 10**6), min_size=1, max_size=6),
)
def test_an_amount_is_allotted_in_full_and_within_the_lines_if_they_have_room(
    amount: int, left: dict[str, int]
) -> None:
    lines = {line.line_id: line.amount_minor for line in allotted(amount, left)}
    assert sum(lines.values()) == amount
    if amount <= sum(left.values()):
        assert all(0 < minor <= left[line_id] for line_id, minor in lines.items())
