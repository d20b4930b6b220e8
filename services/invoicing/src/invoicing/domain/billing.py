"""The invoices and credit notes of one order. A capture is invoiced once, an invoice is credited at most in full, nothing
changes after.

A no takes no number. Checks of `issue`, in this order: invoice_empty, seller_unknown, seller_incomplete;
of `credit`: invoice_unknown, line_unknown, invoice_exceeded, credit_empty, seller_unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, assert_never
from uuid import UUID

from pydantic import Field

from contracts.base import Command, Document
from contracts.deciding import Context, Effect
from contracts.invoicing import Credit, Credited, CreditLine, Failed, FailureCode, InvoiceLine, Issue, Issued
from contracts.vat import NOTHING, CreditedLine, assess, credited, groups_of
from invoicing.domain.sellers import SellerTerms
from invoicing.domain.series import Numbering, SeriesKey, stamp

BillingEvent = Issued | Credited | Failed


class Invoice(Document):
    """How much of an invoice is credited. The documents themselves are rows of the table `documents`."""

    invoice_id: UUID
    capture_id: UUID
    seller: str
    total_minor: int
    credited: Mapping[str, CreditedLine] = {}
    """By line id."""
    last_credit_note: UUID | None = None

    @property
    def credited_minor(self) -> int:
        return sum(line.gross_minor for line in self.credited.values())

    def with_credited(self, note: Credited) -> Invoice:
        """A note that is stated again counts once: only the last one of an invoice ever is."""
        if note.credit_note_id == self.last_credit_note:
            return self
        credited = {**self.credited}
        for line in note.lines:
            credited[line.line_id] = credited.get(line.line_id, NOTHING).plus(line)
        return self.model_copy(update={"credited": credited, "last_credit_note": note.credit_note_id})


class Billings(Document):
    schema_version: int = 1
    store_id: str = ""
    invoices: dict[UUID, Invoice] = Field(default_factory=dict)
    """By invoice id."""

    def invoice_of(self, capture_id: UUID) -> Invoice | None:
        return next((invoice for invoice in self.invoices.values() if invoice.capture_id == capture_id), None)


class DocumentKey(NamedTuple):
    """An invoice or a credit note as it was issued."""

    document_id: UUID


def initial(key: UUID, store_id: str) -> Billings:
    return Billings(store_id=store_id)


def needs(billings: Billings, message: Any) -> Iterable[SeriesKey]:
    """The series that a decision may number from, as far as this state has it."""
    match message:
        case Issue():
            known = billings.invoice_of(message.capture_id)
            yield SeriesKey(message.store_id, known.seller if known else message.seller, "invoice")
        case Credit():
            if invoice := billings.invoices.get(message.invoice_id):
                yield SeriesKey(message.store_id, invoice.seller, "credit")


def needs_documents(billings: Billings, message: Any) -> Iterable[DocumentKey]:
    """The documents that deciding mirrors or states again. A first invoice needs none."""
    match message:
        case Issue():
            if known := billings.invoice_of(message.capture_id):
                yield DocumentKey(known.invoice_id)
        case Credit():
            if invoice := billings.invoices.get(message.invoice_id):
                yield DocumentKey(invoice.invoice_id)
                if (last := _stated_again(invoice, message)) is not None:
                    yield DocumentKey(last)


def _stated_again(invoice: Invoice, command: Credit) -> UUID | None:
    """The last credit note of an invoice that is credited in full, if all that is left of it is to be credited."""
    is_whole = invoice.credited_minor == invoice.total_minor
    return invoice.last_credit_note if is_whole and not command.lines else None


def issue(billings: Billings, command: Issue, context: Context) -> list[Effect]:
    """Invoice a capture. Asked again under another operation, the same invoice is stated again, without a new number."""
    if known := billings.invoice_of(command.capture_id):
        return [_again(context.shares[DocumentKey(known.invoice_id)], command)]
    total = sum(line.amount_minor for line in command.lines)
    if total == 0:
        return [_failed(command, context, "invoice_empty", "the lines add up to nothing")]
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
    """Credit an invoice or a part of it: rates, titles and parties are those of the invoice, only the number is new."""
    known = billings.invoices.get(command.invoice_id)
    if known is None:
        return [_failed(command, context, "invoice_unknown", f"this order has no invoice {command.invoice_id}")]
    if (last := _stated_again(known, command)) is not None:
        return [_again(context.shares[DocumentKey(last)], command)]
    invoice: Issued = context.shares[DocumentKey(known.invoice_id)]
    try:
        lines = _credited_lines(invoice, known.credited, command.lines)
    except LookupError as error:
        return [_failed(command, context, "line_unknown", str(error.args[0]))]
    except ValueError as error:
        return [_failed(command, context, "invoice_exceeded", str(error))]
    total, vat = sum(line.gross_minor for line in lines), sum(line.vat_minor for line in lines)
    if total == 0:
        return [_failed(command, context, "credit_empty", "the lines add up to nothing")]
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
            net_minor=total - vat,
            vat_minor=vat,
            total_minor=total,
            vat=groups_of(lines),
            lines=lines,
            seller=invoice.seller,
            **stamped._asdict(),
        )
    ]


def _credited_lines(
    invoice: Issued, credited_before: Mapping[str, CreditedLine], wanted: Sequence[CreditLine]
) -> tuple[InvoiceLine, ...]:
    """The lines of a credit note; without wanted lines, everything that is left. Raises LookupError for a line that the
    invoice does not have, ValueError if more is wanted than is left."""
    before = {line.line_id: credited_before.get(line.line_id, NOTHING) for line in invoice.lines}
    if not wanted:
        left = [(line, *_left(line, before[line.line_id])) for line in invoice.lines]
        return tuple(
            credited(line, before[line.line_id], quantity, amount)
            for line, quantity, amount in left
            if quantity or amount or not credited_before
        )
    by_id, lines = {line.line_id: line for line in invoice.lines}, []
    for one in wanted:
        if one.line_id not in by_id:
            raise LookupError(f"invoice {invoice.number} has no line {one.line_id}")
        line = credited(by_id[one.line_id], before[one.line_id], one.quantity, one.amount_minor)
        before[one.line_id] = before[one.line_id].plus(line)
        lines.append(line)
    return tuple(lines)


def _left(line: InvoiceLine, before: CreditedLine) -> tuple[int, int]:
    """Pieces and gross amount that are not credited yet."""
    return line.quantity - before.quantity, line.gross_minor - before.gross_minor


def evolve(billings: Billings, event: BillingEvent) -> Billings:
    match event:
        case Issued():
            if event.invoice_id in billings.invoices:
                return billings
            invoice = Invoice(
                invoice_id=event.invoice_id, capture_id=event.capture_id, seller=event.seller.code, total_minor=event.total_minor
            )  # fmt: skip
            return _with(billings, invoice)
        case Credited():
            return _with(billings, billings.invoices[event.invoice_id].with_credited(event))
        case Failed():
            return billings
        case _:
            assert_never(event)


def _with(billings: Billings, invoice: Invoice) -> Billings:
    return billings.model_copy(update={"invoices": {**billings.invoices, invoice.invoice_id: invoice}})


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
