"""What a till or a person requests of an order."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from contracts.base import Code, Command, LongText, OrderKeyed, Personal, Text
from contracts.orders.words import RequestedCause, Resolution
from contracts.snapshot import NewContent


class Place(OrderKeyed, Command, type="orders.place"):
    """Records an order and starts placing it. Its id follows from store, channel, account and external id."""

    channel: Code
    account: Code
    order: NewContent


class Approve(OrderKeyed, Command, type="orders.approve"):
    """Answered by approved. Approving twice changes nothing."""


class Cancel(OrderKeyed, Command, type="orders.cancel"):
    """Accepted at once; the order is then undone step by step. Cancelling twice changes nothing."""

    cause: RequestedCause = "customer"
    reason: Annotated[LongText, Personal()] = ""


class Retry(OrderKeyed, Command, type="orders.retry"):
    """Tries the failed step again, as a new operation, at the request of a person."""


class AskAgain(OrderKeyed, Command, type="orders.ask"):
    """Sends what the order's processes have requested and have no answer to once more, as the same operations: harmless, and
    nothing else changes."""


class GiveUp(OrderKeyed, Command, type="orders.give_up"):
    """Ends the wait of a step that is not answered: the order is undone as when the patience of its market ends. Answered by
    cancelled with the cause `gave_up`, or by cancel_refused."""

    reason: Annotated[LongText, Personal()] = ""


class Resolve(OrderKeyed, Command, type="orders.resolve"):
    """Ends an exception of the order. Which resolutions a kind of exception has: `docs/exceptions.md`."""

    exception_id: UUID
    resolution: Resolution
    reason: Annotated[Text, Personal()] = ""
