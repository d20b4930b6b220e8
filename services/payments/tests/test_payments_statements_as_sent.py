"""Statements as banks and gateways really send them: each is right to the minor unit, or refused with its row and column."""

from __future__ import annotations

import csv
import io
import json
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_payments_statements import PAYOUT, camt, entry, transaction

from contracts.money import EXPONENTS, decimal_string
from payments.domain.statements import Row, Statement, StatementUnbalanced, StatementUnreadable, balanced
from payments.gateways.stripe.amounts import to_stripe
from payments.statements import camt053, dintero, formats, mapped, stripe
from payments.statements.amounts import minor_of
from payments.statements.mapped import Mapping

DAY = date(2026, 11, 28)


# ------------------------------------------------------------------------------------------------------------ amounts


@pytest.mark.parametrize(
    ("text", "decimal", "thousands", "minor"),
    [
        ("1.190,00", ",", ".", 1_190_00), ("1 190,00", ",", " ", 1_190_00), ("1\u00a0190,00", ",", " ", 1_190_00),
        ("1\u202f190,5", ",", " ", 1_190_50), ("1'190.00", ".", "'", 1_190_00), ("1\u2019190.00", ".", "'", 1_190_00),
        ("12,34,567.89", ".", ",", 12_34_567_89), ("-1,190.00", ".", ",", -1_190_00), ("1,190.00-", ".", ",", -1_190_00),
        ("(1,190.00)", ".", ",", -1_190_00), ("\u22125", ".", "", -5_00), ("+5.1", ".", "", 5_10), (".50", ".", "", 50),
        ("-,50", ",", ".", -50), ("0", ".", "", 0), ("-0.00", ".", "", 0), ("1190,0000", ",", ".", 1_190_00),
    ],
)  # fmt: skip
def test_an_amount_is_read_in_the_writing_of_its_country(text: str, decimal: str, thousands: str, minor: int) -> None:
    assert minor_of(text, "EUR", decimal, thousands) == minor


@pytest.mark.parametrize(
    ("text", "decimal", "thousands"),
    [
        ("19.99", ",", "."), ("1.190", ",", ""), ("12.50", ",", ""), ("1.19", ",", "."), ("1.1900", ",", "."), ("1..190", ",", "."),
        ("1,190", ".", ""), ("1,19", ".", ","), (",190", ".", ","), ("1190,", ".", ","), ("1,190.000.0", ".", ","),
        ("1.190,00", ".", ","), ("5 EUR", ".", ""), ("(5", ".", ""), ("5)", ".", ""), ("-5-", ".", ""), ("(-5)", ".", ""),
        ("5.", ".", ""), (".", ".", ""), ("-", ".", ""), ("5,00", ".", " "),
    ],
)  # fmt: skip
def test_an_amount_in_another_writing_than_the_mapping_states_is_refused_not_shifted(
    text: str, decimal: Any, thousands: Any
) -> None:
    with pytest.raises(ValueError, match="is not an amount"):
        minor_of(text, "EUR", decimal, thousands)


# --------------------------------------------------------------------------------------------------------------- CSV

WRITINGS = [(".", ""), (".", ","), (".", "'"), (".", " "), (",", ""), (",", "."), (",", " "), (",", "'")]


