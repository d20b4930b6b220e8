"""Finds the rows of a list: a saved view, filters, a search, pages; in a bounded number of rows.

A page reads the index of its sort from its beginning on, and applies the filters to what it reads. It reads LOOK_BACK rows
at most: a page of a rare combination of filters may have fewer rows than it could, and states how far it has searched.

A search reads the indexes of numbers and words. A word that very many orders have is a filter: to read all of its entries takes
longer than to find the first orders with it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal, NamedTuple, get_args
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, Field
from sqlalchemy import ARRAY, Date, DateTime, Executable, TextClause, Uuid, bindparam, text
from sqlalchemy import Text as SqlText
from sqlalchemy.engine import RowMapping
from sqlalchemy.types import TypeEngine

from chassis.http.paging import Cursors
from chassis.http.problems import known
from console.domain import words
from console.domain.waits import PERSON
from contracts.base import Code, Country, Day, Text, Timestamp
from contracts.money import Currency
from contracts.orders import FulfillmentStatus, PaymentStatus, Status

Read = Callable[[Executable], Awaitable[Sequence[RowMapping]]]
"""`App.read`."""
LOOK_BACK: Final = 20_000
"""Rows that a page reads at most."""
COMMON: Final = LOOK_BACK // 2
"""A word that more orders have, of all stores, is common. They are counted in a sample; what it misses is to be read, too."""
SAMPLE_PAGES: Final = 128
"""Pages of the table that are sampled, always the same: they stay in the cache. They have about 1,500 rows; in a table of a
million, 15 of them have a word that is just common."""
PAGE_ROWS: Final = 50
COUNT_MAX: Final = 1_000
LAST: Final = "\U0010ffff"
"""Sorts after every other character: a number that begins with a text is less than the text with it."""
VALUES_MAX: Final = 20
Sort = Literal["newest", "waiting"]
View = Literal["all", "attention", "approval", "exception", "hold", "capture", "warehouse", "cancelled"]
Waiting = Literal[
    "answer", "approval", "capture", "confirm", "exception", "hold", "no_answer", "parked", "payment", "snapshot", "stock",
    "warehouse",
]  # fmt: skip
Step = Annotated[str, Field(pattern=r"^[a-z_]+(\.[a-z_]+)?$", max_length=64)]
"""A process and its step, as far as the events state it: `place`, `settle.capture`; or NO_STEP."""
NO_STEP: Final = "order"
"""Finds orders that wait for something that is no step of a process: a decision about a difference."""
Column = Literal[
    "waiting", "status", "payment", "fulfillment", "amount", "captured", "refunded", "channel", "market", "country", "tags",
    "ordered",
]  # fmt: skip
COLUMNS: Final[tuple[Column, ...]] = ("waiting", "status", "payment", "fulfillment", "amount", "channel", "ordered")
"""Those that a list shows unless others are chosen."""


class Saved(NamedTuple):
    """A saved filter, shown as a tab."""

    title: str
    waiting: tuple[str, ...] = ()
    status: tuple[str, ...] = ()


VIEWS: Final[Mapping[View, Saved]] = {
    "all": Saved("All"),
    "attention": Saved("Needs a person", tuple(sorted(PERSON))),
    "approval": Saved("Approval", ("approval",)),
    "exception": Saved("Exceptions", ("exception",)),
    "hold": Saved("On hold", ("hold",)),
    "capture": Saved("Capture", ("capture",)),
    "warehouse": Saved("Warehouse", ("warehouse",)),
    "cancelled": Saved("Cancelled", status=("cancelled",)),
}


def _given(values: object) -> object:
    """A form sends every field: an empty one chooses nothing."""
    return [value for value in values if value != ""] if isinstance(values, list) else values


Given = BeforeValidator(_given)


class Asked(BaseModel):
    """The query of the page. A filter may be repeated: its values are alternatives. Different filters all have to fit."""

    store: Code | None = None
    view: View = "all"
    q: Text = ""
    status: Annotated[list[Status], Given, Field(max_length=VALUES_MAX)] = []
    payment: Annotated[list[PaymentStatus], Given, Field(max_length=VALUES_MAX)] = []
    fulfillment: Annotated[list[FulfillmentStatus], Given, Field(max_length=VALUES_MAX)] = []
    waiting: Annotated[list[Waiting], Given, Field(max_length=VALUES_MAX)] = []
    channel: Code | Literal[""] = ""
    market: Code | Literal[""] = ""
    country: Country | Literal[""] = ""
    currency: Currency | Literal[""] = ""
    step: Step | Literal[""] = ""
    tag: Annotated[Text, Field(max_length=25)] = ""
    since: Day | Literal[""] = ""
    until: Day | Literal[""] = ""
    archived: bool = False
    sort: Sort | Literal[""] = ""
    column: Annotated[list[Column], Given, Field(max_length=VALUES_MAX)] = []
    cursor: str | None = None
    jump: bool = False
    """Whether the page of an order is opened if its number is the one that is searched."""

    @property
    def sorted_by(self) -> Sort:
        """What waits is shown with the longest first, unless another order is asked for."""
        return self.sort or ("waiting" if VIEWS[self.view].waiting or self.waiting else "newest")

    def fingerprint(self) -> str:
        """Returns a digest of what decides on the rows and their order: a cursor belongs to it."""
        same = self.model_dump_json(exclude={"cursor", "column", "jump"}, exclude_defaults=True)
        return hashlib.blake2s(same.encode(), digest_size=9).hexdigest()


@dataclass(frozen=True, slots=True)
class Found:
    rows: Sequence[RowMapping]
    next_cursor: str | None
    searched_back_to: datetime | None
    """Not null: few rows fit, and those before this time were not read; the next page goes on from there."""
    too_many: bool = False
    """Whether more orders than LOOK_BACK were found by the words that are not common, so that some may be missing."""


class Group(NamedTuple):
    """Orders that wait for the same in the same step."""

    waiting: str
    step: str
    """Empty: it is no process that waits."""
    orders: int
    more: bool
    """Whether there may be more of them."""
    since: datetime
    """Since when the oldest waits."""


Place = tuple[datetime, UUID]
"""Value of the sort and key of a row: where a page ends."""
PLACES: Final = Cursors("console.orders", Code, Timestamp, UUID)
VERSION: Final = "cast(versions ->> 'orders' as int) as orders_version"
SHOWN: Final = f"""order_id, store_id, number, channel, account, market, country, currency, grand_minor, test, ordered_at, status,
payment_status, fulfillment_status, cancel_cause, completed_at, archived_at, tags, waiting, step, since, captured_minor,
refunded_minor, changed_at, {VERSION}"""
"""The columns that a list reads."""
TYPES: Final[Mapping[str, TypeEngine[Any]]] = {
    "text": SqlText(), "text[]": ARRAY(SqlText()), "timestamptz": DateTime(timezone=True), "uuid": Uuid(), "date": Date(),
}  # fmt: skip


class Sorted(NamedTuple):
    column: str
    word: str
    """`desc`, or empty."""
    behind: str
    """The operator of rows behind a place."""


SORTS: Final[Mapping[Sort, Sorted]] = {
    "newest": Sorted("ordered_at", " desc", "<"),
    "waiting": Sorted("since", "", ">"),
}


SAMPLE: Final = f"""
select {{counts}} from (
  select greatest(1, pg_relation_size('order_rows') / current_setting('block_size')::float / {SAMPLE_PAGES}) as share) as s
