"""Writes what orders are found by, in the transaction that changes them: `order_search` and `order_marks`. `docs/search.md`"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from chassis.declare.service import Change
from chassis.declare.sql import Piece, Rows, columns
from orders.domain.shown import searched
from orders.domain.state.annotations import NONE
from orders.domain.state.order import Order
from orders.settings import email_keys

SEARCHED: Final = Piece(
    """
searched as (
  insert into order_search as s (key, store_id, ordered_at, amount_minor, number, archived, words)
  select key, store_id, ordered_at, amount_minor, number, archived, words::tsvector
  from unnest({0}::uuid[], {1}::text[], {2}::timestamptz[], {3}::bigint[], {4}::text[], {5}::boolean[], {6}::text[])
    as u(key, store_id, ordered_at, amount_minor, number, archived, words)
  on conflict (key) do update set ordered_at = excluded.ordered_at, amount_minor = excluded.amount_minor,
    number = excluded.number, archived = excluded.archived, words = excluded.words
  where s.store_id = excluded.store_id
  returning 1)""",
    7,
)
UNMARKED: Final = Piece(
    """
unmarked as (
  delete from order_marks as m
  using unnest({0}::text[], {1}::text[], {2}::timestamptz[], {3}::uuid[]) as u(store_id, mark, ordered_at, key)
  where (m.store_id, m.mark, m.ordered_at, m.key) = (u.store_id, u.mark, u.ordered_at, u.key))""",
    4,
)
MARKED: Final = Piece(
    """
marked as (
  insert into order_marks (store_id, mark, ordered_at, key)
  select * from unnest({0}::text[], {1}::text[], {2}::timestamptz[], {3}::uuid[]) on conflict do nothing)""",
    4,
)


class RowOfAnotherStore(Exception):
    """The row of an order belongs to another store. Not transient: the message that brought it is parked."""


Marked = tuple[str, str, datetime, UUID]
"""A row of `order_marks`."""


def rows(changes: Sequence[Change[Order]]) -> list[Rows]:
    """Returns the rows to write; an expression that would write none is left out. Without changes: all expressions."""
    keys = email_keys()
    contents = [_searched(one, keys[0] if keys else None) for one in changes if _content_changed(one.before, one.after)]
    gone: list[Marked] = []
    new: list[Marked] = []
    for one in changes:
        before, after = searched.marks(one.before), searched.marks(one.after)
        if before is after:
            continue
        was, now = set(_marked(one, one.before, before)), set(_marked(one, one.after, after))
        gone += was - now
        new += now - was
    found = [
        Rows(SEARCHED, columns(contents, SEARCHED.parameters), "searched", RowOfAnotherStore),
        Rows(UNMARKED, columns(gone, UNMARKED.parameters)),
        Rows(MARKED, columns(new, MARKED.parameters)),
    ]
    return [one for one in found if one.arguments[0] or not changes]


def _content_changed(before: Order, after: Order) -> bool:
    """Whether anything changed that `order_search` is made of."""
    if before.content is not after.content or before.market is not after.market:
        return True
    was, now = before.annotations, after.annotations
    if was is now:
        return False
    was, now = was or NONE, now or NONE
    return (was.archived_at is None, was.reference) != (now.archived_at is None, now.reference)


def _searched(change: Change[Order], email_key: bytes | None) -> tuple[Any, ...]:
    order = change.after
    assert order.content is not None
    amount = order.grand_minor if order.grand_minor is not None else -1
    archived = order.annotations is not None and order.annotations.archived_at is not None
    words = searched.vector(searched.lexemes(order, email_key))
    return (change.key, change.store_id, order.content.placed_at, amount, order.number, archived, words)


def _marked(change: Change[Order], order: Order, marks: frozenset[str]) -> list[Marked]:
    if order.content is None:
        return []
    return [(change.store_id, mark, order.content.placed_at, change.key) for mark in marks]
