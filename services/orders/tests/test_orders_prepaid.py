"""An order that is paid in two authorizations: what its buyer had paid in a session before, and the rest (docs/payment-sessions.md)."""

from __future__ import annotations

from collections.abc import Mapping

from orders_play import Play, content, line, market, uid

from contracts.invoicing import Issue
from contracts.payments import Authorize, Capture, MoneyLine, Void

LINES = (line("1", 10_00), line("2", 20_00, quantity=2))
PAID = {"1": (1, 10_00), "2": (2, 5_00)}
"""The first lines; the pieces of a line are where its money begins."""
REST = {"2": (0, 15_00)}


def of(play: Play, lines: Mapping[str, tuple[int, int]], op: str | None = None) -> Authorize:
    """What the order has asked for, with these lines. op: an authorization that it has not asked for."""
    asked = play.last(Authorize)
    named = tuple(
        MoneyLine(line_id=name, quantity=pieces, amount_minor=minor) for name, (pieces, minor) in lines.items()
    )
    return asked.model_copy(update={"lines": named} | ({"operation_id": uid(op)} if op else {}))


def asks(play: Play) -> Play:
    play.receives(content(*LINES), market(gateway="stripe", capture="on_approval")).reserved()
    return play.authorized(of(play, PAID, "part"))


def test_the_order_goes_on_when_the_rest_is_authorized_and_captures_both(play: Play) -> None:
    asks(play)
    assert play.status.startswith("placing/"), "the rest may still be declined"
    play.authorized(of(play, REST))
    assert play.started().status.startswith("approved/authorized/")
    captures = [one for one in play.commands if isinstance(one, Capture)]
    for wanted in captures:
        play.captured(wanted)
        play.issued(play.last(Issue))
    assert {one.authorization_id for one in captures} == {uid("part"), play.last(Authorize).operation_id}
    assert sorted((line.line_id, line.amount_minor) for one in captures for line in one.lines) == [
        ("1", 10_00), ("2", 5_00), ("2", 15_00),
    ]  # fmt: skip
    assert play.status.split("/")[1] == "paid"


def test_a_declined_rest_gives_back_what_was_paid_before(play: Play) -> None:
    asks(play)
    play.declined()
    wanted = play.last(Void)
    assert wanted.authorization_id == uid("part")
