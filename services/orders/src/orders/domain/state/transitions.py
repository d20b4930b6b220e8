"""How the statuses of an order follow each other: one table for the decisions and for `docs/statuses.md`.

Source: the transition table of Commerce Layer's order management, from `pending` on. `Story.state` checks every event against
it. The payment status is not in it: it follows from the sums of the ledger alone (`order.payment_status`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, get_args

from contracts.base import Event
from contracts.orders import (
    Approved,
    Cancelled,
    EditDiscarded,
    Edited,
    EditOpened,
    FulfillmentChanged,
    FulfillmentStatus,
    Placed,
    Received,
    Reinstated,
    Status,
)


class Transition(NamedTuple):
    event: type[Event]
    before: tuple[str, ...]
    after: tuple[str, ...]
    about: str


# fmt: off
ORDER: Final = (
    #          event       before                             after                                          about
    Transition(Received,   ("unreceived",),                   ("pending", "placing", "approved", "cancelled"), "`pending` until it may start; `approved` or `cancelled` if the marketplace carried it through or cancelled it"),
    Transition(Edited,     ("pending",),                      ("placing", "approved"),                       "a newer snapshot or request lets it start, or the marketplace carried it through"),
    Transition(Placed,     ("placing",),                      ("placed",),                                   "stock is reserved and the money authorized"),
    Transition(Approved,   ("placed",),                       ("approved",),                                 "by a person or by the market's rule"),
    Transition(EditOpened, ("placed", "approved"),            ("editing",),                                  "an edit is open; the order is asked nothing further"),
    Transition(Edited,     ("editing",),                      ("placed", "approved"),                        "the edit becomes true; the status before it returns"),
    Transition(EditDiscarded, ("editing",),                   ("placed", "approved"),                        "the edit is discarded; the status before it returns"),
    Transition(Cancelled,  ("pending", "placing", "placed", "approved", "editing"), ("cancelled",),          "the cancel can no longer be refused"),
    Transition(Reinstated, ("cancelled",),                    ("pending", "placing", "approved"),            "the marketplace states it anew, and a person accepts"),
)
FULFILLMENT: Final = (
    Transition(Received,   ("unfulfilled",),                  ("not_required", "fulfilled"),                 "nothing ships from here, or everything has shipped elsewhere"),
    Transition(Edited,     ("unfulfilled", "not_required"),   ("unfulfilled", "not_required", "fulfilled"),  "by the lines that ship, before the order starts"),
    Transition(Edited,     ("in_progress",),                  ("not_required",),                             "an edit removes all lines that ship"),
    Transition(Reinstated, ("unfulfilled", "in_progress", "fulfilled", "not_required"), ("unfulfilled", "not_required", "fulfilled"), "by the lines that ship now"),
    Transition(FulfillmentChanged, ("unfulfilled",),          ("in_progress", "fulfilled"),                  "the warehouse has started, or has shipped everything"),
    Transition(FulfillmentChanged, ("in_progress",),          ("fulfilled", "unfulfilled"),                  "the last shipment has shipped; or the warehouse has stopped"),
)
# fmt: on


def _edges(table: tuple[Transition, ...]) -> Mapping[tuple[str, str], frozenset[str]]:
    found: dict[tuple[str, str], frozenset[str]] = {}
    for event, before, after, _ in table:
        for word in before:
            found[event.TYPE, word] = found.get((event.TYPE, word), frozenset()) | frozenset(after)
    return found


_ORDER, _FULFILLMENT = _edges(ORDER), _edges(FULFILLMENT)
_KNOWN: Final = frozenset({*get_args(Status), *get_args(FulfillmentStatus), "unreceived"})


def check(event: str, status: tuple[str, str], fulfillment: tuple[str, str]) -> None:
    """Raises AssertionError unless an event of this type may change the statuses so: (before, after) of each.

    A word of a newer release may become any other.
    """
    for (before, after), edges in ((status, _ORDER), (fulfillment, _FULFILLMENT)):
        if before != after and before in _KNOWN:
            assert after in edges.get((event, before), ()), f"{event} may not change {before} to {after}"
