"""What payments, fulfillment and invoicing answer to the order of a play."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Self
from uuid import UUID

from orders_engine import Engine
from orders_words import NOW, ORDER, STORE, uid

from contracts import fulfillment, invoicing, payments
from contracts.base import Command
from contracts.differences import DifferencesChanged, OpenDifference
from contracts.snapshot import Address


class Answers(Engine):
    # -- payments -------------------------------------------------------------------------------------------------------

    def authorized(self, command: payments.Authorize | None = None, capture_id: UUID | None = None) -> Self:
        """capture_id: the gateway has captured it in the same call."""
        asked = command or self.last(payments.Authorize)
        amount = self._add("authorized", asked.lines)
        if capture_id is not None:
            self._add("captured", asked.lines)
        return self.when(payments.Authorized(
            **self._paid(asked), authorization_id=asked.operation_id, capture_id=capture_id, gateway=asked.gateway,
            lines=asked.lines, amount_minor=amount,
        ))  # fmt: skip

    def pending(self) -> Self:
        asked = self.last(payments.Authorize)
        return self.when(payments.Pending(**self._paid(asked), command="authorize", since=self.now))

    def declined(self, code: str = "no_funds", session_id: UUID | None = None) -> Self:
        asked = self._paid(self.last(payments.Authorize))
        return self.when(payments.Declined(**asked, amount_minor=1, code=code, session_id=session_id))

    def captured(self, command: payments.Capture | None = None, capture_id: UUID | None = None) -> Self:
        asked = command or self.last(payments.Capture)
        amount = self._add("captured", asked.lines)
        return self.when(payments.Captured(
            **self._paid(asked), capture_id=capture_id or asked.operation_id, authorization_id=asked.authorization_id,
            lines=asked.lines, amount_minor=amount,
        ))  # fmt: skip

    def voided(self, amount_minor: int = 0) -> Self:
        """What was asked for; without lines, this amount or all that is left of all authorizations."""
        asked = self.last(payments.Void)
        left = self.money["authorized"] - self.money["captured"] - self.money["voided"]
        left = sum(one.amount_minor for one in asked.lines) or amount_minor or left
        self.money["voided"] += left
        return self.when(payments.Voided(
            **self._paid(asked), authorization_id=asked.authorization_id, lines=asked.lines, amount_minor=left
        ))  # fmt: skip

    def refunded(self) -> Self:
        asked = self.last(payments.Refund)
        return self.when(self.refund(asked.capture_id, asked.lines, asked))

    def refund(
        self, capture: UUID, lines: Iterable[payments.MoneyLine], asked: Command | None = None
    ) -> payments.Refunded:
        """The answer to a command; without one, a refund that no order asked for."""
        asked = asked or self.last(payments.Capture).model_copy(update={"operation_id": uid("refund elsewhere")})
        lines = tuple(lines)
        amount = self._add("refunded", lines)
        return payments.Refunded(
            **self._paid(asked), refund_id=asked.operation_id, capture_id=capture, lines=lines, amount_minor=amount
        )

    def failed(self, model: type[Command], code: Any = "gateway_refused", later: bool = False) -> Self:
        body = self._paid(self.last(model))
        return self.when(payments.Failed(**body, command=model.TYPE.partition(".")[2], code=code, later=later))

    def contradicted(self, target: UUID, recorded: Any = "succeeded", reported: Any = "failed") -> Self:
        """The gateway reports another outcome than a person stated."""
        return self.when(payments.Contradicted(
            order_id=ORDER, store_id=STORE, currency="EUR", target_operation_id=target, command="capture",
            recorded_outcome=recorded, reported_outcome=reported, amount_minor=10_00, gateway="test", gateway_reference="tg_1",
        ))  # fmt: skip

    def expiring(self, authorization_id: UUID, amount_minor: int = 10_00) -> Self:
        """The issuer holds what is left of an authorization for one more day."""
        body = {
            "order_id": ORDER,
            "store_id": STORE,
            "currency": "EUR",
            "gateway": "stripe",
            "held_until": NOW + timedelta(days=1),
        }
        return self.when(payments.ExpiryAnnounced(**body, authorization_id=authorization_id, amount_minor=amount_minor))

    def disputed(self, reference: str = "dp_1", **more: Any) -> Self:
        """The buyer disputes a payment."""
        body = {
            "order_id": ORDER,
            "store_id": STORE,
            "currency": "EUR",
            "dispute_id": uid(reference),
            "gateway": "stripe",
        }
        return self.when(payments.DisputeOpened(**body, reference=reference, amount_minor=10_00, **more))

    def books_differ(self, *amounts: int) -> Self:
        """The differences of the order that are open at payments."""
        given: dict[str, Any] = {"gateway": "stripe", "kind": "not_booked", "proposal": "book", "currency": "EUR"}
        found = tuple(
            OpenDifference(**given, difference_id=uid(f"difference {amount}"), amount_minor=amount)
            for amount in amounts
        )
        return self.when(DifferencesChanged(order_id=ORDER, store_id=STORE, open=found))

    def dispute_ends(self, outcome: Any, reference: str = "dp_1") -> Self:
        body = {
            "order_id": ORDER,
            "store_id": STORE,
            "currency": "EUR",
            "dispute_id": uid(reference),
            "gateway": "stripe",
        }
        return self.when(payments.DisputeClosed(**body, reference=reference, amount_minor=10_00, outcome=outcome))

    def _add(self, what: str, lines: Iterable[payments.MoneyLine]) -> int:
        amount = sum(one.amount_minor for one in lines)
        self.money[what] += amount
        return amount

    def _paid(self, asked: Command) -> dict[str, Any]:
        self.payments_version += 1
        totals = payments.MoneyTotals(**{f"{name}_minor": amount for name, amount in self.money.items()})
        return {**_answer(asked), "version": self.payments_version, "currency": "EUR", "totals": totals}

    # -- fulfillment ----------------------------------------------------------------------------------------------------

    def reserved(self) -> Self:
        asked = self.last(fulfillment.Reserve)
        return self.when(fulfillment.Reserved(**_answer(asked), lines=self._goods(asked)))

    def short(self) -> Self:
        return self.when(fulfillment.OutOfStock(**_answer(self.last(fulfillment.Reserve)), short=()))

    def released(self) -> Self:
        return self.when(fulfillment.Released(**_answer(self.last(fulfillment.Release)), lines=()))

    def started(self, at: Mapping[str, str] | None = None) -> Self:
        """`at`: line id -> location; else all at main."""
        self.parcels: dict[str, tuple[fulfillment.PlacedLine, ...]] = {}
        for one in self._goods(self.last(fulfillment.Reserve), at or {}):
            self.parcels[one.location] = (*self.parcels.get(one.location, ()), one)
        plans = tuple(
            fulfillment.ShipmentPlan(shipment_id=uid(location), location=location, lines=lines)
            for location, lines in self.parcels.items()
        )
        return self.when(fulfillment.Started(**_answer(self.last(fulfillment.Start)), shipments=plans))

    def shipped(self, location: str = "main") -> Self:
        body = {"order_id": ORDER, "store_id": STORE, "operation_id": uid(f"ship {location}")}
        lines = self.parcels[location]
        return self.when(fulfillment.Shipped(**body, shipment_id=uid(location), location=location, lines=lines))

    def delivered(self, location: str = "main") -> Self:
        return self.when(fulfillment.Delivered(order_id=ORDER, store_id=STORE, shipment_id=uid(location)))

    def fulfilled(self) -> Self:
        return self.when(fulfillment.Fulfilled(**_answer(self.last(fulfillment.Start))))

    def shipments_cancelled(self, asked: Command | None = None) -> Self:
        asked = asked or self.last(fulfillment.CancelShipments)
        return self.when(fulfillment.ShipmentsCancelled(**_answer(asked), lines=()))

    def suspended(self, asked: Command | None = None) -> Self:
        asked = asked or self.last(fulfillment.Suspend)
        return self.when(fulfillment.Suspended(**_answer(asked), since=self.now, shipped=()))

    def resumed(self) -> Self:
        asked = self.last(fulfillment.Resume)
        return self.when(fulfillment.Resumed(**_answer(asked), suspension_id=asked.suspension_id))

    def too_late(self) -> Self:
        return self.when(fulfillment.TooLate(**_answer(self.last(fulfillment.CancelShipments)), shipped=(uid("main"),)))

    def reduced(self) -> Self:
        """The warehouse gives back all that is asked for: the open shipments have nothing left."""
        asked = self.last(fulfillment.Reduce)
        open_ = [one for one in self.order.facts.shipments.values() if one.status == "picking"]
        plans = tuple(
            fulfillment.ShipmentPlan(shipment_id=one.shipment_id, location=one.location, lines=()) for one in open_
        )
        return self.when(fulfillment.Reduced(**_answer(asked), lines=(), shipments=plans))

    def extended(self) -> Self:
        """More pieces, at main; once the order is started they join its shipment."""
        asked = self.last(fulfillment.Extend)
        return self.when(
            fulfillment.Extended(**_answer(asked), lines=self._goods(asked), shipments=self._replanned(asked, 1))
        )

    def partly_reduced(self) -> Self:
        """Fewer pieces, of the shipment at main."""
        asked = self.last(fulfillment.Reduce)
        return self.when(fulfillment.Reduced(**_answer(asked), lines=(), shipments=self._replanned(asked, -1)))

    def _replanned(
        self, asked: fulfillment.Extend | fulfillment.Reduce, sign: int
    ) -> tuple[fulfillment.ShipmentPlan, ...]:
        if "main" not in getattr(self, "parcels", {}):
            return ()
        pieces = {one.line_id: one.quantity for one in self.parcels["main"]}
        for one in asked.lines:
            pieces[one.line_id] = pieces.get(one.line_id, 0) + sign * one.quantity
        self.parcels["main"] = tuple(
            fulfillment.PlacedLine(line_id=name, sku=f"SKU-{name}", location="main", quantity=quantity)
            for name, quantity in pieces.items()
            if quantity
        )
        return (fulfillment.ShipmentPlan(shipment_id=uid("main"), location="main", lines=self.parcels["main"]),)

    def out_of_stock(self) -> Self:
        return self.when(fulfillment.OutOfStock(**_answer(self.last(fulfillment.Extend)), short=()))

    def restocked(self) -> Self:
        return self.when(fulfillment.Restocked(**_answer(self.last(fulfillment.Restock)), lines=()))

    def too_late_to_reduce(self) -> Self:
        return self.when(fulfillment.TooLate(**_answer(self.last(fulfillment.Reduce)), shipped=(uid("main"),)))

    def _goods(
        self, asked: fulfillment.Reserve | fulfillment.Extend, at: Mapping[str, str] | None = None
    ) -> tuple[fulfillment.PlacedLine, ...]:
        return tuple(
            fulfillment.PlacedLine(
                line_id=one.line_id, sku=one.sku, location=(at or {}).get(one.line_id, "main"), quantity=one.quantity
            )
            for one in asked.lines
        )

    # -- invoicing ------------------------------------------------------------------------------------------------------

    def issued(self, command: invoicing.Issue | None = None) -> Self:
        asked = command or self.last(invoicing.Issue)
        return self.when(invoicing.Issued(
            **_answer(asked), **_document(asked.lines), invoice_id=asked.operation_id, capture_id=asked.capture_id,
            order_number=asked.order_number, order_placed_at=asked.order_placed_at, price_basis=asked.price_basis, buyer=asked.buyer,
        ))  # fmt: skip

    def credited(self, lines: Iterable[payments.MoneyLine] = ()) -> Self:
        """What is asked for, or these lines of the invoice; without either, what is left of it."""
        asked = self.last(invoicing.Credit)
        wanted = [payments.MoneyLine(**one.model_dump()) for one in asked.lines]
        return self.when(self.credit_note(asked.operation_id, asked.invoice_id, lines or wanted))

    def credit_note(
        self, operation: UUID, invoice: UUID, lines: Iterable[payments.MoneyLine] = (), note: str = ""
    ) -> invoicing.Credited:
        capture = next(one for one in self.order.facts.captures.values() if one.invoice_id == invoice)
        left = [payments.MoneyLine(line_id=one.line_id, quantity=one.quantity, amount_minor=one.amount_minor - one.credited_minor)
                for one in capture.lines]  # fmt: skip
        wanted = [
            invoicing.InvoiceLineWanted(line_id=one.line_id, title="", quantity=one.quantity, amount_minor=one.amount_minor, rate="0")
            for one in lines or left
        ]  # fmt: skip
        self.invoicing_version += 1
        return invoicing.Credited(
            order_id=ORDER, store_id=STORE, operation_id=operation, version=self.invoicing_version, **_document(wanted), credit_note_id=uid(note) if note else operation,
            invoice_id=invoice, invoice_number="INV-000001", invoice_issued_on=NOW.date(),
        )  # fmt: skip

    def rejected(self, model: type[Command] = invoicing.Issue) -> Self:
        asked = self.last(model)
        return self.when(invoicing.Failed(
            **_answer(asked), command=asked.TYPE, code="seller_incomplete", reason="seller acme lacks vat_number"
        ))  # fmt: skip


def _answer(asked: Command) -> dict[str, Any]:
    return {"order_id": ORDER, "store_id": STORE, "operation_id": asked.operation_id}


def _document(lines: Iterable[invoicing.InvoiceLineWanted]) -> dict[str, Any]:
    lines = tuple(lines)
    total = sum(one.amount_minor for one in lines)
    seller = invoicing.Seller(code="acme", name="Acme", address=Address(), vat_number="LU1", time_zone="UTC")
    return {
        "series": "INV-", "number": "INV-000001", "sequence": 1, "issued_at": NOW, "issued_on": NOW.date(), "currency": "EUR",
        "net_minor": total, "vat_minor": 0, "total_minor": total, "vat": (), "seller": seller,
        "lines": tuple(
            invoicing.InvoiceLine(line_id=one.line_id, title=one.title, quantity=one.quantity, rate=one.rate,
                                  net_minor=one.amount_minor, vat_minor=0, gross_minor=one.amount_minor)
            for one in lines
        ),
    }  # fmt: skip