def written(minor: int, currency: str, decimal: str, thousands: str) -> str:
    whole, _, fraction = decimal_string(abs(minor), currency).partition(".")
    grouped = f"{int(whole):_}".replace("_", thousands) if thousands else whole
    return ("-" if minor < 0 else "") + grouped + (decimal + fraction if fraction else "")


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, Mapping, list[tuple[int, int, tuple[str, ...]]]]:
    """A file in some dialect, the mapping of it, and the gross, fee and names of its rows."""
    (decimal, thousands), currency = (
        draw(st.sampled_from(WRITINGS)),
        draw(st.sampled_from(["EUR", "JPY", "KWD", "ISK"])),
    )
    delimiter = draw(st.sampled_from([one for one in ",;\t|" if one not in (decimal, thousands)]))
    encoding = draw(st.sampled_from(["utf-8", "cp1252", "iso-8859-1"]))
    name = st.text('abüß 1;,|\t"\n', max_size=12).map(str.strip)
    rows = draw(st.lists(st.tuples(st.integers(-(10**12), 10**12), st.integers(-(10**6), 10**6), name), max_size=8))
    out = io.StringIO()
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])) if end != "\r" else csv.QUOTE_ALL
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=quoting)
    writer.writerow([" Day", "TEXT ", "gross", "fee", "net"])
    for gross, fee, text in rows:
        amounts = [written(minor, currency, decimal, thousands) for minor in (gross, fee, gross - fee)]
        writer.writerow(["28.11.2026", text, *amounts])
        out.write(draw(st.sampled_from(["", end, "  " + end, delimiter * 4 + end])))
    after = draw(st.integers(0, 2))
    for _ in range(after):
        writer.writerow(["total", "", written(sum(row[0] for row in rows), currency, decimal, thousands), "", ""])
    before = draw(st.sampled_from(["", end, end + end]))
    mark = "\ufeff" if encoding == "utf-8" and draw(st.booleans()) else ""
    body = (mark + before + out.getvalue()).encode(encoding)
    mapping = Mapping(
        delimiter=delimiter, encoding=encoding, decimal=decimal, thousands=thousands, day_format="%d.%m.%Y", on="day",  # type: ignore[arg-type]
        gross="Gross", fee="fee", net="net", references=("text",), fixed_currency=currency, lines_after_rows=after,
    )  # fmt: skip
    return body, mapping, [(gross, fee, (text,) if text else ()) for gross, fee, text in rows]


@given(files())
def test_a_file_in_any_dialect_has_each_row_as_it_was_written(
    file: tuple[bytes, Mapping, list[tuple[int, int, tuple[str, ...]]]],
) -> None:
    body, mapping, rows = file
    found = mapped.read(body, mapping, "s")
    assert [(row.gross_minor, row.fee_minor, row.references) for one in found for row in one.rows] == rows
    assert [lost for one in found for lost in one.unreadable] == []


PLAIN = Mapping(on="day", gross="amount", references=("text",), fixed_currency="EUR")


def read(body: str | bytes, mapping: Mapping = PLAIN) -> Statement:
    [found] = mapped.read(body.encode() if isinstance(body, str) else body, mapping, "s")
    return found


@pytest.mark.parametrize(
    "body",
    [
        "\ufeffday,text,amount\n2026-11-28,Müller,5".encode(),
        "\ufeffday,text,amount\n2026-11-28,Müller,5".encode("utf-16-le"),
        "\ufeffday,text,amount\n2026-11-28,Müller,5".encode("utf-16-be"),
    ],
)
def test_the_mark_of_an_encoding_goes_before_what_the_mapping_states(body: bytes) -> None:
    assert read(body, PLAIN.model_copy(update={"encoding": "cp1252"})).rows[0].references == ("Müller",)


def test_rows_are_counted_as_records_also_if_a_cell_has_several_lines() -> None:
    found = read('day,text,amount\n2026-11-28,"A-1\nthanks,\n""Ann""",5\n\n2026-11-28,B,x\n')
    assert found.rows == [Row(1, "capture", "", ('A-1\nthanks,\n"Ann"',), 5_00, 0, 5_00, DAY)]
    assert [(one.number, one.problem) for one in found.unreadable] == [(3, "column amount: 'x' is not an amount")]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("2026-11-28,Ann, Bob,5", "the row has 4 columns, the header 3"),
        ("2026-11-28,5", "the row has 2 columns, the header 3"),
        ("28.11.2026,A,5", "column day: '28.11.2026' is not a day as YYYY-MM-DD"),
        ("2026-11-28,A,1.190,00", "the row has 4 columns, the header 3"),
        ("2026-11-28,A,5 EUR", "column amount: '5 EUR' is not an amount"),
        ("2026-11-28,A,0.005", "column amount: '0.005' has more than the 2 decimals of EUR"),
    ],
)
def test_a_row_that_does_not_fit_the_header_is_listed_with_its_column(row: str, problem: str) -> None:
    found = read(f"day,text,amount\n{row}\n2026-11-28,B,7,\n")
    assert [(one.number, one.problem, one.text) for one in found.unreadable] == [(1, problem, ",".join(map(str.strip, row.split(","))))]  # fmt: skip
    assert [one.gross_minor for one in found.rows] == [7_00], "a delimiter at the end is no column"


