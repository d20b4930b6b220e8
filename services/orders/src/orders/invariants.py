"""What must hold in orders' tables at any moment."""

from __future__ import annotations

from collections.abc import Iterable

from asyncpg import Connection

# The captured lines; `gone`: refunded or reversed; `busy`: money may be on its way back, or a credit note may be missing until a person has decided.
CAPTURED_LINES = """
  select o.key, capture->>'invoice_id' is not null as invoiced, (line->>'amount_minor')::bigint as captured,
    coalesce((line->>'refunded_minor')::bigint, 0) + coalesce((line->>'reversed_minor')::bigint, 0) as gone,
    coalesce((line->>'credited_minor')::bigint, 0) as credited, line->'unbilled' is null as billed,
    o.waiting not in ('', 'warehouse') or o.in_flight as busy
  from orders o, json_each(coalesce(o.doc::json->'facts'->'captures', '{}')) as c (id, capture),
    json_array_elements(capture->'lines') as l (line)"""

# Each: a name, and SQL that answers (comparisons made, comparisons violated).
CHECKS = {
    "orders.revision_counts_events": """
        select count(*), count(*) filter (where o.revision <> j.events or o.version <> j.published)
        from orders o join (select key, max(revision) as events, coalesce(max(version), 0) as published
          from journal where aggregate = 'orders' group by key) j on j.key = o.key""",
    "orders.journal_has_no_gap": """
        select count(*), count(*) filter (where n <> highest or published <> highest_published)
        from (select count(revision) as n, max(revision) as highest, count(version) as published,
            coalesce(max(version), 0) as highest_published
          from journal where aggregate = 'orders' and revision is not null group by key) j""",
    "orders.completed_means_done": """
        select count(*), count(*) filter (where status <> 'approved' or payment_status not in ('paid', 'free', 'partially_refunded', 'refunded')
          or fulfillment_status not in ('fulfilled', 'not_required'))
        from orders where completed_at is not null""",
    "orders.cancelled_and_undone_holds_nothing": """
        select count(*), count(*) filter (where payment_status not in ('unpaid', 'voided', 'refunded', 'free')
          or (fulfillment_status = 'fulfilled' and cancel_cause is distinct from 'refunded'))
        from orders where status = 'cancelled' and waiting = ''""",
    "orders.refunds_are_within_what_was_captured": f"""
        select count(*), count(*) filter (where gone > captured) from ({CAPTURED_LINES}) l""",
    "orders.what_went_back_is_credited": f"""
        select count(*), count(*) filter (where gone <> credited)
        from ({CAPTURED_LINES}) l where invoiced and billed and not busy""",
    "orders.what_waits_says_for_what": """
        select count(*), count(*) filter (where waiting = '' and status not in ('approved', 'cancelled'))
        from orders where not test""",
    "orders.test_orders_move_nothing": """
        select count(*), count(*) filter (where payment_status not in ('unpaid', 'free') or waiting_step <> '')
        from orders where test and status = 'pending'""",
    "orders.notes_and_attachments_are_all_there": """
        select count(*), count(*) filter (where written <> counted or (archived_at is null) <> (since is null))
        from (select archived_at, doc::jsonb #>> '{annotations,archived_at}' as since,
            (select count(*) from notes n where n.order_id = o.key and n.store_id = o.store_id)
              + (select count(*) from attachments a where a.order_id = o.key and a.store_id = o.store_id) as written,
            coalesce((doc::jsonb #>> '{annotations,notes}')::int, 0)
              + coalesce((doc::jsonb #>> '{annotations,attachments}')::int, 0) as counted
          from orders o) s""",
    "orders.each_order_is_found": """
        select count(*), count(*) filter (where s.key is null or s.store_id <> o.store_id or s.ordered_at <> o.ordered_at
          or s.amount_minor <> coalesce(o.grand_minor, -1))
        from orders o left join order_search s on s.key = o.key""",
    "orders.marks_are_the_states_at_rest": """
        select count(*), count(*) filter (where marked <> (not in_flight and status <> 'approved'))
        from (select o.in_flight, o.status, exists (select from order_marks m where m.store_id = o.store_id
            and m.mark = 'status:' || o.status and m.ordered_at = o.ordered_at and m.key = o.key) as marked
          from orders o) as s""",
    "orders.timer_of_what_waits_for_an_answer": """
        select count(*), count(*) filter (where t.key is null)
        from orders o left join timers t on t.key = o.key and t.aggregate = 'orders' where o.in_flight""",
}


async def check(tx: Connection) -> Iterable[tuple[str, int, int]]:
    return [(name, *tuple(row)) for name, sql in CHECKS.items() if (row := await tx.fetchrow(sql)) is not None]
