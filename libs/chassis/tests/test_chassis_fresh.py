"""Publishing from memory: each row once and each key in order, for any order of transactions of this and other processes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID, uuid4

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chassis.batch.outbox import OutboxRow
from chassis.kafka import fresh
from chassis.kafka.fresh import Fresh, Queried

NOW = datetime(2026, 11, 20, tzinfo=UTC)
KEYS = [UUID(int=n) for n in range(3)]
ROOM = 3
"""Maximum number of rows that one query reads."""


def row(number: int, key: UUID = KEYS[0], payload: str = "{}") -> OutboxRow:
    return OutboxRow(number, NOW.date(), number, key, "st", "counter.added", str(uuid4()), "counter.events.v1", NOW, uuid4(),
                     "c", None, payload)  # fmt: skip


def proven(*seen: int) -> Fresh:
    """After queries that returned these rows, while no other process was writing."""
    rows = Fresh()
    rows.queried(Queried(seen, True, 10, None))
    rows.queried(Queried((), True, 10, 10))
    rows.queried(Queried((), True, 11, None))
    return rows


def numbers(rows: list[OutboxRow]) -> list[int]:
    return [one.id for one in rows]


def test_nothing_goes_from_memory_before_a_query_has_proven_an_id() -> None:
    rows = Fresh()
    rows.offer([row(5)])
    assert rows.take(10) == []


def test_once_the_earlier_transactions_have_ended_rows_that_follow_one_another_go_from_memory() -> None:
    rows = proven(4, 5)
    rows.offer([row(7)])
    assert rows.take(10) == [], "6 may be an earlier row of the same key"
    assert rows.waiting
    rows.offer([row(6)])
    assert numbers(rows.take(1)) == [6]
    assert numbers(rows.take(10)) == [7]


def test_a_gap_is_closed_when_every_transaction_has_ended_that_may_have_an_id_inside_it() -> None:
    rows = proven(5)
    rows.queried(Queried([8], True, 20, None))
    assert rows.asks_own
    rows.queried(Queried((), True, 20, 25))
    rows.queried(Queried((), True, 24, None))  # one that began before 25 is still under way: it may have 6 or 7
    rows.offer([row(9)])
    assert rows.take(10) == []
    rows.queried(Queried((), True, 25, None))
    assert numbers(rows.take(10)) == [9]


def test_a_query_that_left_rows_unread_closes_no_gap() -> None:
    rows = proven(5)
    rows.queried(Queried([8], True, 20, None))
    rows.queried(Queried((), True, 20, 25))
    rows.queried(Queried([9, 10, 11], False, 30, None))
    rows.offer([row(12)])
    assert rows.take(10) == []


def test_a_row_that_a_query_has_returned_is_not_taken_again_when_it_is_offered_later() -> None:
    rows = proven(5)
    rows.queried(Queried([6, 8], True, 30, None))
    rows.offer([row(6), row(7), row(8), row(9)])
    assert numbers(rows.take(10)) == [7, 9]
    assert not rows.waiting


def test_what_is_not_published_for_long_does_not_fill_the_memory() -> None:
    rows = proven(5)
    large = "x" * (fresh.BYTES_MAX // 4)
    for number in range(6, 12):
        rows.offer([row(number, payload=large)])
    assert sum(len(one.payload) for one in rows.take(10)) <= fresh.BYTES_MAX


@dataclass
class Transaction:
    mine: bool
    key: UUID
    xid: int
    ids: list[int] = field(default_factory=list)


class Outbox(RuleBasedStateMachine):
    """A database with its rules (ids before commits, one writer per key at a time) and a relay that uses `Fresh`."""

    def __init__(self) -> None:
        super().__init__()
        self.fresh = Fresh()
        self.next_id, self.next_xid = 1, 100
        self.open: list[Transaction] = []
        self.table: dict[int, UUID] = {}
        self.unoffered: list[Transaction] = []
        """Committed in this process, and `offer` has not been called yet."""
        self.acked: set[int] = set()
        self.published: list[int] = []
        self.key_of: dict[int, UUID] = {}
        self.under_way: tuple[Queried, list[int]] | None = None

    def xid(self) -> int:
        self.next_xid += 1
        return self.next_xid - 1

    @rule(mine=st.booleans(), key=st.sampled_from(KEYS))
    def begin(self, mine: bool, key: UUID) -> None:
        if all(one.key != key for one in self.open):
            self.open.append(Transaction(mine, key, self.xid()))

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def write(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.open))
        one.ids.append(self.next_id)
        self.key_of[self.next_id] = one.key
        self.next_id += 1

    @rule(mine=st.booleans(), key=st.sampled_from(KEYS), count=st.integers(1, 3))
    def transact(self, mine: bool, key: UUID, count: int) -> None:
        """From beginning to end, and offered at once."""
        if all(one.key != key for one in self.open):
            ids = list(range(self.next_id, self.next_id + count))
            self.next_id += count
            self.xid()
            self.key_of |= dict.fromkeys(ids, key)
            self.table |= dict.fromkeys(ids, key)
            if mine:
                self.fresh.offer([row(number, key) for number in ids])

    @precondition(lambda self: self.open)
    @rule(data=st.data(), well=st.integers(0, 3))
    def end(self, data: st.DataObject, well: int) -> None:
        one = data.draw(st.sampled_from(self.open))
        self.open.remove(one)
        if well:
            self.table |= dict.fromkeys(one.ids, one.key)
            if one.mine:
                self.unoffered.append(one)

    @precondition(lambda self: self.unoffered)
    @rule(data=st.data())
    def offer(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.unoffered))
        self.unoffered.remove(one)
        self.fresh.offer([row(number, one.key) for number in one.ids])

    @precondition(lambda self: self.under_way is None)
    @rule(at_most=st.integers(1, 5))
    def publish_from_memory(self, at_most: int) -> None:
        self._publish(numbers(self.fresh.take(at_most)))

    @precondition(lambda self: self.under_way is None)
    @rule()
    def begin_query(self) -> None:
        for number in self.acked:
            del self.table[number]
        self.acked.clear()
        own = self.xid() if self.fresh.asks_own else None
        read = sorted(self.table)[:ROOM]
        ended_before = min((one.xid for one in self.open), default=self.next_xid)
        if own is not None:
            ended_before = min(ended_before, own)
        self.under_way = Queried(read, len(read) < ROOM, ended_before, own), read

    @precondition(lambda self: self.under_way is not None)
    @rule()
    def end_query(self) -> None:
        assert self.under_way is not None
        (found, read), self.under_way = self.under_way, None
        self.fresh.queried(found)
        self._publish(read)

    @precondition(lambda self: self.under_way is None)
    @rule()
    def query(self) -> None:
        self.begin_query()
        self.end_query()

    def _publish(self, rows: list[int]) -> None:
        self.published += rows
        self.acked.update(rows)

    @invariant()
    def each_row_once(self) -> None:
        assert len(set(self.published)) == len(self.published)

    @invariant()
    def each_key_in_order(self) -> None:
        for key in KEYS:
            of_key = [number for number in self.published if self.key_of[number] == key]
            assert of_key == sorted(of_key)

    def teardown(self) -> None:
        """Nothing is lost; and after some quiet queries everything goes from memory again."""
        if self.under_way is not None:
            self.end_query()
        while self.open:
            one = self.open.pop()
            self.table |= dict.fromkeys(one.ids, one.key)
        for _ in range(self.next_id + 4):
            self.query()
        assert set(self.table) <= self.acked
        for one in self.unoffered:
            self.fresh.offer([row(number, one.key) for number in one.ids])
        assert self.fresh.take(100) == []
        assert not self.fresh.waiting, "no published row is stored"
        if self.published:
            self.fresh.offer([row(self.next_id)])
            if max(self.published) == self.next_id - 1:
                assert numbers(self.fresh.take(10)) == [self.next_id]
        self.each_row_once()
        self.each_key_in_order()


TestOutbox = Outbox.TestCase
TestOutbox.settings = settings(max_examples=300, stateful_step_count=60, deadline=None)
