"""Crediting: a full credit note mirrors its invoice, has a number of its own, and comes once."""

from __future__ import annotations

from datetime import date, timedelta

from invoicing_office import NOON, STORE, Office, credit, issue, line, seller, uid

from contracts.invoicing import Credited
from invoicing.domain import billing


class TestAnIssuedInvoice:
    def test_is_mirrored_line_by_line(self) -> None:
        office = Office(seller())
        invoice = office.issued(
            issue(
                line(1999, "17"),
                line(1999, "17", line_id="2"),
                line(1999, "17", line_id="3"),
                line(7, "0", line_id="4"),
            )
        )
        command = credit(reason="sent back")
        note = office.credited(command)
        assert (note.lines, note.vat, note.seller, note.currency) == (
            invoice.lines,
            invoice.vat,
            invoice.seller,
            invoice.currency,
        )
        assert (note.net_minor, note.vat_minor, note.total_minor) == (invoice.net_minor, 871, 6004)
        assert (note.invoice_id, note.invoice_number, note.invoice_issued_on) == (
            invoice.invoice_id,
            "INV-000001",
            date(2026, 11, 21),
        )
        assert (note.credit_note_id, note.operation_id, note.reason) == (
            command.operation_id,
            command.operation_id,
            "sent back",
        )
        assert note.version == 2

    def test_is_credited_in_a_series_of_its_own(self) -> None:
        office = Office(seller())
        for n in range(1, 4):
            office.issued(issue(line(100), order=f"o{n}"))
        numbers = [office.credited(credit(order=f"o{n}")).number for n in (3, 1)]
        assert numbers == ["CN-000001", "CN-000002"]
        assert office.issued(issue(line(100), order="o4")).number == "INV-000004"

    def test_is_never_computed_anew(self) -> None:
        """The seller moved and changed its name: the credit note still mirrors, only its number is of today."""
        office = Office(seller())
        invoice = office.issued(issue(line(1170, "17", net=1000), price_basis="net"))
        office.sellers[STORE, "acme"] = seller(name="", vat_number="", credit_prefix="G/")
        note = office.credited(credit())
        assert note.seller == invoice.seller
        assert (note.series, note.number) == ("G/", "G/000001")

    def test_is_not_dated_before_it(self) -> None:
        office = Office(seller(time_zone="Pacific/Auckland"))
        invoice = office.issued(issue(line(100)))
        office.clock = NOON - timedelta(hours=20)
        note = office.credited(credit())
        assert (note.issued_at, note.issued_on) == (invoice.issued_at, invoice.issued_on)

    def test_is_not_dated_before_it_even_if_the_series_had_dated_it_ahead(self) -> None:
        """The seller moved west: its invoice kept the later day of the one before, and so does the credit note."""
        office = Office(seller(time_zone="Pacific/Auckland"))
        office.issued(issue(line(100), order="o1"))
        office.sellers[STORE, "acme"] = seller(time_zone="America/Los_Angeles")
        invoice = office.issued(issue(line(100), order="o2"))
        assert invoice.issued_on == date(2026, 11, 22)
        assert office.credited(credit(order="o2")).issued_on == invoice.issued_on

    def test_dates_of_credit_notes_do_not_run_backwards(self) -> None:
        office = Office(seller())
        for n in (1, 2):
            office.issued(issue(line(100), order=f"o{n}"))
        office.clock = NOON + timedelta(days=3)
        first = office.credited(credit(order="o1"))
        office.clock = NOON + timedelta(days=1)
        second = office.credited(credit(order="o2"))
        assert second.issued_at == first.issued_at


class TestACreditedInvoice:
    def test_is_answered_with_the_same_credit_note_and_takes_no_number(self) -> None:
        office = Office(seller())
        for n in (1, 2):
            office.issued(issue(line(100), order=f"o{n}"))
        first = office.credited(credit(order="o1", reason="first"))
        again = office.credited(credit(order="o1", operation="another", reason="second"))
        assert again.operation_id == uid("another")
        assert office.orders[uid("o1")].credits == {first.invoice_id: first}
        assert again.model_dump(exclude={"operation_id", "version"}) == first.model_dump(
            exclude={"operation_id", "version"}
        )
        assert office.credited(credit(order="o2")).number == "CN-000002"

    def test_is_not_invoiced_again_for_the_same_capture(self) -> None:
        office = Office(seller())
        first = office.issued(issue(line(100)))
        office.credited(credit())
        assert office.issued(issue(line(100), operation="another")).invoice_id == first.invoice_id

    def test_leaves_the_orders_other_invoice_alone(self) -> None:
        office = Office(seller())
        office.issued(issue(line(100), capture="c1"))
        office.issued(issue(line(200), capture="c2"))
        assert office.credited(credit(invoice="invoice c2")).total_minor == 200
        assert office.credited(credit(invoice="invoice c1")).total_minor == 100
        assert len(office.orders[uid("o1")].credits) == 2


class TestANo:
    def test_an_unknown_invoice_is_not_credited(self) -> None:
        office = Office(seller())
        rejected = office.failed(credit())
        assert (rejected.code, rejected.command) == ("invoice_unknown", "invoicing.credit")

    def test_an_invoice_of_another_order_is_unknown(self) -> None:
        office = Office(seller())
        office.issued(issue(line(100), order="o2"))
        assert office.failed(credit(order="o1", invoice="invoice capture of o2")).code == "invoice_unknown"

    def test_a_seller_that_is_gone_credits_nothing(self) -> None:
        office = Office(seller())
        office.issued(issue(line(100)))
        del office.sellers[STORE, "acme"]
        assert office.failed(credit()).code == "seller_unknown"

    def test_takes_no_number(self) -> None:
        office = Office(seller())
        office.issued(issue(line(100)))
        office.failed(credit(order="o7"))
        assert office.credited(credit()).number == "CN-000001"


def test_a_restored_order_knows_a_credit_whose_invoice_is_read_later() -> None:
    """Published events alone rebuild an order, in whatever state the backup was."""
    office = Office(seller())
    office.issued(issue(line(100)))
    note = office.credited(credit())
    assert isinstance(note, Credited)
    state = billing.initial(uid("o1"), STORE)
    for event in (office.journal[1], office.journal[0], office.journal[1], office.journal[0]):
        state = billing.evolve(state, event)  # type: ignore[arg-type]
    assert state == office.orders[uid("o1")]