@pytest.mark.parametrize(
    ("header", "problem"),
    [("day,amount,text,Amount", "more than one column amount"), ("day;text;amount", "no column amount, day, text")],
)
def test_a_header_that_is_ambiguous_or_of_another_delimiter_is_refused(header: str, problem: str) -> None:
    with pytest.raises(StatementUnreadable, match=problem):
        read(f"{header}\n1,2,3,4")


def test_several_currencies_in_one_file_are_a_statement_for_each() -> None:
    mapping = Mapping(
        statement_id="id", on="day", gross="amount", currency="cur", kind="what", payout_kinds=("payout",)
    )
    lines = ["id,day,amount,cur,what", "p,2026-11-28,10.00,EUR,sale", "p,2026-11-28,900,JPY,sale", "p,2026-11-28,1.234,KWD,sale",
             "p,2026-11-28,-10.00,eur,payout", "p,2026-11-28,-900,jpy,payout", "p,2026-11-28,-1.234,kwd,payout",
             "q,2026-11-28,1.00,EUR,sale", "q,2026-11-28,-1.00,EUR,payout"]  # fmt: skip
    found = formats.read("csv", "\n".join(lines).encode(), mapping)
    assert [(one.statement_id, one.currency, one.payout_minor) for one in found] == [
        ("p/EUR", "EUR", 10_00), ("p/JPY", "JPY", 900), ("p/KWD", "KWD", 1_234), ("q", "EUR", 1_00)]  # fmt: skip


def test_one_statement_id_of_two_accounts_is_two_statements() -> None:
    mapping = Mapping(statement_id="id", account="acc", on="day", gross="amount", fixed_currency="EUR")
    found = mapped.read(b"id,acc,day,amount\np,a,2026-11-28,1\np,b,2026-11-28,2", mapping)
    assert [(one.statement_id, one.account, one.summed_minor) for one in found] == [("p", "a", 1_00), ("p", "b", 2_00)]


def test_a_row_of_totals_that_the_mapping_does_not_name_makes_the_file_unbalanced() -> None:
    body = b"day,text,amount\n2026-11-28,A,5.00\n2026-11-28,B,7.00\ntotal,,12.00\n"
    with pytest.raises(StatementUnbalanced, match="states 1200, its rows sum to 2400"):
        formats.read("csv", body, PLAIN, "s", payout_minor=12_00)
    named = PLAIN.model_copy(update={"lines_after_rows": 1})
    assert formats.read("csv", body, named, "s", payout_minor=12_00)[0].summed_minor == 12_00


# ------------------------------------------------------------------------------------------------------------ balances

BANK = Mapping(on="day", gross="amount", balance="balance", fixed_currency="EUR", bank=True)


