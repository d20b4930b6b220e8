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
}
# fmt: on


async def check(tx: Connection) -> Iterable[tuple[str, int, int]]:
    rows = [(name, await tx.fetchrow(query)) for name, query in INVARIANTS.items()]
    return [(name, row[0], row[1]) for name, row in rows if row is not None]
