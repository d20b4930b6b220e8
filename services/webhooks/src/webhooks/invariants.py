"""The invariants of webhooks' tables. One row per invariant: compared, violated."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from asyncpg import Connection

# fmt: off
INVARIANTS: Final[dict[str, str]] = {
    "positions of the feed run up to its head without a gap": """
        select count(*), (select position from feed_head) - coalesce(max(position), (select position from feed_head))
            + coalesce(max(position) - min(position) + 1 - count(*), 0)
        from feed""",
    "events of one aggregate of a service are in the order of their versions": """
        select count(*), count(*) filter (where version <= before)
        from (select version, lag(version) over (partition by source, key order by position) as before from feed) f""",
    "an event is in the feed once": """
        select count(*), count(*) - count(distinct (source, event_id)) from feed""",
    "a cursor is not beyond the feed, and what waits or is open is not beyond its cursor": """
        select count(*), count(*) filter (where c.position > h.position or w.last > c.position or o.last > c.position)
        from feed_head h, cursors c
        left join lateral (select max(position) as last from waiting where endpoint_id = c.endpoint_id) w on true
        left join lateral (select max(n) as last from unnest(c.open) as n) o on true""",
    "an order waits behind one event of it per endpoint": """
        select count(*), count(*) - count(distinct (endpoint_id, lane)) from waiting where lane is not null""",
    "every endpoint that exists has its cursor, and no other has one": """
        select count(*), count(*) filter (where (c.endpoint_id is null) = (e.key is not null and e.status <> 'removed'))
        from endpoints e full join (select endpoint_id from cursors where notices_of is null) c on c.endpoint_id = e.key""",
    "an event was delivered to an endpoint, or waits, or is not passed": """
        select count(*), count(*) filter (where not delivered and position <= passed and position <> all(open) and not exists (
          select 1 from waiting w where w.endpoint_id = t.endpoint_id
            and (w.position = t.position or w.lane = t.key and w.position < t.position)))
        from (select a.endpoint_id, a.position, a.key, bool_or(a.outcome = 'delivered') as delivered, c.position as passed, c.open
              from attempts a join cursors c on c.endpoint_id = a.endpoint_id
              where c.moves = 0 and not a.notice group by 1, 2, 3, 5, 6 having bool_or(a.replay_id is null)) t""",
    "an event that is sent alone has one webhook-id per endpoint": """
        select count(*), count(*) filter (where ids > 1)
        from (select count(distinct delivery_id) as ids from attempts where replay_id is null and events = 1
              group by endpoint_id, notice, position) t""",
    "a webhook-id names the same events in every attempt": """
        select count(*), count(*) filter (where least_events <> most_events or most_events <> positions)
        from (select min(events) as least_events, max(events) as most_events, count(distinct position) as positions
              from attempts group by endpoint_id, delivery_id) t""",
}
# fmt: on


async def check(tx: Connection) -> Iterable[tuple[str, int, int]]:
    rows = [(name, await tx.fetchrow(query)) for name, query in INVARIANTS.items()]
    return [(name, row[0], row[1]) for name, row in rows if row is not None]
