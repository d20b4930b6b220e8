"""Rows of statements find their operations; a gateway's list is compared with ours: each difference once, none invented."""

from __future__ import annotations

import os
import random
from datetime import UTC, date, datetime
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.differences import DifferenceKind, Proposal
from payments.domain.listing import Listed
from payments.domain.matching import RowState, matched
from payments.domain.pairing import Movement, MovementKind
from payments.domain.reconciling import Unfinished, differences
from payments.domain.statements import Exchanged, Row, RowKind, Statement, with_reversals

DAY, NOW = date(2026, 11, 28), datetime(2026, 11, 28, 10, tzinfo=UTC)


def movement(
    number: int, amount: int, *names: str, kind: MovementKind = "capture", order: int = 0, settled: bool = False
) -> Movement:
    return Movement(UUID(int=number), UUID(int=order or 1000 + number), kind, "EUR", amount, names, settled)


def row(
    number: int, gross: int, *names: str, kind: RowKind = "capture", fee: int = 0, exchanged: Exchanged | None = None
) -> Row:
    return Row(number, kind, f"row-{number}", names, gross, fee, gross - fee, DAY, exchanged)


def states(rows: list[Row], movements: list[Movement]) -> list[tuple[RowState, int | None]]:
    found = matched(Statement("po_1", "acct", "EUR", rows, payout_minor=0), movements)
    assert [one.row for one in found] == rows
    return [(one.state, one.movement.operation_id.int if one.movement else None) for one in found]


# --------------------------------------------------------------------------------------------------------------- rows


def test_a_row_finds_its_operation_by_the_first_reference_that_we_have() -> None:
    ours = [movement(1, 500, "pi_1"), movement(2, 500, "pi_2"), movement(3, 500, "pi_1", kind="refund")]
    rows = [row(1, 500, "ch_1", "pi_1"), row(2, -500, "re_1", "pi_1", kind="refund"), row(3, 500, "pi_2")]
    assert states(rows, ours) == [("matched", 1), ("matched", 3), ("matched", 2)]


def test_what_does_not_match_is_stated_with_what_it_is_about() -> None:
    ours = [
        movement(1, 500, "a"),
        movement(2, 500, "b"), movement(3, 500, "b"),
        movement(4, 500, "c", order=7), movement(5, 600, "c", order=7),
        movement(6, 500, "d", settled=True),
        movement(7, 900, "e"),
    ]  # fmt: skip
    cases: list[tuple[Row, tuple[RowState, int | None]]] = [
        (row(1, 499, "a"), ("amount_differs", 1)),
        (row(2, 500, "b"), ("reference_ambiguous", None)),
        (row(3, 600, "c"), ("matched", 5)),
        (row(4, 600, "c"), ("repeated", 5)),
        (row(5, 500, "d"), ("repeated", 6)),
        (row(6, 500, "nothing"), ("unmatched", None)),
        (row(7, 0, kind="fee", fee=30), ("booked", None)),
        (row(8, -500, "a", kind="dispute"), ("unmatched", None)),
        (row(9, -500, "a", kind="capture"), ("unmatched", None)),
        (row(10, 1_000, "e", exchanged=Exchanged("USD", 1_100, "0.9")), ("amount_differs", 7)),
    ]
    assert states([one for one, _ in cases], ours) == [state for _, state in cases]


def test_a_wrong_amount_does_not_take_the_operation_of_a_right_one() -> None:
    ours = [movement(1, 500, "a", order=7), movement(2, 600, "a", order=7)]
    assert states([row(1, 601, "a"), row(2, 500, "a")], ours) == [("amount_differs", 2), ("matched", 1)]


def test_equal_captures_of_one_order_are_interchangeable() -> None:
    ours = [movement(1, 500, "a", order=7), movement(2, 500, "a", order=7)]
    assert states([row(1, 500, "a"), row(2, 500, "a"), row(3, 500, "a")], ours) == [
        ("matched", 1), ("matched", 2), ("repeated", 1)]  # fmt: skip