cross join lateral (
  select * from order_rows tablesample system (100 / s.share) repeatable (0)) as r
group by s.share"""
"""Counts rows with conditions in a sample. `share`: the table has so many times as many rows."""
_PARAMETER: Final = re.compile(r":(p\d+)")


class Sql:
    """A statement and its parameters."""

    def __init__(self, store_id: str) -> None:
        self._parameters: dict[str, Any] = {}
        self.store = self.value(store_id, "text")

    def value(self, value: Any, kind: str) -> str:
        """Returns the name of a parameter with this value."""
        name = f"p{len(self._parameters)}"
        self._parameters[name] = bindparam(name, value, type_=TYPES[kind])
        return f":{name}"

    def statement(self, sql: str) -> TextClause:
        used = set(_PARAMETER.findall(sql))
        return text(sql).bindparams(*(one for name, one in self._parameters.items() if name in used))


async def find(
    read: Read, store_id: str, asked: Asked, *, personal: bool, rows: int | None = None, shown: str = SHOWN
) -> Found:
    """Returns a page of a store's orders. personal: whether personal words are searched. rows: of the page; default: PAGE_ROWS. shown: the columns
    to read, with those of the sort. Raises Problem 400 for a cursor of another list."""
    search = _Search(store_id, asked, rows or PAGE_ROWS, shown)
    if asked.q.strip():
        return await search.searched(read, personal)
    return await search.listed(read)


async def count_views(read: Read, store_id: str) -> Mapping[View, int]:
    """Returns how many orders each view has, counted up to COUNT_MAX."""
    sql = Sql(store_id)
    counts = []
    for view, saved in VIEWS.items():
        found = " union all ".join(
            f"(select from order_rows where {' and '.join((*_base(sql), *conditions))} limit {COUNT_MAX})"
            for conditions in _branches(sql, saved.waiting, saved.status)
        )
        counts.append(f"(select count(*) from (select from ({found}) as f limit {COUNT_MAX}) as few) as {view}")
    [row] = await read(sql.statement(f"select {', '.join(counts)}"))
    return {view: row[view] for view in VIEWS}


async def count_waits(read: Read, store_id: str, waiting: Sequence[Waiting]) -> list[Group]:
    """Returns how many orders wait for these words, by step, the group of the longest wait first. At most
    COUNT_MAX orders of each word are counted: those that have waited longest."""
    sql = Sql(store_id)
    oldest = " union all ".join(
        f"(select waiting, step, since from order_rows where {' and '.join((*_base(sql), *conditions))} and archived_at is null"
        f" order by since, order_id limit {COUNT_MAX})"
        for conditions in _branches(sql, waiting, ())
    )
    rows = await read(
        sql.statement(
            f"select waiting, step, count(*) as orders, min(since) as since from ({oldest}) as o group by waiting, step"
            " order by min(since), waiting, step"
        )
    )
    counted: dict[str, int] = {}
    for row in rows:
        counted[row["waiting"]] = counted.get(row["waiting"], 0) + row["orders"]
    return [
        Group(row["waiting"], row["step"], row["orders"], counted[row["waiting"]] >= COUNT_MAX, row["since"])
        for row in rows
    ]


def _base(sql: Sql) -> tuple[str, str]:
    return f"store_id = {sql.store}", "ordered_at is not null"


def _branches(sql: Sql, waiting: Sequence[str], status: Sequence[str]) -> list[tuple[str, ...]]:
    """Returns the conditions of the parts of an index that hold the rows with one of the words."""
    if waiting:
        return [(f"waiting = {sql.value(word, 'text')}", "waiting <> ''") for word in waiting]
    return [(f"status = {sql.value(word, 'text')}",) for word in status] or [()]


class _Search:
    def __init__(self, store_id: str, asked: Asked, rows: int, shown: str) -> None:
        self.asked, self.sql, self.rows, self.shown = asked, Sql(store_id), rows, shown
        self.saved = VIEWS[asked.view]
        self.sort = SORTS[asked.sorted_by]
        self.order = f"{self.sort.column}{self.sort.word}, order_id{self.sort.word}"
        self.after = self._after(PLACES.after(asked.cursor))

    def _after(self, start: tuple[Any, ...] | None) -> list[str]:
        if start is None:
            return []
        digest, at, order_id = start
        if digest != self.asked.fingerprint():
            raise known("cursor_invalid", "it belongs to other filters, another search or another order of rows")
        place = f"({self.sql.value(at, 'timestamptz')}, {self.sql.value(order_id, 'uuid')})"
        return [f"({self.sort.column}, order_id) {self.sort.behind} {place}"]

    # -- lists --------------------------------------------------------------------------------------------------------

    async def listed(self, read: Read, *more: str) -> Found:
        """more: conditions besides the filters."""
        branches = self._parts()
        window = LOOK_BACK // len(branches)
        times = (
            self._times() if self.asked.sorted_by == "newest" else []
        )  # parts of the index then: no other row is read
        windows = [
            f"select * from order_rows where {' and '.join((*_base(self.sql), *conditions, *times, *self.after))}"
            f" order by {self.order} limit {window}"
            for conditions in branches
        ]
        fits = " and ".join((*self._filters(), *more))
        parts = " union all ".join(
            f"(select {self.shown} from ({one}) as w where {fits} order by {self.order} limit {self.rows + 1})"
            for one in windows
        )
        rows = await read(
            self.sql.statement(f"select * from ({parts}) as m order by {self.order} limit {self.rows + 1}")
        )
        if len(rows) > self.rows:
            return Found(rows[: self.rows], self._cursor(rows[self.rows - 1]), None)
        # Few rows fit. A part that is longer than its window was not read to its end: what lies behind it is the next page's.
        ends = " union all ".join(
            f"(select {self.sort.column} as at, order_id from ({one}) as w order by {self.order} offset {window - 1})"
            for one in windows
        )
        [end, *_] = [
            *await read(self.sql.statement(f"select * from ({ends}) as e order by {self._nearest} limit 1")),
            None,
        ]
        if end is None:
            return Found(rows, None, None)
        place = (end["at"], end["order_id"])
        return Found(
            [row for row in rows if self._is_before(row, place)],
            PLACES.at((self.asked.fingerprint(), *place)),
            end["at"],
        )

    def _parts(self) -> list[tuple[str, ...]]:
        """Returns the conditions of the parts of the index that are read: each part is in the order of the sort."""
        if self.asked.sorted_by == "waiting":
            return _branches(self.sql, self.asked.waiting or self.saved.waiting or get_args(Waiting), ())
        return _branches(self.sql, (), self.saved.status)

    @property
    def _nearest(self) -> str:
        return f"at{self.sort.word}, order_id{self.sort.word}"

    def _is_before(self, row: RowMapping, place: Place) -> bool:
        here = (row[self.sort.column], row["order_id"])
        return here >= place if self.sort.behind == "<" else here <= place

    def _cursor(self, row: RowMapping) -> str:
        return PLACES.at((self.asked.fingerprint(), row[self.sort.column], row["order_id"]))

    def _filters(self) -> list[str]:
        """Conditions on the rows that an index has found."""
        asked, sql = self.asked, self.sql
        alternatives = (
            ("status", asked.status), ("status", self.saved.status), ("payment_status", asked.payment),
            ("fulfillment_status", asked.fulfillment), ("waiting", asked.waiting), ("waiting", self.saved.waiting),
        )  # fmt: skip
        exact = (
            ("channel", asked.channel), ("market", asked.market), ("country", asked.country), ("currency", asked.currency),
        )  # fmt: skip
        found = [f"{name} = any({sql.value(list(values), 'text[]')})" for name, values in alternatives if values]
        found += [f"{name} = {sql.value(value, 'text')}" for name, value in exact if value]
        if asked.step:
            found.append(f"step = {sql.value('' if asked.step == NO_STEP else asked.step, 'text')}")
        if asked.tag:
            found.append(f"{sql.value(asked.tag, 'text')} = any(tags)")
        return [*found, *self._times(), f"archived_at is {'not ' if asked.archived else ''}null"]

    def _times(self) -> list[str]:
        """Conditions on when an order was made."""
        asked, sql, found = self.asked, self.sql, []
        if asked.since:
            found.append(f"ordered_at >= cast({sql.value(asked.since, 'date')} as timestamp) at time zone 'UTC'")
        if asked.until:
            found.append(f"ordered_at < cast({sql.value(asked.until, 'date')} + 1 as timestamp) at time zone 'UTC'")
        return found

    # -- search -------------------------------------------------------------------------------------------------------

    async def searched(self, read: Read, personal: bool) -> Found:
        """The beginning of a number, or all words."""
        number, terms = self._number(), words.terms(self.asked.q, personal=personal)
        has_all = " and ".join(self._has(term.fits) for term in terms) or "false"
        number_is_common, *common = await self._are_common(read, [number, *(self._has(term.read) for term in terms)])
        rare = [term.fits for term, is_common in zip(terms, common, strict=True) if not is_common]
        fits = f"({number} or {has_all})"
        if number_is_common or (terms and not rare):
            return await self.listed(read, fits)
        return await self._looked_up(read, [number, *([self._has(" & ".join(rare))] if rare else [])], fits)

    def _number(self) -> str:
        number = words.folded(self.asked.q)
        return f"(number_folded >= {self.sql.value(number, 'text')} and number_folded < {self.sql.value(number + LAST, 'text')})"

    def _has(self, query: str) -> str:
        return f"words @@ cast({self.sql.value(query, 'text')} as tsquery)"

    async def _are_common(self, read: Read, conditions: Sequence[str]) -> list[bool]:
        """Returns of each condition whether a sample of the table has so many rows with it that more than COMMON have it."""
        counts = ", ".join(
            f"count(*) filter (where {one}) * s.share > {COMMON} as c{n}" for n, one in enumerate(conditions)
        )
        rows = await read(self.sql.statement(SAMPLE.format(counts=counts)))
        return [rows[0][f"c{n}"] for n in range(len(conditions))] if rows else [False] * len(conditions)

    async def _looked_up(self, read: Read, kinds: Sequence[str], has: str) -> Found:
        """What the indexes find of each kind, at most LOOK_BACK rows. Only the rows of the page are read whole."""
        base, key = " and ".join(_base(self.sql)), f"order_id, {self.sort.column}"
        fits = " and ".join([*self._filters(), has, *self.after, f"{self.sort.column} is not null"])
        found = ", ".join(
            f"f{n} as materialized (select {key}, {fits} as fits from order_rows where {base} and {kind} limit {LOOK_BACK})"
            for n, kind in enumerate(kinds)
        )
        first = f"order by {self.order} limit {self.rows + 1}"
        each = " union ".join(f"(select {key} from f{n} where fits {first})" for n in range(len(kinds)))
        most = ", ".join(f"(select count(*) from f{n})" for n in range(len(kinds)))
        rows = await read(
            self.sql.statement(f"""
with {found}, page as materialized ({each} {first})
select c.most, r.* from (select greatest({most}) as most) as c
left join (select {self.shown} from page join order_rows using ({key})) as r on true
order by {self.order}""")
        )
        shown = [row for row in rows if row["order_id"] is not None]
        cursor = self._cursor(shown[self.rows - 1]) if len(shown) > self.rows else None
        return Found(shown[: self.rows], cursor, None, rows[0]["most"] >= LOOK_BACK)
