"""The invariants of the console's tables. One row per invariant: compared, violated."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from asyncpg import Connection

# fmt: off
INVARIANTS: Final[dict[str, str]] = {
    "a row waits for something since a time, or for nothing": """
        select count(*), count(*) filter (where (waiting = '') <> (since is null)) from order_rows""",
    "refunded <= captured <= authorized in each row": """
        select count(*), count(*) filter (where refunded_minor > captured_minor or captured_minor > authorized_minor)
        from order_rows where versions ? 'payments'""",
    "a row that orders has stated has a number and a status": """
        select count(*), count(*) filter (where number = '' or status = '' or ordered_at is null)
        from order_rows where versions ? 'orders'""",
    "the store of every row is listed": """
        select count(*), count(*) filter (where not exists (select from stores where store_id = r.store_id)) from order_rows r""",
    "a job that is done has a result of each of its orders or messages": """
        select count(*), count(*) filter (where exists (select from job_items where job_id = j.id and state = 'waits'))
        from jobs as j where state = 'done'""",
    "a job counts its orders or messages as they are": """
        select count(*), count(*) filter (where (j.size, j.done, j.refused) is distinct from (i.size, i.done, i.refused))
        from jobs as j cross join lateral (
          select count(*) as size, count(*) filter (where state = 'done') as done, count(*) filter (where state = 'refused') as refused
          from job_items where job_id = j.id) as i where j.state <> 'preview'""",
}
# fmt: on


async def check(tx: Connection) -> Iterable[tuple[str, int, int]]:
    rows = [(name, await tx.fetchrow(query)) for name, query in INVARIANTS.items()]
    return [(name, row[0], row[1]) for name, row in rows if row is not None]