def test_an_exchanged_row_is_compared_before_its_exchange() -> None:
    ours = [movement(1, 10_000, "a"), movement(2, 10_000, "b")]
    found = matched(
        Statement("po_1", "acct", "USD", [
            row(1, 12_340, "a", exchanged=Exchanged("EUR", 10_000, "1.234")), row(2, 12_340, "b")], payout_minor=0), ours)  # fmt: skip
    assert [one.state for one in found] == ["matched", "currency_differs"]


def test_a_partial_capture_that_is_shown_as_two_rows_is_one_capture() -> None:
    rows = with_reversals([
        row(1, 10_000, "pi_1", "ch_1", fee=300),
        row(2, -4_000, "re_x", "ch_1", kind="capture_reversal", fee=-100),
        row(3, -1, "re_y", "ch_2", kind="capture_reversal"),
    ])  # fmt: skip
    assert [(one.gross_minor, one.fee_minor, one.net_minor) for one in rows] == [(6_000, 200, 5_800), (-1, 0, -1)]
    assert states(rows, [movement(1, 6_000, "pi_1")]) == [("matched", 1), ("unmatched", None)]


class Counted(int):
    """An amount that counts how often it is compared."""

    compared = 0
    __hash__ = int.__hash__

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return int.__eq__(self, other)


@pytest.mark.parametrize("one_name", [False, True])
def test_a_row_is_compared_with_few_operations_also_if_all_have_one_reference(one_name: bool) -> None:
    count = 1_000
    names = ["a"] * count if one_name else [f"a-{n}" for n in range(count)]
    ours = [movement(n + 1, Counted(500), name, order=7) for n, name in enumerate(names)]
    rows = [row(n + 1, 500, f"x-{n}", name) for n, name in enumerate(names)]
    Counted.compared = 0
    assert all(state == "matched" for state, _ in states(rows, ours))
    assert count <= Counted.compared < 10 * count


# ------------------------------------------------------------------------------------------- ledgers with differences

Injected = tuple[DifferenceKind, Proposal, UUID | None, str]
RECONCILIATIONS = int(os.environ.get("TRADEWIND_RECONCILIATIONS", "400"))


def world(random_: random.Random) -> tuple[list[Listed], list[Movement], dict[str, UUID], set[Injected]]:
    """A gateway's list and our ledgers, equal but for some differences, and these: (kind, proposal, operation of ours, reference)."""
    listed: list[Listed] = []
    ours: list[Movement] = []
    orders: dict[str, UUID] = {}
    injected: set[Injected] = set()
    serial = 0
    for order in range(random_.randint(1, 12)):
        payment, order_id = f"pi_{order}", UUID(int=10_000 + order)
        orders[payment] = order_id
        for _ in range(random_.randint(0, 4)):
            serial += 1
            kind: MovementKind = random_.choice(("capture", "refund"))
            operation_id, reference = UUID(int=serial), f"{kind[:2]}_{serial}"
            amount, currency = random_.choice((0, 1, 99, 500, 500, 12_345)), random_.choice(("EUR", "JPY"))
            names = (
                (str(operation_id), payment) if random_.random() < 0.5 else (payment,)
            )  # not all list our operation id
            ours.append(Movement(operation_id, order_id, kind, currency, amount, (str(operation_id), reference)))
            listed.append(Listed(kind, reference, names, currency, amount, NOW))
            orders |= {str(operation_id): order_id, reference: order_id}
            match random_.choice(("", "", "", "not_booked", "not_at_gateway", "made_twice", "amount", "currency")):
                case "not_booked":
                    ours.pop()
                    del orders[str(operation_id)], orders[reference]
                    injected.add(("not_booked", "book", None, reference))
                case "not_at_gateway":
                    listed.pop()
                    injected.add(("not_at_gateway", "ask", operation_id, ""))
                case "made_twice":
                    listed.append(
                        listed[-1]._replace(names=(str(operation_id), payment), reference=f"{reference}_again")
                    )
                    proposal: Proposal = "refund" if kind == "capture" else "ask"
                    injected.add(("made_twice", proposal, operation_id, f"{reference}_again"))
                case "amount":
                    listed[-1] = listed[-1]._replace(amount_minor=amount + random_.choice((1, 100)))
                    injected.add(("amount_differs", "ask", operation_id, reference))
                case "currency":
                    listed[-1] = listed[-1]._replace(currency="USD")
                    injected.add(("currency_differs", "ask", operation_id, reference))
    for stranger in range(random_.choice((0, 0, 1, 3))):
        listed.append(Listed("capture", f"ch_{stranger}", (f"other_{stranger}",), "EUR", 500, NOW))
        injected.add(("payment_unknown", "ask", None, f"ch_{stranger}"))
    doubles = {one.reference for one in listed if one.reference.endswith("_again")}
    random_.shuffle(listed)
    listed.sort(key=lambda one: one.reference in doubles)  # the second of two equals is the one that is too much
    random_.shuffle(ours)
    return listed, ours, orders, injected


