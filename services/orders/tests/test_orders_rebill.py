"""Captured lines are reversed in the books of payments: refunds and documents of the order follow, at the rate of the lines."""

from __future__ import annotations

from typing import Any

import pytest
from orders_play import Play, content, line, uid

from contracts import payments
from contracts.invoicing import Credit, Issue
from contracts.orders import ExceptionRaised, ExceptionResolved, PaymentChanged, RefundOpened, RefundSettled, Remarked
from contracts.payments import Authorize, MoneyLine, ReplacingLine, Reversed, ReversedLine
from orders.domain.content.facts import CaptureFact
from orders.domain.decisions.actions import allowed
from orders.domain.shown.views import waiting

RATED = {"tax": [{"rate": "25.00"}]}
CHARGE = uid("charge")


def invoiced(play: Play, **terms: Any) -> Play:
    """Two pieces of line 1 at 5.00, captured and invoiced at 25 %."""
    play.in_the_warehouse(content(line("1", 10_00, quantity=2, **RATED)), **{"gateway": "test", **terms})
    return play.captured().issued()


def reverses(
    play: Play,
    new: int,
    rest: int = 0,
    more: int = 0,
    pieces: int = 2,
    op: str = "x",
    origin: str = "1",
    charge_id: Any = CHARGE,
    new_pieces: int = 1,
    **article: Any,
) -> Play:
    """Line 3 replaces pieces of line 1 (each 5.00); line 4 is what is left over, and `more` what line 3 costs more."""
    capture_id = next(iter(play.order.facts.captures.values())).source_id
    event = Reversed(
        **play._paid(play.last(Authorize)), capture_id=capture_id, amount_minor=pieces * 5_00,
        reversals=(ReversedLine(line_id=f"{op}:off", reverses=origin, quantity=pieces, amount_minor=pieces * 5_00),),
        lines=(ReplacingLine(line_id=f"{op}:new", quantity=new_pieces, amount_minor=new, **article),) if new else (),
        refund_line=MoneyLine(line_id=f"{op}:rest", quantity=0, amount_minor=rest) if rest else None,
        refund_id=uid(f"{op} difference") if rest else None,
        charge=(ReplacingLine(line_id=f"{op}:new", quantity=0, amount_minor=more, **article),) if more else (),
        charge_id=charge_id if more else None, charge_gateway="test" if more else None,
    ).model_copy(update={"operation_id": uid(op)})  # fmt: skip
    return play.when(event)


def facts(play: Play) -> list[CaptureFact]:
    return [*play.order.facts.captures.values()]


def charged(play: Play, captured: bool = True, op: Any = CHARGE, amount: int = 4_00, pieces: int = 0) -> Play:
    """The difference is authorized, with its capture or without."""
    asked = play.last(Authorize).model_copy(update={"operation_id": op})
    lines = (MoneyLine(line_id="x:new", quantity=pieces, amount_minor=amount),)
    play._add("authorized", lines)
    if captured:
        play._add("captured", lines)
    return play.when(payments.Authorized(
        **play._paid(asked), authorization_id=op, capture_id=uid("charged") if captured else None, gateway="test",
        lines=lines, amount_minor=amount,
    ))  # fmt: skip


def declined(play: Play, op: Any = CHARGE) -> Play:
    asked = play.last(Authorize).model_copy(update={"operation_id": op})
    body = play._paid(asked)
    return play.when(payments.Declined(**body, amount_minor=4_00, code="card_declined", reason="no"))


# -- documents --------------------------------------------------------------------------------------------------------


def test_6a_the_reversed_line_is_credited_and_the_new_one_invoiced_at_its_rate(play: Play) -> None:
    invoiced(play)
    first = play.last(Issue)
    reverses(play, 10_00).then(Remarked, asks=[Credit])
    credit = play.last(Credit)
    assert credit.invoice_id == first.operation_id
    assert [(one.line_id, one.quantity, one.amount_minor) for one in credit.lines] == [("1", 2, 10_00)]
    play.credited().then(asks=[Issue])
    issue = play.last(Issue)
    assert issue.capture_id == uid("x") and [
        (one.line_id, one.quantity, one.amount_minor, one.rate, one.vat_minor) for one in issue.lines
    ] == [("x:new", 1, 10_00, "25.00", None)]
    play.issued()
    assert [one.invoice_id for one in facts(play)] == [first.operation_id, issue.operation_id]
    assert [one.uncredited_minor for one in facts(play)] == [0, 10_00]
    play.shipped().fulfilled()
    assert play.status == "approved/paid/fulfilled" and waiting(play.order) == ""


