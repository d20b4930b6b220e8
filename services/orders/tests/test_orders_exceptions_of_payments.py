"""What payments states beside an order's own course: its books differ, an authorization expires, a payment is disputed."""

from __future__ import annotations

from uuid import UUID

from orders_differences import codes, the_authorization
from orders_play import Play, content, line, market, uid

from contracts.orders.edits import LineEdit
from contracts.payments import Authorize, Capture, MoneyLine


def test_a_difference_of_its_books_is_an_exception_of_the_order_as_long_as_it_is_open(play: Play) -> None:
    play.in_the_warehouse().captured().books_differ(5_00)
    before = play.order.open_runs
    first = play.order.exceptions["books_differ"]
    assert first.detail == "stripe not_booked 500 EUR minor units, proposal book"
    play.books_differ(5_00).nothing()
    play.books_differ(5_00, 6_00, 7_00, 8_00)
    second = play.order.exceptions["books_differ"]
    assert second.exception_id != first.exception_id and second.detail.endswith("; 1 more")
    play.resolves("books_differ", "keep").books_differ(6_00)
    assert "600 EUR" in play.order.exceptions["books_differ"].detail, "what was seen before is raised anew with others"
    play.books_differ()
    assert codes(play) == [] and play.order.open_runs == before


def test_an_authorization_that_expires_within_a_day_is_shown_until_it_is_captured(play: Play) -> None:
    play.in_the_warehouse().expiring(the_authorization(play))
    detail = play.order.exceptions["authorization_expiring"].detail
    assert detail.startswith("stripe holds 1000 EUR minor units until 20")
    play.expiring(the_authorization(play)).nothing()
    play.captured()
    assert codes(play) == []


def test_a_part_that_is_captured_is_no_longer_shown_as_expiring(play: Play) -> None:
    play.in_the_warehouse().expiring(the_authorization(play))
    first = play.order.exceptions["authorization_expiring"]
    play.captured(a_part(play, 4_00))
    second = play.order.exceptions["authorization_expiring"]
    assert second.detail == first.detail.replace("1000 EUR", "600 EUR") and second.exception_id != first.exception_id
    play.resolves("authorization_expiring", "keep").captured(a_part(play, 1_00))
    assert codes(play) == [], "a person has seen it: it is not raised anew for less"


def a_part(play: Play, minor: int) -> Capture:
    """A capture that a person makes of a part of the authorization."""
    asked = play.last(Authorize)
    [one] = asked.lines
    return Capture(
        **{name: getattr(asked, name) for name in ("order_id", "store_id", "currency", "actor")},
        operation_id=uid(f"capture {minor}"), authorization_id=asked.operation_id,
        lines=(MoneyLine(line_id=one.line_id, quantity=0, amount_minor=minor),),
    )  # fmt: skip


def test_an_authorization_that_expires_is_shown_until_its_own_amount_is_captured(play: Play) -> None:
    """A second authorization, for what an edit adds, holds money for longer. Neither keeps the other's exception open."""
    first, added = in_two_authorizations(play)
    play.expiring(first).captured(captures(play)[first])
    assert play.order.facts.authorizations[str(added)].left_minor == 20_00 and codes(play) == []
    play.expiring(added, 20_00)
    assert play.order.exceptions["authorization_expiring"].detail.startswith(
        "stripe holds 2000 EUR minor units until 20"
    )
    play.captured(captures(play)[added])
    assert codes(play) == []


def test_two_authorizations_that_expire_are_one_exception_until_both_are_captured(play: Play) -> None:
    first, added = in_two_authorizations(play)
    play.expiring(first).expiring(added, 20_00)
    detail = play.order.exceptions["authorization_expiring"].detail
    assert (
        detail.startswith("stripe holds 1000 EUR minor units until 20")
        and "; stripe holds 2000 EUR minor units until" in detail
    )
    play.captured(captures(play)[added])
    assert codes(play) == ["authorization_expiring"]
    assert "2000" not in play.order.exceptions["authorization_expiring"].detail
    play.captured(captures(play)[first])
    assert codes(play) == []


def in_two_authorizations(play: Play) -> tuple[UUID, UUID]:
    """Two pieces more are authorized by an edit; both amounts are being captured. (the first authorization, the added one)."""
    play.receives(content(line()), market(approval="manual", capture="on_approval")).reserved().authorized()
    first = the_authorization(play)
    play.opens_an_edit(LineEdit(line_id="1", quantity=3)).confirms().extended()
    added = play.last(Authorize)
    play.authorized(added).approves()
    return first, added.operation_id


def captures(play: Play) -> dict[UUID, Capture]:
    return {one.authorization_id: one for one in play.commands if isinstance(one, Capture)}


def test_what_is_captured_or_authorized_anew_by_itself_needs_no_person(play: Play) -> None:
    play.in_the_warehouse().captured().expiring(the_authorization(play)).nothing()
    other = Play().in_the_warehouse(content(payment_token="tok_1"))
    other.expiring(the_authorization(other)).nothing()


def test_a_cancel_ends_the_wait_for_an_authorization_that_expires(play: Play) -> None:
    play.receives(content(), market(approval="manual")).reserved().authorized().expiring(
        the_authorization(play)
    ).cancels().voided()
    assert codes(play) == []


def test_a_dispute_waits_for_a_person_and_a_won_one_needs_none(play: Play) -> None:
    play.in_the_warehouse().captured().disputed(reason="fraudulent")
    before = play.order.open_runs
    assert "10_00" not in (detail := play.order.exceptions["payment_disputed"].detail) and "1000 EUR" in detail
    assert play.order.open_runs == before, "no process is changed by it"
    play.dispute_ends("won")
    assert codes(play) == []


def test_a_lost_dispute_stays_listed_until_a_person_has_seen_it(play: Play) -> None:
    play.in_the_warehouse().captured().disputed().resolves("payment_disputed", "accept")
    assert codes(play) == []
    play.dispute_ends("lost")
    assert "lost" in play.order.exceptions["payment_disputed"].detail
    play.resolves("payment_disputed", "accept")
    assert codes(play) == []
