"""What a marketplace states otherwise than the order is, and how the exceptions of an order are read."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from orders_play import Play, content, line

from contracts.snapshot import Address, Cancellation, Quantities, UpstreamRefund

NEW_ADDRESS = Address(name="Ann", line1="2 Way", city="Lyon", country="FR")
REFUND = UpstreamRefund(external_refund_id="R1", amount_minor=5_00)
TOO_MUCH = UpstreamRefund(external_refund_id="R1", amount_minor=11_00)
"""More than the order was charged: it cannot be booked."""
MOVED = content(ship_to=NEW_ADDRESS)
TWO = (line(), line("2"))


def asked(line_id: str = "1", **more: Any) -> Any:
    return line(line_id, cancellation=Cancellation(requested=True), **more)


def quantity(**pieces: int) -> Any:
    return line().model_copy(update={"quantity": Quantities(ordered=1, **pieces)})


def codes(play: Play) -> list[str]:
    return [*play.order.exceptions]


def changes(play: Play, code: str) -> list[tuple[str, str, Any, Any]]:
    return [(one.path, one.change, one.before, one.after) for one in play.order.exceptions[code].difference]


def the_authorization(play: Play) -> UUID:
    [one] = play.order.facts.authorizations.values()
    return one.authorization_id