def test_6b_what_is_left_over_is_refunded_and_on_no_invoice(play: Play) -> None:
    invoiced(play)
    reverses(play, 7_00, rest=3_00).credited()
    assert [(one.line_id, one.amount_minor) for one in play.last(Issue).lines] == [("x:new", 7_00)]
    play.issued()
    back = (MoneyLine(line_id="x:rest", quantity=0, amount_minor=3_00),)
    asked = play.last(Authorize).model_copy(update={"operation_id": uid("x difference")})
    play.when(play.refund(facts(play)[0].capture_id, back, asked)).then(PaymentChanged)
    assert sum(one.unrefunded_minor for one in facts(play)) == 7_00 == sum(one.uncredited_minor for one in facts(play))


@pytest.mark.parametrize("at_once", [True, False])
def test_6c_what_it_costs_more_is_invoiced_when_it_is_captured(play: Play, at_once: bool) -> None:
    invoiced(play)
    reverses(play, 10_00, more=4_00).credited().issued()
    charged(play, captured=at_once)
    if not at_once:  # payments captures by itself what it has asked for
        lines = (MoneyLine(line_id="x:new", quantity=0, amount_minor=4_00),)
        capture = payments.Capture(**play._person("charged"), authorization_id=CHARGE, currency="EUR", lines=lines)
        play.captured(capture)
    issue = play.last(Issue)
    assert issue.capture_id == uid("charged")
    assert [(one.line_id, one.amount_minor, one.rate) for one in issue.lines] == [("x:new", 4_00, "25.00")]
    play.issued().shipped().fulfilled()
    assert play.status == "approved/paid/fulfilled" and "capture_not_settled" not in play.order.remarks
    assert sum(one.uncredited_minor for one in facts(play)) == 14_00


def test_a_new_line_states_its_article_and_rate(play: Play) -> None:
    invoiced(play)
    reverses(play, 10_00, rate="12", title="Book", sku="BOOK").credited()
    [one] = play.last(Issue).lines
    assert (one.title, one.sku, one.rate) == ("Book", "BOOK", "12")


def test_a_tax_that_is_stated_without_a_rate_is_shared_by_the_amount(play: Play) -> None:
    taxed = {"tax": [{"amount_minor": 1_01}, {"amount_minor": 52}]}
    play.in_the_warehouse(content(line("1", 10_00, quantity=2, **taxed)), gateway="test").captured().issued()
    reverses(play, 7_00, rest=3_00).credited()
    [one] = play.last(Issue).lines
    assert one.vat_minor == 1_07 and sum(tax.vat_minor for tax in one.taxes) in (0, 1_07)


def test_the_credit_waits_for_the_invoice_of_the_reversed_line(play: Play) -> None:
    play.in_the_warehouse(content(line("1", 10_00, quantity=2, **RATED)), gateway="test").captured()
    first = play.last(Issue)
    reverses(play, 10_00).then(Remarked)
    assert not [one for one in play.commands if isinstance(one, Credit)]
    play.issued(first).then(asks=[Credit])


def test_a_line_that_has_replaced_another_is_reversed_in_its_turn(play: Play) -> None:
    invoiced(play)
    reverses(play, 10_00).credited().issued()
    second = play.last(Issue)
    reverses(play, 10_00, op="y", origin="x:new", pieces=2)
    credit = play.last(Credit)
    assert credit.invoice_id == second.operation_id and credit.lines[0].line_id == "x:new"
    play.credited()
    assert [(one.line_id, one.rate) for one in play.last(Issue).lines] == [("y:new", "25.00")]


def test_an_order_that_the_marketplace_invoices_has_no_documents(play: Play) -> None:
    sold = content(line("1", 10_00, quantity=2, **RATED), tax_collection={"deemed_supplier": True})
    play.in_the_warehouse(sold, gateway="test").captured()
    reverses(play, 10_00, more=4_00).then(Remarked)
    charged(play)
    assert not [one for one in play.commands if isinstance(one, (Issue, Credit))]
    assert not {"capture_not_settled"} & play.order.remarks.keys()


