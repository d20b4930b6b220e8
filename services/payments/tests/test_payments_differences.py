"""A difference between ledger and gateway: the same one whenever it is found, closed once; and what applies its proposal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from payments_play import authorized, captured, totals

from contracts.base import Event
from contracts.deciding import Context, Refusal, Reported, Task
from contracts.differences import (
    ORDER_DIFFERENCES_MAX,
    DifferenceFound,
    DifferencesChanged,
    OpenDifference,
    TheirSide,
)
from contracts.ids import derived, recorded_id
from contracts.payments import Record
from payments.domain import applying, differences, noting
from payments.domain.applying import Unappliable, allotted
from payments.domain.differences import (
    About,
    Apply,
    ApplyingDecided,
    ApplyingRefused,
    Corrected,
    Difference,
    Dismiss,
    EndApplying,
    Find,
    Lose,
)
from payments.domain.folds import evolve
from payments.domain.ledger import Ledger
from payments.domain.listing import Listed
from payments.domain.noting import NoteDifference
from payments.domain.operation import capture_id_of
from payments.domain.pairing import Movement
from payments.domain.reconciling import Difference as Compared
from payments.handlers import DIFFERENCES, SERVICE

NOW, KEY, ORDER = datetime(2026, 11, 29, tzinfo=UTC), UUID(int=1), UUID(int=7)
REQUEST = UUID(int=9)


class Story:
    """One difference and what happens to it."""

    def __init__(self) -> None:
        self.state, self.now = Difference(), NOW
        self.tasks: list[Task] = []

    def tell(self, kind: type[Any], later: timedelta = timedelta(), **more: Any) -> Any:
        self.now += later
        given = {"difference_id": KEY, "store_id": "st_1", "operation_id": uuid4(), "actor": "person:ann"}
        decide = {
            Find: differences.find,
            Lose: differences.lose,
            Apply: differences.apply,
            EndApplying: differences.end_applying,
            Dismiss: differences.dismiss,
        }[kind]
        return self.effect(decide(self.state, kind(**given | more), self.context))

    @property
    def context(self) -> Context:
        return Context(self.now, KEY, "st_1", uuid4())

    def effect(self, effects: Sequence[Any]) -> Any:
        for effect in effects:
            if isinstance(effect, Event):
                self.state = differences.evolve(self.state, effect)
            if isinstance(effect, Task):
                self.tasks.append(effect)
        return effects[0] if effects else None

    def reports(self, outcome: Any, task: Task) -> Any:
        report = Reported(task.task_id, task.kind, task.body, outcome)
        return self.effect(differences.reported(self.state, report, self.context))

    def decides(self, amount: int = 500, request: UUID = REQUEST) -> Any:
        return self.tell(Apply, about=about(amount), request=request, reason="seen")

    def applies(self, amount: int = 500) -> Any:
        """A person decides, and it is carried out."""
        assert isinstance(self.decides(amount), ApplyingDecided)
        return self.tell(EndApplying, operation_id=REQUEST)

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
    assert story.applies().because == "applied"
    assert story.find(later=timedelta(minutes=9)) is None, "it was compared before"
    assert isinstance(story.find(later=timedelta(minutes=2)), DifferenceFound)


def test_a_closed_changed_or_unknown_difference_refuses() -> None:
    story = Story()
    assert story.tell(Dismiss, reason="x").code == "difference_unknown"
    story.find()
    refused = story.decides(400)
    assert isinstance(refused, Refusal) and refused.code == "difference_changed"
    assert story.tell(EndApplying).code == "difference_changed", "it was not decided on"
    story.decides()
    for _ in range(2):  # while it is applied, and after
        assert story.decides(request=uuid4()).code == "difference_closed"
        assert story.tell(Dismiss, reason="x").code == "difference_closed"
        assert story.tell(EndApplying).code == "difference_closed"
        story.tell(EndApplying, operation_id=REQUEST)
    assert story.state.status == "applied"


def test_a_decision_is_a_row_and_a_task_before_anything_moves() -> None:
    story = Story()
    story.find()
    assert isinstance(story.decides(), ApplyingDecided) and story.decides() is None, "the same request once more"
    assert (story.state.status, story.state.reason, story.state.attempt) == ("applying", "seen", 1)
    task = story.tasks[-1]
    assert task.body == differences.Correction(difference_id=KEY, store_id="st_1", attempt=1)
    assert story.find(400) is None and story.tell(Lose, reconciliation_id=uuid4()) is None, "it was compared before"
    closed = story.reports(Corrected(state="done"), task)
    assert (closed.because, closed.actor, closed.reason, closed.operation_id) == (
        "applied",
        "person:ann",
        "seen",
        REQUEST,
    )
    assert (
        story.reports(Corrected(state="done"), task) is None and story.tell(EndApplying, operation_id=REQUEST) is None
    )


def test_what_cannot_be_carried_out_is_open_again_and_may_be_decided_anew() -> None:
    story = Story()
    story.find()
    story.decides()
    first = story.tasks[-1]
    assert isinstance(story.reports(Corrected(state="refused", why="no room"), first), ApplyingRefused)
    assert (story.state.status, story.state.refused, story.state.actor) == ("open", "no room", "")
    story.decides()
    assert (story.state.attempt, story.tasks[-1].task_id == first.task_id) == (2, False)
    assert story.reports(Corrected(state="done"), first) is None, "it is of the first decision"
    assert story.tell(EndApplying, operation_id=REQUEST, refused="still none").why == "still none"


def test_the_ledger_of_its_order_is_informed_when_it_opens_changes_and_closes() -> None:
    story = Story()
    story.find()
    story.find(400)
    story.tell(Dismiss, reason="known")
    notes = [task.body for task in story.tasks]
    assert [(one.order_id, one.open and one.open.amount_minor) for one in notes] == [
        (ORDER, 500), (ORDER, 400), (ORDER, None)]  # fmt: skip
    assert len({task.task_id for task in story.tasks}) == 3
    [again] = differences.resumed(KEY, "st_1", story.state)
    assert again.body == notes[-1]
    story.find(300)
    [again] = differences.resumed(KEY, "st_1", story.state)
    assert again.body == story.tasks[-1].body


def test_a_ledger_publishes_what_is_open_once_per_change() -> None:
    state, told = ledger(4_00), []
    for key, amount in ((1, 500), (1, 500), (2, 600), (1, 400), (3, None), (1, None), (2, None), (2, None)):
        one = OpenDifference(
            difference_id=UUID(int=key), gateway="stripe", kind="not_booked", proposal="book", currency="EUR", amount_minor=amount or 0
        )  # fmt: skip
        command = NoteDifference(
            **WHO, order_id=ORDER, operation_id=uuid4(), difference_id=UUID(int=key), open=one if amount else None
        )
        effects = noting.note(state, command, Context(NOW, ORDER, "st_1", uuid4()))
        for event in effects:
            assert isinstance(event, DifferencesChanged)
            state = evolve(state, event)
            told.append([open_one.amount_minor for open_one in event.open])
    assert told == [[500], [500, 600], [400, 600], [600], []]


def test_an_order_has_a_bounded_number_of_them() -> None:
    state = ledger(4_00)
    for key in range(ORDER_DIFFERENCES_MAX + 5):
        one = OpenDifference(
            difference_id=UUID(int=key), gateway="stripe", kind="not_booked", proposal="book", currency="EUR", amount_minor=1
        )  # fmt: skip
        command = NoteDifference(**WHO, order_id=ORDER, operation_id=uuid4(), difference_id=one.difference_id, open=one)
        for event in noting.note(state, command, Context(NOW, ORDER, "st_1", uuid4())):
            state = evolve(state, event)  # type: ignore[arg-type]
    assert len(state.differences) == ORDER_DIFFERENCES_MAX


def test_a_decision_on_a_difference_needs_no_row_of_a_gift_card_or_an_operation() -> None:
    story = Story()
    story.find()
    given = {"difference_id": KEY, "store_id": "st_1", "operation_id": uuid4(), "actor": "person:ann"}
    messages = [
        Find(**given, about=about(), reconciliation_id=uuid4()),
        Lose(**given, reconciliation_id=uuid4()),
        Apply(**given, about=about(), request=REQUEST),
        EndApplying(**given),
        Dismiss(**given, reason="seen"),
    ]
    assert {Reported, *map(type, messages)} == {handler.message for handler in DIFFERENCES.handlers}
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
    [record] = applying.commands(ledger(4_00), KEY, about(6_00), 1, WHO)
    assert isinstance(record, Record)
    assert (record.kind, record.system, record.payment_id) == ("capture", "stripe", "ch_1")
    assert sum(line.amount_minor for line in record.lines) == 6_00
    assert record.refers_to in ledger().authorizations
    with pytest.raises(Unappliable, match="nothing that this capture draws on"):
        applying.commands(ledger(reference="pi_2"), KEY, about(), 1, WHO)


def test_a_refund_is_booked_on_a_capture_that_has_room() -> None:
    state = ledger(2_00, 5_00)
    [record] = applying.commands(state, KEY, about(3_00, what="refund"), 1, WHO)
    assert isinstance(record, Record)
    assert sum(one.captured_minor for one in state.captures[record.refers_to].lines.values()) == 5_00  # type: ignore[index]


def test_nothing_is_done_where_nothing_is_proposed() -> None:
    with pytest.raises(Unappliable):
        applying.commands(ledger(), KEY, about(kind="amount_differs", proposal="ask"), 1, WHO)


def test_what_was_made_twice_is_booked_at_its_gateway_and_given_back_under_one_id() -> None:
    state = ledger(4_00)
    [capture] = state.captures
    ours: Any = {"operation_id": capture, "kind": "capture", "currency": "EUR", "amount_minor": 4_00}
    twice = about(4_00, "made_twice", "refund", ours=ours)
    for _ in range(2):
        record, refund = applying.commands(state, KEY, twice, 1, WHO)
        assert isinstance(record, Record)
        assert (record.kind, record.capture, record.gateway) == ("authorize", True, "stripe")
        first = recorded_id("st_1", "stripe", "authorize", "ch_1")
        assert (refund.capture_id, refund.operation_id) == (
            capture_id_of(first),
            derived(derived(KEY, "applied 1"), "refund"),
        )  # type: ignore[attr-defined]


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
