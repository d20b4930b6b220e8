"""Any interleaving of issues, credits, rejections and duplicates, across orders and sellers: promise 5."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from invoicing_office import NOON, STORE, Office, counters, credit, fold, issue, line, seller, uid

from contracts.invoicing import Credited, Issued
from invoicing.domain import series
from invoicing.domain.billing import Billings
from invoicing.domain.series import Last, Numbering, SeriesKey

ORDERS = st.sampled_from(["o1", "o2", "o3", "o4"])
SELLERS = st.sampled_from(["a", "b", "incomplete", "unknown"])
AMOUNTS = st.lists(st.tuples(st.integers(0, 500), st.sampled_from(["0", "7", "17", "20.00", "20"])), max_size=4)


class AnyStory(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.office = Office(seller("a"), seller("b", time_zone="Asia/Tokyo"), seller("incomplete", vat_number=""))
        self.told: list[Any] = []
        self.operations = 0
        self.documents: dict[Any, Any] = {}

    def tell(self, command: Any) -> None:
        self.told.append(command)
        for event in self.office.tell(command):
            if isinstance(event, (Issued, Credited)):
                key = event.invoice_id if isinstance(event, Issued) else event.credit_note_id
                said = event.model_dump(exclude={"operation_id", "version"})
                assert self.documents.setdefault(key, said) == said, "an issued document changed"

    @rule(order=ORDERS, capture=st.integers(1, 2), seller=SELLERS, amounts=AMOUNTS)
    def issue(self, order: str, capture: int, seller: str, amounts: list[tuple[int, str]]) -> None:
        self.operations += 1
        lines = [line(amount, rate, line_id=str(n)) for n, (amount, rate) in enumerate(amounts)]
        self.tell(
            issue(*lines, order=order, capture=f"{order} {capture}", operation=f"op {self.operations}", seller=seller)
        )

    @rule(order=ORDERS, which=st.integers(0, 3))
    def credit(self, order: str, which: int) -> None:
        self.operations += 1
        command = credit(order=order, operation=f"op {self.operations}")
        known = self.office.orders.get(uid(order), Billings())
        if ids := list(known.invoices):
            command = command.model_copy(update={"invoice_id": ids[which % len(ids)]})
        self.tell(command)

    @rule(which=st.integers(0, 50))
    def ask_again(self, which: int) -> None:
        if self.told:
            self.tell(self.told[which % len(self.told)])

    @rule(hours=st.integers(-30, 30) | st.integers(-9_000, 9_000))
    def the_clock_moves(self, hours: int) -> None:
        moved = self.office.clock + timedelta(hours=hours)
        self.office.clock = moved if 2020 < moved.year < 2040 else NOON

    @rule(
        zone=st.sampled_from(["Asia/Tokyo", "America/Los_Angeles", "UTC"]),
        prefix=st.sampled_from(["INV-", "A/", "INV-2026-"]),
        number_format=st.sampled_from(["{prefix}{number}", "{prefix}{yyyy}-{number}", "{yyyy}/{prefix}{number}"]),
    )
    def a_seller_changes(self, zone: str, prefix: str, number_format: str) -> None:
        reset = "yearly" if "{yyyy}" in number_format else "never"
        self.office.sellers[STORE, "b"] = seller(
            "b", time_zone=zone, invoice_prefix=prefix, number_format=number_format, number_reset=reset
        )

    @invariant()
    def numbers_run_from_1_without_gap_and_dates_never_backwards(self) -> None:
        by_kind: dict[tuple[str, str], list[Any]] = defaultdict(list)
        for kind in (Issued, Credited):
            for document in self.office.documents(kind):
                by_kind[kind.TYPE, document.seller.code].append(document)
        for documents in by_kind.values():
            by_series: dict[str, list[int]] = defaultdict(list)
            for document in documents:
                by_series[document.series].append(document.sequence)
                assert document.number == f"{document.series}{document.sequence:06d}"
            assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in by_series.values())
            assert len({document.number for document in documents}) == len(documents)
            for earlier, later in pairwise(documents):
                assert earlier.issued_at <= later.issued_at
                assert earlier.issued_on <= later.issued_on

    @invariant()
    def a_capture_has_one_invoice_and_an_invoice_at_most_one_credit(self) -> None:
        invoices = {invoice.invoice_id: invoice for invoice in self.office.documents(Issued)}
        assert len({invoice.capture_id for invoice in invoices.values()}) == len(invoices)
        notes = self.office.documents(Credited)
        assert len({note.invoice_id for note in notes}) == len(notes)
        for note in notes:
            invoice = invoices[note.invoice_id]
            assert (note.lines, note.vat, note.total_minor) == (invoice.lines, invoice.vat, invoice.total_minor)
            assert note.issued_on >= invoice.issued_on
        for document in (*invoices.values(), *notes):
            assert sum(part.gross_minor for part in document.lines) == document.total_minor > 0
            assert document.net_minor + document.vat_minor == document.total_minor

    @invariant()
    def the_journal_makes_the_rows_again(self) -> None:
        orders, all_series = fold(self.office.journal, None, {}, {})
        assert orders == self.office.orders
        assert counters(all_series) == counters(self.office.series)

    @invariant()
    def every_operation_has_one_answer(self) -> None:
        assert all(len(events) == 1 for events in self.office.answers.values())
        assert len(self.office.journal) == len(self.office.answers)


TestAnyStory = AnyStory.TestCase
TestAnyStory.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_events_read_again_from_the_topic_in_any_order_of_orders_give_the_same_series() -> None:
    """Partitions are read beside each other: number 5 may come before number 3."""
    office = Office(seller())
    for n in range(20):
        office.issued(issue(line(100), order=f"o{n}"))
        office.clock += timedelta(minutes=1)
    shuffled = list(office.journal)
    random.Random(7).shuffle(shuffled)
    orders, all_series = fold(shuffled, None, {}, {})
    assert counters(all_series) == counters(office.series)
    assert orders == office.orders


def test_a_series_that_was_lost_goes_on_from_its_events() -> None:
    office = Office(seller())
    event = office.issued(issue(line(100)))
    key = SeriesKey(STORE, "acme", "invoice")
    assert series.evolve(None, key, event) == Numbering(
        None, {"INV-": Last(1, NOON, event.issued_on)}, None, frozenset({"INV-"})
    )


def test_each_year_of_the_sellers_zone_begins_at_one_and_a_clock_that_is_set_back_begins_none_again() -> None:
    office = Office(seller(time_zone="Asia/Tokyo", number_format="{prefix}{yyyy}-{number}", number_reset="yearly"))
    office.clock = datetime(2026, 12, 31, 14, 59, tzinfo=UTC)  # a minute before midnight in Tokyo
    old = office.issued(issue(line(100), order="o1"))
    office.clock += timedelta(minutes=2)
    new = [office.issued(issue(line(100), order=order)) for order in ("o2", "o3")]
    office.clock -= timedelta(days=1)
    late = office.issued(issue(line(100), order="o4"))
    note = office.credited(credit(order="o1"))
    assert [one.number for one in (old, *new, late, note)] == [
        "INV-2026-000001", "INV-2027-000001", "INV-2027-000002", "INV-2027-000003", "CN-2026-000001",
    ]  # fmt: skip
    assert [one.issued_on.isoformat() for one in (old, *new, late, note)] == [
        "2026-12-31",
        *["2027-01-01"] * 3,
        "2026-12-31",
    ]


def test_another_prefix_begins_its_own_series_and_one_used_before_goes_on() -> None:
    """What `series` names is counted 1..n."""
    office = Office()
    numbers = []
    for n, prefix in enumerate(["2026-", "2026-", "2027-", "2027-", "2026-"]):
        office.sellers[STORE, "acme"] = seller(invoice_prefix=prefix)
        numbers.append(office.issued(issue(line(100), order=f"o{n}")).number)
    assert numbers == ["2026-000001", "2026-000002", "2027-000001", "2027-000002", "2026-000003"]


def test_a_format_with_the_year_goes_on_where_a_prefix_with_the_year_ended() -> None:
    office = Office(seller(invoice_prefix="INV-2026-"))
    office.issued(issue(line(100), order="o1"))
    office.sellers[STORE, "acme"] = seller(number_format="{prefix}{yyyy}-{number}", number_reset="yearly")
    assert office.issued(issue(line(100), order="o2")).number == "INV-2026-000002"


def test_state_survives_the_database() -> None:
    office = Office(seller())
    office.issued(issue(line(1999, "25.50"), line(0, line_id="2")))
    office.credited(credit())
    state = office.orders[uid("o1")]
    assert Billings.model_validate_json(state.model_dump_json()) == state


def test_state_keeps_what_a_newer_version_wrote() -> None:
    doc = Billings.model_validate_json('{"schema_version": 1, "store_id": "st_1", "reminders": [1]}').model_dump_json()
    assert '"reminders":[1]' in doc
