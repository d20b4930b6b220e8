"""Statements in a real PostgreSQL: imported once, matched, booked, and explained by a person."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from payments_database import URL
from payments_settled import BROKEN, balances, checked, disputed, imported, paid, payout, prepaid, row, violated

from chassis.batch.database import Database
from payments import comparing, explaining
from payments.domain.listing import Listed
from payments.domain.statements import Exchanged, Statement, UnreadableRow
from payments.explaining import Explained, Unresolvable

pytestmark = [pytest.mark.real, pytest.mark.skipif(not URL, reason="PAYMENTS_TEST_DATABASE_URL is not set")]
ORDER = "select order_id from payment_sessions where session_id = $1"
DAY, NOON = date(2026, 11, 28), datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest.fixture
def of() -> str:
    """A store that no other test has."""
    return f"st_{uuid4().hex[:8]}"


async def test_a_statement_is_matched_and_booked_and_a_second_import_books_nothing(database: Database, of: str) -> None:
    first, second = await paid(database, of, 10_000, back=1_000), await paid(database, of, 500)
    statement = payout(
        "po_1",
        row(1, 10_000, "ch_1", first[0], fee=300),
        row(2, -1_000, f"re_{first[0]}", kind="refund"),
        row(3, 0, kind="fee", fee=50),
        row(4, 500, str(second[1]), fee=10),
        row(5, 77, "pi_of_nobody"),
        unreadable=[UnreadableRow(6, "odd\0", "no day", 5)],
    )
    done = await imported(database, of, statement)
    assert (done.code, done.states) == ("", {"booked": 1, "matched": 3, "unmatched": 1, "unreadable": 1})
    booked = {"gateway_clearing EUR": -9_500, "fees EUR": 360, "in_transit EUR": 9_222, "suspense EUR": -82}
    assert await balances(database, of) == booked
    for content, code in (("x", "statement_repeated"), ("y", "statement_differs")):
        again = await imported(database, of, statement, content=content)
        assert (again.code, again.settlement_id, again.states) == (code, done.settlement_id, done.states)
    assert await balances(database, of) == booked
    assert await violated(database) == {}


async def test_an_operation_is_settled_once_over_all_statements(database: Database, of: str) -> None:
    name, *_ = await paid(database, of, 500)
    assert (await imported(database, of, payout("po_1", row(1, 500, name)))).states == {"matched": 1}
    assert (await imported(database, of, payout("po_2", row(1, 500, name)))).states == {"repeated": 1}
    assert await balances(database, of) == {"gateway_clearing EUR": -500, "in_transit EUR": 1_000, "suspense EUR": -500}
    assert await violated(database) == {}


async def test_what_a_gateway_captured_in_a_session_is_one_movement_whatever_an_order_has_of_it(
    database: Database, of: str
) -> None:
    name, session_id, back = await prepaid(database, of, 1_200, taken=1_000)
    statement = payout("po_1", row(1, 1_200, name), row(2, -200, f"re_{name}", kind="refund"))
    assert (await imported(database, of, statement)).states == {"matched": 2}
    async with database.connection() as connection:
        rows = await connection.fetch(
            "select operation_id from settlement_rows where store_id = $1 order by number", of
        )
        ours = await connection.fetch(comparing.MOVED, [await connection.fetchval(ORDER, session_id)], of, "stripe")
    assert [one["operation_id"] for one in rows] == [session_id, back]
    listed = [
        Listed("capture", name, (name,), "EUR", 1_200, NOON),
        Listed("refund", f"re_{name}", (name,), "EUR", 200, NOON),
    ]
    assert comparing.compared(ours[0]["order_id"], listed, ours) == []
    assert await violated(database) == {}


async def test_operations_of_another_store_or_gateway_are_not_matched(database: Database, of: str) -> None:
    name, *_ = await paid(database, f"{of}_other", 500)
    other, *_ = await paid(database, of, 500, gateway="dintero")
    done = await imported(database, of, payout("po_1", row(1, 500, name), row(2, 500, other)))
    assert done.states == {"unmatched": 2}


async def test_exchanged_money_leaves_the_clearing_account_in_its_own_currency(database: Database, of: str) -> None:
    name, *_ = await paid(database, of, 10_000)
    exchanged = Exchanged("EUR", 10_000, "1.234")
    await imported(database, of, payout("po_1", row(1, 12_340, name, fee=340, exchanged=exchanged), currency="USD"))
    assert await balances(database, of) == {
        "gateway_clearing EUR": -10_000, "exchange EUR": 10_000,
        "exchange USD": -12_340, "fees USD": 340, "in_transit USD": 12_000,
    }  # fmt: skip
    assert await violated(database) == {}


async def test_a_bank_statement_shows_that_a_payout_has_arrived(database: Database, of: str) -> None:
    name, *_ = await paid(database, of, 500)
    await imported(database, of, payout("po_1", row(1, 500, name, fee=20)))
    bank = Statement(
        "2026-11-28", "DE02", "EUR",
        [row(1, 480, "STRIPE PAYOUT po_1", kind="transfer"), row(2, 480, "again po_1", kind="transfer")],
        opening_minor=0, closing_minor=960,
    )  # fmt: skip
    done = await imported(database, of, bank, gateway="manual")
    assert done.states == {"payout": 1, "unmatched": 1}
    assert (await imported(database, of, Statement("2", "DE02", "EUR", [row(1, 480, "po_1", kind="transfer")],
        opening_minor=0, closing_minor=480), gateway="manual")).states == {"unmatched": 1}  # fmt: skip
    assert await balances(database, of) == {
        "gateway_clearing EUR": -500, "fees EUR": 20, "bank EUR": 1_440, "suspense EUR": -960}  # fmt: skip
    assert await violated(database) == {}


def explained(resolution: Any, operation_id: UUID | None = None, difference: bool = False) -> Explained:
    return Explained(resolution, operation_id, "as agreed", difference, "person:ann")


async def test_a_person_explains_what_did_not_match(database: Database, of: str) -> None:
    """Each explanation once: the same again changes nothing, another one is refused."""
    _, capture_id, _ = await paid(database, of, 500)
    _, dear_id, refund_id = await paid(database, of, 600, back=600)
    done = await imported(database, of, payout(
        "po_1", row(1, 500, "a"), row(2, 590, "b"), row(3, -600, "c", kind="refund"), row(4, -7, "d"), row(5, 9, "e")))  # fmt: skip

    async def resolve(place: int, stated: Explained) -> None:
        async with database.transaction() as tx:
            await explaining.resolve(tx, of, done.settlement_id, place, stated)

    async def refused(place: int, stated: Explained) -> str:
        with pytest.raises(Unresolvable) as found:
            await resolve(place, stated)
        return found.value.code

    assert await refused(2, explained("match", dear_id)) == "amount_differs"
    assert await refused(1, explained("match", uuid4())) == "operation_unknown"
    assert await refused(6, explained("dismiss")) == "row_unknown"
    for _ in range(2):
        await resolve(1, explained("match", capture_id))
    await resolve(2, explained("match", dear_id, difference=True))
    await resolve(3, explained("match", refund_id))
    await resolve(4, explained("fee"))
    await resolve(5, explained("dismiss"))
    assert await refused(5, explained("fee")) == "row_resolved"
    assert await refused(1, explained("match", dear_id)) == "row_resolved"
    assert await balances(database, of) == {
        "gateway_clearing EUR": -500, "fees EUR": 17, "in_transit EUR": 492, "suspense EUR": -9}  # fmt: skip
    assert await violated(database) == {}
    again = await imported(database, of, payout("po_2", row(1, 1, "f")))
    with pytest.raises(Unresolvable, match="another row settles"):
        async with database.transaction() as tx:
            await explaining.resolve(tx, of, again.settlement_id, 1, explained("match", capture_id))


async def test_what_a_gateway_withholds_for_a_dispute_and_releases_is_matched_by_its_name(
    database: Database, of: str
) -> None:
    """A lost one, a won one in two statements, one that no report names, and one of another gateway."""
    lost, won, unnamed = (
        await disputed(database, of, 500, "lost"),
        await disputed(database, of, 700, "won"),
        await disputed(database, of, 900),
    )
    other = await disputed(database, of, 400, gateway="dintero")
    done = await imported(database, of, payout(
        "po_1", row(1, -500, lost[0], kind="dispute", fee=15), row(2, -700, str(won[1]), "ch_x", kind="dispute"), row(3, -900, "dp_?", kind="dispute"),
        row(4, -400, other[0], kind="dispute"), row(5, -1, lost[0], kind="dispute")))  # fmt: skip
    assert done.states == {"matched": 2, "unmatched": 2, "repeated": 1}
    assert (await imported(database, of, payout("po_2", row(1, 700, won[0], kind="dispute")))).states == {"matched": 1}
    assert (await imported(database, of, payout("po_3", row(1, 700, won[0], kind="dispute")))).states == {"repeated": 1}
    by_hand = Explained("match", unnamed[1], "as agreed", False, "person:ann")
    async with database.transaction() as tx:
        for _ in range(2):
            await explaining.resolve(tx, of, done.settlement_id, 3, by_hand)
        for stated, code in ((lost[1], "operation_settled"), (other[1], "operation_unknown")):
            with pytest.raises(Unresolvable) as refused:
                await explaining.resolve(tx, of, done.settlement_id, 5, by_hand._replace(operation_id=stated))
            assert refused.value.code == code
    assert await balances(database, of) == {
        "gateway_clearing EUR": 500 + 900, "fees EUR": 15, "in_transit EUR": -1_116, "suspense EUR": -299}  # fmt: skip
    assert await violated(database) == {}


@pytest.mark.parametrize("name", BROKEN)
async def test_the_check_finds_a_settlement_that_does_not_agree_with_the_books(
    database: Database, of: str, name: str
) -> None:
    payment, *_ = await paid(database, of, 500)
    await imported(database, of, payout("po_1", row(1, 500, payment)))
    async with database.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        before = await checked(connection)
        await connection.execute(BROKEN[name], of)
        assert (await checked(connection))[name] > before[name]
        await transaction.rollback()


async def test_a_payout_of_a_marketplace_is_matched_by_the_name_that_it_gives_the_order(
    database: Database, of: str
) -> None:
    await paid(database, of, 500, gateway="marketplace", name=f"MP-{of}")
    assert (await imported(database, of, payout("p", row(1, 500, f"MP-{of}")), gateway="marketplace")).states == {
        "matched": 1
    }
    assert await balances(database, of) == {"marketplace_clearing EUR": -500, "in_transit EUR": 500}
