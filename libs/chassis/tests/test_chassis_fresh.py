"""Publishing from memory: whatever transactions of this process and of others do, each row once and each key in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID, uuid4

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chassis.batch.outbox import OutboxRow
from chassis.kafka import fresh
from chassis.kafka.fresh import Fresh, Look

NOW = datetime(2026, 11, 20, tzinfo=UTC)
KEYS = [UUID(int=n) for n in range(3)]
ROOM = 3
"""Rows that one look reads at most."""


def row(number: int, key: UUID = KEYS[0], payload: str = "{}") -> OutboxRow:
    return OutboxRow(number, NOW.date(), number, key, "st", "counter.added", uuid4(), "counter.events.v1", NOW, uuid4(),
                     "c", None, payload)  # fmt: skip


def proven(*seen: int) -> Fresh:
    """After looks that have shown these rows, while nobody else was writing."""
    known = Fresh()
    known.looked(Look(seen, True, 10, None))
    known.looked(Look((), True, 10, 10))
    known.looked(Look((), True, 11, None))
    return known


def numbers(rows: list[OutboxRow]) -> list[int]:
    return [one.id for one in rows]


def test_nothing_goes_from_memory_before_it_is_known_where_accounting_begins() -> None:
    known = Fresh()
    known.offer([row(5)])
    assert known.take(10) == []


def test_once_the_earlier_transactions_have_ended_rows_that_follow_one_another_go_from_memory() -> None:
    known = proven(4, 5)
    known.offer([row(7)])
    assert known.take(10) == [], "6 may be an earlier row of the same key"
    assert known.waiting
    known.offer([row(6)])
    assert numbers(known.take(1)) == [6]
    assert numbers(known.take(10)) == [7]


def test_a_gap_is_closed_when_every_transaction_has_ended_that_may_have_an_id_inside_it() -> None:
    known = proven(5)
    known.looked(Look([8], True, 20, None))
    assert known.asks_own
    known.looked(Look((), True, 20, 25))
    known.looked(Look((), True, 24, None))  # one that began before 25 is still under way: it may have 6 or 7
    known.offer([row(9)])
    assert known.take(10) == []
    known.looked(Look((), True, 25, None))
    assert numbers(known.take(10)) == [9]


def test_a_look_that_left_something_unread_closes_no_gap() -> None:
    known = proven(5)
    known.looked(Look([8], True, 20, None))
    known.looked(Look((), True, 20, 25))
    known.looked(Look([9, 10, 11], False, 30, None))
    known.offer([row(12)])
    assert known.take(10) == []


def test_a_row_that_a_look_has_shown_is_not_taken_again_when_its_commit_is_told_late() -> None:
    known = proven(5)
    known.looked(Look([6, 8], True, 30, None))
    known.offer([row(6), row(7), row(8), row(9)])
    assert numbers(known.take(10)) == [7, 9]
    assert not known.waiting


def test_what_is_not_published_for_long_does_not_fill_the_memory() -> None:
    known = proven(5)
    large = "x" * (fresh.BYTES_MAX // 4)
    for number in range(6, 12):
        known.offer([row(number, payload=large)])
    assert sum(len(one.payload) for one in known.take(10)) <= fresh.BYTES_MAX


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
        self.untold: list[Transaction] = []
        """Committed in this process, and `offer` has not been called yet."""
        self.acked: set[int] = set()
        self.published: list[int] = []
        self.key_of: dict[int, UUID] = {}
        self.under_way: tuple[Look, list[int]] | None = None

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
        """From beginning to end, and told at once."""
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
                self.untold.append(one)

    @precondition(lambda self: self.untold)
    @rule(data=st.data())
    def tell(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.untold))
        self.untold.remove(one)
        self.fresh.offer([row(number, one.key) for number in one.ids])

    @precondition(lambda self: self.under_way is None)
    @rule(at_most=st.integers(1, 5))
    def publish_from_memory(self, at_most: int) -> None:
        self._publish(numbers(self.fresh.take(at_most)))

    @precondition(lambda self: self.under_way is None)
    @rule()
    def begin_look(self) -> None:
        for number in self.acked:
            del self.table[number]
        self.acked.clear()
        own = self.xid() if self.fresh.asks_own else None
        read = sorted(self.table)[:ROOM]
        ended_before = min((one.xid for one in self.open), default=self.next_xid)
        if own is not None:
            ended_before = min(ended_before, own)
        self.under_way = Look(read, len(read) < ROOM, ended_before, own), read

    @precondition(lambda self: self.under_way is not None)
    @rule()
    def end_look(self) -> None:
        assert self.under_way is not None
        (look, read), self.under_way = self.under_way, None
        self.fresh.looked(look)
        self._publish(read)

    @precondition(lambda self: self.under_way is None)
    @rule()
    def look(self) -> None:
        self.begin_look()
        self.end_look()

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
        """Nothing is lost; and after some quiet looks everything goes from memory again."""
        if self.under_way is not None:
            self.end_look()
        while self.open:
            one = self.open.pop()
            self.table |= dict.fromkeys(one.ids, one.key)
        for _ in range(self.next_id + 4):
            self.look()
        assert set(self.table) <= self.acked
        for one in self.untold:
            self.fresh.offer([row(number, one.key) for number in one.ids])
        assert self.fresh.take(100) == []
        assert not self.fresh.waiting, "nothing is kept that is published"
        if self.published:
            self.fresh.offer([row(self.next_id)])
            if max(self.published) == self.next_id - 1:
                assert numbers(self.fresh.take(10)) == [self.next_id]
        self.each_row_once()
        self.each_key_in_order()


TestOutbox = Outbox.TestCase
TestOutbox.settings = settings(max_examples=300, stateful_step_count=60, deadline=None)
