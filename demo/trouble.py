"""The demo's trouble, made by rule, so that it can be predicted from the file: what fails, and what people change later.

Out of stock follows from the SKUs, all other trouble from the first eight hex digits of the order id: the test gateway
computes it itself. An order that is short, or costs nothing, has no other trouble.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, Literal
from uuid import UUID

from demo.changes import Change, is_change, line_of
from demo.retail import RetailOrder

Trouble = Literal["declined", "late", "timed_out", "cancelled"] | Change
# fmt: off
_BY_HUNDREDTH: Final[tuple[Trouble, ...]] = (
    "declined",  "declined",  "declined",  "declined",   # 0-3    the gateway declines
    "late",      "late",      "late",      "late",       # 4-7    the gateway answers late
    "timed_out", "timed_out", "timed_out", "timed_out",  # 8-11   the gateway captures, its response is lost
    "cancelled", "cancelled", "cancelled", "cancelled",  # 12-15  the customer cancels after capture
    "refunded",  "refunded",  "refunded",  "refunded",   # 16-19  a piece comes back after completion
    "line_cancelled", "line_cancelled", "line_cancelled", "line_cancelled",  # 20-23  an edit removes a line after capture
    "edited",    "edited",    "edited",    "edited",     # 24-27  an edit adds a piece after capture
    "replaced_cheaper", "replaced_cheaper", "replaced_cheaper",  # 28-30  after completion a piece is reversed, and replaced
    "replaced_equal",   "replaced_equal",                        # 31-32
    "replaced_dearer",  "replaced_dearer",  "replaced_dearer",   # 33-35
)
# fmt: on

SHORT_PERCENT_MIN: Final = 3
SHORT_PERCENT_MAX: Final = 6
_SENT_TWICE_EVERY: Final = 10


def trouble_of(order_id: UUID | str) -> Trouble | None:
    """The trouble that follows from the order id; `applies` returns whether the order has it.

    >>> trouble_of("00000003-0000-5000-8000-000000000000"), trouble_of("00000010-0000-5000-8000-000000000000")
    ('declined', None)
    """
    hundredth = hundredth_of(order_id)
    return _BY_HUNDREDTH[hundredth] if hundredth < len(_BY_HUNDREDTH) else None


def hundredth_of(order_id: UUID | str) -> int:
    """The number from 0 to 99 that decides on trouble."""
    return int(str(order_id)[:8], 16) % 100


def applies(trouble: Trouble, order: RetailOrder, zero_stock: frozenset[str]) -> bool:
    """Whether the order has the trouble of its id: it is neither short nor free, and has the line that a change needs."""
    if order.total_minor == 0 or is_short(order, zero_stock):
        return False
    return line_of(trouble, order) is not None if is_change(trouble) else True


def is_short(order: RetailOrder, zero_stock: frozenset[str]) -> bool:
    return any(line.sku in zero_stock for line in order.goods)


def zero_stock_skus(orders: Sequence[RetailOrder]) -> frozenset[str]:
    """The SKUs without stock, chosen so that 3 to 6 % of `orders` are short. orders: the file's, each once.

    In ascending order of hex sha256(SKU), each SKU is chosen unless more than 6 % would then be short, until 3 % are.
    A small file may have no such SKU.
    """
    wanted_by: defaultdict[str, set[int]] = defaultdict(set)
    for n, order in enumerate(orders):
        for line in order.goods:
            wanted_by[line.sku].add(n)
    taken: set[str] = set()
    short: set[int] = set()
    for sku in sorted(wanted_by, key=lambda sku: hashlib.sha256(sku.encode()).hexdigest()):
        if len(short) * 100 >= SHORT_PERCENT_MIN * len(orders):
            break
        after = short | wanted_by[sku]
        if len(after) * 100 <= SHORT_PERCENT_MAX * len(orders):
            taken.add(sku)
            short = after
    return frozenset(taken)


def stock(run: Iterable[RetailOrder], zero_stock: frozenset[str], more: Iterable[str] = ()) -> dict[str, int]:
    """SKU -> pieces in stock before the run, sorted by SKU: 0, or the pieces that all orders of the run need.

    more: SKUs of the pieces that edits add, one each.
    """
    pieces = Counter(more)
    for order in run:
        for line in order.goods:
            pieces[line.sku] += line.quantity
    return {sku: 0 if sku in zero_stock else pieces[sku] for sku in sorted(pieces)}


def sent_twice(position: int) -> bool:
    """Whether the snapshot at this position of the run, from 0, is sent twice with the same id: every tenth is."""
    return position % _SENT_TWICE_EVERY == _SENT_TWICE_EVERY - 1
