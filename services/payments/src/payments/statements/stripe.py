"""Stripe: the balance transactions of one payout, as `GET /v1/balance_transactions?payout=po_...&expand[]=data.source` lists them.

Source: docs.stripe.com/api/balance_transactions/object. Amounts are in Stripe's units of the currency, `amount` and `net` signed,
`fee` positive. The payout itself is one of its transactions: what was paid out is its amount with the other sign.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from payments.domain.statements import (
    TEXT_MAX,
    Exchanged,
    Row,
    RowKind,
    Statement,
    StatementUnreadable,
    UnreadableRow,
    parted,
    row_or_unreadable,
    with_reversals,
)
from payments.gateways.stripe.amounts import from_stripe
from payments.statements.amounts import currency_of, day_at, within

# By `reporting_category`, which parts what `type` calls an adjustment: docs.stripe.com/reports/reporting-categories.
KINDS: Final[Mapping[str, RowKind]] = {
    "charge": "capture",
    "partial_capture_reversal": "capture_reversal",
    "refund": "refund",
    "refund_failure": "refund",
    "charge_failure": "capture",
    "dispute": "dispute",
    "dispute_reversal": "dispute",
    "fee": "fee",
    "network_cost": "fee",
    "tax": "fee",
}
PAYOUT: Final = ("payout", "payout_reversal")


def read(body: bytes) -> list[Statement]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise StatementUnreadable(f"not JSON: {error}") from error
    listed = document.get("data") if isinstance(document, dict) else document
    if isinstance(document, dict) and document.get("has_more"):
        raise StatementUnreadable("the list has further pages (`has_more`): join the `data` of all into one list")
    if not isinstance(listed, list):
        raise StatementUnreadable("a list of balance transactions is expected, or an object with `data`")
    payouts = [one for one in listed if isinstance(one, dict) and one.get("reporting_category") in PAYOUT]
    if not payouts:
        raise StatementUnreadable("the list has no transaction of the payout: ask for it with `payout=po_...`")
    try:
        payout_id, currency = _source(payouts[0])[0], currency_of(payouts[0].get("currency"))
        if others := {*(name for one in payouts for name in _source(one)[:1])} - {payout_id}:
            raise ValueError(
                f"the list has {payout_id} and {', '.join(sorted(others))}: import the list of each payout"
            )
        if any(currency_of(one.get("currency")) != currency for one in payouts):
            raise ValueError(f"{payout_id} is in several currencies")
        paid = -sum(_minor(one.get("net"), currency) for one in payouts)
    except (ValueError, IndexError) as error:
        raise StatementUnreadable(f"the payout cannot be read: {error}") from error
    rows, unreadable = parted(_rows(listed, currency))
    rows = with_reversals(rows)
    days = [row.on for row in rows]
    begins, ends = min(days, default=None), max(days, default=None)
    return [Statement(payout_id, "stripe", currency, rows, unreadable, begins, ends, payout_minor=paid)]


def _rows(listed: list[Any], currency: str) -> Iterator[Row | UnreadableRow]:
    for number, one in enumerate(listed, 1):
        if isinstance(one, dict) and one.get("reporting_category") in PAYOUT:
            continue
        try:
            yield _row(number, one, currency)
        except KeyError as error:
            yield UnreadableRow(number, _text(one), f"it has no {error}", _net(one, currency))
        except (ValueError, TypeError, AttributeError) as error:
            why = str(error) if isinstance(one, dict) else "it is no object"
            yield UnreadableRow(number, _text(one), why, _net(one, currency))


def _row(number: int, one: Mapping[str, Any], currency: str) -> Row | UnreadableRow:
    if currency_of(one["currency"]) != currency:
        raise ValueError(f"{one['currency']!r} is not the currency of the payout, {currency}")
    kind = KINDS.get(one["reporting_category"], "adjustment")
    gross, fee, net = (_minor(one[name], currency, name) for name in ("amount", "fee", "net"))
    if kind == "fee" and fee == 0:
        gross, fee = 0, -gross
    row = Row(number, kind, one["id"], _source(one), gross, fee, net, day_at(one["created"]), _exchanged(one, gross))
    return row if gross - fee == net else row_or_unreadable(row, _text(one))


def _source(one: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of what moved the money. An expanded object also has the names of its payment, and our own in its metadata."""
    source = one.get("source")
    if isinstance(source, str):
        return (source,)
    if not isinstance(source, dict):
        return ()
    names = (
        (source.get("metadata") or {}).get("operation_id"),
        source.get("id"),
        source.get("payment_intent"),
        source.get("charge"),
    )
    return tuple(dict.fromkeys(name for name in names if isinstance(name, str)))


def _exchanged(one: Mapping[str, Any], gross_minor: int) -> Exchanged | None:
    rate, source = one.get("exchange_rate"), one.get("source")
    if rate is None or not isinstance(source, dict):
        return None
    amount = source.get("amount_captured", source.get("amount"))
    currency = currency_of(source.get("currency"))
    presented = abs(_minor(amount, currency, "source.amount"))
    return Exchanged(currency, presented if gross_minor >= 0 else -presented, str(rate))


def _minor(amount: object, currency: str, name: str = "net") -> int:
    """Minor units of an amount in Stripe's units. Raises ValueError."""
    try:
        minor = from_stripe(within(amount), currency)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if minor is None:
        raise ValueError(f"{name}: {amount} has a fraction of the minor unit of {currency}")
    return within(minor)


def _net(one: object, currency: str) -> int | None:
    """What an unreadable transaction moves, if its net can be read: also one in another currency counts, so that the sum differs."""
    try:
        return _minor(one.get("net"), currency) if isinstance(one, dict) else None
    except ValueError:
        return None


def _text(one: object) -> str:
    return orjson.dumps(one).decode()[:TEXT_MAX]
