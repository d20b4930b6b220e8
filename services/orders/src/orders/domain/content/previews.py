"""What an edit means, line by line: pieces and amounts before and after, and what stock, payments and documents do.

Money follows a goal, not the way to it: per line what is captured and still authorized must come to what the line costs. So
the same sums hold before an edit, after it, and when it is discarded after a second authorization.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple
from uuid import UUID

from contracts.base import json_bytes
from contracts.limits import JOURNAL_BYTES_MAX
from contracts.payments import MoneyLine
from contracts.snapshot import OrderContent, fitting
from orders.domain.content.amounts import Payable, amounts, discounts, payable
from orders.domain.content.edits import Reason
from orders.domain.content.facts import AuthorizationFact, ShipmentFact

ROW_BYTES: Final = 350
"""A row of the history at its largest: an id of 200 characters and numbers."""

Taken = Mapping[str, tuple[int, int]]
"""line id -> (pieces, minor units)."""


class LineDifference(NamedTuple):
    """A line before and after an edit; one that is added has nothing before, one that is removed nothing after."""

    line_id: str
    sku: str | None
    title: str
    pieces_before: int
    pieces_after: int
    amount_before: int
    """Minor units, tax included."""
    amount_after: int
    reserved_before: int
    """Pieces that we ship."""
    reserved_after: int

    @property
    def changes(self) -> bool:
        before = (self.pieces_before, self.amount_before, self.reserved_before)
        return before != (self.pieces_after, self.amount_after, self.reserved_after)


_GONE: Final = LineDifference("", None, "", 0, 0, 0, 0, 0, 0)


class Difference(NamedTuple):
    lines: tuple[LineDifference, ...]
    """Every line that costs something before or after, unchanged ones included; the shipping charge is the line `shipping`."""

    @property
    def total_before(self) -> int:
        return sum(line.amount_before for line in self.lines)

    @property
    def total_after(self) -> int:
        return sum(line.amount_after for line in self.lines)

    @property
    def to_reserve(self) -> dict[str, int]:
        """line id -> pieces."""
        more = {line.line_id: line.reserved_after - line.reserved_before for line in self.lines}
        return {line_id: pieces for line_id, pieces in more.items() if pieces > 0}

    @property
    def to_release(self) -> dict[str, int]:
        """line id -> pieces."""
        fewer = {line.line_id: line.reserved_before - line.reserved_after for line in self.lines}
        return {line_id: pieces for line_id, pieces in fewer.items() if pieces > 0}


def difference(before: OrderContent, after: OrderContent) -> Difference:
    olds, news = _by_id(before), _by_id(after)
    return Difference(
        tuple(_line(line_id, olds.get(line_id), news.get(line_id)) for line_id in dict.fromkeys([*olds, *news]))
    )


def _by_id(content: OrderContent) -> dict[str, Payable]:
    return {line.line_id: line for line in payable(content)}


def _line(line_id: str, before: Payable | None, after: Payable | None) -> LineDifference:
    shown = after or before
    assert shown is not None
    return LineDifference(
        line_id, shown.sku, shown.title,
        before.quantity if before else 0, after.quantity if after else 0,
        before.amount_minor if before else 0, after.amount_minor if after else 0,
        before.quantity if before and before.ships else 0, after.quantity if after and after.ships else 0,
    )  # fmt: skip


# -- money ------------------------------------------------------------------------------------------------------------


class Money(NamedTuple):
    """What payments do so that the lines of an order are paid as they cost. Minor units, tax included."""

    authorize: tuple[MoneyLine, ...]
    void: tuple[tuple[UUID, tuple[MoneyLine, ...]], ...]
    """By authorization, the newest first."""
    refund: tuple[MoneyLine, ...]

    @property
    def voided_minor(self) -> int:
        return sum(total(lines) for _, lines in self.void)


def total(lines: Iterable[MoneyLine]) -> int:
    return sum(line.amount_minor for line in lines)


def money(
    change: Difference, captured: Taken, authorizations: Sequence[AuthorizationFact], renewing: Mapping[str, int] = {}
) -> Money:
    """What is missing of each line's price after the change is authorized, what is too much is voided, then refunded.

    captured: by line, what was captured for it and not given back by an earlier edit. authorizations: the oldest first.
    renewing: by line, what has expired and will be authorized again for its capture, minor units.
    """
    by_id = {line.line_id: line for line in change.lines}
    left = {one.authorization_id: one.left_by_line for one in authorizations}
    authorize, refund = [], []
    surplus: dict[str, int] = {}
    for line_id in dict.fromkeys([*by_id, *captured, *(line_id for lines in left.values() for line_id in lines)]):
        line = by_id.get(line_id, _GONE)
        pieces_taken, taken = captured.get(line_id, (0, 0))
        held = sum(lines.get(line_id, 0) for lines in left.values())
        open_minor = line.amount_after - taken
        if (missing := open_minor - held - renewing.get(line_id, 0)) > 0:
            more = max(line.pieces_after - line.pieces_before, 0)
            authorize.append(MoneyLine(line_id=line_id, quantity=more, amount_minor=missing))
        surplus[line_id] = held - max(open_minor, 0)
        if open_minor < 0:
            back = max(pieces_taken - line.pieces_after, 0)
            refund.append(MoneyLine(line_id=line_id, quantity=back, amount_minor=-open_minor))
    return Money(tuple(authorize), tuple(_voids(left, surplus)), tuple(refund))


def _voids(
    left: Mapping[UUID, Mapping[str, int]], surplus: dict[str, int]
) -> Iterator[tuple[UUID, tuple[MoneyLine, ...]]]:
    """Each line's surplus, taken from the newest authorization first: captures draw on the oldest."""
    for authorization_id in reversed([*left]):
        lines = []
        for line_id, held in left[authorization_id].items():
            amount = min(held, max(surplus.get(line_id, 0), 0))
            if amount:
                surplus[line_id] -= amount
                lines.append(MoneyLine(line_id=line_id, quantity=0, amount_minor=amount))
        if lines:
            yield authorization_id, tuple(lines)


