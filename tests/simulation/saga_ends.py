"""What has to hold of an order once nothing of it is under way any more: in the books of all four services, line by line."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from saga_checks import shipped
from saga_payers import Payers

from contracts.orders import Edited
from orders.domain.content.amounts import payable
from orders.domain.processes import edited, rebill, refunded
from orders.domain.state.order import Order, is_invoiced

OF_SESSIONS: Final = ("prepay", "return")
"""What a buyer pays before the order asks for it, also of an order that never does."""


class Ends(Payers):
    def check_final(self, key: UUID, order: Order) -> None:
        self.check_refunds(key, order)
        self.check_edits(key, order)
        ledger = self.world.payments.states().get(key)
        fulfillment = self.world.fulfillment.states().get(key)
        billing = self.world.invoicing.states().get(key)
        money = ledger.totals() if ledger else order.facts.money
        assert order.facts.money == money, "orders has the totals of payments"
        if ledger is not None:
            assert not any(one.is_open for one in ledger.operations.values())
            paid = [one.prepayment for one in ledger.sessions.values() if one.prepayment is not None]
            assert all(one.state == "retained" or not one.amount_minor for one in paid), (
                "what a session has paid waits for no order"
            )
        if order.status == "cancelled":
            assert money.refunded_minor == money.captured_minor
            assert money.captured_minor + money.voided_minor == money.authorized_minor
            assert fulfillment is None or not fulfillment.held
            for invoice in billing.invoices.values() if billing else ():
                assert invoice.credited_minor == invoice.total_minor
            # A capture was invoiced and its invoice credited, or it was refunded without either.
            invoiced = {one.capture_id: one.total_minor for one in billing.invoices.values()} if billing else {}
            for capture_id in ledger.captures if ledger else ():
                if ledger.captures[capture_id].gift_card_id is not None:
                    continue  # a part of another capture
                taken = self.world.invoiced_minor(ledger, capture_id)
                assert invoiced.get(capture_id, taken) == taken
            open_shipments = [one for one in fulfillment.shipments if one.status == "picking"] if fulfillment else []
            assert not open_shipments
            if order.cancel_cause != "refunded":
                assert not any(shipment.has_shipped for shipment in fulfillment.shipments) if fulfillment else True
            assert not order.exceptions
        elif order.facts.undone is not None and "place" in order.runs:
            assert order.completed_at is not None, f"{order.status} {order.payment_status} {order.fulfillment_status}"
            self.check_placed_anew(order)
        elif "place" in order.runs:
            assert order.completed_at is not None, f"{order.status} {order.payment_status} {order.fulfillment_status}"
            assert order.content is not None
            if not edited.of_order(order) and key not in self.reversed:
                # an authorization that has expired is voided, and renewed
                assert money.captured_minor == money.authorized_minor - money.voided_minor == order.grand_minor
            invoices = billing.invoices.values() if billing else ()
            if key in self.reversed:
                kept = sum(one.total_minor - one.credited_minor for one in invoices)
                undescribed = sum(rebill.undescribed(order.facts).values())
                paid = money.captured_minor - money.refunded_minor - undescribed
                assert key in self.refunded_elsewhere or kept == (paid if is_invoiced(order) else 0)
            else:
                total = sum(one.total_minor for one in invoices)
                assert total == (money.captured_minor if is_invoiced(order) else 0)
        else:
            assert order.status in ("pending", "approved")  # recorded: the marketplace carries it, or has to state more
            asked = [one for one in ledger.operations.values() if one.kind not in OF_SESSIONS] if ledger else []
            assert order.facts.undone is not None or (not asked and fulfillment is None and billing is None)

    def check_refunds(self, key: UUID, order: Order) -> None:
        """Per line, at most what was captured has come back; what is invoiced is credited by exactly that."""
        for capture in order.facts.captures.values():
            for line in capture.lines:
                assert line.refunded_minor <= line.amount_minor
                if capture.invoice_id is not None and key not in self.refunded_elsewhere:
                    assert line.credited_minor == (line.gone_minor if line.billed else 0), f"{key}: {line}"
        for run in refunded.of_order(order.runs):
            data = refunded.data_of(run)
            if refunded.state_of(run) == "settled":
                assert data.refunded_minor == data.amount_minor

    def check_edits(self, key: UUID, order: Order) -> None:
        """What is shipped and paid at the end is what is sold; the history of each line adds up to it."""
        assert order.content is not None and order.wanted is None
        sold = {row.line_id: row for row in payable(order.content)}
        for line_id in order.line_rows if order.facts.undone is None else ():
            rows = [row for event in self.world.orders.journal if isinstance(event, Edited) and event.order_id == key
                    for row in event.lines if row.line_id == line_id and row.kind != "refund"]  # fmt: skip
            last = (sold[line_id].quantity, sold[line_id].amount_minor) if line_id in sold else (0, 0)
            assert (sum(row.quantity for row in rows), sum(row.amount_minor for row in rows)) == last
        if order.status == "cancelled" or order.facts.undone is not None or not edited.of_order(order):
            return
        assert shipped(order) == {line_id: row.quantity for line_id, row in sold.items() if row.ships}
        by_people = any(refunded.data_of(run).cause != "edit" for run in refunded.of_order(order.runs))
        if not by_people and key not in self.refunded_elsewhere | self.reversed:
            money = order.facts.money
            assert money.captured_minor - money.refunded_minor == order.grand_minor
            assert money.captured_minor + money.voided_minor == money.authorized_minor

    def check_placed_anew(self, order: Order) -> None:
        """All that is sold has shipped, and it was paid since: nothing of the cancelled attempt counts."""
        assert order.content is not None and order.facts.undone is not None
        assert shipped(order) == {row.line_id: row.quantity for row in payable(order.content) if row.ships}
        if not edited.of_order(order):
            assert order.facts.money.captured_minor - order.facts.undone.captured_minor == order.grand_minor
