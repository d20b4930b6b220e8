"""Promise 4: stock is never oversold, and a reservation is released or consumed exactly once. Holds for any messages in any order."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any
from uuid import UUID

import pytest
from fulfillment_play import (
    STORE,
    House,
    cancel,
    count,
    deliver,
    extend,
    of,
    reduce,
    release,
    reserve,
    restock,
    resume,
    ship,
    start,
    suspend,
    uid,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from contracts.base import Command
from contracts.fulfillment import (
    Extended,
    Fulfilled,
    OutOfStock,
    Reduce,
    Reduced,
    Released,
    Reserved,
    Restocked,
    Resumed,
    ShipmentsCancelled,
    Shipped,
    Started,
    StockTotals,
    Suspend,
    Suspended,
    TooLate,
)
from fulfillment.domain.fulfillment import Fulfillment
from fulfillment.domain.stock import Stock, StockKey, StockSet, touched

# -- the last piece ---------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 10**6), sizes=st.lists(st.integers(1, 60), min_size=1, max_size=12))
@settings(max_examples=30, deadline=None)
def test_of_two_hundred_orders_for_five_pieces_exactly_five_are_reserved(seed: int, sizes: list[int]) -> None:
    house = House()
    house.given(count("hot", 5))
    wanted = [reserve(f"r{n}", ("hot", 1), order=f"o{n}") for n in range(200)]
    random.Random(seed).shuffle(wanted)
    made: list[Any] = []
    while wanted:
        size = sizes[len(made) % len(sizes)]
        made += house.together(*wanted[:size])
        del wanted[:size]
    assert len(of(made, Reserved)) == 5
    assert len(of(made, OutOfStock)) == 195
    house.then_stock("hot", on_hand=5, reserved=5)
    house.audit()


def test_pieces_that_come_back_are_reserved_by_who_asks_next_and_by_nobody_twice() -> None:
    house = House()
    house.given(count("hot", 1))
    for n in range(20):
        made = house.together(
            reserve(f"r{n}", ("hot", 1), order=f"o{n}"),
            reserve(f"x{n}", ("hot", 1), order=f"p{n}"),
            release(f"u{n}", order=f"o{n}"),
            release(f"v{n}", order=f"p{n}"),
        )
        assert len(of(made, Reserved)) == 1
        house.then_stock("hot", on_hand=1, reserved=0)
    house.audit()


def test_orders_with_crossed_skus_both_get_what_there_is() -> None:
    house = House()
    house.given(count("A", 2), count("B", 2))
    made = house.together(reserve("r1", ("A", 1), ("B", 1)), reserve("r2", ("B", 1), ("A", 1), order="o2"))
    assert len(of(made, Reserved)) == 2
    house.then_stock("A", on_hand=2, reserved=2)
    house.then_stock("B", on_hand=2, reserved=2)


def test_crossed_orders_for_the_last_pieces_leave_one_short_and_none_half_reserved() -> None:
    """Commerce Layer's edge case 13. Reservations do not expire."""
    house = House()
    house.given(count("A", 1), count("B", 1))
    made = house.together(reserve("r1", ("A", 1), ("B", 1)), reserve("r2", ("B", 1), ("A", 1), order="o2"))
    assert len(of(made, Reserved)) == len(of(made, OutOfStock)) == 1
    house.audit()


def test_a_decision_names_the_stock_that_it_may_touch_before_it_is_made() -> None:
    """In one batch too: what a release gives back, the reserve before it has named."""
    house = House()
    house.given(count("A", 5, at="north"), count("B", 5, at="south"))
    before = house.transactions
    house.together(
        reserve("r1", ("A", 1), ("B", 1), at=("north", "south")),
        extend("e1", ("1", "A", 2), at=("north",)),
        start("s1"),
        reduce("d1", ("1", 1)),
        cancel("c1"),
        release("u1"),
        start("s2"),
    )
    assert house.transactions == before + 1
    house.audit()


# -- any story --------------------------------------------------------------------------------------------------------

