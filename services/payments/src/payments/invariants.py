"""What must hold in payments' tables at any moment."""

from __future__ import annotations

from collections.abc import Iterable

from asyncpg import Connection

from contracts.payments import RECORDED
from payments import gift_card_store
from payments.domain.books import CLEARING, HELD
from payments.domain.gateway import CHECK_KIND
from payments.domain.matching import EXPLAINED
from payments.moved import MOVES

DAYS = "select * from account_totals union all select * from account_deltas"
ORDERS = """
select * from entries e where not exists (select from settlements s where s.key = e.order_id)
  and not exists (select from gift_cards g where g.key = e.order_id)
  and not exists (select from disputes d where d.dispute_id = e.operation_id)
  and not exists (select from operations p where p.operation_id = e.operation_id and p.kind in ('prepay', 'return'))"""
"""The entries of orders, without those of disputes, and of what was paid in sessions and has no lines."""
# Each query answers (comparisons made, comparisons violated).
CHECKS = {
    "the lines of a ledger sum to its totals": """
        select count(*), count(*) filter (where (l.authorized_minor, l.captured_minor, l.voided_minor, l.refunded_minor)
          is distinct from (coalesce(s.authorized, 0), coalesce(s.captured, 0), coalesce(s.voided, 0), coalesce(s.refunded, 0)))
        from ledgers l full join (
          select order_id, sum(direction * authorized_minor)::bigint authorized, sum(direction * captured_minor)::bigint captured,
            sum(direction * voided_minor)::bigint voided, sum(direction * refunded_minor)::bigint refunded
          from ledger_lines group by order_id) s on s.order_id = l.key""",
    "the operations of a ledger sum to its totals": """
        select count(*), count(*) filter (where (l.authorized_minor, l.captured_minor, l.voided_minor, l.refunded_minor)
          is distinct from (coalesce(s.authorized, 0), coalesce(s.captured, 0), coalesce(s.voided, 0), coalesce(s.refunded, 0)))
        from ledgers l full join (
          select order_id,
            (sum(amount_minor) filter (where kind = 'authorize' and state = 'succeeded'))::bigint authorized,
            (sum(amount_minor) filter (where kind = 'capture' and state = 'succeeded'))::bigint captured,
            (sum(amount_minor) filter (where kind = 'void' and state = 'succeeded'))::bigint voided,
            (sum(amount_minor) filter (where kind = 'refund' and state = 'succeeded'))::bigint refunded
          from operations group by order_id) s on s.order_id = l.key""",
    "per line refunded + reversed <= captured <= authorized and captured + voided <= authorized": """
        select count(*), count(*) filter (where refunded_minor + reversed_minor > captured_minor
          or captured_minor + voided_minor > authorized_minor
          or least(authorized_minor, captured_minor, voided_minor, refunded_minor, reversed_minor) < 0)
        from ledger_lines""",
    "what gateways withhold for disputes is on its account": """
        select count(*), count(*) filter (where e.balance is distinct from d.withheld) from (
          select order_id, sum(withheld_minor) withheld from disputes group by 1 having sum(withheld_minor) <> 0) d
        full join (
          select order_id, sum(direction * amount_minor) balance from entries where account = 'disputed'
          group by 1 having sum(direction * amount_minor) <> 0) e using (order_id)""",
    "an open session has an open authorization, or none yet": """
        select count(*), count(*) filter (where o.state not in ('asked', 'pending'))
        from payment_sessions s left join operations o on o.operation_id = s.authorization_id where s.state = 'open'""",
    "what is paid before its order, and neither taken over nor given back, is on its account": """
        select count(*), count(*) filter (where e.balance is distinct from s.held) from (
          select order_id, currency, sum(held_minor) held from payment_sessions group by 1, 2 having sum(held_minor) <> 0) s
        full join (
          select order_id, currency, -sum(direction * amount_minor) balance from entries where account = 'prepayments'
          group by 1, 2 having sum(direction * amount_minor) <> 0) e using (order_id, currency)""",
    "what is paid in a session is held, taken over or given back": """
        select count(*), count(*) filter (where (coalesce(e.received, 0), coalesce(e.left_minor, 0)) is distinct from
          (case when s.prepayment is null then 0 else s.amount_minor end, s.held_minor))
        from payment_sessions s full join (
          select case o.kind when 'prepay' then o.operation_id else o.refers_to end as session_id,
            coalesce(sum(e.amount_minor) filter (where e.direction = -1), 0)::bigint as received,
            -sum(e.direction * e.amount_minor)::bigint as left_minor
          from entries e join operations o on o.operation_id = e.operation_id and o.order_id = e.order_id
          where e.account = 'prepayments' group by 1) e using (session_id)""",
    "what waits for its order has a timer, and what is given back an operation, or a person": """
        select count(*), count(*) filter (where case s.prepayment
          when 'held' then t.key is null
          when 'returning' then not exists (select from operations o where o.refers_to = s.session_id and o.order_id = s.order_id
            and o.kind = 'return' and o.state in ('asked', 'pending'))
          else (s.prepayment = 'retained') <> (s.held_minor > 0) end)
        from payment_sessions s left join timers t on t.aggregate = 'ledgers' and t.key = s.order_id
        where s.prepayment is not null""",
    "reversals are whole, and take off their lines what those have lost": """
        select count(*), count(*) filter (where l.reversed_minor is distinct from coalesce(r.taken, 0)
          or r.odd or (l.direction = -1 and (l.reversed_minor, l.refunded_minor, l.voided_minor) <> (0, 0, 0)))
        from ledger_lines l full join (
          select order_id, reverses as line_id, sum(captured_minor) as taken, bool_or(captured_minor <> authorized_minor) as odd
          from ledger_lines where direction = -1 group by 1, 2) r using (order_id, line_id)""",
    "an operation draws on one that succeeded, of the same order and currency": """
        select count(*), count(*) filter (where o.operation_id is null)
        from operations d left join operations o on o.operation_id = d.refers_to and o.order_id = d.order_id
          and o.store_id = d.store_id and o.currency = d.currency and o.state = 'succeeded'
          and o.kind = case d.kind when 'capture' then 'authorize' else 'capture' end
        where d.kind in ('capture', 'refund', 'reverse') and d.state = 'succeeded'""",
    "an authorization that is captured in the same call has that capture, of its whole amount": """
        select count(*), count(*) filter (where c.operation_id is null)
        from operations a left join operations c on c.refers_to = a.operation_id and c.order_id = a.order_id
          and c.kind = 'capture' and c.state = 'succeeded' and c.amount_minor = a.amount_minor
        where a.with_capture and a.kind = 'authorize' and a.state = 'succeeded'""",
    "captures and voids of an authorization, and refunds of a capture, stay within it": """
        select count(*), count(*) filter (where drawn > o.amount_minor) from operations o join (
          select refers_to, sum(amount_minor) drawn from operations
          where state = 'succeeded' and refers_to is not null and kind <> 'reverse' group by refers_to) d on d.refers_to = o.operation_id""",
    "an open operation has a task that will end it, or payments is to be informed": f"""
        select count(*), count(*) filter (where not exists (select from tasks t where t.key = o.order_id and not t.beside))
        from operations o where o.state in ('asked', 'pending') and o.gateway is distinct from '{RECORDED}'""",
    "a stated outcome is an end, and its gateway is asked until it has confirmed it": f"""
        select count(*), count(*) filter (where o.state in ('asked', 'pending') or (o.recorded = 'unconfirmed'
          and not exists (select from tasks t where t.key = o.order_id and t.kind = '{CHECK_KIND}')))
        from operations o where o.recorded is not null""",
    "the entries of an operation balance in each currency": """
        select count(*), count(*) filter (where balance <> 0) from (
          select sum(direction * amount_minor) balance from entries group by operation_id, currency) o""",
    "the accounts of a store sum to zero in each currency": f"""
        select count(*), count(*) filter (where balance <> 0) from (
          select sum(debit_minor - credit_minor) balance from ({DAYS}) d group by store_id, currency) s""",
    "rounding is zero": f"""
        select count(*), count(*) filter (where balance <> 0) from (
          select sum(debit_minor - credit_minor) balance from ({DAYS}) d where account = 'rounding' group by store_id, currency) s""",
    "the totals of an account and day are the sums of its entries": f"""
        select count(*), count(*) filter (where (d.debit, d.credit) is distinct from (e.debit, e.credit)) from (
          select store_id, currency, account, day, sum(debit_minor) debit, sum(credit_minor) credit
          from ({DAYS}) d group by 1, 2, 3, 4) d
        full join (
          select store_id, currency, account, (at at time zone 'UTC')::date as day,
            sum(case direction when 1 then amount_minor else 0 end) debit,
            sum(case direction when -1 then amount_minor else 0 end) credit
          from entries group by 1, 2, 3, 4) e using (store_id, currency, account, day)""",
    "the entries of a line are the amounts of its ledger": f"""
        select count(*), count(*) filter (where (l.authorized_minor, l.captured_minor, l.voided_minor, l.refunded_minor)
          is distinct from (e.promised, e.collected, e.fulfilled - e.collected, e.returned)) from ledger_lines l
        full join (
          select order_id, line_id,
            coalesce(sum(amount_minor) filter (where account in {HELD} and side = 1), 0) promised,
            coalesce(sum(amount_minor) filter (where account in {HELD} and side = -1), 0) fulfilled,
            coalesce(sum(amount_minor) filter (where account in {CLEARING} and side = 1), 0) collected,
            coalesce(sum(amount_minor) filter (where account in {CLEARING} and side = -1), 0) returned
          from (select e.order_id, line_id, account, amount_minor, e.direction * coalesce(l.direction, 1) as side
            from ({ORDERS}) e left join ledger_lines l using (order_id, line_id)) e group by 1, 2) e using (order_id, line_id)
        where e.order_id is not null
          or (l.authorized_minor, l.captured_minor, l.voided_minor, l.refunded_minor) <> (0, 0, 0, 0)""",
    "what an order's customer is owed is what its pending refunds give": """
        select count(*), count(*) filter (where e.owed is distinct from o.pending) from (
          select order_id, sum(amount_minor) pending from operations
          where kind = 'refund' and state = 'pending' and amount_minor > 0 group by 1) o
        full join (
          select order_id, -sum(direction * amount_minor) owed from entries where account = 'refunds_payable'
          group by 1 having sum(direction * amount_minor) <> 0) e using (order_id)""",
    "the rows of a settlement sum to what it states": """
        select count(*), count(*) filter (where s.stated_minor is distinct from coalesce(r.net, 0)) from settlements s left join (
          select settlement_id, sum(net_minor) net from settlement_rows group by 1) r on r.settlement_id = s.key""",
    "what a settlement brought has arrived": """
        select count(*), count(*) filter (where s.stated_minor is distinct from coalesce(e.arrived, 0)) from settlements s left join (
          select order_id, sum(direction * amount_minor) arrived from entries
          where version = 0 and account in ('bank', 'in_transit') group by 1) e on e.order_id = s.key""",
    "suspense is what no one has explained": f"""
        select count(*), count(*) filter (where e.balance is distinct from r.unexplained) from (
          select s.store_id, s.currency, -sum(r.gross_minor - r.allotted_minor) unexplained
          from settlement_rows r join settlements s on s.key = r.settlement_id
          where r.state <> all(array{list(EXPLAINED)}) and coalesce(r.resolution, 'dismiss') = 'dismiss'
          group by 1, 2 having sum(r.gross_minor - r.allotted_minor) <> 0) r
        full join (
          select store_id, currency, sum(direction * amount_minor) balance from entries where account = 'suspense'
          group by 1, 2 having sum(direction * amount_minor) <> 0) e using (store_id, currency)""",
    "what an order's transfers pay is what has arrived for it": """
        select count(*), count(*) filter (where e.moved_minor is distinct from a.paid) from (
          select operation_id, moved_minor from expected_transfers where moved_minor <> 0) e
        full join (select operation_id, sum(amount_minor) paid from allotments group by 1) a using (operation_id)""",
    "a row pays what is allotted of it": """
        select count(*), count(*) filter (where abs(r.allotted_minor) is distinct from a.paid) from (
          select settlement_id, place, allotted_minor from settlement_rows where allotted_minor <> 0) r
        full join (select settlement_id, place, sum(amount_minor) paid from allotments group by 1, 2) a using (settlement_id, place)""",
    "a row settles an operation that moved money, or a dispute": f"""
        select count(*), count(*) filter (where o.operation_id is null
          and not exists (select from disputes d where d.order_id = r.order_id and d.store_id = r.store_id))
        from settlement_rows r left join operations o
          on o.operation_id = r.operation_id and o.order_id = r.order_id and o.store_id = r.store_id and o.state = 'succeeded'
          and {MOVES}
        where r.settles""",
    "lines and operations belong to their ledger's store": f"""
        select count(*), count(*) filter (where l.store_id is distinct from r.store_id)
        from (select order_id, store_id from ledger_lines union all select order_id, store_id from operations
          union all select order_id, store_id from ({ORDERS}) e) r
        left join ledgers l on l.key = r.order_id""",
}


async def check(tx: Connection) -> Iterable[tuple[str, int, int]]:
    found = []
    for name, query in (*CHECKS.items(), *gift_card_store.CHECKS.items()):
        made, violated = await tx.fetchrow(query) or (0, 0)
        found.append((name, made, violated))
    return found
