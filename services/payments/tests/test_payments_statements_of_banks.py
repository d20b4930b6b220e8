"""Where banks and gateways write what a person needs: other elements, other columns, other balances than the usual ones."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError
from test_payments_statements import camt, entry

from payments.domain.matching import words
from payments.domain.statements import Exchanged, Row, balanced
from payments.statements import camt053, mapped
from payments.statements.mapped import Mapping

DAY = date(2026, 11, 28)
PAYER = "<TxDtls><RltdPties><Dbtr><Nm>Ann</Nm></Dbtr></RltdPties></TxDtls>"


# ------------------------------------------------------------------------------------------------------------ camt.053


def test_what_will_be_available_on_each_of_the_next_days_is_no_balance_of_the_statement() -> None:
    available = "".join(
        f'<Bal><Tp><CdOrPrtry><Cd>FWAV</Cd></CdOrPrtry></Tp><Amt Ccy="EUR">{amount}</Amt><CdtDbtInd>CRDT</CdtDbtInd></Bal>'
        for amount in ("1000.00", "990.00")
    )
    [found] = camt053.read(camt(available, closing="1000.00"))
    assert (found.opening_minor, found.closing_minor) == (100_000, 100_000)


def test_documents_in_an_envelope_are_all_read() -> None:
    """As a bank's portal or a SOAP interface answers with them."""
    first, second = (camt("", closing="1000.00").partition(b"?>")[2] for _ in range(2))
    second = second.replace(b"<Id>2026-11-28</Id>", b"<Id>2026-11-29</Id>").replace(b"053.001.08", b"053.001.02")
    head = b'<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Header><Stmt><Id>no</Id></Stmt></e:Header><e:Body><reply>'
    found = camt053.read(
        head + b"<file>" + first + b"</file><file>" + second + b"</file></reply></e:Body></e:Envelope>"
    )
    assert [(one.statement_id, one.closing_minor) for one in found] == [
        ("2026-11-28", 100_000),
        ("2026-11-29", 100_000),
    ]
    [alone] = camt053.read(camt(entry("5.00", "CRDT", PAYER), closing="1005.00"))
    [wrapped] = camt053.read(
        b"<a><b>" + camt(entry("5.00", "CRDT", PAYER), closing="1005.00").partition(b"?>")[2] + b"</b></a>"
    )
    assert wrapped == alone


@pytest.mark.parametrize(
    ("details", "names"),
    [
        ("", ("TRANSFER A-1",)),
        (PAYER, ("TRANSFER A-1",)),
        (PAYER.replace("<RltdPties>", "<Refs><EndToEndId>E-9</EndToEndId></Refs><RltdPties>"), ("E-9", "TRANSFER A-1")),
    ],
)
def test_what_a_bank_writes_of_an_entry_of_one_payment_is_a_reference(details: str, names: tuple[str, ...]) -> None:
    """Wise and others write it there, and only there: OCA/bank-statement-import, pull request 1006."""
    one = entry("5.00", "CRDT", details).replace("</Ntry>", "<AddtlNtryInf> TRANSFER A-1 </AddtlNtryInf></Ntry>")
    [found] = camt053.read(camt(one, closing="1005.00"))
    assert [row.references for row in balanced(found).rows] == [names]


def test_what_a_bank_writes_of_a_whole_batch_names_none_of_its_payments() -> None:
    parts = '<TxDtls><Amt Ccy="EUR">2.00</Amt></TxDtls><TxDtls><Amt Ccy="EUR">3.00</Amt></TxDtls>'
    one = entry("5.00", "CRDT", parts).replace("</Ntry>", "<AddtlNtryInf>A-1</AddtlNtryInf></Ntry>")
    for body in (one, one.replace("3.00", "4.00")):
        [found] = camt053.read(camt(body, closing="1005.00"))
        assert {row.references for row in balanced(found).rows} == {()}


def test_numbers_of_documents_and_further_texts_are_references() -> None:
    details = (
        "<TxDtls><RmtInf><Ustrd>thanks</Ustrd><Strd><RfrdDocInf><Nb>A-1</Nb></RfrdDocInf><AddtlRmtInf>A-2</AddtlRmtInf></Strd>"
        "</RmtInf><AddtlTxInf>A-3</AddtlTxInf></TxDtls>"
    )
    [found] = camt053.read(camt(entry("5.00", "CRDT", details), closing="1005.00"))
    assert found.rows[0].references == ("A-1", "thanks", "A-2", "A-3")