# -- a line that no invoice can describe, a refund that payments could not make ---------------------------------------


def test_a_line_without_title_or_rate_has_an_owner_until_another_replaces_it(play: Play) -> None:
    """Nor has the line that it replaces: the order does not sell it."""
    reverses(invoiced(play), 10_00, origin="9").then(Remarked, ExceptionRaised)
    assert "1000 of line x:new" in play.event(ExceptionRaised).detail
    assert not [one for one in play.commands if isinstance(one, Credit)]
    reverses(play, 10_00, op="y", origin="x:new", title="Mug", rate="25.00").then(ExceptionResolved, asks=[Issue])
    assert [(one.line_id, one.amount_minor) for one in play.last(Issue).lines] == [("y:new", 10_00)]


def test_what_a_line_costs_more_that_no_invoice_describes_is_stated_and_hinders_no_completion(play: Play) -> None:
    charged(reverses(invoiced(play), 10_00, more=4_00, origin="9"))
    assert "1400 of line x:new" in play.order.exceptions["line_undescribed"].detail
    play.shipped().fulfilled()
    assert play.order.completed_at is not None


def test_a_line_that_no_invoice_describes_is_refunded_without_one(play: Play) -> None:
    reverses(invoiced(play), 10_00, origin="9")
    play.refunds(("x:new", 1)).refunded()
    assert play.event(RefundSettled).amount_minor == 10_00 and "line_undescribed" not in play.order.exceptions


def difference_not_refunded(play: Play) -> Play:
    """Payments answers its own refund of 3.00."""
    asked = payments.Refund(
        **play._person("x difference"), capture_id=facts(play)[0].capture_id, currency="EUR",
        lines=(MoneyLine(line_id="x:rest", quantity=0, amount_minor=3_00),),
    )  # fmt: skip
    play.commands.append(asked)
    return play.failed(payments.Refund)


def test_a_difference_that_payments_could_not_refund_is_asked_for_by_the_order_and_waits_for_a_person(
    play: Play,
) -> None:
    reverses(invoiced(play), 7_00, rest=3_00).credited().issued()
    difference_not_refunded(play).then(RefundOpened, asks=[payments.Refund])
    asked = play.last(payments.Refund)
    assert [(one.line_id, one.amount_minor) for one in asked.lines] == [("x:rest", 3_00)]
    assert asked.capture_id == facts(play)[0].capture_id
    play.failed(payments.Refund)
    assert "retry_refund" in allowed(play.order) and waiting(play.order)
    play.retries_refund("x difference").refunded()
    assert play.event(RefundSettled).amount_minor == 3_00
    assert sum(one.unrefunded_minor for one in facts(play)) == 7_00


def test_a_difference_that_was_refunded_elsewhere_waits_for_no_invoice(play: Play) -> None:
    """The lines of the reversal are on none."""
    reverses(invoiced(play), 0, rest=10_00).credited()
    back = (MoneyLine(line_id="x:rest", quantity=0, amount_minor=4_00),)
    asked = play.last(Authorize).model_copy(update={"operation_id": uid("at the till")})
    paid = play.refund(facts(play)[0].capture_id, back, asked)
    play.when(paid.model_copy(update={"payment": payments.PaymentName(system="till", payment_id="r1")}))
    assert play.event(RefundSettled).amount_minor == 4_00


def test_an_order_whose_lines_are_all_reversed_and_refunded_is_cancelled(play: Play) -> None:
    """As after a refund of everything."""
    reverses(invoiced(play), 0, rest=10_00).credited()
    back = (MoneyLine(line_id="x:rest", quantity=0, amount_minor=10_00),)
    asked = play.last(Authorize).model_copy(update={"operation_id": uid("x difference")})
    play.when(play.refund(facts(play)[0].capture_id, back, asked))
    play.shipments_cancelled()
    assert (play.order.status, play.order.cancel_cause) == ("cancelled", "refunded")