@pytest.mark.parametrize("newest_first", [False, True])
def test_a_bank_file_has_its_balances_in_either_order(newest_first: bool) -> None:
    lines = ["2026-11-27,100.00,1100.00", "2026-11-28,-50.00,1050.00", "2026-11-28,7.00,1057.00"]
    body = "day,amount,balance\n" + "\n".join(reversed(lines) if newest_first else lines)
    found = balanced(read(body, BANK.model_copy(update={"newest_first": newest_first})))
    assert (found.opening_minor, found.closing_minor, found.begins_on) == (1_000_00, 1_057_00, date(2026, 11, 27))
    with pytest.raises(StatementUnbalanced):
        balanced(read(body, BANK.model_copy(update={"newest_first": not newest_first})))


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ("2026-11-28,x,5\n2026-11-28,7,12", "row 1 and 2 must have .* row 1: column amount: 'x'"),
        ("2026-11-28,5,5\n2026-11-28,7,x", "row 1 and 2 must have .* row 2: column balance: 'x'"),
        ("2026-11-28,5,5\n2026-11-28,7,", "row 1 and 2 must have"),
        ("2026-11-28,5\n2026-11-28,7,12", "row 1 and 2 must have .* row 1: the row has 2 columns"),
    ],
)
def test_a_bank_file_whose_first_or_last_row_cannot_be_read_is_refused(rows: str, problem: str) -> None:
    """Its money would be in no sum: the balances would come from the rows between."""
    with pytest.raises(StatementUnreadable, match=problem):
        read(f"day,amount,balance\n{rows}", BANK)


def test_an_amount_that_cannot_be_read_in_the_middle_makes_a_bank_file_unbalanced() -> None:
    with pytest.raises(StatementUnbalanced, match="states 1900, its rows sum to 1200"):
        balanced(read("day,amount,balance\n2026-11-28,5,5\n2026-11-28,x,12\n2026-11-28,7,19\n", BANK))


# -------------------------------------------------------------------------------------------------------------- stripe


@given(
    st.integers(1, 10**9),
    st.integers(0, 10**6),
    st.sampled_from(["EUR", "JPY", "ISK", "UGX", "MGA", "KWD", "KRW", "TND"]),
)
def test_amounts_of_stripe_are_in_its_own_units_of_the_currency(gross: int, fee: int, currency: str) -> None:
    unit = {"MGA": 100, "KWD": 10, "TND": 10}.get(currency, 1)  # what Stripe can express
    gross, fee = gross * unit, fee * unit
    there = {
        name: to_stripe(minor, currency) for name, minor in (("amount", gross), ("fee", fee), ("net", gross - fee))
    }
    charge = transaction("txn_1", "charge", 0, currency=currency.lower()) | there
    paid = transaction("txn_p", "payout", 0, currency=currency.lower(), source="po_1") | {"net": -there["net"]}
    [found] = formats.read("stripe", json.dumps([charge, paid]).encode())
    [row] = found.rows
    assert (row.gross_minor, row.fee_minor, row.net_minor, found.payout_minor) == (gross, fee, gross - fee, gross - fee)


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ([transaction("txn_q", "payout", -5, source="po_2")], "po_1 and po_2: import the list of each payout"),
        ([transaction("txn_q", "payout", -5, source="po_1", currency="eur")], "po_1 is in several currencies"),
        ([transaction("txn_q", "payout", -5, source="po_1") | {"net": "5"}], "'5' is not a whole number"),
    ],
)
def test_a_list_of_stripe_that_is_not_of_one_payout_is_refused(more: list[Any], problem: str) -> None:
    with pytest.raises(StatementUnreadable, match=problem):
        stripe.read(json.dumps([PAYOUT, *more]).encode())


def test_a_page_of_stripe_is_not_taken_for_the_list() -> None:
    with pytest.raises(StatementUnreadable, match="further pages"):
        stripe.read(json.dumps({"data": [PAYOUT], "has_more": True}).encode())
    marked = b"\xef\xbb\xbf" + json.dumps([PAYOUT | {"net": 0}]).encode()
    assert formats.read("stripe", marked)[0].statement_id == "po_1"


