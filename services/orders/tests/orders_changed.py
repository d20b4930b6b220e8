"""An order of a mug, a bowl and a cup that its marketplace changes: what it states, and how an edit is played to its end."""

from __future__ import annotations

from typing import Any

from orders_play import Play, content, line
from test_orders_edit import open_processes

from contracts.fulfillment import Extend, Reduce, Resume, Start, Suspend
from contracts.invoicing import Credit, Issue
from contracts.payments import Authorize, Capture, Refund, Void
from contracts.snapshot import Address, Cancellation, Line, OrderContent, UpstreamRefund

MUG, BOWL, CUP = line("1", 10_00, quantity=2), line("2", 5_00), line("3", 2_00)
SOLD = content(MUG, BOWL, CUP)
THERE = Address(name="Bo", line1="2 Way", city="Lyon", country="FR")
GONE = Cancellation(executed=True, executed_by="buyer")
ASKED = Cancellation(requested=True)


def but(one: Line, **more: Any) -> Line:
    pieces = {name: more.pop(name) for name in ("ordered", "cancelled", "refunded") if name in more}
    return one.model_copy(update={**more, **({"quantity": one.quantity.model_copy(update=pieces)} if pieces else {})})


NO_BOWL = content(MUG, but(BOWL, cancellation=GONE), CUP)
ASKED_BOWL = content(MUG, but(BOWL, cancellation=ASKED), CUP)


def made(name: str = "R1", minor: int = 5_00, line_id: str | None = "2", **more: Any) -> UpstreamRefund:
    return UpstreamRefund(external_refund_id=name, amount_minor=minor, external_line_id=line_id, **more)


def refunding(told: OrderContent, *refunds: UpstreamRefund) -> OrderContent:
    return told.model_copy(update={"refunds": refunds, "payment_state": "partially_refunded"})


def applying(play: Play, told: OrderContent = SOLD, **terms: Any) -> Play:
    return play.in_the_warehouse(told, on_change="apply", **terms)


def paid(play: Play, **terms: Any) -> Play:
    return applying(play, **terms).captured().issued()


def codes(play: Play) -> list[str]:
    return [*play.order.exceptions]


def why_not(play: Play) -> dict[str, str | None]:
    return {code: one.why_not for code, one in play.order.exceptions.items()}


def completes(play: Play) -> None:
    """Ships what is left; then all that was charged and not given back is what the order costs."""
    play.shipped().fulfilled()
    assert play.order.completed_at is not None and not open_processes(play)
    assert play.money["captured"] - play.money["refunded"] == play.order.grand_minor


def plays(play: Play, until: type[Any] | None = None) -> Play:
    """Every command is answered yes, until one of this type."""
    answers: dict[type[Any], Any] = {
        Suspend: play.suspended, Extend: play.extended, Authorize: play.authorized, Reduce: play.partly_reduced, Void: play.voided,
        Resume: play.resumed, Capture: play.captured, Refund: play.refunded, Credit: play.credited, Issue: play.issued,
    }  # fmt: skip
    open_ = [*play.sent]
    while open_ and type(open_[0]) is not until:
        command = open_.pop(0)
        if isinstance(command, Start):
            continue  # the shipments that were started get the address
        play.commands.append(command)  # the answers are to the last of its kind
        answers[type(command)]()
        open_ += play.sent
    return play
