"""Dintero's own list of what has moved: its transactions by the time of a capture, then by the time of a refund, and their events.

Source: `transactions_get` of Dintero's API reference (docs.dintero.com, the checkout API) and of Dintero.Node.SDK
(`src/generated/payments.d.ts`). Which capture of several `captured_at` is, is not documented. So the list has no upper limit:
a transaction whose last capture is after the period may have an earlier one within it. Each event states its own time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC
from typing import Final

from payments.domain.listing import Listed, ListedPage, Listing
from payments.domain.pairing import MovementKind
from payments.gateways.dintero.answers import EVENTS, Event, Transaction, reference_of
from payments.gateways.port import Unclear

LIMITS: Final = (25, 5, 1)
"""Transactions of a page. Fewer are asked for where the answer is longer than `gateways.http` reads."""
FILTERS: Final[Mapping[MovementKind, str]] = {"capture": "captured_at.gte", "refund": "refunded_at.gte"}
KINDS: Final = tuple(FILTERS)
"""One after the other."""


def query(asked: Listing, limit: int) -> dict[str, str]:
    """The parameters of a page."""
    kind, after = _place(asked)
    since = asked.begins_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    page = {FILTERS[kind]: since, "limit": str(limit)}
    return page | {"starting_after": after} if after else page


def page_of(transactions: list[Transaction], asked: Listing) -> ListedPage:
    """The movements of a page. Only an empty page is the last one of its kind: a short one may have others after it."""
    kind, after = _place(asked)
    if transactions and transactions[-1].id == after:
        raise Unclear(f"the page after {after} ends with it")
    rows = [row for one in transactions for row in _rows(one, kind, asked)]
    if transactions:
        return ListedPage(rows, f"{kind} {transactions[-1].id}")
    following = KINDS[KINDS.index(kind) + 1 :]
    return ListedPage(rows, f"{following[0]} " if following else None)


def _place(asked: Listing) -> tuple[MovementKind, str]:
    """What is being listed, and the last transaction of the page before."""
    kind, _, after = (asked.cursor or KINDS[0]).partition(" ")
    return next(one for one in KINDS if one == kind), after


def _rows(transaction: Transaction, kind: MovementKind, asked: Listing) -> Iterator[Listed]:
    """Raises Unclear if an event does not read: a list with gaps would show differences that are none."""
    for row in movements(transaction, kind):
        if asked.begins_at <= row.at < asked.ends_at:
            yield row


def movements(transaction: Transaction, kind: MovementKind) -> Iterator[Listed]:
    """Those of a kind that have succeeded. Raises Unclear if an event does not read."""
    references: set[str] = set()
    for event in transaction.events:
        if event.event != EVENTS[kind] or not event.success:
            continue
        if event.created_at is None or event.amount is None:
            raise Unclear(f"a {event.event} of {transaction.id} states no time or no amount")
        at = event.created_at if event.created_at.tzinfo else event.created_at.replace(tzinfo=UTC)
        reference = reference_of(transaction, event)
        if reference in references:
            raise Unclear(f"two events {event.event} of {transaction.id} have the id {event.id}")
        references.add(reference)
        names = (_named(transaction, event), transaction.id, transaction.merchant_reference)
        yield Listed(kind, reference, tuple(filter(None, names)), transaction.currency, event.amount, at)


def _named(transaction: Transaction, event: Event) -> str | None:
    """Our operation: named by the event or, if it had been accepted first, by the event of its request."""
    if event.event_reference is not None or event.correlation_request_id is None:
        return event.event_reference
    return next(
        (one.event_reference for one in transaction.events if one.request_id == event.correlation_request_id), None
    )
