"""Stripe's own list of what has moved: its balance transactions, with the charge or refund behind each.

Source: docs.stripe.com/api/balance_transactions/list. They are made when money moves, so an intent that is captured days after
its authorization is listed on the day of the capture.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import ValidationError

from contracts.base import Frozen
from contracts.differences import TheirSide
from contracts.money import EXPONENTS
from payments.domain.listing import Listed, ListedPage, Listing
from payments.gateways.http import Answer
from payments.gateways.port import Unclear
from payments.gateways.stripe.amounts import from_stripe
from payments.gateways.stripe.answers import Refund, items_of

PAGE: Final = 25
"""Rows of a page: an expanded charge has several kilobytes, and `gateways.http` reads 256."""


class Source(Frozen):
    """A charge or a refund."""

    id: str
    object: str
    amount: int
    amount_captured: int | None = None
    currency: str
    status: str | None = None
    payment_intent: str | None = None
    charge: str | None = None
    balance_transaction: str | None = None
    metadata: dict[str, str] | None = None


class Transaction(Frozen):
    id: str
    amount: int
    created: int
    exchange_rate: float | None = None
    reporting_category: str
    """docs.stripe.com/reports/reporting-categories. Fees, disputes and payouts move no payment."""
    source: Source | str | None = None


def query(asked: Listing) -> dict[str, str]:
    """The parameters of a page. Stripe's times are whole seconds: the first one is that within which the period begins."""
    page = {
        "created[gte]": str(int(asked.begins_at.timestamp())),
        "created[lt]": str(int(asked.ends_at.timestamp())),
        "limit": str(PAGE),
        "expand[]": "data.source",
    }
    return page if asked.cursor is None else page | {"starting_after": asked.cursor}


def page_of(answer: Answer) -> ListedPage:
    """Reads a page. Raises Unclear if any of its rows does not read: a list with gaps would show differences that are none."""
    items, has_more = items_of(answer)
    try:
        transactions = [Transaction.model_validate(one) for one in items]
    except ValidationError as error:
        raise Unclear(f"a balance transaction of Stripe does not read: {error.error_count()} errors") from None
    return ListedPage([*_rows(transactions)], transactions[-1].id if has_more and transactions else None)


def _rows(transactions: list[Transaction]) -> Iterator[Listed]:
    for one in transactions:
        if one.reporting_category not in ("charge", "refund"):
            continue
        if not isinstance(one.source, Source):
            raise Unclear(f"{one.id} has no source, which was to be expanded")
        if one.source.status != "succeeded":  # a refund that failed later has another transaction that takes it back
            continue
        yield _charge(one, one.source) if one.reporting_category == "charge" else _refund(one, one.source)


def _charge(one: Transaction, charge: Source) -> Listed:
    """A charge that is captured in parts has a transaction of each part, and its own name is that of the first."""
    is_first = charge.balance_transaction in (None, one.id)
    names = (charge.payment_intent,) if is_first else (charge.id, charge.payment_intent)
    captured = charge.amount if charge.amount_captured is None else charge.amount_captured
    amount = captured if one.exchange_rate is not None else min(abs(one.amount), captured)
    return _listed("capture", one, charge, charge.id if is_first else one.id, names, amount)


def _refund(one: Transaction, refund: Source) -> Listed:
    names = ((refund.metadata or {}).get("operation_id"), refund.charge, refund.payment_intent)
    return _listed("refund", one, refund, refund.id, names, refund.amount)


def _listed(
    kind: Any, one: Transaction, source: Source, reference: str, names: tuple[str | None, ...], amount: int
) -> Listed:
    currency = source.currency.upper()
    at = datetime.fromtimestamp(one.created, UTC)
    minor = _minor(amount, currency, one.id)
    return Listed(kind, reference, tuple(name for name in names if name), currency, minor, at)


def _minor(amount: int, currency: str, name: str) -> int:
    minor = from_stripe(amount, currency) if currency in EXPONENTS else amount
    if minor is None:
        raise Unclear(f"{name} has a fraction of a minor unit of {currency}")
    return minor


def refunded(refund: Refund) -> TheirSide:
    """A refund of one payment, as it would be in the list."""
    currency = refund.currency.upper()
    names = ((refund.metadata or {}).get("operation_id"), refund.charge, refund.payment_intent)
    return TheirSide(
        kind="refund", reference=refund.id, names=tuple(filter(None, names)), currency=currency,
        amount_minor=_minor(refund.amount, currency, refund.id), at=datetime.fromtimestamp(refund.created, UTC),
    )  # fmt: skip
