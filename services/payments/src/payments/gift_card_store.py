"""What a batch loads and writes for gift cards: balances, movements, the entries of a card's own operations. SQL, nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from asyncpg import Connection

from chassis.declare.service import Change
from chassis.declare.sql import Piece, Rows, columns
from contracts.base import Event
from contracts.gift_cards import GIFT_CARD, GiftCardActivated, GiftCardAdjusted, GiftCardExpired
from contracts.ids import derived
from payments.domain.balances import Balance
from payments.domain.books import Account
from payments.domain.gift_cards import CardKey, GiftCard

# Rows are locked above the sort, so in key order: two batches with crossed cards wait for each other, never in a circle.
LOAD: Final = """
select b.store_id, b.gift_card_id, b.currency, b.active, b.expired, b.activated, b.balance_minor, b.used_minor,
  b.expires_at, b.single_use, b.moved
from unnest($1::text[], $2::uuid[]) as k(store_id, gift_card_id)
join gift_card_balances b on b.gift_card_id = k.gift_card_id and b.store_id = k.store_id
order by b.gift_card_id
for update of b"""

BALANCES: Final = Piece(
    """
balances_written as (
insert into gift_card_balances as b (store_id, gift_card_id, currency, active, expired, activated, balance_minor, used_minor,
  expires_at, single_use, moved)
select * from unnest({0}::text[], {1}::uuid[], {2}::text[], {3}::boolean[], {4}::boolean[], {5}::boolean[], {6}::bigint[],
  {7}::bigint[], {8}::timestamptz[], {9}::boolean[], {10}::int[])
on conflict (gift_card_id) do update set currency = excluded.currency, active = excluded.active, expired = excluded.expired,
  activated = excluded.activated, balance_minor = excluded.balance_minor, used_minor = excluded.used_minor,
  expires_at = excluded.expires_at, single_use = excluded.single_use, moved = excluded.moved
where b.store_id = excluded.store_id
returning 1),
movements_written as (
insert into gift_card_movements (gift_card_id, store_id, number, kind, amount_minor, balance_minor, order_id, operation_id)
select * from unnest({11}::uuid[], {12}::text[], {13}::int[], {14}::text[], {15}::bigint[], {16}::bigint[], {17}::uuid[],
  {18}::uuid[]))""",
    19,
)

# As `store.ENTRIES`, for one line an event: the two may be in one statement.
ENTRIES: Final = Piece(
    """
cards_booked as (
insert into entries (order_id, store_id, version, number, operation_id, line_id, account, direction, currency, amount_minor, at)
select gift_card_id, store_id, version, side, operation_id, 'gift_card', account, 1 - 2 * side, currency, amount_minor, at
from unnest({0}::uuid[], {1}::text[], {2}::int[], {3}::uuid[], {4}::text[], {5}::text[], {6}::text[], {7}::bigint[],
  {8}::timestamptz[]) as p (gift_card_id, store_id, version, operation_id, debit, credit, currency, amount_minor, at)
cross join lateral (values (debit, 0), (credit, 1)) as one (account, side))""",
    9,
)


class BalanceOfAnotherStore(Exception):
    """The balance of a gift card is another store's. Not transient: the message that brought it is parked."""


async def load(tx: Connection, keys: Sequence[CardKey]) -> dict[CardKey, Balance]:
    """Lock and read. A card that does not exist has no row, and nothing to lock."""
    rows = await tx.fetch(LOAD, *columns(keys, 2))
    return {CardKey(row[0], row[1]): Balance(*row[2:]) for row in rows}


def balance_rows(changed: Mapping[CardKey, Balance]) -> Rows:
    balances = [(*key, *balance[: len(Balance._fields) - 1]) for key, balance in changed.items()]
    moves = [(key.gift_card_id, key.store_id, *move) for key, balance in changed.items() for move in balance.moves]

    def foreign() -> BalanceOfAnotherStore:
        return BalanceOfAnotherStore(f"one of {len(balances)} balances of gift cards is another store's")

    return Rows(BALANCES, [*columns(balances, 11), *columns(moves, 8)], "balances_written", foreign)


class _Posting(NamedTuple):
    debit: Account
    credit: Account
    amount_minor: int


def card_rows(changes: Sequence[Change[GiftCard]]) -> list[Rows]:
    """The entries of what is done to the cards themselves. Redemptions are booked with the ledgers of orders."""
    booked = [row for change in changes for row in _entries(change)]
    return [Rows(ENTRIES, columns(booked, ENTRIES.parameters))] if booked or not changes else []