def test_what_is_reversed_during_a_cancel_that_is_refused_has_its_documents(play: Play) -> None:
    invoiced(play).cancels()
    reverses(play, 10_00, more=4_00)
    charged(play)
    assert not [one for one in play.commands if isinstance(one, Credit)]
    play.too_late()
    assert play.last(Credit).lines[0].line_id == "1" and play.last(Issue).capture_id == uid("charged")


def test_what_is_reversed_during_a_cancel_goes_back_with_it(play: Play) -> None:
    reverses(invoiced(play).cancels(), 7_00, rest=3_00)
    play.shipments_cancelled().credited()
    assert {one.line_id for one in play.last(payments.Refund).lines} == {"x:new", "x:rest"}
    play.refunded()
    assert sum(one.unrefunded_minor + one.uncredited_minor for one in facts(play)) == 0


# -- what refunds and cancels do with it ------------------------------------------------------------------------------


def test_a_new_line_is_refunded_from_the_capture_that_pays_it_and_its_own_invoice_credited(play: Play) -> None:
    invoiced(play)
    capture_id = facts(play)[0].capture_id
    reverses(play, 10_00).credited().issued()
    second = play.last(Issue)
    play.refunds(("x:new", 1))
    refund = play.last(payments.Refund)
    assert refund.capture_id == capture_id and [one.line_id for one in refund.lines] == ["x:new"]
    play.refunded()
    assert play.last(Credit).invoice_id == second.operation_id
    play.credited()
    assert play.event(RefundSettled).amount_minor == 10_00


@pytest.mark.parametrize("stated", [0, 2])
def test_the_pieces_of_a_dearer_line_are_refunded_with_their_share_of_what_it_cost_more(
    play: Play, stated: int
) -> None:
    """Two captures pay them: 10.00 by the reversal, 4.00 by the charge, which has no pieces of its own, though two are stated."""
    reverses(invoiced(play), 10_00, more=4_00, new_pieces=2).credited().issued()
    charged(play, pieces=stated).issued()
    play.refunds(("x:new", 1))
    assert [sum(line.amount_minor for line in part.lines) for part in play.event(RefundOpened).parts] == [2_00, 5_00]
    play.refunded().credited().refunded().credited()
    assert play.event(RefundSettled).amount_minor == 7_00
    play.refunds(("x:new", 1), op="the other").refunded().credited().refunded().credited()
    assert sum(one.unrefunded_minor + one.uncredited_minor for one in facts(play)) == 0


def test_a_cancel_gives_back_what_the_new_lines_have_and_credits_both_invoices(play: Play) -> None:
    invoiced(play)
    reverses(play, 7_00, rest=3_00).credited().issued()
    play.cancels().shipments_cancelled().credited()
    assert {one.line_id for one in play.last(payments.Refund).lines} == {"x:new", "x:rest"}
    play.refunded()
    assert sum(one.unrefunded_minor + one.uncredited_minor for one in facts(play)) == 0
    assert play.status.startswith("cancelled/refunded")


# -- a difference that is declined, money that comes after a cancel ---------------------------------------------------


def resolves(play: Play, code: str, resolution: str) -> Play:
    return play.resolves(code, resolution)


def test_a_declined_difference_has_an_owner_who_asks_again(play: Play) -> None:
    invoiced(play)
    reverses(play, 10_00, more=4_00).credited().issued()
    declined(play).then(ExceptionRaised)
    assert "400 of line x:new are unpaid" in play.event(ExceptionRaised).detail
    resolves(play, "difference_unpaid", "accept")
    again = play.last(Authorize)
    assert again.operation_id != CHARGE and again.capture and again.gateway == "test"
    assert [(one.line_id, one.amount_minor) for one in again.lines] == [("x:new", 4_00)]
    declined(play, again.operation_id).then(ExceptionRaised)
    resolves(play, "difference_unpaid", "accept")
    charged(play, captured=False, op=play.last(Authorize).operation_id)
    capture = play.last(payments.Capture)
    assert [(one.line_id, one.amount_minor) for one in capture.lines] == [("x:new", 4_00)]
    play.captured().then(PaymentChanged, asks=[Issue])


