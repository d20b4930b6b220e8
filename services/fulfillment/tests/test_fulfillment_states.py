"""Every command in every state: what it is answered, and the state afterwards. One table, written apart from the decisions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest
from fulfillment_play import (
    House,
    cancel,
    count,
    extend,
    reduce,
    release,
    reserve,
    restock,
    resume,
    ship,
    start,
    suspend,
)

from contracts.base import Command

STATES: Final = ("none", "reserved", "released", "started", "half", "cancelled", "fulfilled")
"""`half`: started, and one of two shipments has shipped."""


def brought_to(state: str) -> House:
    house = House()
    house.given(count("A", 9, at="north"), count("B", 9, at="south"))
    if state != "none":
        house.given(reserve("r1", ("A", 2), ("B", 3), at=("north", "south")))
    if state in ("started", "half", "cancelled", "fulfilled"):
        house.given(start("s1"))
    ends = {"released": [release("u1")], "cancelled": [cancel("c1")]}
    house.given(*ends.get(state, []))
    for n, plan in enumerate(house.plans()[: {"half": 1, "fulfilled": 2}.get(state, 0)]):
        house.given(ship(plan.shipment_id, f"w{n}"))
    return house


COMMANDS: Final[dict[str, Callable[[str], Command]]] = {
    "reserve": lambda operation: reserve(operation, ("A", 1), at=("north",)),
    "reserve too much": lambda operation: reserve(operation, ("A", 99), at=("north",)),
    "start": start,
    "release": release,
    "cancel": cancel,
    "suspend": suspend,
    "resume": lambda operation: resume(operation, "h1"),
    "extend": lambda operation: extend(operation, ("1", "A", 1), at=("north",)),
    "extend too much": lambda operation: extend(operation, ("1", "A", 99), at=("north",)),
    "reduce": lambda operation: reduce(operation, ("1", 1)),  # of the line that ships first
    "restock": lambda operation: restock(operation, ("1", 1)),
}

# fmt: off
ANSWERS: Final = {
    # command            none              reserved          released          started           half              cancelled         fulfilled
    "reserve":          ("Reserved",       "Reserved",       "Reserved",       "Reserved",       "Reserved",       "Reserved",       "Reserved"),
    "reserve too much": ("OutOfStock",     "Reserved",       "OutOfStock",     "Reserved",       "Reserved",       "OutOfStock",     "Reserved"),
    "start":            ("Cancelled",      "Started",        "Cancelled",      "Started",        "Started",        "Cancelled",      "Started Fulfilled"),
    "release":          ("Released",       "Released",       "Released",       "Released",       "Released Fulfilled", "Released",   "Released"),
    "cancel":           ("Cancelled",      "Cancelled",      "Cancelled",      "Cancelled",      "TooLate",        "Cancelled",      "TooLate"),
    "suspend":          ("Suspended",      "Suspended",      "Suspended",      "Suspended",      "Suspended",      "Suspended",      "Suspended"),
    "resume":           ("Resumed",        "Resumed",        "Resumed",        "Resumed",        "Resumed",        "Resumed",        "Resumed"),
    "extend":           ("Extended",       "Extended",       "Extended",       "Extended",       "Extended",       "Extended",       "Extended"),
    "extend too much":  ("OutOfStock",     "OutOfStock",     "OutOfStock",     "OutOfStock",     "OutOfStock",     "OutOfStock",     "OutOfStock"),
    "reduce":           ("Reduced",        "Reduced",        "Reduced",        "Reduced",        "TooLate",        "Reduced",        "TooLate"),
    "restock":          ("Restocked",      "Restocked",      "Restocked",      "Restocked",      "Restocked",      "Restocked",      "Restocked"),
}
AFTER: Final = {  # where it is another state; the rest stays as it is
    "reserve":          ("reserved",       "reserved",       "reserved",       "started",        "started",        "reserved",       "fulfilled"),
    "start":            ("cancelled",      "started",        "cancelled",      "started",        "started",        "cancelled",      "fulfilled"),
    "release":          ("none",           "released",       "released",       "released",       "fulfilled",      "cancelled",      "fulfilled"),
    "cancel":           ("cancelled",      "cancelled",      "cancelled",      "cancelled",      "started",        "cancelled",      "fulfilled"),
    "extend":           ("reserved",       "reserved",       "reserved",       "started",        "started",        "reserved",       "started"),
}
# fmt: on


@pytest.mark.parametrize("suspended", [False, True], ids=["", "suspended"])
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_answered_in_every_state(command: str, state: str, suspended: bool) -> None:
    """A suspension changes no answer: it stops shipping and nothing else."""
    house = brought_to(state)
    if suspended:
        house.given(suspend("h1"))
    before = house.order().status
    house.when(COMMANDS[command]("x1"))
    column = STATES.index(state)
    names = [type(effect).__name__.replace("ShipmentsCancelled", "Cancelled") for effect in house.said]
    assert " ".join(names) == ANSWERS[command][column]
    assert house.order().status == (AFTER[command][column] if command in AFTER else before)
    house.audit()
    house.when(COMMANDS[command]("x1"))
    house.then()


def test_the_table_is_complete() -> None:
    assert ANSWERS.keys() == COMMANDS.keys() >= AFTER.keys()
    assert {len(row) for row in (*ANSWERS.values(), *AFTER.values())} == {len(STATES)}
