"""A list of orders: Dintero's filters and place in a list as a query of orders."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from dintero_compat.domain.placing import CHANNEL
from dintero_compat.domain.showing import PAYMENT_STATUSES, PaymentStatus, Status

RUNNING: Final = ("pending", "editing", "placing", "placed", "approved")
"""The statuses of orders that are not cancelled."""
INSTANT: Final = timedelta(microseconds=1)
"""The ends of ranges are inclusive in Dintero's API, and exclusive in ours."""
LATEST: Final = datetime.max.replace(tzinfo=UTC)
"""A range that ends then has no end."""
LAST: Final = UUID(int=2**128 - 1)


class Place(NamedTuple):
    """The last order of a page. Orders are listed by date and id, the latest first."""

    at: datetime
    id: UUID


def query(
    aid: str,
    *,
    status: Status | None,
    payment_status: PaymentStatus | None,
    currency: str | None,
    since: datetime | None,
    until: datetime | None,
    after: Place | None,
) -> list[tuple[str, str | int]]:
    """Returns the query of orders that lists the account's orders up to the date of `after`."""
    found: list[tuple[str, str | int]] = [("channel", CHANNEL), ("account", aid), ("sort", "newest")]
    if status == "cancelled":
        found += [("status", "cancelled"), ("archived", "any")]
    elif status is None:
        found += [("archived", "any")]
    else:
        found += [("archived", "true" if status == "closed" else "false"), *(("status", word) for word in RUNNING)]
    if payment_status is not None:
        found += [("payment_status", ours) for ours, word in PAYMENT_STATUSES.items() if word == payment_status]
    if currency is not None:
        found += [("currency", currency)]
    if since is not None:
        found += [("ordered_from", since.isoformat())]
    ends = [end for end in (until, after.at if after else None) if end is not None and end < LATEST]
    if ends:
        found += [("ordered_to", (min(ends) + INSTANT).isoformat())]
    return found


def following(items: Sequence[dict[str, Any]], after: Place | None) -> list[Place]:
    """Returns the places of the listed orders that come after one."""
    places = [Place(datetime.fromisoformat(item["ordered_at"]), UUID(item["order_id"])) for item in items]
    return [place for place in places if after is None or place < after]