class Preview(NamedTuple):
    """What an edit would do now."""

    content: OrderContent
    """What is sold afterwards."""
    difference: Difference
    money: Money
    why_not: tuple[Reason, ...]

    @property
    def digest(self) -> str:
        """Names this preview: another one is stale."""
        money = f"{self.difference!r} {self.money!r} {self.why_not!r}".encode()
        return hashlib.sha256(json_bytes(self.content) + money).hexdigest()[:16]

    @property
    def discount_minor(self) -> int:
        """The discount on the pieces that are left, in the order's price basis."""
        return sum(discounts(self.content))


# -- why not ----------------------------------------------------------------------------------------------------------


def obstacles(
    before: OrderContent, after: OrderContent, shipments: Iterable[ShipmentFact], *, ships_more: bool
) -> Iterator[Reason]:
    """Why an order cannot be changed to this content. ships_more: whether goods can still join its shipments."""
    if after.currency != before.currency:
        yield Reason("currency_differs", f"the order is in {before.currency}, the edit in {after.currency}")
        return
    if not after.priced:
        yield Reason("price_missing", "not every price is stated")
        return
    change = difference(before, after)
    if before == after:
        yield Reason("edit_empty", "the edit changes nothing")
    yield from _of_size(after, change)
    yield from _of_lines(before, after)
    shipped = _shipped(shipments)
    if changed := tuple(line.line_id for line in change.lines if _touches(line, shipped.get(line.line_id, 0))):
        yield Reason("order_shipped", f"pieces of line {', '.join(changed)} have shipped", changed)
    if shipped and before.ship_to != after.ship_to:
        yield Reason("order_shipped", "something has shipped to the address", tuple(shipped))
    if change.to_reserve and not ships_more:
        detail = "everything has shipped, or nothing of the order ships: more goods are a new order"
        yield Reason("order_fulfilled", detail, tuple(change.to_reserve))


def _of_size(after: OrderContent, change: Difference) -> Iterator[Reason]:
    """The events of the edit have the order, and up to four rows for each changed line."""
    rows = 4 * ROW_BYTES * sum(line.changes for line in change.lines)
    try:
        fitting(after)
    except ValueError as error:
        yield Reason("total_exceeds", str(error))
    else:
        if rows > ROW_BYTES * 1_000 and len(json_bytes(after)) + rows > JOURNAL_BYTES_MAX:
            yield Reason("total_exceeds", "the order is too large for so many changes at once; make several edits")


def _of_lines(before: OrderContent, after: OrderContent) -> Iterator[Reason]:
    skus = {line.external_line_id: line.sku for line in before.lines if line.pieces}
    other = tuple(
        line.external_line_id for line in after.lines
        if line.pieces and line.sku != skus.get(line.external_line_id, line.sku)
    )  # fmt: skip
    if other:
        yield Reason("sku_differs", "another article is another line", other)
    by_id = {line.line_id: line for line in payable(after)}
    if nameless := tuple(line_id for line_id, line in by_id.items() if line.ships and not line.sku):
        yield Reason("sku_missing", "a line that ships has no sku", nameless)
    if untaxed := amounts(after).untaxed:
        yield Reason("tax_missing", "a line that costs something has no tax rate or amount", untaxed)


def _shipped(shipments: Iterable[ShipmentFact]) -> dict[str, int]:
    """line id -> pieces that have shipped."""
    shipped: dict[str, int] = {}
    for shipment in shipments:
        if shipment.status in ("shipped", "delivered"):
            for line_id, pieces in shipment.lines.items():
                shipped[line_id] = shipped.get(line_id, 0) + pieces
    return shipped


def _touches(line: LineDifference, shipped: int) -> bool:
    """Whether pieces that have shipped would be removed, be for someone else to ship, or cost something else."""
    if not shipped or not line.changes:
        return False
    if line.pieces_after < shipped or line.reserved_after < min(shipped, line.reserved_before):
        return True
    same_price = line.amount_after * line.pieces_before - line.amount_before * line.pieces_after
    return abs(same_price) > max(line.pieces_before, line.pieces_after)  # a share is rounded by less than a minor unit
