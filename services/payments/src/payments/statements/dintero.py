"""Dintero: a settlement of its API with the settlement events of its transactions.

`GET /accounts/{aid}/settlements/{id}` gives `{id, provider_reference, start_at, end_at, amounts: [{amount, capture, refund, fee,
currency}]}`; each transaction gives `settlements.events: [{settlement_id, event_correlation_id, amount, capture, refund, fee}]`.
Both in one document: the settlement with the list `transactions`. Amounts are minor units; amount = capture - refund - fee.
Source: docs.dintero.com/api-reference/settlements, docs.dintero.com/checkout-api (transactions_events_settlements_post).

Its CSV report has the fields of its XML report as columns: `mappings/dintero.json`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

import orjson

from payments.domain.statements import TEXT_MAX, Row, RowKind, Statement, StatementUnreadable, UnreadableRow, parted
from payments.statements.amounts import currency_of, day_of, within


def read(body: bytes) -> list[Statement]:
    """Returns one statement per currency of the settlement."""
    try:
        settlement = orjson.loads(body)
        settlement_id = settlement["id"]
        begins, ends = day_of(settlement["start_at"]), day_of(settlement["end_at"])
        stated = [(currency_of(one["currency"]), within(one["amount"])) for one in settlement["amounts"]]
        amounts = dict(stated)
        if len(amounts) < len(stated):
            raise ValueError("`amounts` has a currency twice")
        account, listed = str(settlement.get("account_id") or "dintero"), settlement["transactions"]
        if not isinstance(settlement_id, str) or not isinstance(listed, list):
            raise ValueError("`id` is a text and `transactions` a list")
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # a JSONDecodeError is a ValueError
        raise StatementUnreadable(f"not a settlement with its transactions: {error!r}") from error
    if not amounts:
        raise StatementUnreadable("the settlement has no amounts")
    first = next(iter(amounts))
    statements = []
    for currency, payout_minor in amounts.items():
        # A transaction of a currency that was not paid out is listed with the first, where it is unreadable.
        mine = [
            (n, one) for n, one in enumerate(listed, 1) if (c := _currency(one, first)) == currency
            or (c not in amounts and currency == first)
        ]  # fmt: skip
        rows, unreadable = parted(row for n, one in mine for row in _events(n, one, settlement_id, currency, ends))
        name = settlement_id if len(amounts) == 1 else f"{settlement_id}/{currency}"
        statements.append(Statement(name, account, currency, rows, unreadable, begins, ends, payout_minor=payout_minor))
    return statements


def _currency(transaction: object, unstated: str) -> str:
    code = transaction.get("currency") if isinstance(transaction, dict) else None
    return code.upper() if isinstance(code, str) else unstated


def _events(
    number: int, transaction: Any, settlement_id: str, currency: str, ends: date
) -> Iterator[Row | UnreadableRow]:
    try:
        if (stated := _currency(transaction, currency)) != currency:
            raise ValueError(f"{stated} is not a currency of the settlement")
        events = [one for one in transaction["settlements"]["events"] if one.get("settlement_id") == settlement_id]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        yield UnreadableRow(number, _text(transaction), repr(error))
        return
    for event in events:
        yield from _rows(number, transaction, event, ends)


def _rows(
    number: int, transaction: Mapping[str, Any], event: Mapping[str, Any], ends: date
) -> Iterator[Row | UnreadableRow]:
    """An event that captured and refunded is two rows; the fee belongs to the first."""
    try:
        net, capture, refund, fee = (within(event.get(name) or 0) for name in ("amount", "capture", "refund", "fee"))
        if capture - refund - fee != net:
            raise ValueError(f"capture {capture} less refund {refund} and fee {fee} is not {net}")
        names = (event.get("event_correlation_id"), transaction.get("id"), transaction.get("merchant_reference"))
        references = tuple(name for name in names if isinstance(name, str) and name)
        created = event.get("created_at")
        on = day_of(created) if created else ends
    except (ValueError, TypeError, AttributeError) as error:
        amount = event.get("amount")
        yield UnreadableRow(number, _text(transaction), str(error), amount if type(amount) is int else None)
        return
    row_id = references[0] if references else ""
    moved: list[tuple[RowKind, int]] = [("capture", capture)] if capture else []
    moved += [("refund", -refund)] if refund else []
    for kind, gross in moved or [("fee", 0)]:
        yield Row(number, kind, row_id, references, gross, fee, gross - fee, on)
        fee = 0


def _text(transaction: object) -> str:
    return orjson.dumps(transaction).decode()[:TEXT_MAX]