@pytest.mark.parametrize(("direction", "closing", "net"), [("CRDT", "1005.00", 500), ("DBIT", "995.00", -500)])
def test_a_payment_that_a_bank_returned_pays_nothing(direction: str, closing: str, net: int) -> None:
    """A refund that could not be delivered is no payment of the order that it names, and a recalled payment is no refund."""
    details = "<TxDtls><Refs><EndToEndId>A-1</EndToEndId></Refs><RtrInf><Rsn><Cd>AC04</Cd></Rsn></RtrInf></TxDtls>"
    [found] = camt053.read(camt(entry("5.00", direction, details), closing=closing))
    assert [(row.kind, row.references, row.net_minor) for row in balanced(found).rows] == [
        ("adjustment", ("A-1",), net)
    ]


# ----------------------------------------------------------------------------------------------------------------- CSV


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("SVWZ+A-1 EREF+NOTPROVIDED", "A-1"), ("EREF+A-1", "A-1"), ("/REMI/A-1", "A-1"), ("/TRCD/00100/REMI/A-1/", "A-1/"),
        ("REMI//A-1", "REMI//A-1"), ("Order A-1, thanks", "A-1"), ("pay SHOP+1001 for me", "SHOP+1001"),
    ],
)  # fmt: skip
def test_the_tags_of_banks_are_no_part_of_what_a_payer_wrote(text: str, word: str) -> None:
    assert word in set(words([text]))


WAYS: dict[str, Any] = {
    "on": "Datum", "net": "Bedrag", "fixed_currency": "EUR", "decimal": ",", "day_format": "%Y%m%d", "bank": True,
    "direction": "Af Bij", "incoming": ["Bij"], "outgoing": ["Af"],
}  # fmt: skip


def test_amounts_without_a_sign_have_the_direction_of_a_column() -> None:
    body = b'Datum,"Af Bij",Bedrag\n20261128,Bij,"12,50"\n20261128,Af,"2,50"\n20261128,af,"1,00"\n'
    [found] = mapped.read(body, Mapping.model_validate(WAYS), "s")
    assert [row.net_minor for row in found.rows] == [12_50, -2_50]
    assert [one.problem for one in found.unreadable] == ["column Af Bij: 'af' is neither incoming nor outgoing"]


@pytest.mark.parametrize(("gateway", "kinds"), [("manual", ["transfer", "transfer"]), ("shop", ["capture", "refund"])])
def test_what_is_imported_for_bank_transfers_is_a_banks_without_a_word_of_the_mapping(
    gateway: str, kinds: list[str]
) -> None:
    body = b"day,amount\n2026-11-28,12.50\n2026-11-28,-2.50\n"
    [found] = mapped.read(body, Mapping(on="day", gross="amount", fixed_currency="EUR").of(gateway), "s")
    assert [row.kind for row in found.rows] == kinds


def test_a_direction_states_the_words_of_both_ways() -> None:
    with pytest.raises(ValidationError, match="`direction` needs the words"):
        Mapping.model_validate(WAYS | {"outgoing": []})


def test_a_delimiter_at_the_end_of_the_header_begins_no_column() -> None:
    body = b"day;amount;text;\n2026-11-28;5.00;A-1\n2026-11-28;6.00;A-2;\n"
    mapping = Mapping(delimiter=";", on="day", gross="amount", references=("text",), fixed_currency="EUR")
    [found] = mapped.read(body, mapping, "s")
    assert [(row.net_minor, row.references) for row in found.rows] == [(5_00, ("A-1",)), (6_00, ("A-2",))]
    assert found.unreadable == []


def test_a_report_of_stripe_states_what_was_exchanged() -> None:
    lines = [
        "automatic_payout_id,balance_transaction_id,created_utc,currency,gross,fee,net,reporting_category,source_id,payment_intent_id,charge_id,customer_facing_amount,customer_facing_currency",
        "po_1,txn_1,2026-11-28 10:00:00,eur,91.00,1.75,89.25,charge,ch_1,pi_1,ch_1,100.00,usd",
        "po_1,txn_2,2026-11-28 10:00:00,eur,-9.10,0,-9.10,refund,re_1,pi_1,ch_1,10.00,usd",
        "po_1,txn_3,2026-11-28 10:00:00,eur,5.00,0,5.00,charge,ch_2,pi_2,ch_2,5.00,eur",
        "po_1,txn_4,2026-11-28 10:00:00,eur,-1.00,0,-1.00,fee,,,,,",
        "po_1,txn_p,2026-11-28 10:00:00,eur,-84.15,0,-84.15,payout,po_1,,,,",
    ]
    [found] = mapped.read("\n".join(lines).encode(), mapped.shipped("stripe"))
    assert [row.exchanged for row in balanced(found).rows] == [
        Exchanged("USD", 100_00, ""), Exchanged("USD", -10_00, ""), None, None]  # fmt: skip
    shorter = "\n".join(line.rsplit(",", 2)[0] for line in lines)
    [found] = mapped.read(shorter.encode(), mapped.shipped("stripe"))
    assert balanced(found).rows[0] == Row(1, "capture", "txn_1", ("ch_1", "pi_1", "ch_1"), 91_00, 1_75, 89_25, DAY)
