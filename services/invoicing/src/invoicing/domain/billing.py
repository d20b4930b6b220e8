"""The invoices and credit notes of one order. A capture is invoiced once, an invoice is credited once, nothing changes after.

A no takes no number. Checks of `issue`, in this order: nothing_to_invoice, seller_unknown, seller_incomplete;
of `credit`: invoice_unknown, seller_unknown.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, assert_never
from uuid import UUID

from pydantic import Field

from contracts.base import Command, Document
from contracts.deciding import Context, Effect
from contracts.invoicing import Credit, Credited, Failed, FailureCode, Issue, Issued
from invoicing.domain.sellers import SellerTerms
from invoicing.domain.series import Numbering, SeriesKey, stamp
from invoicing.domain.vat import assess

BillingEvent = Issued | Credited | Failed


class Billings(Document):
    schema_version: int = 1
    store_id: str = ""
    invoices: dict[UUID, Issued] = Field(default_factory=dict)
    """By invoice id, whole: what was issued is stated again word for word, and a credit note mirrors it."""
    credits: dict[UUID, Credited] = Field(default_factory=dict)
    """By the id of the invoice that they credit."""

    def invoice_of(self, capture_id: UUID) -> Issued | None:
        return next((invoice for invoice in self.invoices.values() if invoice.capture_id == capture_id), None)


def initial(key: UUID, store_id: str) -> Billings:
    return Billings(store_id=store_id)


def needs(billings: Billings, message: Any) -> Iterable[SeriesKey]:
    """The series that deciding may number from, as far as this state knows it."""
    match message:
        case Issue():
            known = billings.invoice_of(message.capture_id)
            yield SeriesKey(message.store_id, known.seller.code if known else message.seller, "invoice")
        case Credit():
            if invoice := billings.invoices.get(message.invoice_id):
                yield SeriesKey(message.store_id, invoice.seller.code, "credit")


def issue(billings: Billings, command: Issue, context: Context) -> list[Effect]:
    """Invoice a capture. Asked again under another operation, the same invoice is stated again, without a new number."""
    if known := billings.invoice_of(command.capture_id):
        return [_again(known, command)]
    total = sum(line.amount_minor for line in command.lines)
    if total == 0:
        return [_failed(command, context, "nothing_to_invoice", "the lines add up to nothing")]
    numbering, seller = _locked(context, SeriesKey(context.store_id, command.seller, "invoice"))
    if seller is None:
        return [_failed(command, context, "seller_unknown", f"no seller {command.seller} in this store")]
    if missing := seller.missing():
        return [_failed(command, context, "seller_incomplete", f"seller {seller.code} lacks {', '.join(missing)}")]

    groups, lines = assess(command.lines)
    vat = sum(line.vat_minor for line in lines)
    assert sum(line.net_minor for line in lines) == total - vat and sum(group.vat_minor for group in groups) == vat
    stamped = stamp(numbering, seller, "invoice", seller.time_zone, context.now)
    issued = Issued(
        order_id=context.key,
        store_id=context.store_id,
        operation_id=command.operation_id,
        invoice_id=command.operation_id,
        capture_id=command.capture_id,
        order_number=command.order_number,
        order_placed_at=command.order_placed_at,
        price_basis=command.price_basis,
        buyer=command.buyer,
        bill_to=command.bill_to,
        ship_to=command.ship_to,
        currency=command.currency,
        net_minor=total - vat,
        vat_minor=vat,
        total_minor=total,
        vat=groups,
        lines=lines,
        seller=seller.as_printed(),
        **stamped._asdict(),
    )
    return [issued]


def credit(billings: Billings, command: Credit, context: Context) -> list[Effect]:
    """Credit an invoice in full: its lines, rates, amounts and parties as they stand on it, only the number is new."""
    invoice = billings.invoices.get(command.invoice_id)
    if invoice is None:
        return [_failed(command, context, "invoice_unknown", f"this order has no invoice {command.invoice_id}")]
    if known := billings.credits.get(invoice.invoice_id):
        return [_again(known, command)]
    numbering, seller = _locked(context, SeriesKey(context.store_id, invoice.seller.code, "credit"))
    if seller is None:
        return [_failed(command, context, "seller_unknown", f"no seller {invoice.seller.code} in this store")]

    stamped = stamp(numbering, seller, "credit", invoice.seller.time_zone, context.now, follows=invoice)
    return [
        Credited(
            order_id=context.key,
            store_id=context.store_id,
            operation_id=command.operation_id,
            credit_note_id=command.operation_id,
            invoice_id=invoice.invoice_id,
            invoice_number=invoice.number,
            invoice_issued_on=invoice.issued_on,
            reason=command.reason,
            currency=invoice.currency,
            net_minor=invoice.net_minor,
            vat_minor=invoice.vat_minor,
            total_minor=invoice.total_minor,
            vat=invoice.vat,
            lines=invoice.lines,
            seller=invoice.seller,
            **stamped._asdict(),
        )
    ]


def evolve(billings: Billings, event: BillingEvent) -> Billings:
    match event:
        case Issued():
            if event.invoice_id in billings.invoices:
                return billings
            return billings.model_copy(update={"invoices": {**billings.invoices, event.invoice_id: event}})
        case Credited():
            if event.invoice_id in billings.credits:
                return billings
            return billings.model_copy(update={"credits": {**billings.credits, event.invoice_id: event}})
        case Failed():
            return billings
        case _:
            assert_never(event)


def _locked(context: Context, key: SeriesKey) -> tuple[Numbering, SellerTerms | None]:
    numbering = context.shares[key] or Numbering()
    return numbering, numbering.seller


def _again(known: Issued | Credited, command: Command) -> Effect:
    """The same document, word for word, as the answer to another operation."""
    return known.model_copy(update={"operation_id": command.operation_id, "version": 0})


def _failed(command: Command, context: Context, code: FailureCode, reason: str) -> Failed:
    return Failed(
        order_id=context.key,
        store_id=context.store_id,
        operation_id=command.operation_id,
        command=command.TYPE,
        code=code,
        reason=reason,
    )