def test_what_is_retained_or_released_is_a_row_for_a_person_and_what_is_odd_is_listed_with_its_field() -> None:
    rows: list[Any] = [
        transaction("txn_h", "risk_reserved_funds", -3_00), transaction("txn_r", "payment_reserve_release", 1_00),
        transaction("txn_n", "fee", 50),  # a fee that is given back
        {"id": "txn_x", "currency": "usd", "reporting_category": "charge"}, transaction("txn_y", "charge", 5) | {"fee": 0.5}, [],
    ]  # fmt: skip
    [found] = stripe.read(json.dumps([PAYOUT, *rows]).encode())
    assert [(row.kind, row.gross_minor, row.fee_minor) for row in found.rows] == [
        ("adjustment", -3_00, 0), ("adjustment", 1_00, 0), ("fee", 0, -50)]  # fmt: skip
    problems = ["it has no 'amount'", "fee: 0.5 is not a whole number of minor units", "it is no object"]
    assert [one.problem for one in found.unreadable] == problems


def test_a_capture_in_another_currency_keeps_both_amounts_also_where_one_has_no_decimals() -> None:
    source = {"id": "ch_1", "payment_intent": "pi_1", "amount": 1_500, "currency": "jpy"}
    charge = transaction("txn_1", "charge", 9_87, 30, exchange_rate=0.00658, source=source)
    refund = transaction("txn_2", "refund", -9_80, exchange_rate=0.00653, source=source | {"id": "re_1"})
    [found] = stripe.read(json.dumps([PAYOUT, charge, refund]).encode())
    assert [row.exchanged and row.exchanged[:2] for row in found.rows] == [("JPY", 1_500), ("JPY", -1_500)]


# ------------------------------------------------------------------------------------------------------------- dintero


def test_a_settlement_of_dintero_that_states_a_currency_twice_is_refused() -> None:
    amounts = [{"amount": 5_00, "currency": "NOK"}, {"amount": 7_00, "currency": "nok"}]
    whole = {"id": "s1", "start_at": "2026-11-26", "end_at": "2026-11-28", "amounts": amounts, "transactions": []}
    with pytest.raises(StatementUnreadable, match="a currency twice"):
        dintero.read(json.dumps(whole).encode())


# ------------------------------------------------------------------------------------------------------------ camt.053

TEXT = "<TxDtls><Refs><EndToEndId>{0}</EndToEndId></Refs>{1}</TxDtls>"


def test_version_2_and_its_status_without_a_code() -> None:
    part = TEXT.format("A-1", '<AmtDtls><TxAmt><Amt Ccy="EUR">100.00</Amt></TxAmt></AmtDtls>')
    other = TEXT.format("A-2", '<AmtDtls><TxAmt><Amt Ccy="EUR">200.00</Amt></TxAmt></AmtDtls>')
    charges = '<Chrgs><Amt Ccy="EUR">1.00</Amt></Chrgs>'  # it does not state whether the amount contains them
    body = camt(entry("300.00", "CRDT", part + other, "<Sts>BOOK</Sts>", charges), closing="1300.00")
    [found] = camt053.read(body.replace(b"053.001.08", b"053.001.02"))
    assert [(row.references, row.net_minor, row.fee_minor) for row in balanced(found).rows] == [
        (("A-1",), 100_00, 0), (("A-2",), 200_00, 0)]  # fmt: skip


def test_a_reversal_has_the_direction_that_is_stated_and_pays_nothing() -> None:
    back = entry("20.00", "DBIT", TEXT.format("A-1", ""), more="<RvslInd>true</RvslInd>")
    again = entry("5.00", "CRDT", more="<RvslInd>false</RvslInd>")
    [found] = camt053.read(camt(back + again, closing="985.00"))
    assert [(row.kind, row.references, row.net_minor) for row in balanced(found).rows] == [
        ("adjustment", ("A-1",), -20_00), ("transfer", (), 5_00)]  # fmt: skip


