"""The messages that wait, by cause and by the line of our code that raised; read from the index `parked_groups` alone.

No part reads more than COUNTED_MAX messages of a group, so that the groups are shown however many messages are parked.
"""

from __future__ import annotations

from typing import Final

GROUPS_MAX: Final = 500
COUNTED_MAX: Final = 10_000
"""Messages of a group that are counted."""

LINE: Final = "coalesce(raised_at, '')"
FIRST: Final = f"select cause, {LINE} as line from parked where state = 'waiting'"
PLACE: Final = f"order by cause, {LINE}, id limit 1"
MINE: Final = "state = 'waiting' and ($1::text is null or store_id = $1)"
OF_GROUP: Final = f"{MINE} and cause = g.cause and {LINE} = g.line"

GROUPS: Final = f"""
with recursive names as (
  ({FIRST} {PLACE})
  union all
  select n.cause, n.line from names as g cross join lateral ({FIRST} and (cause, {LINE}) > (g.cause, g.line) {PLACE}) as n),
behind as (
  select f.cause, coalesce(f.raised_at, '') as line, count(*) as number
  from (select key from parked where {MINE} and cause = 'waits' and {LINE} = '' order by id limit {COUNTED_MAX}) as w
  cross join lateral (
    select cause, raised_at from parked where {MINE} and key = w.key and cause <> 'waits' order by id limit 1) as f
  group by 1, 2)
select g.cause, nullif(g.line, '') as raised_at, c.types, least(c.count, {COUNTED_MAX}) as count, c.count > {COUNTED_MAX} as or_more,
  least(c.keys, {COUNTED_MAX}) as keys, coalesce(b.number, 0) as behind, oldest.parked_at as oldest_at, newest.parked_at as newest_at,
  newest.id as newest_id, newest.detail
from (select cause, line from names where cause <> 'waits' limit {GROUPS_MAX}) as g
cross join lateral (select id from parked where {OF_GROUP} order by id desc limit 1) as last
cross join lateral (
  with members as materialized (select id, key, type from parked where {OF_GROUP} order by id limit {COUNTED_MAX + 1})
  select (select count(*) from members) as count, (select count(*) from (select distinct key from members) as k) as keys,
    array(select distinct type from members where type is not null order by type) as types, (select min(id) from members) as first_id) as c
join parked as oldest on oldest.id = c.first_id join parked as newest on newest.id = last.id
left join behind as b on b.cause = g.cause and b.line = g.line
order by c.count desc, g.cause, g.line"""
"""$1: the store; null: of every store, and those whose store could not be read. Names are found by jumping from each to the next.
The oldest COUNTED_MAX messages that wait behind another one are counted, each with the group of the first of its key."""
