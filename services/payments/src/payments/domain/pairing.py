"""Pairs what a gateway lists with what our ledgers have moved, by references. One index over the ledgers, one look-up per reference."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple
from uuid import UUID

MovementKind = Literal["capture", "refund"]
SettledKind = MovementKind | Literal["dispute", "release"]
"""`dispute`: what a gateway withholds for one; `release`: what it gives back of that."""


class Movement(NamedTuple):
    """A capture or refund of a ledger, or what was withheld or released for a dispute."""

    operation_id: UUID
    order_id: UUID
    kind: SettledKind
    currency: str
    amount_minor: int
    references: tuple[str, ...]
    """The names that a gateway may have for it."""
    settled: bool = False
    """An earlier statement has it."""


class Sought(NamedTuple):
    """What a gateway lists: the movement that it is about is sought."""

    kind: SettledKind
    references: tuple[str, ...]
    """The surest first."""
    amounts: tuple[tuple[str, int], ...]
    """(currency, minor units), not negative: of the statement, and before it was exchanged."""


PairState = Literal["matched", "unmatched", "amount_differs", "currency_differs", "reference_ambiguous", "repeated"]


class Pair(NamedTuple):
    state: PairState
    movement: Movement | None = None
    """What it was matched with, differs from, or repeats. Null if there is none, or more than one."""


UNMATCHED = Pair("unmatched")


def pairs(sought: Sequence[Sought], movements: Iterable[Movement], own_name_first: bool = False) -> list[Pair]:
    """Returns what each is about, in the order of `sought`. A movement is matched once.

    Equal amounts are paired first, so that a wrong amount cannot take the movement of a right one. Movements of one order with
    one reference and one amount are interchangeable; of several orders they are ambiguous.

    own_name_first: the first reference of each is its own, and no other can be meant by it. So of two that have one further
    reference, the one is matched whose own name we have.
    """
    index = _Index(movements)
    found: list[Pair | None] = [None] * len(sought)
    if own_name_first:
        found = [index.exact(one._replace(references=one.references[:1])) for one in sought]
    found = [pair or index.exact(one) for one, pair in zip(sought, found, strict=True)]
    return [pair or index.closest(one) for one, pair in zip(sought, found, strict=True)]


class _Named:
    """The movements that have a name, or a name and an amount."""

    __slots__ = ("first", "free", "orders")

    def __init__(self, first: Movement) -> None:
        self.first = first
        self.free: deque[Movement] = deque()
        """Not settled before; some may have been taken under another name."""
        self.orders: set[UUID] = set()
        """The orders of those that were free at first."""


class _Index:
    """Every look-up takes constant time, however many movements have one name."""

    def __init__(self, movements: Iterable[Movement]) -> None:
        self._by_name: dict[tuple[SettledKind, str], _Named] = {}
        self._by_amount: dict[tuple[SettledKind, str, str, int], _Named] = {}
        self._taken: set[UUID] = set()
        for movement in movements:
            for name in dict.fromkeys(movement.references):
                amount = (movement.kind, name, movement.currency, movement.amount_minor)
                for named in (
                    self._by_name.setdefault((movement.kind, name), _Named(movement)),
                    self._by_amount.setdefault(amount, _Named(movement)),
                ):
                    if not movement.settled:
                        named.free.append(movement)
                        named.orders.add(movement.order_id)

    def exact(self, one: Sought) -> Pair | None:
        """Takes a movement of the same amount. Null if there is none left."""
        for named in self._equal(one):
            if len(named.orders) > 1:
                return Pair("reference_ambiguous")
            movement = self._take(named)
            if movement is not None:
                return Pair("matched", movement)
        return None

    def closest(self, one: Sought) -> Pair:
        """Why no movement of its reference is left with its amount."""
        name = self._name(one)
        if name is None:
            return UNMATCHED
        for equal in self._equal(one):
            return Pair("repeated", equal.first)
        named = self._by_name[one.kind, name]
        if len(named.orders) > 1:
            return Pair("reference_ambiguous")
        movement = self._take(named)
        if movement is None:
            return Pair("repeated", named.first)
        same = any(currency == movement.currency for currency, _ in one.amounts)
        return Pair("amount_differs" if same else "currency_differs", movement)

    def _name(self, one: Sought) -> str | None:
        """The surest reference that any movement has."""
        return next((name for name in one.references if (one.kind, name) in self._by_name), None)

    def _equal(self, one: Sought) -> Iterator[_Named]:
        name = self._name(one)
        if name is not None:
            for currency, amount_minor in one.amounts:
                named = self._by_amount.get((one.kind, name, currency, amount_minor))
                if named is not None:
                    yield named

    def _take(self, named: _Named) -> Movement | None:
        while named.free:
            movement = named.free.popleft()
            if movement.operation_id not in self._taken:
                self._taken.add(movement.operation_id)
                return movement
        return None