ORDERS = ("o1", "o2", "o3")
SKUS = ("A", "B", "C")
PLACES = ("north", "south")
orders = st.sampled_from(ORDERS)
baskets = st.lists(st.tuples(st.sampled_from(SKUS), st.integers(1, 3)), min_size=1, max_size=3)
places = st.sampled_from([("north",), ("south",), ("north", "south"), ("south", "north")])
line_ids = st.sampled_from(("1", "2", "3", "9"))
"""Lines of the baskets, and one that is new."""
more = st.tuples(line_ids, st.sampled_from(SKUS), st.integers(1, 3))


def first(line: tuple[Any, ...]) -> Any:
    return line[0]


some = st.lists(st.tuples(line_ids, st.integers(1, 4)), min_size=1, max_size=2, unique_by=first)


class AnyStory(RuleBasedStateMachine):
    """Orders that share stock, asked in any order, again under the same operation and again under a new one, one by one
    or together; a warehouse that ships what it should and what it should not; people who count."""

    def __init__(self) -> None:
        super().__init__()
        self.house = House()
        self.counted: dict[StockKey, int] = {}
        """What the counts put on the shelf, less nothing: shipped pieces are subtracted by the invariant."""
        self.asked: list[Command] = []
        self.operations = 0
        self.waiting: list[Command] = []

    def new(self) -> str:
        self.operations += 1
        return f"op{self.operations}"

    def ask(self, message: Command) -> None:
        self.asked.append(message)
        self.waiting.append(message)
        if self.batch_of <= len(self.waiting):
            self.flush()

    def flush(self) -> None:
        if self.waiting:
            self.house.together(*self.waiting)
            self.waiting = []

    @initialize(on_hand=st.lists(st.integers(0, 30), min_size=6, max_size=6), batch_of=st.sampled_from([1, 1, 2, 5]))
    def fill_the_shelves(self, on_hand: list[int], batch_of: int) -> None:
        self.batch_of = batch_of
        shelves = [(sku, place) for sku in SKUS for place in PLACES]
        for (sku, place), pieces in zip(shelves, on_hand, strict=True):
            self.house.given(count(sku, pieces, at=place))

    @rule(order=orders, goods=baskets, at=places)
    def reserve(self, order: str, goods: list[tuple[str, int]], at: tuple[str, ...]) -> None:
        self.ask(reserve(self.new(), *goods, order=order, at=at))

    @rule(order=orders)
    def release(self, order: str) -> None:
        self.ask(release(self.new(), order=order))

    @rule(order=orders)
    def start(self, order: str) -> None:
        self.ask(start(self.new(), order=order))

    @rule(order=orders)
    def cancel(self, order: str) -> None:
        self.ask(cancel(self.new(), order=order))

    @rule(order=orders)
    def suspend(self, order: str) -> None:
        self.ask(suspend(self.new(), order=order))

    @rule(order=orders, n=st.integers(1, 60))
    def resume(self, order: str, n: int) -> None:
        """Any operation: of an open suspension, of an ended one, of something else."""
        open_ones = [one for one in self.asked if isinstance(one, Suspend) and one.order_id == uid(order)]
        suspension = open_ones[n % len(open_ones)].operation_id if open_ones else uid(f"op{n}")
        self.ask(resume(self.new(), f"op{n}", order=order).model_copy(update={"suspension_id": suspension}))

    @rule(order=orders, more=st.lists(more, min_size=1, max_size=2, unique_by=first), at=places)
    def extend(self, order: str, more: list[tuple[str, str, int]], at: tuple[str, ...]) -> None:
        self.ask(extend(self.new(), *more, order=order, at=at))

    @rule(order=orders, fewer=some)
    def reduce(self, order: str, fewer: list[tuple[str, int]]) -> None:
        self.ask(reduce(self.new(), *fewer, order=order))

    @rule(order=orders, back=some)
    def restock(self, order: str, back: list[tuple[str, int]]) -> None:
        self.ask(restock(self.new(), *back, order=order))

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def ask_again(self, data: st.DataObject) -> None:
        if self.asked:
            self.ask(data.draw(st.sampled_from(self.asked)))

    @rule(order=orders, goods=baskets, at=places, data=st.data(), parcels=st.integers(0, 2))
    def reserve_start_and_ship(
        self, order: str, goods: list[tuple[str, int]], at: tuple[str, ...], data: st.DataObject, parcels: int
    ) -> None:
        """The usual life of an order, so that stories get far; what else comes, comes in between and afterwards."""
        self.ask(reserve(self.new(), *goods, order=order, at=at))
        self.ask(start(self.new(), order=order))
        self.flush()
        for _ in range(parcels):
            self.ship(data, and_deliver=False)

    @precondition(lambda self: any(self.house.order(order).shipments for order in ORDERS))
    @rule(data=st.data(), and_deliver=st.booleans())
    def ship(self, data: st.DataObject, and_deliver: bool) -> None:
        """Any shipment: of any status, of any attempt."""
        all_of_them = [(order, one.shipment_id) for order in ORDERS for one in self.house.order(order).shipments]
        if all_of_them:
            order, shipment = data.draw(st.sampled_from(all_of_them))
            self.ask(ship(shipment, self.new(), order=order))
            if and_deliver:
                self.ask(deliver(shipment, self.new(), order=order))

    @rule()
    def nothing_more_for_now(self) -> None:
        """What waits for company goes alone."""
        self.flush()

    @rule(sku=st.sampled_from(SKUS), place=st.sampled_from(PLACES), pieces=st.integers(0, 9))
    def count_a_shelf(self, sku: str, place: str, pieces: int) -> None:
        self.flush()
        self.house.given(count(sku, pieces, at=place))

    @invariant()
    def the_tables_keep_their_promises(self) -> None:
        self.house.audit()

    @invariant()
    def no_piece_appears_or_vanishes(self) -> None:
        shelf: dict[StockKey, int] = {}
        for event in self.house.journal:
            for key in touched(event):
                if isinstance(event, StockSet):
                    shelf[key] = event.on_hand
                elif isinstance(event, Shipped | Restocked):
                    here = sum(line.quantity for line in event.lines if (line.location, line.sku) == key[1:])
                    shelf[key] += here if isinstance(event, Restocked) else -here
        assert {key: stock.on_hand for key, stock in self.house.stock.items()} == shelf

    @invariant()
    def a_reservation_ends_once(self) -> None:
        """Counted from the events, not from the rows: what an order was given is what it holds, gave back or shipped."""
        for order in map(uid, ORDERS):
            given = back = gone = 0
            for event in self.house.journal:
                if event.key == order:
                    match event:
                        case Reserved(again=False) | Extended():
                            given += pieces(event)
                        case Shipped():
                            gone += pieces(event)
                        case Released() | ShipmentsCancelled() | Reduced():
                            back += pieces(event)
                        case _:
                            pass
            state = self.house.states.get(order, Fulfillment())
            assert given - back - gone == state.totals.reserved
            assert gone == state.totals.shipped

    @invariant()
    def an_event_carries_the_totals_after_it(self) -> None:
        last: dict[UUID, Any] = {e.key: e for e in self.house.journal if not isinstance(e, StockSet)}
        for order, event in last.items():
            assert event.totals == self.house.states[order].totals

    @invariant()
    def every_executed_start_is_answered_or_still_waits_or_was_cancelled(self) -> None:
        for order in map(uid, ORDERS):
            open_starts: set[UUID | None] = set()
            for event in self.house.journal:
                if event.key == order:
                    match event:
                        case Started(operation_id=operation):
                            open_starts.add(operation)
                        case Fulfilled(operation_id=None):
                            assert not open_starts, "an order is fulfilled without an operation only if no start waits"
                        case Fulfilled(operation_id=operation):
                            assert operation in open_starts
                            open_starts.remove(operation)
                        case ShipmentsCancelled() | Released(totals=StockTotals(shipped=0)):
                            open_starts.clear()  # nothing of that attempt will ever ship
                        case _:
                            pass
            state = self.house.states.get(order, Fulfillment())
            if state.status == "started":
                assert open_starts == set(state.starts)
            elif state.status == "fulfilled":
                assert not open_starts

    @invariant()
    def nothing_of_a_suspended_order_ships(self) -> None:
        for order in map(uid, ORDERS):
            suspended: set[UUID | None] = set()
            begun = over = fulfilled = False
            for event in self.house.journal:
                if event.key == order:
                    match event:
                        case Reserved(again=False) | Extended() if event.lines:
                            begun, over, fulfilled = True, False, False
                        case Fulfilled():
                            fulfilled = True
                        case Suspended(operation_id=operation) if not over:
                            suspended.add(operation)
                        case Resumed(suspension_id=suspension):
                            suspended.discard(suspension)
                            assert set(event.open) == suspended
                        case ShipmentsCancelled() | Released(totals=StockTotals(shipped=0)):
                            suspended.clear()
                            # a release of what is fulfilled, as by a reduction of all pieces, ends nothing
                            over = over or (begun and not fulfilled) or isinstance(event, ShipmentsCancelled)
                        case Shipped():
                            assert not suspended
                        case _:
                            pass
            state = self.house.states.get(order, Fulfillment())
            assert {one.suspension_id for one in state.suspensions} == suspended

    @invariant()
    def every_answer_is_the_right_one(self) -> None:
        """Pieces of each line, added up from the events alone, decide what a change may be answered."""
        asked = {command.operation_id: command for command in self.asked}
        for order in map(uid, ORDERS):
            held, shipped, back = Counter[str](), Counter[str](), Counter[str]()
            for event in self.house.journal:
                if event.key != order:
                    continue
                command: Any = asked.get(event.operation_id) if event.operation_id else None
                wanted = {line.line_id: line.quantity for line in getattr(command, "lines", ())}
                moved = by_line(event)
                match event:
                    case Reserved(again=False) | Extended():
                        assert moved == wanted
                        assert {line.location for line in event.lines} <= {*command.locations}
                        held.update(moved)
                    case Released() | ShipmentsCancelled():
                        assert moved == +held
                        held.clear()
                    case Shipped():
                        held.subtract(moved)
                        shipped.update(moved)
                    case Reduced():
                        assert moved == +Counter({line: min(n, held[line]) for line, n in wanted.items()})
                        assert all(moved[line] == n or not shipped[line] for line, n in wanted.items())
                        held.subtract(moved)
                    case TooLate() if isinstance(command, Reduce):
                        late = {line for line, n in wanted.items() if held[line] < n and shipped[line]}
                        assert late and by_line(event) == Counter({line: shipped[line] for line in late})
                    case Restocked():
                        left = {line: min(n, shipped[line] - back[line]) for line, n in wanted.items()}
                        assert moved == +Counter(left)
                        back.update(moved)
                    case _:
                        pass

    @invariant()
    def the_journal_makes_the_same_states_and_the_same_stock(self) -> None:
        states, stock = self.house.replayed()
        assert states == {key: self.house.states[key] for key in states}
        assert stock == self.house.stock

    def teardown(self) -> None:
        self.flush()
        self.the_tables_keep_their_promises()
        self.a_reservation_ends_once()


def by_line(event: Any) -> Counter[str]:
    """The pieces of an event's lines, by line."""
    moved = Counter[str]()
    for line in getattr(event, "lines", ()):
        moved[line.line_id] += line.quantity
    return moved


def pieces(event: Any) -> int:
    return sum(line.quantity for line in event.lines)


TestAnyStory = AnyStory.TestCase
TestAnyStory.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)


# -- what the tables refuse if the code ever failed ---------------------------------------------------------------------


def test_a_second_reservation_under_a_used_operation_would_move_no_row() -> None:
    """The lasting guarantee: without the answers, the rows still record the operation."""
    house = House()
    house.given(count("A", 5), reserve("r1", ("A", 1)), release("u1"))
    house.answered.clear()
    with pytest.raises(AssertionError, match="moved twice"):
        house.given(reserve("r1", ("A", 1)))


def test_stock_keys_sort_as_bytes_do() -> None:
    keys = [StockKey(STORE, "main", sku) for sku in ("a", "B", "é", "10", "9", "Z\U0001f600", "Z\uffff", "")]
    assert sorted(keys) == sorted(keys, key=lambda key: tuple(part.encode() for part in key))


def test_an_empty_shelf_has_nothing_available() -> None:
    assert Stock().available == 0
