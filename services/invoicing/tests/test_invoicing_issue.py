"""Issuing: what an invoice contains, what takes a number, what does not."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from invoicing_office import NOON, STORE, Office, credit, issue, line, seller, uid

from contracts.deciding import Context
from contracts.invoicing import Failed, Issued
from contracts.snapshot import Address
from invoicing.domain import billing
from invoicing.domain.series import Last, Numbering, SeriesKey


class TestANewCapture:
    def test_is_invoiced_word_for_word(self) -> None:
        office = Office(seller())
        command = issue(line(1200), line(600, line_id="shipping"))
        (event,) = office.tell(command)
        assert isinstance(event, Issued)
        assert event.model_dump(exclude={"lines", "vat", "seller"}) == {
            "order_id": uid("o1"),
            "store_id": STORE,
            "version": 1,
            "operation_id": command.operation_id,
            "invoice_id": command.operation_id,
            "capture_id": uid("capture of o1"),
            "order_number": "o1",
            "order_placed_at": NOON - timedelta(days=1),
            "price_basis": "gross",
            "buyer": command.buyer.model_dump(),
            "bill_to": command.bill_to.model_dump() if command.bill_to else None,
            "ship_to": None,
            "currency": "GBP",
            "series": "INV-",
            "number": "INV-000001",
            "sequence": 1,
            "issued_at": NOON,
            "issued_on": date(2026, 11, 21),
            "net_minor": 1500,
            "vat_minor": 300,
            "total_minor": 1800,
        }
        assert [wanted.line_id for wanted in event.lines] == ["1", "shipping"]
        assert event.seller == seller().as_printed()

    def test_takes_the_next_number_whatever_the_order(self) -> None:
        office = Office(seller())
        numbers = [office.issued(issue(line(100), order=f"o{n}")).number for n in range(1, 4)]
        assert numbers == ["INV-000001", "INV-000002", "INV-000003"]

    def test_numbers_of_each_seller_begin_at_one(self) -> None:
        office = Office(seller("a"), seller("b"))
        assert office.issued(issue(line(100), order="o1", seller="a")).sequence == 1
        assert office.issued(issue(line(100), order="o2", seller="b")).sequence == 1
        assert office.issued(issue(line(100), order="o3", seller="a")).sequence == 2

    def test_a_seller_code_in_two_stores_is_two_sellers(self) -> None:
        office = Office(seller())
        office.sellers["st_2", "acme"] = seller()
        assert office.issued(issue(line(100), order="o1")).sequence == 1
        assert office.issued(issue(line(100), order="o2", store="st_2")).sequence == 1

    def test_carries_the_prefix_of_its_seller_and_six_digits_that_may_grow(self) -> None:
        office = Office(seller(invoice_prefix="2026/", credit_prefix="G-"))
        first = office.issued(issue(line(100)))
        assert (first.series, first.number) == ("2026/", "2026/000001")
        office.series[SeriesKey(STORE, "acme", "invoice")] = Numbering(last={"2026/": Last(999_999, NOON, NOON.date())})
        assert office.issued(issue(line(100), order="o2")).number == "2026/1000000"

    def test_keeps_a_seller_who_changes_later_as_it_was(self) -> None:
        office = Office(seller())
        before = office.issued(issue(line(100)))
        office.sellers[STORE, "acme"] = seller(name="Acme plc", invoice_prefix="A-")
        after = office.issued(issue(line(100), order="o2"))
        assert (before.seller.name, after.seller.name) == ("Acme Ltd", "Acme plc")
        assert (after.number, after.sequence) == ("A-000001", 1)
        assert office.document(before.invoice_id).seller.name == "Acme Ltd"

    def test_a_second_capture_of_the_order_is_a_second_invoice(self) -> None:
        office = Office(seller())
        first = office.issued(issue(line(100), capture="c1"))
        second = office.issued(issue(line(200), capture="c2"))
        assert (first.number, second.number) == ("INV-000001", "INV-000002")
        assert second.version == 2


class TestDates:
    def test_the_day_is_the_day_in_the_sellers_zone(self) -> None:
        office = Office(seller(time_zone="Pacific/Auckland"))
        assert office.issued(issue(line(100))).issued_on == date(2026, 11, 22)

    def test_a_clock_that_was_set_back_does_not_date_backwards(self) -> None:
        office = Office(seller())
        first = office.issued(issue(line(100), order="o1"))
        office.clock = NOON - timedelta(days=2)
        second = office.issued(issue(line(100), order="o2"))
        assert second.issued_at == first.issued_at == NOON
        assert second.issued_on == first.issued_on

    def test_a_seller_that_moves_west_does_not_date_backwards(self) -> None:
        office = Office(seller(time_zone="Pacific/Auckland"))
        first = office.issued(issue(line(100), order="o1"))
        office.sellers[STORE, "acme"] = seller(time_zone="America/Los_Angeles")
        office.clock = NOON + timedelta(minutes=1)
        second = office.issued(issue(line(100), order="o2"))
        assert second.issued_at > first.issued_at
        assert second.issued_on == first.issued_on == date(2026, 11, 22)

    def test_time_of_issue_is_read_after_the_lock_not_at_the_start_of_the_transaction(self) -> None:
        office = Office(seller())
        command = issue(line(100))
        key = SeriesKey(STORE, "acme", "invoice")
        locked_at = NOON + timedelta(seconds=3)
        context = Context(
            now=NOON,
            key=command.order_id,
            store_id=STORE,
            message_id=command.operation_id,
            shares={key: Numbering(seller=seller(), locked_at=locked_at)},
        )
        (event,) = billing.issue(billing.initial(command.order_id, STORE), command, context)
        assert isinstance(event, Issued)
        assert event.issued_at == locked_at
        assert office.journal == []


class TestACaptureThatIsInvoicedAlready:
    def test_is_answered_with_the_same_invoice_and_takes_no_number(self) -> None:
        office = Office(seller())
        first = office.issued(issue(line(100)))
        again = office.issued(issue(line(100), operation="another"))
        assert again.operation_id == uid("another")
        assert again.version == 2
        assert again.model_dump(exclude={"operation_id", "version"}) == first.model_dump(
            exclude={"operation_id", "version"}
        )
        assert office.issued(issue(line(100), order="o2")).number == "INV-000002"
        assert [one for one in office.documents(Issued) if one.order_id == uid("o1")] == [first]
        assert [*office.orders[uid("o1")].invoices] == [first.invoice_id]

    def test_stays_as_it_was_whatever_is_asked_for_now(self) -> None:
        office = Office(seller(), seller("other"))
        first = office.issued(issue(line(100)))
        again = office.issued(issue(line(999), operation="another", seller="other"))
        assert (again.number, again.total_minor, again.seller.code) == (first.number, 100, "acme")
        assert office.issued(issue(line(100), order="o2", seller="other")).number == "INV-000001"

    @pytest.mark.parametrize("lines", [(), (line(0),)])
    def test_stays_invoiced_even_if_nothing_is_asked_for_now(self, lines: tuple[dict[str, object], ...]) -> None:
        office = Office(seller())
        first = office.issued(issue(line(100)))
        assert office.issued(issue(*lines, operation="another")).invoice_id == first.invoice_id

    def test_the_same_operation_again_is_the_same_answer(self) -> None:
        office = Office(seller())
        assert office.tell(issue(line(100))) is office.tell(issue(line(100)))
        assert len(office.journal) == 1


class TestANo:
    @pytest.mark.parametrize("lines", [(), (line(0),), (line(0), line(0, "7", line_id="2"))])
    def test_nothing_is_not_invoiced(self, lines: tuple[dict[str, object], ...]) -> None:
        office = Office(seller())
        assert office.failed(issue(*lines)).code == "invoice_empty"

    def test_an_unknown_seller_issues_nothing(self) -> None:
        office = Office(seller())
        command = issue(line(100), seller="closed")
        rejected = office.failed(command)
        assert rejected == Failed(
            order_id=uid("o1"),
            store_id=STORE,
            version=1,
            operation_id=command.operation_id,
            command="invoicing.issue",
            code="seller_unknown",
            reason="no seller closed in this store",
        )

    def test_a_seller_of_another_store_is_unknown(self) -> None:
        office = Office(seller(), store="st_2")
        assert office.failed(issue(line(100))).code == "seller_unknown"

    @pytest.mark.parametrize(
        ("change", "lacks"),
        [
            ({"name": ""}, "name"),
            ({"name": "  "}, "name"),
            ({"vat_number": ""}, "vat_number"),
            ({"address": Address()}, "address.line1, address.country"),
            ({"address": Address(line1="1 Quay")}, "address.country"),
            ({"address": Address(country="GB", city="London")}, "address.line1"),
        ],
    )
    def test_a_seller_that_lacks_what_the_law_asks_for_issues_nothing(
        self, change: dict[str, object], lacks: str
    ) -> None:
        office = Office(seller(**change))
        rejected = office.failed(issue(line(100)))
        assert (rejected.code, rejected.reason) == ("seller_incomplete", f"seller acme lacks {lacks}")

    def test_takes_no_number(self) -> None:
        office = Office(seller(), seller("bare", name=""))
        office.issued(issue(line(100), order="o1"))
        office.failed(issue(line(0), order="o2"))
        office.failed(issue(line(100), order="o3", seller="bare"))
        office.sellers[STORE, "bare"] = seller("bare")
        assert office.issued(issue(line(100), order="o4")).sequence == 2
        assert office.issued(issue(line(100), order="o3", seller="bare", operation="after a no")).sequence == 1

    def test_leaves_the_order_as_it_was(self) -> None:
        office = Office()
        office.failed(issue(line(100)))
        assert office.orders[uid("o1")] == billing.initial(uid("o1"), STORE)


class TestNeeds:
    def test_an_issue_needs_its_sellers_invoices(self) -> None:
        state = billing.initial(uid("o1"), STORE)
        assert list(billing.needs(state, issue(line(1)))) == [SeriesKey(STORE, "acme", "invoice")]

    def test_an_issue_of_an_invoiced_capture_needs_the_series_of_that_invoice(self) -> None:
        office = Office(seller())
        office.issued(issue(line(1)))
        again = issue(line(1), seller="other", operation="again")
        assert list(billing.needs(office.orders[uid("o1")], again)) == [SeriesKey(STORE, "acme", "invoice")]

    def test_a_credit_needs_the_credit_notes_of_its_invoices_seller(self) -> None:
        office = Office(seller("b"))
        assert list(billing.needs(billing.initial(uid("o1"), STORE), credit())) == []
        office.issued(issue(line(1), seller="b"))
        assert list(billing.needs(office.orders[uid("o1")], credit())) == [SeriesKey(STORE, "b", "credit")]
