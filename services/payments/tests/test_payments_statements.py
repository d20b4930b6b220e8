"""Settlement reports and bank statements, each in its format, become the same rows; what cannot be read is listed."""

from __future__ import annotations

import json
from datetime import date
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.money import EXPONENTS, decimal_string
from payments import settlements
from payments.api.settlements import unbalanced
from payments.domain.matching import Matched
from payments.domain.statements import Exchanged, Row, StatementUnbalanced, StatementUnreadable, balanced
from payments.statements import camt053, dintero, formats, mapped, stripe
from payments.statements.amounts import minor_of

DAY = date(2026, 11, 28)
AT = 1_795_824_000  # 2026-11-28T00:00:00Z


# ------------------------------------------------------------------------------------------------------------ amounts


@given(st.integers(-(10**15), 10**15), st.sampled_from(sorted(EXPONENTS)))
def test_an_amount_is_read_as_it_was_written_in_every_currency(amount_minor: int, currency: str) -> None:
    written = f"{decimal_string(amount_minor, currency)}"
    assert minor_of(written, currency) == amount_minor
    assert minor_of(written.replace(".", ","), currency, decimal=",") == amount_minor


@pytest.mark.parametrize("text", ["", "1e3", "NaN", "1_000", "1,000.00", "10.005", "--1", "\u0661", "9" * 17, "0x10"])
def test_what_is_no_exact_amount_is_refused_not_rounded(text: str) -> None:
    with pytest.raises(ValueError):
        minor_of(text, "EUR")


# ------------------------------------------------------------------------------------------------------------- stripe


def transaction(id: str, category: str, amount: int, fee: int = 0, **more: Any) -> dict[str, Any]:
    return {"id": id, "object": "balance_transaction", "amount": amount, "fee": fee, "net": amount - fee, "currency": "usd",
        "created": AT, "reporting_category": category, "source": f"src_{id}", "exchange_rate": None} | more  # fmt: skip


PAYOUT = transaction("txn_p", "payout", -11_500, source="po_1")
CHARGE = transaction("txn_1", "charge", 12_340, 340, exchange_rate=1.234, source={
    "id": "ch_1", "object": "charge", "payment_intent": "pi_1", "amount": 10_000, "currency": "eur",
    "metadata": {"operation_id": "0b0f9d8e-0000-4000-8000-000000000001"}})  # fmt: skip


def test_the_balance_transactions_of_a_payout_of_stripe() -> None:
    fee = transaction("txn_f", "fee", -500)
    [statement] = stripe.read(json.dumps({"object": "list", "data": [PAYOUT, CHARGE, fee]}).encode())
    assert (statement.statement_id, statement.currency, statement.payout_minor) == ("po_1", "USD", 11_500)
    assert (statement.begins_on, statement.ends_on) == (DAY, DAY)
    names = ("0b0f9d8e-0000-4000-8000-000000000001", "ch_1", "pi_1")
    assert balanced(statement).rows == [
        Row(2, "capture", "txn_1", names, 12_340, 340, 12_000, DAY, Exchanged("EUR", 10_000, "1.234")),
        Row(3, "fee", "txn_f", ("src_txn_f",), 0, 500, -500, DAY),
    ]


def test_a_transaction_that_cannot_be_read_is_listed_and_counts() -> None:
    odd: list[Any] = [
        transaction("txn_2", "charge", 100) | {"net": 99},
        transaction("txn_3", "charge", 100, currency="eur"),
        {"id": "txn_4", "net": "12"},
        "nonsense",
    ]
    [statement] = stripe.read(json.dumps([PAYOUT, CHARGE, *odd]).encode())
    assert [(one.number, one.net_minor) for one in statement.unreadable] == [(3, 99), (4, 100), (5, None), (6, None)]
    assert "gross 100 less fee 0 is not net 99" in statement.unreadable[0].problem
    with pytest.raises(StatementUnbalanced, match="states 11500, its rows sum to 12199"):
        balanced(statement)


# ------------------------------------------------------------------------------------------------------------ dintero


