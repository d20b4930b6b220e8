"""What a gateway lists of itself: captures and refunds that have succeeded there, in pages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from payments.domain.pairing import MovementKind


class Listed(NamedTuple):
    """A capture or refund in a gateway's list. It has succeeded there."""

    kind: MovementKind
    reference: str
    """The gateway's own name of it, unique among those of its kind. A refund of a capture can be asked for by it."""
    names: tuple[str, ...]
    """Further names under which we may have it, the surest first: our operation id, the gateway's name of the payment."""
    currency: str
    amount_minor: int
    at: datetime


class Listing(NamedTuple):
    """What is asked for: the movements of a store's account in a period."""

    store_id: str
    begins_at: datetime
    ends_at: datetime
    """The first moment after it."""
    cursor: str | None = None
    """`ListedPage.cursor` of the page before; null: the first page."""


class ListedPage(NamedTuple):
    rows: Sequence[Listed]
    cursor: str | None
    """The cursor of the next page; null: this is the last one."""