@settings(max_examples=RECONCILIATIONS, deadline=None)
@given(st.integers(0, 2**63))
def test_each_injected_difference_is_found_once_and_none_is_invented(seed: int) -> None:
    listed, ours, orders, injected = world(random.Random(seed))
    found = [
        (
            one.kind,
            one.proposal,
            one.ours.operation_id if one.ours else None,
            one.theirs.reference if one.theirs else "",
        )
        for one in differences(listed, ours, orders)
    ]
    assert len(found) == len(set(found))
    assert set(found) == injected


@pytest.mark.parametrize("kind", ["capture", "refund"])
def test_one_reference_of_two_orders_is_for_a_person(kind: MovementKind) -> None:
    ours = [movement(1, 500, "a", kind=kind), movement(2, 500, "a", kind=kind)]
    found = differences([Listed(kind, "a", (), "EUR", 500, NOW)], ours, {"a": UUID(int=1001)})
    assert [(one.kind, one.proposal) for one in found] == [("reference_ambiguous", "ask")]


# --------------------------------------------------------------------------------------------- names, states, proposals


def test_of_two_that_the_gateway_made_the_one_is_ours_whose_own_name_we_have() -> None:
    ours = [movement(1, 500, "re_1", order=7)]
    first, second = (Listed("capture", name, (str(UUID(int=1)), "pi"), "EUR", 500, NOW) for name in ("re_2", "re_1"))
    ours = [ours[0]._replace(references=(str(UUID(int=1)), "re_1"))]
    [found] = differences([first, second], ours, {"pi": UUID(int=7)})
    assert (found.kind, found.theirs) == ("made_twice", first)


def test_a_further_part_of_a_payment_is_not_the_same_made_twice() -> None:
    ours = [movement(1, 500, "ch_1", order=7)]
    listed = [
        Listed("capture", "ch_1", ("pi",), "EUR", 500, NOW),
        Listed("capture", "txn_2", ("ch_1", "pi"), "EUR", 300, NOW),
    ]
    [found] = differences(listed, ours, {"pi": UUID(int=7)})
    assert (found.kind, found.proposal, found.theirs) == ("not_booked", "book", listed[1])


@pytest.mark.parametrize("awaited", [True, False])
def test_what_failed_here_and_succeeded_there_differs_unless_its_gateway_is_being_asked(awaited: bool) -> None:
    asked = movement(1, 500, order=7)
    listed = Listed("capture", "ch_1", (str(asked.operation_id), "pi"), "EUR", 500, NOW)
    found = differences([listed], [], {"pi": UUID(int=7)}, {str(asked.operation_id): Unfinished(asked, awaited)})
    assert [(one.kind, one.proposal, one.ours) for one in found] == (
        [] if awaited else [("state_differs", "book", asked)]
    )
