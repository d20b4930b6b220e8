"""What of an order is in settles: the lines that they take, what is captured, and what is left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal
from uuid import UUID

from contracts import invoicing
from contracts.money import split
from contracts.payments import MoneyLine
from orders.domain.content.amounts import Payable, payable
from orders.domain.content.facts import CaptureFact, Facts
from orders.domain.engine.story import Story
from orders.domain.state.order import Order
from orders.domain.state.run import Run, RunData

KIND: Final = "settle"
RENEW: Final = "renew"
TAKING: Final = (RENEW, "capture")
"""The steps before the money is taken."""


class SettleData(RunData):
    kind: Literal["settle"] = "settle"
    lines: tuple[MoneyLine, ...]
    """To capture and to invoice."""
    authorization_id: UUID | None = None
    """What the capture draws on; null where there is nothing to take."""
    renews: bool = False
    """The authorization has expired: another one is asked for, and the capture draws on that."""
    capture_id: UUID | None = None
    """Null until it is captured, and where there is nothing to take."""
    to_invoice: tuple[invoicing.InvoiceLineWanted, ...] = ()
    """The lines as they were captured, where an edit has changed the order before their invoice; else they follow from it."""


def data_of(run: Run) -> SettleData:
    assert isinstance(run.data, SettleData)
    return run.data


def of_order(story: Story) -> list[Run]:
    return [run for run in story.runs.values() if isinstance(run.data, SettleData)]


def left(order: Order) -> dict[str, MoneyLine]:
    """line id -> what is in no settle yet."""
    assert order.content is not None
    taken = taken_by_settles(order.runs, order.facts)
    return {line.line_id: rest for line in payable(order.content) if (rest := rest_of(line, taken)) is not None}


def taken_by_settles(runs: Mapping[str, Run], facts: Facts, before: Run | None = None) -> dict[str, tuple[int, int]]:
    """line id -> (pieces, amount) in settles: in all, or in those that began before one of them."""
    taken: dict[str, tuple[int, int]] = {}
    for capture in facts.captures.values():
        if capture.settled:
            add(taken, capture.sold)
    for run in runs.values():
        if before is not None and run.id == before.id:
            break
        if isinstance(run.data, SettleData):
            own = capture_of(run, facts)
            add(taken, own.sold if own is not None else amounts_of(run.data.lines))
    return taken


def rest_of(line: Payable, taken: Mapping[str, tuple[int, int]]) -> MoneyLine | None:
    """What of a line is in no settle yet."""
    if line.line_id not in taken:
        return line.money
    pieces, amount = taken[line.line_id]
    if amount >= line.amount_minor:
        return None
    return MoneyLine(
        line_id=line.line_id, quantity=max(line.quantity - pieces, 0), amount_minor=line.amount_minor - amount
    )


def captured(runs: Mapping[str, Run], facts: Facts) -> dict[str, tuple[int, int]]:
    """line id -> (pieces, amount) that was captured and that no edit has given back."""
    taken: dict[str, tuple[int, int]] = {}
    for capture in captures_of(runs, facts):
        add(taken, capture.sold)
    return taken


def captures_of(runs: Mapping[str, Run], facts: Facts) -> list[CaptureFact]:
    """The captures of the order's settles, the oldest first: not those of before it was placed anew."""
    own = {capture.capture_id for run in runs.values() if (capture := capture_of(run, facts)) is not None}
    return [one for one in facts.captures.values() if one.settled or one.capture_id in own]


def is_captured(run: Run, facts: Facts) -> bool:
    return capture_of(run, facts) is not None


def capture_of(run: Run, facts: Facts) -> CaptureFact | None:
    """The capture of a settle; while the settle is suspended, only the fact names its operation."""
    if not isinstance(run.data, SettleData):
        return None
    capture_id = run.data.capture_id
    if capture_id is not None:
        return facts.captures[str(capture_id)]
    if run.operation_id is None:
        return None
    return next((one for one in facts.captures.values() if one.operation_id == run.operation_id), None)


def authorization_of(run: Run, facts: Facts) -> UUID | None:
    """The authorization that its capture draws on: while the settle is suspended, its renewal may have been answered. None: it is
    still to be renewed."""
    data = data_of(run)
    if not data.renews:
        return data.authorization_id
    return run.operation_id if str(run.operation_id) in facts.authorizations else None


def is_to_be_renewed(run: Run, facts: Facts) -> bool:
    return not run.end and data_of(run).renews and not is_captured(run, facts) and authorization_of(run, facts) is None


def renewing(runs: Mapping[str, Run], facts: Facts) -> dict[str, int]:
    """line id -> minor units that are held by no authorization, because settles are going to ask for another one."""
    amounts: dict[str, int] = {}
    for run in runs.values():
        if isinstance(run.data, SettleData) and is_to_be_renewed(run, facts):
            for line in run.data.lines:
                amounts[line.line_id] = amounts.get(line.line_id, 0) + line.amount_minor
    return amounts


def amounts_of(lines: Iterable[MoneyLine]) -> dict[str, tuple[int, int]]:
    return {line.line_id: (line.quantity, line.amount_minor) for line in lines}


def add(taken: dict[str, tuple[int, int]], more: Mapping[str, tuple[int, int]]) -> None:
    for line_id, (pieces, minor) in more.items():
        quantity, amount = taken.get(line_id, (0, 0))
        taken[line_id] = (quantity + pieces, amount + minor)


def share_of(total: int, part: int, whole: int) -> int:
    """What `part` of `whole` has of the total; grows with the part, from nothing to all."""
    return split(total, [part, whole - part])[0] if whole else 0


def money_line(line_id: str, quantity: int, amount_minor: int) -> MoneyLine:
    return MoneyLine(line_id=line_id, quantity=quantity, amount_minor=amount_minor)