def test_a_difference_that_is_authorized_and_not_captured_has_an_owner_and_is_held_no_longer(play: Play) -> None:
    invoiced(play)
    reverses(play, 10_00, more=4_00).credited().issued()
    charged(play, captured=False)
    body = play._paid(play.last(Authorize).model_copy(update={"operation_id": uid("its capture")}))
    failed = payments.Failed(
        **body, command="capture", refers_to=CHARGE, code="authorization_expired", reason="too late"
    )
    play.when(failed).then(ExceptionRaised, asks=[payments.Void])
    assert "400 of line x:new are unpaid, authorization_expired" in play.event(ExceptionRaised).detail
    void = play.last(payments.Void)
    assert (void.authorization_id, void.expired) == (CHARGE, True)
    assert [(one.line_id, one.amount_minor) for one in void.lines] == [("x:new", 4_00)]
    play.voided()
    resolves(play, "difference_unpaid", "accept")
    assert play.last(Authorize).operation_id != CHARGE
    assert [(one.line_id, one.amount_minor) for one in play.last(Authorize).lines] == [("x:new", 4_00)]


def test_only_the_difference_that_was_declined_is_asked_for_again(play: Play) -> None:
    """The other one is with its gateway: asked for again, it would be paid twice."""
    invoiced(play)
    reverses(play, 5_00, more=4_00, pieces=1).credited().issued()
    reverses(play, 5_00, more=3_00, pieces=1, op="y", charge_id=uid("another charge")).credited().issued()
    declined(play, uid("another charge")).then(ExceptionRaised)
    assert "x:new" not in play.event(ExceptionRaised).detail
    before = len([one for one in play.commands if isinstance(one, Authorize)])
    resolves(play, "difference_unpaid", "accept")
    asked = [one for one in play.commands if isinstance(one, Authorize)][before:]
    assert [[(line.line_id, line.amount_minor) for line in one.lines] for one in asked] == [[("y:new", 3_00)]]


def test_a_difference_that_is_paid_otherwise_ends_the_exception(play: Play) -> None:
    invoiced(play)
    declined(reverses(play, 10_00, more=4_00).credited().issued())
    charged(play, op=uid("at the till"), amount=1_00)
    assert "difference_unpaid" in play.order.exceptions
    charged_rest = uid("at the till again")
    asked = play.last(Authorize).model_copy(update={"operation_id": charged_rest})
    lines = (MoneyLine(line_id="x:new", quantity=0, amount_minor=3_00),)
    play._add("authorized", lines)
    play._add("captured", lines)
    body = play._paid(asked) | {"authorization_id": charged_rest, "capture_id": uid("rest"), "gateway": "recorded"}
    play.when(payments.Authorized(**body, lines=lines, amount_minor=3_00)).then(
        PaymentChanged, ExceptionResolved, asks=[Issue]
    )
    assert "difference_unpaid" not in play.order.exceptions


def captured_late(play: Play) -> Play:
    """Recorded of an order that is cancelled."""
    play.in_the_warehouse(gateway="recorded", capture="manual")
    authorization = play.last(Authorize)
    play.cancels().shipments_cancelled().voided()
    assert play.status.startswith("cancelled/")
    lines = (MoneyLine(line_id="1", quantity=1, amount_minor=10_00),)
    return play.captured(
        payments.Capture(
            **play._person("late"), authorization_id=authorization.operation_id, currency="EUR", lines=lines
        )
    )


def test_money_that_is_captured_after_a_cancel_has_an_owner_who_refunds_it(play: Play) -> None:
    """Where money moves elsewhere, also its refund does."""
    captured_late(play).then(PaymentChanged, ExceptionRaised, asks=[payments.Refund])
    assert "captured_after_cancel" in play.order.exceptions and waiting(play.order) == "exception"
    refund = play.last(payments.Refund)
    assert refund.capture_id == uid("late") and [one.amount_minor for one in refund.lines] == [10_00]
    play.failed(payments.Refund).then(ExceptionResolved, ExceptionRaised)
    assert "not given back" in play.order.exceptions["captured_after_cancel"].detail
    resolves(play, "captured_after_cancel", "accept")
    play.refunded().then(PaymentChanged, ExceptionResolved)
    assert play.status == "cancelled/refunded/unfulfilled"
    assert waiting(play.order) == "" and not play.order.exceptions
