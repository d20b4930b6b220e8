"""Finds the orders of a store: any filters, five sorts, in a bounded time. `docs/search.md`

A list is read in *windows*: the next rows of one index in the order of the sort, to which the filters are applied. A page is
full after a few windows if many orders fit. If few fit, an index of one of the filters has them all, and up to
`CANDIDATES_MAX` of them are read and sorted. If neither is so, a bounded number of rows is read, and the page states how far.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, DateTime, Text, TextClause, Uuid, bindparam, text
from sqlalchemy.types import TypeEngine

from orders.domain.shown import searched

if TYPE_CHECKING:
    from sqlalchemy.engine import RowMapping
    from sqlalchemy.sql import Executable

Read = Callable[["Executable"], Awaitable[Sequence["RowMapping"]]]
"""`App.read`."""
Sort = Literal["newest", "oldest", "highest", "lowest", "waiting_longest"]
Archived = Literal["no", "yes", "any"]
Place = tuple[Any, UUID]
"""Value of the sort and key of a row: where a page begins or ends."""
Branch = Callable[[Place | None, int], str]
"""(where it begins, number of rows) -> the SQL that reads one index in the order of the sort."""

CANDIDATES_MAX: Final = 2_000
"""Orders that the index of a filter may return to be sorted."""
WINDOWS: Final = (256, 1_024, 2_048, 2_048, 2_048)
"""Rows of each window; all together: the most that a request reads in the order of its sort."""
WINDOWS_SECONDS_MAX: Final = 0.015
"""No window begins later than this: a page is answered within 50 ms, though with fewer rows."""
COUNT_MAX: Final = 1_000
LAST: Final = "\U0010ffff"
"""Sorts after every other character by code points: a number that begins with a text is less than the text with it."""


class Sorted(NamedTuple):
    value: str
    """SQL: `s` is the order's row of `order_search`, `o` its row of `orders`."""
    type: str
    descending: bool = False


SORTS: Final[Mapping[Sort, Sorted]] = {
    "newest": Sorted("s.ordered_at", "timestamptz", descending=True),
    "oldest": Sorted("s.ordered_at", "timestamptz"),
    "highest": Sorted("s.amount_minor", "bigint", descending=True),
    "lowest": Sorted("s.amount_minor", "bigint"),
    "waiting_longest": Sorted("o.waits_since", "timestamptz"),
}
NAMES: Final = {"orders": "o", "order_search": "s", "order_marks": "k"}
"""Names of the tables in conditions."""
BY_AGE: Final = ("newest", "oldest")
TYPES: Final[Mapping[str, TypeEngine[Any]]] = {"timestamptz": DateTime(timezone=True), "bigint": BigInteger(), "text": Text(), "text[]": ARRAY(Text()),
                "uuid": Uuid()}  # fmt: skip
SHOWN: Final = (
    "key", "version", "external_order_id", "channel", "account", "status", "payment_status", "fulfillment_status", "waiting", "waiting_step",
    "waiting_since", "currency", "grand_minor", "test", "cancel_cause", "ordered_at", "placed_at", "completed_at", "updated_at",
    "archived_at", "reference", "tags",
)  # fmt: skip
"""Columns of `orders` that a list shows."""