def test_a_settlement_of_dintero_with_the_events_of_its_transactions() -> None:
    def event(settlement: str, **amounts: int) -> dict[str, Any]:
        return {"settlement_id": settlement, "event_correlation_id": f"ev-{settlement}", **amounts}

    settlement = {
        "id": "s1", "account_id": "P11223351", "start_at": "2026-11-26T00:00:00Z", "end_at": "2026-11-28T23:59:59Z",
        "amounts": [{"amount": 8_900, "capture": 10_000, "refund": 1_000, "fee": 100, "currency": "NOK"}],
        "transactions": [
            {"id": "P11223351.a", "merchant_reference": "A-1", "currency": "NOK", "settlements": {"events": [
                event("s1", amount=8_900, capture=10_000, refund=1_000, fee=100), event("s0", amount=5, capture=5)]}},
            {"id": "P11223351.b", "currency": "NOK"},
            {"id": "P11223351.c", "currency": "SEK", "settlements": {"events": []}},
        ],
    }  # fmt: skip
    [statement] = dintero.read(json.dumps(settlement).encode())
    names = ("ev-s1", "P11223351.a", "A-1")
    assert balanced(statement).rows == [
        Row(1, "capture", "ev-s1", names, 10_000, 100, 9_900, DAY),
        Row(1, "refund", "ev-s1", names, -1_000, 0, -1_000, DAY),
    ]
    assert [one.number for one in statement.unreadable] == [2, 3]
    assert (statement.account, statement.begins_on) == ("P11223351", date(2026, 11, 26))


DINTERO_CSV = """\
DinteroSettlementId,AccountId,SettlementCurrencyCode,TransactionTime,TransactionAmount,TransactionCapture,TransactionRefund,\
TransactionFee,TransactionChargeback,TransactionID,Reference
e65cba,P11223351,NOK,2026-11-28,49,50,0,1,0,P11223351.5z9c,test-payment-2
e65cba,P11223351,NOK,2026-11-28,-20.5,0,20.50,0,0,P11223351.5z9d,test-payment-1
"""


def test_the_csv_report_of_dintero_is_read_by_its_mapping() -> None:
    [statement] = mapped.read(DINTERO_CSV.encode(), mapped.shipped("dintero"))
    assert (statement.statement_id, statement.account, statement.stated_minor) == ("e65cba", "P11223351", None)
    assert statement.rows == [
        Row(1, "capture", "P11223351.5z9c", ("P11223351.5z9c", "test-payment-2"), 5_000, 100, 4_900, DAY),
        Row(2, "refund", "P11223351.5z9d", ("P11223351.5z9d", "test-payment-1"), -2_050, 0, -2_050, DAY),
    ]


# ------------------------------------------------------------------------------------------------------------- mapped


def test_the_itemized_csv_of_stripe_is_one_statement_per_payout() -> None:
    lines = [
        "automatic_payout_id,balance_transaction_id,created_utc,currency,gross,fee,net,reporting_category,source_id,payment_intent_id,charge_id",
        "po_1,txn_1,2026-11-28 10:00:00,jpy,1000,36,964,charge,ch_1,pi_1,ch_1",
        "po_2,txn_2,2026-11-28 10:00:00,jpy,-300,0,-300,refund,re_1,pi_1,ch_1",
        "po_1,txn_p,2026-11-28 10:00:00,jpy,-964,0,-964,payout,po_1,,",
        "po_2,txn_q,2026-11-28 10:00:00,jpy,299,0,299,payout,po_2,,",
    ]
    one, two = mapped.read("\r\n".join(lines).encode(), mapped.shipped("stripe"))
    assert balanced(one).rows == [Row(1, "capture", "txn_1", ("ch_1", "pi_1", "ch_1"), 1_000, 36, 964, DAY)]
    with pytest.raises(StatementUnbalanced, match="states -299, its rows sum to -300"):
        balanced(two)


BANK = b"""{"delimiter": ";", "encoding": "cp1252", "decimal": ",", "thousands": ".", "day_format": "%d.%m.%Y", "on": "Buchungstag",
 "gross": "Betrag", "fixed_currency": "EUR", "references": ["Verwendungszweck"], "balance": "Saldo", "bank": true}"""


