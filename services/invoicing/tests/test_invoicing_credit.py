"""Crediting: a full credit note mirrors its invoice, has a number of its own, and comes once."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from invoicing_office import NOON, STORE, Office, credit, issue, line, seller, uid

from contracts.invoicing import Credited
from contracts.money import split
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
        """The seller moved west: its invoice has the later day of the one before, and so does the credit note."""
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
        assert [one for one in office.documents(Credited) if one.order_id == uid("o1")] == [first]
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
        assert len(office.documents(Credited)) == 2


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


class TestAPartOfAnInvoice:
    def test_is_credited_in_thirds_that_add_up(self) -> None:
        """3 pieces for 100.00 at 23 %: VAT 18.70 comes back as 6.23, 6.24 and 6.23."""
        office = Office(seller())
        office.issued(issue(line(10000, "23", quantity=3)))
        amounts = (3333, 3334, 3333)
        notes = [office.credited(credit(("1", 1, one), operation=f"part {n}")) for n, one in enumerate(amounts)]
        assert [note.vat_minor for note in notes] == [623, 624, 623]
        assert [note.total_minor for note in notes] == [3333, 3334, 3333]
        assert office.failed(credit(("1", 0, 1), operation="one more")).code == "invoice_exceeded"

    def test_leaves_the_rest_to_a_full_credit(self) -> None:
        office = Office(seller())
        invoice = office.issued(issue(line(10000, "23", quantity=3), line(500, "7", line_id="2")))
        part = office.credited(credit(("1", 1, 3333), operation="part"))
        rest = office.credited(credit(operation="rest"))
        assert [(one.line_id, one.quantity, one.gross_minor) for one in rest.lines] == [("1", 2, 6667), ("2", 1, 500)]
        assert part.vat_minor + rest.vat_minor == invoice.vat_minor
        assert office.credited(credit(operation="again")).credit_note_id == rest.credit_note_id

    def test_has_the_same_answer_for_the_same_operation(self) -> None:
        office = Office(seller())
        office.issued(issue(line(1000)))
        first = office.credited(credit(("1", 0, 100), operation="part"))
        assert office.credited(credit(("1", 0, 100), operation="part")) == first

    def test_is_not_of_another_invoice_nor_of_nothing(self) -> None:
        office = Office(seller())
        office.issued(issue(line(1000, quantity=2)))
        assert office.failed(credit(("7", 1, 1), operation="a")).code == "line_unknown"
        assert office.failed(credit(("1", 1, 0), operation="b")).code == "credit_empty"
        assert office.failed(credit(("1", 3, 1), operation="c")).code == "invoice_exceeded"
        assert office.failed(credit(("1", 1, 600), ("1", 1, 600), operation="d")).code == "invoice_exceeded"


TAXED = st.one_of(
    st.tuples(st.integers(0, 3000), st.sampled_from(["0", "7", "23"]), st.none()),
    st.tuples(st.integers(3, 3000), st.none(), st.lists(st.integers(0, 300), min_size=2, max_size=4)),
)


def taxed(place: int, amount: int, rate: str | None, parts: list[int] | None, pieces: int) -> dict[str, Any]:
    """A line of one rate, or of several stated taxes."""
    told = line(amount, rate or "0", line_id=str(place), quantity=pieces)
    if parts is not None:
        vats = split(min(sum(parts), amount // 2), parts) if any(parts) else [0] * len(parts)
        taxes = [{"rate": f"{n + 1}", "vat_minor": vat} for n, vat in enumerate(vats)]
        told |= {"rate": None, "vat_minor": sum(vats), "taxes": taxes}
    return told


@given(
    lines=st.lists(st.tuples(TAXED, st.integers(1, 5)), min_size=1, max_size=3),
    parts=st.lists(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1500)), min_size=3, max_size=3), max_size=5),
)
def test_credit_notes_never_exceed_their_invoice_and_the_last_one_closes_it(
    lines: list[Any], parts: list[list[tuple[int, int]]]
) -> None:
    """Per line and per tax: quantity, net and VAT are never negative and add up to those of the invoice."""
    wanted = [taxed(place, *one, pieces) for place, (one, pieces) in enumerate(lines)]
    if not sum(one["amount_minor"] for one in wanted):
        return
    office = Office(seller())
    invoice = office.issued(issue(*wanted))
    for n, part in enumerate(parts):
        office.tell(
            credit(
                *((str(place), *one) for place, one in zip(range(len(lines)), part, strict=False)),
                operation=f"part {n}",
            )
        )
    office.tell(credit(operation="rest"))
    notes = office.documents(Credited)
    assert office.orders[uid("o1")].invoices[invoice.invoice_id].credited_minor == invoice.total_minor
    for note in notes:
        assert sum(group.vat_minor for group in note.vat) == note.vat_minor
        assert all(not one.taxes or sum(tax.vat_minor for tax in one.taxes) == one.vat_minor for one in note.lines)
    assert sum(note.total_minor for note in notes) == invoice.total_minor
    for whole in invoice.lines:
        credited = [one for note in notes for one in note.lines if one.line_id == whole.line_id]
        for name in ("net_minor", "vat_minor", "gross_minor"):
            assert sum(getattr(one, name) for one in credited) == getattr(whole, name)
        assert sum(one.quantity for one in credited) <= whole.quantity
        for n, tax in enumerate(whole.taxes):
            assert sum(one.taxes[n].vat_minor for one in credited) == tax.vat_minor
            assert sum(one.taxes[n].net_minor for one in credited) == tax.net_minor


def test_published_events_alone_rebuild_an_order() -> None:
    """Also those that state a document again."""
    office = Office(seller())
    office.issued(issue(line(100)))
    note = office.credited(credit())
    assert isinstance(note, Credited)
    state = billing.initial(uid("o1"), STORE)
    office.credited(credit(operation="again"))
    office.issued(issue(line(100), operation="again, too"))
    for event in office.journal:
        state = billing.evolve(state, event)  # type: ignore[arg-type]
    assert state == office.orders[uid("o1")]