@dataclass
class Filter:
    """What is asked for. Several values of one filter are alternatives; all filters have to fit."""

    lexemes: list[str] = field(default_factory=list)
    """Alternatives of one filter each, as `tsquery`."""
    without: Sequence[str] = ()
    """As `lexemes`, of orders that do not fit."""
    prefixes: tuple[str, ...] = ()
    """Beginnings of the order's number: alternatives to `names`, which are a `tsquery`."""
    names: str = ""
    words: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Column of `orders` -> the words that fit."""
    marks: Sequence[Sequence[str]] = ()
    """Alternatives of one filter each: marks of what is in no column of `orders`."""
    ranges: Mapping[str, tuple[datetime | None, datetime | None]] = field(default_factory=dict)
    """Column of times -> from (inclusive), to (exclusive)."""
    amount: tuple[int | None, int | None] = (None, None)
    """Minor units, both inclusive."""
    archived: Archived = "no"
    selective: bool = False
    """Whether hardly any order fits `lexemes`: an id or an address is among them."""


class Page(NamedTuple):
    rows: Sequence[RowMapping]
    """The columns that are shown, and `at`: the value of the sort."""
    more_after: Place | None
    """Where the next page begins; None: this is the last one."""
    searched_to: Place | None = None
    """How far the windows reached, if they ended before the page was full."""


class _Sql:
    """The parts of a statement and their parameters."""

    def __init__(self, store_id: str) -> None:
        self.values: dict[str, tuple[Any, str]] = {}
        self.store = self.value(store_id, "text")

    def value(self, value: Any, kind: str) -> str:
        name = f"p{len(self.values)}"
        self.values[name] = (value, kind)
        return f"cast(:{name} as {kind})"

    def statement(self, sql: str) -> TextClause:
        return text(sql).bindparams(
            *(bindparam(name, value, TYPES[kind]) for name, (value, kind) in self.values.items() if f":{name} " in sql)
        )


class Search:
    """One request: its filters, its sort, and the indexes that serve them."""

    def __init__(self, store_id: str, asked: Filter, sort: Sort) -> None:
        self._asked, self._sort = asked, SORTS[sort]
        self._by_age = sort in BY_AGE
        self._sql = _Sql(store_id)
        self._ages = self._age_conditions()
        self._static = self._static_conditions()
        self._live = self._live_conditions()
        self._source, self._joins, self._filtered = self._sources(sort)
        self._candidates = self._candidate_sources()

    # -- a page -------------------------------------------------------------------------------------------------------

    async def page(self, read: Read, limit: int, start: Place | None, shown: Sequence[str] = SHOWN) -> Page:
        """Returns up to `limit` orders that follow `start` in the order of the sort. shown: columns of `orders`."""
        return await self._found(read, limit, start, shown)

    async def count(self, read: Read) -> tuple[int, bool]:
        """Returns how many orders fit, up to COUNT_MAX, and whether there may be more."""
        found = await self._found(read, COUNT_MAX, None, ("key",))
        return len(found.rows), found.more_after is not None

    async def _found(self, read: Read, limit: int, start: Place | None, shown: Sequence[str]) -> Page:
        began = time.monotonic()
        rows: list[RowMapping] = []
        place, examined = start, 0
        windows = [max(WINDOWS[0], limit + 1), *WINDOWS[1:]] if self._filtered else [limit + 1]
        candidates = bool(self._candidates)
        while windows:
            missing = limit + 1 - len(rows)
            # Whether the windows to come fill the page, if as many orders fit in them as in those before.
            enough = examined and len(rows) * sum(windows) >= missing * examined
            if candidates and (examined or self._asked.selective) and not enough:
                found = await self._sorted_candidates(read, missing, place, shown)
                if found is not None:
                    return _page([*rows, *found], limit)
                candidates = False
            window = windows.pop(0)
            found, end = await self._window(read, window, missing, place, shown)
            rows += found
            if len(rows) > limit or end is None:
                return _page(rows, limit)
            place, examined = end, examined + window
            if time.monotonic() - began > WINDOWS_SECONDS_MAX:
                break
        return Page(rows, place, place)

    async def _window(
        self, read: Read, window: int, limit: int, start: Place | None, shown: Sequence[str]
    ) -> tuple[list[RowMapping], Place | None]:
        """Returns the orders of one window that fit, at most `limit`, and the last row of the window; None: no row follows."""
        branches = " union ".join(f"({one(start, window)})" for one in self._source)
        rows = await read(
            self._sql.statement(f"""