def test_a_bank_statement_in_csv_has_its_balances() -> None:
    body = "Buchungstag;Betrag;Verwendungszweck;Saldo\n28.11.2026;1.190,00;Auftrag A-1 für Müller;2.190,00\n\n28.11.2026;-5;;2.185\n"
    [statement] = mapped.read(body.encode("cp1252"), mapped.parse_mapping(BANK), "2026-11", "DE02")
    assert (statement.opening_minor, statement.closing_minor) == (100_000, 218_500)
    assert balanced(statement).rows == [
        Row(1, "transfer", "", ("Auftrag A-1 für Müller",), 119_000, 0, 119_000, DAY),
        Row(3, "transfer", "", (), -500, 0, -500, DAY),
    ]


def test_a_row_of_a_csv_that_cannot_be_read_is_listed() -> None:
    body = "Buchungstag;Betrag;Verwendungszweck;Saldo\n31.02.2026;5,00;A;5\n28.11.2026;abc;B;5\n28.11.2026\n28.11.2026;;C;5\n"
    [statement] = mapped.read(body.encode(), mapped.parse_mapping(BANK), "2026-11", "DE02")
    assert statement.rows == []
    assert [(one.number, one.net_minor, one.text) for one in statement.unreadable] == [
        (1, 500, "31.02.2026;5,00;A;5"),
        (2, None, "28.11.2026;abc;B;5"),
        (3, None, "28.11.2026"),
        (4, 0, "28.11.2026;;C;5"),
    ]


@pytest.mark.parametrize(
    ("mapping", "body", "problem"),
    [
        (b"{}", b"", "on: Field required"),
        (b'{"on": "a", "gross": "b"}', b"", "`currency` names a column"),
        (b'{"on": "a", "gross": "b", "fixed_currency": "EUR", "colour": "c"}', b"", "colour: Extra inputs"),
        (b'{"on": "a", "gross": "b", "fixed_currency": "EUR"}', b"", "the file has no header"),
        (b'{"on": "a", "gross": "b", "fixed_currency": "EUR"}', b"a,c\n1,2", "the file has no column b"),
        (
            b'{"on": "a", "gross": "b", "currency": "c"}',
            b"a,b,c\n1,2,EURO",
            "row 1, column c: 'EURO' is not a currency",
        ),
        (b'{"on": "a", "gross": "b", "fixed_currency": "EUR"}', b"a,b\n1,2", "belongs to no statement"),
        (b'{"on": "a", "gross": "b", "fixed_currency": "EUR"}', b"a,b\n\xff,2", "not utf-8"),
        (b'{"on": "a", "gross": "b", "fixed_currency": "EUR"}', b'a,b\n"1,2', "unexpected end of data"),
    ],
)
def test_a_file_that_its_mapping_does_not_fit_is_refused_with_the_reason(
    mapping: bytes, body: bytes, problem: str
) -> None:
    with pytest.raises(StatementUnreadable, match=problem):
        mapped.read(body, mapped.parse_mapping(mapping))


# ------------------------------------------------------------------------------------------------------------ camt.053