@pytest.mark.parametrize(
    "parts",
    [
        [("A-1", '<Amt Ccy="USD">100.00</Amt>'), ("A-2", '<Amt Ccy="USD">200.00</Amt>')],
        [("A-1", '<Amt Ccy="EUR">100.00</Amt>'), ("A-2", "")],
        [("A-1", '<Amt Ccy="EUR">100.00</Amt>'), ("A-2", '<Amt Ccy="EUR">200.01</Amt>')],
    ],
)
def test_a_batch_whose_payments_do_not_state_its_amount_stays_one_row(parts: list[tuple[str, str]]) -> None:
    details = "".join(TEXT.format(*one) for one in parts)
    [found] = camt053.read(camt(entry("300.00", "CRDT", details), closing="1300.00"))
    assert [(row.references, row.net_minor) for row in balanced(found).rows] == [((), 300_00)]


def test_a_payment_of_a_batch_may_go_the_other_way() -> None:
    parts = TEXT.format("A-1", '<Amt Ccy="EUR">120.00</Amt>') + TEXT.format(
        "A-2", '<Amt Ccy="EUR">20.00</Amt><CdtDbtInd>DBIT</CdtDbtInd>'
    )
    [found] = camt053.read(camt(entry("100.00", "CRDT", parts), closing="1100.00"))
    assert [(row.references, row.net_minor) for row in balanced(found).rows] == [(("A-1",), 120_00), (("A-2",), -20_00)]


def test_charges_in_another_currency_stay_a_part_of_the_amount() -> None:
    foreign = '<Chrgs><Rcrd><Amt Ccy="USD">2.00</Amt><ChrgInclInd>true</ChrgInclInd></Rcrd></Chrgs>'
    given_back = (
        '<Chrgs><Rcrd><Amt Ccy="EUR">1.00</Amt><CdtDbtInd>CRDT</CdtDbtInd><ChrgInclInd>1</ChrgInclInd></Rcrd></Chrgs>'
    )
    [found] = camt053.read(camt(entry("98.00", "CRDT", more=foreign) + entry("11.00", "CRDT", more=given_back), closing="1109.00"))  # fmt: skip
    assert [(row.gross_minor, row.fee_minor) for row in balanced(found).rows] == [(98_00, 0), (10_00, -1_00)]


def test_a_statement_that_was_decoded_is_not_decoded_again() -> None:
    body = camt(entry("1190.00", "CRDT", TEXT.format("Müller", ""))).replace(b'"UTF-8"', b'"ISO-8859-1"')
    [found] = formats.read("camt053", body, encoding="utf-8")
    assert found.rows[0].references == ("Müller",)
    [found] = formats.read("camt053", body.decode().encode("iso-8859-1"))
    assert found.rows[0].references == ("Müller",)


@pytest.mark.parametrize("currency", ["JPY", "KWD", "EUR"])
def test_an_account_in_any_currency(currency: str) -> None:
    digits = "0" * EXPONENTS[currency]
    amount = f"7{'.' + digits if digits else ''}"
    body = camt(entry(amount, "CRDT"), closing="1007").replace(b"1000.00", b"1000").replace(b"EUR", currency.encode())
    [found] = camt053.read(body)
    assert balanced(found).rows[0].net_minor == 7 * 10 ** EXPONENTS[currency]
    [found] = camt053.read(body.replace(f">{amount}<".encode(), b">7.0005<"))
    assert found.unreadable[0].problem == f"'7.0005' has more than the {EXPONENTS[currency]} decimals of {currency}"


def test_two_balances_of_one_kind_that_differ_are_refused() -> None:
    closing = (
        '<Bal><Tp><CdOrPrtry><Cd>CLBD</Cd></CdOrPrtry></Tp><Amt Ccy="EUR">9.00</Amt><CdtDbtInd>CRDT</CdtDbtInd></Bal>'
    )
    with pytest.raises(StatementUnreadable, match="two different balances CLBD"):
        camt053.read(camt(closing))


def test_a_statement_of_10_000_entries_has_each_of_them() -> None:
    one = entry("0.01", "CRDT", TEXT.format("A-1", "")).replace("\n", "")
    [found] = camt053.read(camt(one * 10_000, closing="1100.00"))
    assert len(balanced(found).rows) == 10_000