with w as materialized (select * from ({branches}) as b order by {self._order("at", "key")} limit {window})
select e.seen, l.at as end_at, l.key as end_key, m.* from (select count(*) as seen from w) as e
left join (select at, key from w order by {self._order("at", "key", back=True)} limit 1) as l on true
left join (
  select w.at, d.* from w {self._joins} {_display("w", shown)} where w.fits
  order by {self._order("w.at", "w.key")} limit {limit}) as m on true
order by {self._order("m.at", "m.key")}""")
        )
        first = rows[0]
        end = (first["end_at"], first["end_key"]) if first["seen"] == window else None
        return [row for row in rows if row["key"] is not None], end

    async def _sorted_candidates(
        self, read: Read, limit: int, start: Place | None, shown: Sequence[str]
    ) -> list[RowMapping] | None:
        """Returns the next orders that fit, from the index of one filter; None: it has too many.

        A materialized expression is planned for all of its rows, so that the planner takes the index, and is evaluated as far
        as they are read.
        """
        at = self._sort.value
        each = [f"n{n} as materialized ({one})" for n, one in enumerate(self._candidates)]
        few = " union ".join(f"(select key from n{n} limit {CANDIDATES_MAX + 1})" for n in range(len(each)))
        live = self._live or at.startswith("o.")
        conditions = [
            f"s.store_id = {self._sql.store}", f"(select count(*) from few) <= {CANDIDATES_MAX}", f"{at} is not null",
            *self._static, *self._live, *self._after(start, at, "s.key"),
        ]  # fmt: skip
        rows = await read(
            self._sql.statement(f"""
with {", ".join(each)}, few as materialized ({few})
select e.seen, m.* from (select count(*) as seen from few) as e
left join (
  select f.at, d.* from (
    select {at} as at, s.key from few
    cross join lateral (select * from order_search where key = few.key limit 1) as s
    {"cross join lateral (select * from orders where key = few.key limit 1) as o" if live else ""}
    where {" and ".join(conditions)} order by {self._order("1", "2")} limit {limit}) as f {_display("f", shown)}) as m on true