def _entries(change: Change[GiftCard]) -> list[tuple[Any, ...]]:
    liable, found = change.before.activated, []
    for event, at in zip(change.events, change.at, strict=True):
        if isinstance(event, GiftCardActivated):
            liable = True
        posting = posting_of(event) if liable else None
        if posting is not None and posting.amount_minor:
            operation_id: UUID = event.operation_id or derived(change.key, f"entry {event.version}")
            found.append(
                (change.key, change.store_id, event.version, operation_id, posting.debit, posting.credit,
                 change.after.currency, posting.amount_minor, at)
            )  # fmt: skip
    return found


def posting_of(event: Event) -> _Posting | None:
    """What an event of a card that is, or was, active books."""
    match event:
        case GiftCardActivated(amount_minor=amount):
            return _Posting("gift_cards_issued", "gift_card_liability", amount)
        case GiftCardAdjusted(amount_minor=amount) if amount < 0:
            return _Posting("gift_card_liability", "gift_cards_issued", -amount)
        case GiftCardAdjusted(amount_minor=amount):
            return _Posting("gift_cards_issued", "gift_card_liability", amount)
        case GiftCardExpired(amount_minor=amount):
            return _Posting("gift_card_liability", "gift_cards_expired", amount)
        case _:
            return None


# ------------------------------------------------------------------------------------------------------------- check

MOVED_BY_ORDERS: Final = f"""
select gateway_reference::uuid gift_card_id, order_id,
  sum(case when kind = 'authorize' and state in ('asked', 'succeeded') then amount_minor
    when kind in ('void', 'refund') and state = 'succeeded' then -amount_minor else 0 end) used,
  sum(case when kind = 'authorize' and state in ('asked', 'succeeded') then amount_minor
    when kind in ('void', 'capture') and state = 'succeeded' then -amount_minor else 0 end) held
from operations where gateway = '{GIFT_CARD}' group by 1, 2"""
CHECKS: Final = {
    "the balance of a gift card is the sum of its movements": """
        select count(*), count(*) filter (where (b.balance_minor, b.moved)
          is distinct from (coalesce(m.amount, 0), coalesce(m.moved, 0)) or b.balance_minor < 0)
        from gift_card_balances b full join (
          select gift_card_id, sum(amount_minor) amount, count(*) moved from gift_card_movements group by 1) m
        using (gift_card_id)""",
    "a movement follows the one before it": """
        select count(*), count(*) filter (where balance_minor <> amount_minor + coalesce(before, 0)) from (
          select balance_minor, amount_minor,
            lag(balance_minor) over (partition by gift_card_id order by number) before from gift_card_movements) m""",
    "what an order has redeemed of a gift card is what its ledger has": f"""
        select count(*), count(*) filter (where m.used is distinct from o.used) from (
          select gift_card_id, order_id, -sum(amount_minor) used from gift_card_movements where order_id is not null
          group by 1, 2) m
        full join ({MOVED_BY_ORDERS}) o using (gift_card_id, order_id)""",
    "what orders have redeemed of a gift card is what is used of it": """
        select count(*), count(*) filter (where b.used_minor is distinct from coalesce(m.used, 0))
        from gift_card_balances b left join (
          select gift_card_id, -sum(amount_minor) used from gift_card_movements where order_id is not null group by 1) m
        using (gift_card_id)""",
    "the liability is what the active gift cards have, and what orders hold of them": f"""
        select count(*), count(*) filter (where l.owed is distinct from b.owed) from (
          select store_id, currency, -sum(direction * amount_minor) owed from entries
          where account = 'gift_card_liability' group by 1, 2 having sum(direction * amount_minor) <> 0) l
        full join (
          select b.store_id, b.currency, sum(b.balance_minor + coalesce(h.held, 0)) owed
          from gift_card_balances b left join (
            select gift_card_id, sum(held) held from ({MOVED_BY_ORDERS}) o group by 1) h using (gift_card_id)
          where b.activated group by 1, 2 having sum(b.balance_minor + coalesce(h.held, 0)) <> 0) b
        using (store_id, currency)""",
    "a gift card and its balance agree": """
        select count(*), count(*) filter (where (g.store_id, g.currency, g.state)
          is distinct from (b.store_id, b.currency, case when b.expired then 'expired' when b.active then 'active' else 'inactive' end))
        from gift_cards g full join gift_card_balances b on b.gift_card_id = g.key""",
}