def camt(entries: str, closing: str = "2190.00", balances: str = "OPBD") -> bytes:
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt><GrpHdr><MsgId>M</MsgId></GrpHdr><Stmt>
  <Id>2026-11-28</Id><FrToDt><FrDtTm>2026-11-28T00:00:00</FrDtTm><ToDtTm>2026-11-28T23:59:59</ToDtTm></FrToDt>
  <Acct><Id><IBAN>DE02120300000000202051</IBAN></Id><Ccy>EUR</Ccy></Acct>
  <Bal><Tp><CdOrPrtry><Cd>{balances}</Cd></CdOrPrtry></Tp><Amt Ccy="EUR">1000.00</Amt><CdtDbtInd>CRDT</CdtDbtInd></Bal>
  <Bal><Tp><CdOrPrtry><Cd>CLBD</Cd></CdOrPrtry></Tp><Amt Ccy="EUR">{closing}</Amt><CdtDbtInd>CRDT</CdtDbtInd></Bal>
  {entries}</Stmt></BkToCstmrStmt></Document>""".encode()


def entry(
    amount: str, direction: str, details: str = "", status: str = "<Sts><Cd>BOOK</Cd></Sts>", more: str = ""
) -> str:
    return f"""<Ntry><Amt Ccy="EUR">{amount}</Amt><CdtDbtInd>{direction}</CdtDbtInd>{status}<BookgDt><Dt>2026-11-28</Dt></BookgDt>
    <AcctSvcrRef>B-1</AcctSvcrRef>{more}<NtryDtls>{details}</NtryDtls></Ntry>"""


PAID = """<TxDtls><Refs><EndToEndId>A-1</EndToEndId></Refs><RmtInf><Ustrd>Order A-1 &amp; thanks</Ustrd>
<Strd><CdtrRefInf><Ref>RF18539007547034</Ref></CdtrRefInf></Strd></RmtInf></TxDtls>"""


CHARGED = (
    '<Chrgs><Rcrd><Amt Ccy="EUR">2.00</Amt><CdtDbtInd>DBIT</CdtDbtInd><ChrgInclInd>true</ChrgInclInd></Rcrd></Chrgs>'
)


def test_a_bank_statement_in_camt_053() -> None:
    [statement] = camt053.read(camt(entry("1190.00", "CRDT", PAID)))
    assert (statement.statement_id, statement.account, statement.currency) == (
        "2026-11-28",
        "DE02120300000000202051",
        "EUR",
    )
    assert (statement.opening_minor, statement.closing_minor, statement.begins_on) == (100_000, 219_000, DAY)
    names = ("RF18539007547034", "A-1", "Order A-1 & thanks")
    assert balanced(statement).rows == [Row(1, "transfer", "B-1", names, 119_000, 0, 119_000, DAY)]


def test_an_entry_of_several_payments_is_a_row_for_each_if_they_sum_to_it() -> None:
    def part(name: str, amount: str) -> str:
        return f'<TxDtls><Refs><EndToEndId>{name}</EndToEndId></Refs><Amt Ccy="EUR">{amount}</Amt></TxDtls>'

    whole, short = part("A-1", "100.00") + part("A-2", "200.00"), part("A-3", "1.00") + part("A-4", "2.00")
    [statement] = camt053.read(camt(entry("300.00", "CRDT", whole) + entry("9.00", "DBIT", short), closing="1291.00"))
    assert [(row.number, row.references, row.net_minor) for row in balanced(statement).rows] == [
        (1, ("A-1",), 10_000),
        (1, ("A-2",), 20_000),
        (2, (), -900),
    ]
    assert [bool(row.problem) for row in statement.rows] == [False, False, True]


@pytest.mark.parametrize(
    ("amounts", "more", "problem"),
    [
        (("1.00", "2.00"), "", "2 payments in one entry sum to 300 minor units, the entry is 900"),
        (("4.00", ""), "", "not each states its amount in EUR"),
        (("4.00", "5.00"), CHARGED, "200 minor units of charges"),
    ],
)
def test_an_entry_of_several_payments_that_is_one_row_states_why(
    amounts: tuple[str, ...], more: str, problem: str
) -> None:
    stated = [f'<Amt Ccy="EUR">{amount}</Amt>' if amount else "" for amount in amounts]
    details = "".join(f"<TxDtls><Refs><EndToEndId>A</EndToEndId></Refs>{one}</TxDtls>" for one in stated)
    [statement] = camt053.read(camt(entry("9.00", "CRDT", details, more=more), closing="1009.00"))
    [row] = balanced(statement).rows
    assert problem in row.problem and row.references == ()
    [stored] = settlements._rows(uuid4(), "st_1", [Matched(row, "unmatched", None)])
    assert dict(zip(settlements.ROW, stored, strict=True))["problem"] == row.problem


def test_only_booked_entries_are_in_the_balance_and_charges_are_fees() -> None:
    charge = "<BkTxCd><Domn><Cd>ACMT</Cd><Fmly><Cd>MDOP</Cd><SubFmlyCd>CHRG</SubFmlyCd></Fmly></Domn></BkTxCd>"
    entries = [
        entry("7.00", "CRDT", status="<Sts>PDNG</Sts>"),
        entry("98.00", "CRDT", PAID, more=CHARGED, status="<Sts>BOOK</Sts>"),
        entry("3.00", "DBIT", more=charge),
    ]
    [statement] = camt053.read(camt("".join(entries), closing="1095.00", balances="PRCD"))
    assert [(row.kind, row.gross_minor, row.fee_minor, row.net_minor) for row in balanced(statement).rows] == [
        ("transfer", 10_000, 200, 9_800),
        ("fee", 0, 300, -300),
    ]


def test_an_entry_that_cannot_be_read_is_listed() -> None:
    foreign = entry("1.00", "CRDT").replace("EUR", "USD")
    undated = entry("190.00", "CRDT").replace("BookgDt", "ValDt")
    [statement] = camt053.read(camt(foreign + undated + entry("1000.00", "CRDT", PAID) + entry("-1", "CRDT")))
    assert [(one.number, one.net_minor) for one in statement.unreadable] == [(1, None), (2, 19_000), (4, None)]
    assert balanced(statement).summed_minor == 119_000


LAUGHS = b"""<?xml version="1.0"?><!DOCTYPE Document [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<Document><BkToCstmrStmt><Stmt><Id>&b;</Id></Stmt></BkToCstmrStmt></Document>"""
FILE = b"""<!DOCTYPE Document [<!ENTITY a SYSTEM "file:///etc/hostname">]>
<Document><BkToCstmrStmt><Stmt><Id>&a;</Id></Stmt></BkToCstmrStmt></Document>"""


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (LAUGHS, "document type declaration"),
        (FILE, "document type declaration"),
        (b"<Document><BkToCstmrStmt>", "not well-formed"),
        (b"", "not well-formed"),
        (b"<Document><BkToCstmrAcctRpt/></Document>", "no camt.053"),
        (b"<Document><BkToCstmrStmt><Stmt/></BkToCstmrStmt></Document>", "a statement has no Id"),
        (camt("").replace(b"<Ccy>EUR</Ccy>", b"<Ccy>EURO</Ccy>"), "'EURO' is not a currency"),
        (b"<a>" * 50, "nested more than"),
    ],
)
def test_what_is_no_camt_053_is_refused_with_the_reason(body: bytes, problem: str) -> None:
    with pytest.raises(StatementUnreadable, match=problem):
        camt053.read(body)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_make_a_reader_fail_otherwise(body: bytes) -> None:
    mapping = mapped.shipped("dintero")
    for read in (stripe.read, dintero.read, camt053.read, lambda body: mapped.read(body, mapping)):
        with pytest.raises(StatementUnreadable):
            read(body)


def test_a_report_that_does_not_balance_is_refused_with_both_sums_and_what_cannot_be_read() -> None:
    body = DINTERO_CSV.replace("49,50,0,1,0", "oops,50,0,1,0").encode()
    with pytest.raises(StatementUnbalanced) as refused:
        formats.read("dintero_csv", body, payout_minor=2_850)
    problem = unbalanced(refused.value)
    assert (problem.status, problem.code, problem.more["stated_minor"], problem.more["summed_minor"]) == (
        422, "statement_unbalanced", 2_850, -2_050)  # fmt: skip
    assert [(one["number"], one["problem"]) for one in problem.more["unreadable"]] == [
        (1, "column TransactionAmount: 'oops' is not an amount")
    ]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"form": "dintero_csv", "body": DINTERO_CSV.encode()}, "states no payout and no balances"),
        ({"form": "csv", "body": b"a"}, "needs a mapping"),
        (
            {
                "form": "stripe",
                "body": json.dumps(
                    [
                        transaction("p", "payout", 0),
                        *(transaction(f"t{n}", "charge", amount, amount) for n, amount in enumerate((10**15, 10**15))),
                    ]
                ).encode(),
            },
            "sum to more than",
        ),
        (
            {"form": "csv", "body": b"a,b\n", "mapping": mapped.Mapping(on="a", gross="b", fixed_currency="EUR")},
            "has no rows",
        ),
        ({"form": "stripe", "body": json.dumps([PAYOUT | {"source": "p" * 201}]).encode()}, "at most 200 characters"),
    ],
)
def test_a_report_that_lacks_what_an_import_needs_is_refused(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(StatementUnreadable, match=problem):
        formats.read(**arguments)