order by {self._order("m.at", "m.key")}""")
        )
        if rows[0]["seen"] > CANDIDATES_MAX:
            return None
        return [row for row in rows if row["key"] is not None]

    # -- order and place ----------------------------------------------------------------------------------------------

    def _order(self, at: str, key: str, *, back: bool = False) -> str:
        word = " desc" if self._sort.descending != back else ""
        return f"{at}{word}, {key}{word}"

    def _after(self, start: Place | None, at: str, key: str) -> list[str]:
        if start is None:
            return []
        sign = "<" if self._sort.descending else ">"
        return [
            f"({at}, {key}) {sign} ({self._sql.value(start[0], self._sort.type)}, {self._sql.value(start[1], 'uuid')})"
        ]

    def _branch(self, table: str, at: str, *conditions: str, fits: Sequence[str] = ()) -> Branch:
        """Returns the SQL of one index in the order of the sort, from a place on. fits: filters that the row of the table decides."""

        def sql(start: Place | None, window: int) -> str:
            wanted = " and ".join([f"store_id = {self._sql.store}", *conditions, *self._after(start, at, "key")])
            return (
                f"select {at} as at, key, {' and '.join(fits) or 'true'} as fits from {table} as {NAMES[table]}"
                f" where {wanted} order by {self._order(at, 'key')} limit {window}"
            )

        return sql

    # -- conditions ---------------------------------------------------------------------------------------------------

    def _age_conditions(self) -> list[str]:
        """Conditions on `order_search` that its index by age serves; {s}: its name, with a dot."""
        ranges = self._asked.ranges
        found = self._between("{s}ordered_at", "ordered_at")
        # What happens to an order here happens after it was ordered: the end of such a range bounds its age, too.
        ends = [to for column, (_, to) in ranges.items() if column != "ordered_at" and to is not None]
        return found + ([f"{{s}}ordered_at < {self._sql.value(min(ends), 'timestamptz')}"] if ends else [])

    def _static_conditions(self) -> list[str]:
        """Conditions on `s`, a row of `order_search`."""
        asked, sql = self._asked, self._sql
        found = [one.format(s="s.") for one in self._ages]
        if asked.lexemes:
            found.append(f"s.words @@ {sql.value(searched.all_of(asked.lexemes), 'text')}::tsquery")
        found += [f"not s.words @@ {sql.value(one, 'text')}::tsquery" for one in asked.without]
        if named := self._named("s."):
            found.append(f"({' or '.join(named)})")
        found += self._amounts("s.")
        if asked.archived != "any":
            found.append("s.archived" if asked.archived == "yes" else "not s.archived")
        return found

    def _amounts(self, table: str = "") -> list[str]:
        low, high = self._asked.amount
        if (low, high) == (None, None):
            return []
        found = [f"{table}amount_minor >= {self._sql.value(low or 0, 'bigint')}"]  # without a price: -1
        return found + ([f"{table}amount_minor <= {self._sql.value(high, 'bigint')}"] if high is not None else [])

    def _named(self, table: str = "") -> list[str]:
        """Alternatives: the number begins so, or the lexemes fit."""
        sql = self._sql
        found = [
            f"({table}number >= {sql.value(one, 'text')} and {table}number < {sql.value(one + LAST, 'text')})"
            for one in self._asked.prefixes
        ]
        if self._asked.names:
            found.append(f"{table}words @@ {sql.value(self._asked.names, 'text')}::tsquery")
        return found

    def _live_conditions(self) -> list[str]:
        """Conditions on `o`, a row of `orders`."""
        asked, sql = self._asked, self._sql
        found = [f"o.{column} = any({sql.value(list(words), 'text[]')})" for column, words in asked.words.items()]
        for column in asked.ranges:
            if column != "ordered_at":
                found += self._between(f"o.{column}", column)
        for alternatives in asked.marks:
            found.append(
                f"exists (select from order_marks as k where k.store_id = {sql.store}"
                f" and k.mark = any({sql.value(list(alternatives), 'text[]')})"
                " and k.ordered_at = o.ordered_at and k.key = o.key)"
            )
        return found

    def _between(self, value: str, column: str) -> list[str]:
        start, end = self._asked.ranges.get(column, (None, None))
        found = [f"{value} >= {self._sql.value(start, 'timestamptz')}"] if start is not None else []
        return found + ([f"{value} < {self._sql.value(end, 'timestamptz')}"] if end is not None else [])

    def _joined(self, *, static: bool = True, live: bool = True) -> str:
        """Joins of `w` that leave the rows that fit. Lateral with a limit: one row by its key each, never a scan."""
        found = ""
        for table, conditions in (
            ("order_search", self._static if static else ()),
            ("orders", self._live if live else ()),
        ):
            if conditions:
                name = NAMES[table]
                wanted = " and ".join([f"{name}.key = w.key", *conditions])
                found += f" cross join lateral (select from {table} as {name} where {wanted} limit 1) as {name}"
        return found

    # -- indexes ------------------------------------------------------------------------------------------------------

    def _sources(self, sort: Sort) -> tuple[list[Branch], str, bool]:
        """Returns the indexes that are read in the order of the sort, the joins that apply the other filters to their rows, and
        whether there are filters besides those that the index serves."""
        asked, filtered = self._asked, bool(self._static or self._live)
        if sort == "waiting_longest":
            queue = ["waiting = 'approval'"] if asked.words.get("waiting") == ["approval"] else []
            branch = self._branch("orders", "waits_since", "waits_since is not null", *queue, fits=self._live)
            return [branch], self._joined(live=False), filtered
        if not self._by_age:
            branch = self._branch("order_search", "amount_minor", fits=self._static)
            return [branch], self._joined(static=False), filtered
        kind, marks = self._rarest()
        if kind is not None:
            branches = [self._branch(table, "ordered_at", condition) for table, condition in self._marked(kind, marks)]
            return branches, self._joined(), filtered
        if self._only_open():
            branch = self._branch("orders", "ordered_at", "waiting <> ''", fits=self._live)
            return [branch], self._joined(live=False), filtered
        flags = {"no": ["not archived"], "yes": ["archived"], "any": ["not archived", "archived"]}[asked.archived]
        ages = [one.format(s="") for one in self._ages]
        served = {*(one.format(s="s.") for one in self._ages), "s.archived", "not s.archived"}
        rest = [one for one in self._static if one not in served]
        branches = [self._branch("order_search", "ordered_at", flag, *ages, fits=rest) for flag in flags]
        return branches, self._joined(static=False), bool(rest or self._live)

    def _rarest(self) -> tuple[str | None, Sequence[str]]:
        """Returns the filter whose marks are read in the order of their age: likely to have the fewest. (None, ()): none has marks."""
        asked = self._asked
        if asked.marks:
            return "", asked.marks[0]
        for kind in ("cancel_cause", "waiting", "payment_status", "status", "fulfillment_status"):
            words = asked.words.get(kind)
            if words and not searched.UNMARKED.get(kind, frozenset()) & set(words):
                return kind, [searched.mark(kind, word) for word in words]
        return None, ()

    def _marked(self, kind: str | None, marks: Sequence[str]) -> list[tuple[str, str]]:
        """Returns the tables, each with a condition, that have all orders with one of the marks: statuses of orders in flight have
        none."""
        found = [("order_marks", f"mark = {self._sql.value(one, 'text')}") for one in marks]
        return [*found, ("orders", "in_flight")] if kind in searched.UNMARKED else found

    def _only_open(self) -> bool:
        """Whether every order that fits waits for something, e.g. the warehouse."""
        words = self._asked.words
        return ("waiting" in words and "" not in words["waiting"]) or words.get("fulfillment_status") == ["in_progress"]

    def _candidate_sources(self) -> list[str]:
        """Returns the SQL of the indexes that have all orders of one filter."""
        asked, sql = self._asked, self._sql
        if named := self._named():
            return [f"select key from order_search where store_id = {sql.store} and {one}" if "number" in one
                    else f"select key from order_search where {one}" for one in named]  # fmt: skip
        if asked.lexemes:
            return [
                f"select key from order_search where words @@ {sql.value(searched.all_of(asked.lexemes), 'text')}::tsquery"
            ]
        few = f"limit {CANDIDATES_MAX + 1}"
        if not self._by_age:
            kind, marks = self._rarest()
            found = [f"select key from {table} where store_id = {sql.store} and {one} order by ordered_at {few}"
                     for table, one in self._marked(kind, marks)]  # fmt: skip
            if found:
                return found
        if "completed_at" in asked.ranges:
            wanted = " and ".join([f"store_id = {sql.store}", *self._between("completed_at", "completed_at")])
            return [f"select key from orders where {wanted} and completed_at is not null order by completed_at {few}"]
        if "updated_at" in asked.ranges:
            wanted = " and ".join([f"store_id = {sql.store}", *self._between("rested_at", "updated_at")])
            return [
                f"select key from orders where {wanted} and rested_at is not null order by rested_at {few}",
                f"select key from orders where store_id = {sql.store} and in_flight order by ordered_at {few}",
            ]
        if self._by_age and (amounts := self._amounts()):
            wanted = " and ".join([f"store_id = {sql.store}", *amounts])
            return [f"select key from order_search where {wanted} order by amount_minor {few}"]
        return []


def _display(rows: str, shown: Sequence[str]) -> str:
    columns = ", ".join(shown)
    return f"cross join lateral (select {columns} from orders where key = {rows}.key limit 1) as d"


def _page(rows: Sequence[RowMapping], limit: int) -> Page:
    shown = rows[:limit]
    return Page(shown, (shown[-1]["at"], shown[-1]["key"]) if len(rows) > limit else None)
