"""The order of one endpoint's deliveries, and what is stored of it: held by a model that fails, flushes and crashes at random."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from webhooks.domain import lanes as module
from webhooks.domain.deliveries import Delivery, Progress, Waiting
from webhooks.domain.lanes import Lanes

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ORDERS = [UUID(int=number) for number in range(1, 4)]
A, B = ORDERS[:2]
TRIES_MAX = 3


class Endpoint(RuleBasedStateMachine):
    """An endpoint, the feed, the stored rows, and what the receiver got. A crash keeps what is stored."""

    @initialize(per_order=st.booleans(), holds=st.booleans(), batch_max=st.sampled_from([1, 2, 4]))
    def begin_at_the_start(self, per_order: bool, holds: bool, batch_max: int) -> None:
        self.per_order, self.holds, self.batch_max, self.now = per_order, holds, batch_max, NOW
        self.feed: list[tuple[UUID, bool]] = []
        """By position, from 1: the order, and whether the endpoint wants the event."""
        self.progress = Progress(0)
        self.rows: dict[int, Waiting] = {}
        self.flying: dict[int, Delivery] = {}
        self.got: dict[UUID, list[int]] = {order: [] for order in ORDERS}
        """Positions per order as the receiver accepted them, repeated ones too."""
        self.sent: dict[int, tuple[int, ...]] = {}
        """The delivery in which each event was sent, also before a crash."""
        self.gone: set[int] = set()
        """Events that the feed no longer had when they were to be sent."""
        self.restart()

    def restart(self) -> None:
        rows = [row for row in self.rows.values() if not row.exhausted or row.lane is not None]
        of_open = [self.feed[position - 1][0] for position in self.progress.open]
        self.lanes = Lanes(
            self.progress, rows, of_open, per_order=self.per_order, holds=self.holds, batch_max=self.batch_max,
            records=self.batch_max > 1,
        )  # fmt: skip
        self.flying.clear()
        self.accepted: set[int] = set()
        """Since the last crash."""

    @rule(events=st.lists(st.tuples(st.sampled_from(ORDERS), st.booleans()), min_size=1, max_size=6))
    def events_come(self, events: list[tuple[UUID, bool]]) -> None:
        self.feed += events

    @precondition(lambda self: self.lanes.has_room and self.lanes.taken < len(self.feed))
    @rule(count=st.integers(1, 6))
    def some_are_taken(self, count: int) -> None:
        until = min(self.lanes.taken + count, len(self.feed))
        for position in range(self.lanes.taken + 1, until + 1):
            order, wanted = self.feed[position - 1]
            if wanted:
                self.lanes.offer(position, order)
        self.lanes.pass_over(until)

    @precondition(lambda self: self.batch_max > 1)
    @rule(count=st.integers(1, 3))
    def batches_are_formed(self, count: int) -> None:
        while self.lanes.formed < count and (expected := self.lanes.batchable):
            before = self.lanes.queued
            self.lanes.form()
            assert before - self.lanes.queued == expected <= self.batch_max

    @rule(is_probe=st.booleans())
    def a_delivery_begins(self, is_probe: bool) -> None:
        delivery = self.lanes.probe() if is_probe else self.lanes.begin(self.now)
        if delivery is None:
            return
        self.fly(delivery)

    def fly(self, delivery: Delivery) -> None:
        assert list(delivery.positions) == sorted(delivery.positions)
        in_flight = [position for one in self.flying.values() for position in one.positions]
        assert not {*delivery.positions} & {*in_flight}
        if self.per_order:
            busy = {self.feed[position - 1][0] for position in in_flight}
            assert not busy & {self.feed[position - 1][0] for position in delivery.positions}, "an order is in flight"
        for position in delivery.positions:
            assert self.sent.setdefault(position, delivery.positions) == delivery.positions, "in another batch"
        self.flying[delivery.position] = delivery

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), outcome=st.sampled_from(["delivered", "failed", "returned", "expired"]))
    def a_delivery_ends(self, data: st.DataObject, outcome: str) -> None:
        position = data.draw(st.sampled_from(sorted(self.flying)))
        delivery = self.flying.pop(position)
        if outcome == "delivered":
            self.accept(*delivery.positions)
            self.lanes.delivered(position)
        elif outcome == "expired":
            self.gone.update(delivery.positions)
            self.lanes.expired(position, "event_expired")
        elif outcome == "returned" or delivery.is_probe:
            self.lanes.returned(position)
        else:
            exhausted = delivery.number >= TRIES_MAX
            self.lanes.failed(position, None if exhausted else self.now + timedelta(seconds=10), "500")

    def accept(self, *positions: int) -> None:
        for position in positions:
            order, wanted = self.feed[position - 1]
            assert wanted
            assert position not in self.accepted, "repeated without a crash"
            self.accepted.add(position)
            self.got[order].append(position)

    @rule()
    def lanes_are_read(self) -> None:
        for follow in list(self.lanes.follows()):
            found = [
                position
                for position in range(follow.after + 1, follow.until + 1)
                if self.feed[position - 1] == (follow.lane, True)
            ]
            self.lanes.followed(follow, found[:2], is_all=len(found) <= 2)

    @rule(seconds=st.sampled_from([1, 10, 100]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def the_endpoint_is_back(self) -> None:
        self.lanes.hasten(self.now)

    @rule()
    def a_flush(self) -> None:
        changes = self.lanes.changes()
        assert changes.progress.cursor >= self.progress.cursor
        self.progress = changes.progress
        for position in changes.deleted:
            del self.rows[position]
        self.rows.update({row.position: row for row in changes.written})
        self.check_what_is_stored()
        self.lanes.recorded(changes)

    def check_what_is_stored(self) -> None:
        """Every event up to the cursor is delivered, in a row, behind the row of its order, or open."""
        blocked = {row.lane: row.position for row in self.rows.values() if row.lane is not None}
        for position, (order, wanted) in enumerate(self.feed[: self.progress.cursor], 1):
            assert (
                not wanted
                or position in self.got[order]
                or position in self.gone
                or position in self.rows
                or position in self.progress.open
                or blocked.get(order, position) < position
            ), position
        assert all(position <= self.progress.cursor for position in (*self.rows, *self.progress.open))
        assert {position for batch in self.progress.batches for position in batch} <= {*self.progress.open}
        lanes = [row.lane for row in self.rows.values() if row.lane is not None]
        assert len(lanes) == len(set(lanes)), "an order waits behind two events"

    @rule()
    def a_crash(self) -> None:
        self.restart()

    @rule(data=st.data())
    def an_exhausted_event_is_delivered_on_request(self, data: st.DataObject) -> None:
        if held := [row.position for row in self.rows.values() if row.exhausted and row.lane is not None]:
            position = data.draw(st.sampled_from(sorted(held)))
            self.accept(position)
            self.lanes.released(position)

    @invariant()
    def no_order_is_seen_to_go_back(self) -> None:
        if self.per_order:
            for got in self.got.values():
                first = list(dict.fromkeys(got))
                assert first == sorted(first), "an event came before an earlier one of its order"

    def teardown(self) -> None:
        """A receiver that answers gets everything that is not exhausted."""
        if not hasattr(self, "lanes"):
            return
        for delivery in self.flying.values():
            self.accept(*delivery.positions)
            self.lanes.delivered(delivery.position)
        self.flying.clear()
        for _ in range(10_000):
            self.time_passes(100)
            self.lanes_are_read()
            if self.lanes.taken < len(self.feed) and self.lanes.has_room:
                self.some_are_taken(6)
            if self.batch_max > 1:
                self.batches_are_formed(3)
            self.a_flush()
            delivery = self.lanes.begin(self.now)
            if delivery is not None:
                self.fly(delivery)
                self.accept(*delivery.positions)
                self.lanes.delivered(delivery.position)
                self.flying.clear()
            elif self.lanes.taken == len(self.feed) and not any(self.lanes.follows()):
                break
        self.a_flush()
        self.no_order_is_seen_to_go_back()
        assert self.progress == Progress(len(self.feed))
        assert all(row.exhausted for row in self.rows.values())


TestEndpoint = Endpoint.TestCase
TestEndpoint.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def lanes(*events: UUID, per_order: bool = True, holds: bool = False) -> Lanes:
    made = Lanes(Progress(0), per_order=per_order, holds=holds)
    for position, order in enumerate(events, 1):
        made.offer(position, order)
    return made


def begun(made: Lanes) -> list[int]:
    """All that may begin."""
    return [delivery.position for delivery in iter(lambda: made.begin(NOW), None)]


def test_events_of_one_order_go_one_by_one_and_other_orders_are_not_held_up() -> None:
    made = lanes(A, A, B, A)
    assert begun(made) == [1, 3]
    made.failed(1, NOW + timedelta(seconds=5), "500")
    made.delivered(3)
    assert begun(made) == []
    made.hasten(NOW)
    for position in (1, 2, 4):
        assert begun(made) == [position]
        made.delivered(position)
    assert made.changes().progress == Progress(4)


def test_without_order_all_go_at_once() -> None:
    assert begun(lanes(A, A, B, A, per_order=False)) == [1, 2, 3, 4]


def test_an_order_that_fails_is_one_row_and_what_comes_later_in_it_none() -> None:
    made = lanes(A, A)
    assert begun(made) == [1]
    made.failed(1, NOW + timedelta(seconds=5), "500")
    for position in range(3, 50):
        made.offer(position, A)
    changes = made.changes()
    assert ([row.position for row in changes.written], changes.progress) == ([1], Progress(49))


def test_a_slow_delivery_holds_up_no_other_and_what_is_delivered_behind_it_is_not_repeated() -> None:
    made = lanes(A, B, A)
    assert begun(made) == [1, 2]
    made.delivered(2)
    assert made.changes().progress == Progress(2, (1,))


def test_an_endpoint_that_is_probed_gets_no_rows() -> None:
    made = lanes(A, B)
    for _ in range(20):
        probe = made.probe()
        assert probe is not None
        made.returned(probe.position)
    assert made.changes() == (Progress(0), [], [], ())


def test_an_exhausted_event_is_skipped_or_holds_its_order() -> None:
    for holds in (False, True):
        made = Lanes(Progress(1), [Waiting(1, A, 9, NOW)], holds=holds)
        made.offer(2, A)
        assert begun(made) == [1]
        made.failed(1, None, "500")
        for follow in list(made.follows()):
            made.followed(follow, [2], is_all=True)
        assert begun(made) == ([] if holds else [2])
        [exhausted] = [row for row in made.changes().written if row.exhausted]
        assert exhausted == Waiting(1, A if holds else None, 10, NOW, True, "500")
        if holds:
            made.released(1)
            for follow in list(made.follows()):
                made.followed(follow, [2], is_all=True)
            assert begun(made) == [2]


def test_with_too_many_rows_nothing_new_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_MAX", 2)
    made = lanes(*(UUID(int=number) for number in range(1, 9)))
    for _ in range(3):
        delivery = made.begin(NOW)
        assert delivery is not None
        made.failed(delivery.position, NOW + timedelta(seconds=5), "500")
    assert made.begin(NOW) is None and not made.has_room
    assert made.probe() is not None
