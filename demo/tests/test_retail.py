"""Lines, shipping, rounding and the snapshot of an order."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import Any

import pytest

from contracts.snapshot import Snapshot
from demo.countries import ISO_3166, iso_country
from demo.oracle import expect
from demo.retail import RetailOrder, canonical_json, orders_of, pence, run_orders, snapshot
from demo.source import Book, SourceError
from demo.tests.conftest import Reader, row


def only_order(book: Book) -> RetailOrder:
    (order,) = orders_of(book)
    return order


@pytest.mark.parametrize(
    ("quantity", "price", "minor"),
    [
        ("1", "0.005", 1),  # half goes up
        ("1", "0.0049999999999999999999999999999999999999", 0),
        ("1", "0.0050000000000000000000000000000000000001", 1),
        ("3", "0.335", 101),  # 100.5
        ("7", "0.145", 102),  # 101.5, which floats make 101.49999
        ("1", "2.675", 268),
        ("12", "0.42", 504),
        ("1000000000", "0.000000005", 500),
        ("2", "1.", 200),
        ("2", ".5", 100),
        ("+2", "+0.5", 100),
        ("007", "00.10", 70),
    ],
)
def test_a_line_is_rounded_half_up_once_from_exact_decimals(
    read_rows: Reader, quantity: str, price: str, minor: int
) -> None:
    book = read_rows(row(quantity=quantity, price=price))
    assert only_order(book).lines[0].line_total_minor == minor
    assert expect(book, "demo")[0].total_minor == minor


def test_the_unit_price_is_rounded_by_itself(read_rows: Reader) -> None:
    line = only_order(read_rows(row(quantity="1000", price="0.001"))).lines[0]
    assert (line.unit_price_minor, line.line_total_minor) == (0, 100)


def test_half_pennies_go_away_from_zero() -> None:
    assert [pence(Decimal(text)) for text in ("0.005", "-0.005", "0.015", "0.0049", "1e-30")] == [1, -1, 2, 0, 0]


def test_each_row_is_rounded_before_they_are_added(read_rows: Reader) -> None:
    order = only_order(read_rows(*[row(quantity="1", price="0.005")] * 3))
    assert order.total_minor == 3


def test_shipping_rows_are_the_shipping_charge_and_keep_their_place(read_rows: Reader) -> None:
    order = only_order(
        read_rows(row(code="post", quantity="2", price="0.125"), row(), row(code="DOT", price="1"), row(code="C2"))
    )
    assert [(line.place, line.sku) for line in order.lines] == [(2, "85123A")]
    assert order.shipping_minor == 25 + 600 + 1530
    assert order.total_minor == order.shipping_minor + 1530


def test_a_document_of_shipping_rows_only_has_them_as_lines_that_ship_nothing(read_rows: Reader) -> None:
    order = only_order(read_rows(row(code="POST", price="1"), row(code="dot", price="2")))
    assert [(line.sku, line.kind) for line in order.lines] == [("POST", "service"), ("DOT", "service")]
    assert (order.shipping_minor, order.total_minor, order.goods) == (0, 1800, [])


@pytest.mark.parametrize("code", ["M", "m", "D", "S", "B", "BANK CHARGES", "Bank Charges", "AMAZONFEE", "CRUK"])
def test_services_need_no_shipping_and_no_stock(read_rows: Reader, code: str) -> None:
    order = only_order(read_rows(row(code=code), row(code="POST")))
    assert [line.kind for line in order.lines] == ["service"]
    assert order.shipping_minor == 1530  # a service line is a line, so postage stays the shipping charge


def test_rows_of_equal_sku_stay_lines_of_their_own(read_rows: Reader) -> None:
    order = only_order(read_rows(row(code="15056bl"), row(code="15056BL")))
    assert [(line.place, line.sku) for line in order.lines] == [(1, "15056BL"), (2, "15056BL")]


def test_a_line_without_description_is_titled_by_its_sku(read_rows: Reader) -> None:
    assert only_order(read_rows(row(code="15056bl", description=" "))).lines[0].title == "15056BL"


def test_the_snapshot_states_the_order_in_the_fields_of_the_contract(read_rows: Reader) -> None:
    goods = row("7", quantity="3", date="7/4/2011 9:30", country="EIRE")
    body = snapshot(
        only_order(read_rows(goods, row("7", code="POST", price="1", country="EIRE", date="7/5/2011 0:00")))
    )
    tax = [{"rate": "0.00"}]
    assert body["source"] == {
        "channel": "online-retail",
        "account": "demo",
        "updated_at": "2011-07-04T08:30:00Z",
        "sequence": 1,
        "content_hash": "sha256:" + hashlib.sha256(canonical_json(body["order"])).hexdigest(),
        "raw_ref": None,
    }
    assert body["order"] == {
        "external_order_id": "7",
        "placed_at": "2011-07-04T08:30:00Z",
        "lifecycle": "ready_to_fulfill",
        "payment_state": "paid",
        "currency": "GBP",
        "buyer": {"external_id": "17850"},
        "ship_to": {"country": "IE"},
        "lines": [
            {
                "external_line_id": "1",
                "kind": "goods",
                "sku": "85123A",
                "title": "T-LIGHT HOLDER",
                "quantity": {"ordered": 3},
                "unit_price_minor": 255,
                "line_total_minor": 765,
                "tax": tax,
            }
        ],
        "totals": {"items_minor": 765, "shipping_minor": 600, "shipping_tax": tax, "grand_minor": 1365},
    }


def test_every_field_of_a_snapshot_is_one_of_the_contract(sample_orders: list[RetailOrder]) -> None:
    for order in sample_orders[:200]:
        body = snapshot(order)
        read = Snapshot.model_validate_json(canonical_json(body)).model_dump(mode="json", exclude_unset=True)
        assert {**body["order"], "buyer": {}} == {**read["order"], "buyer": {}}
        assert body["order"]["buyer"].get("external_id") == read["order"]["buyer"].get("external_id")


@pytest.mark.parametrize(
    ("date", "rate"), [("12/1/09 9:00", "15.00"), ("12/1/10 9:00", "17.50"), ("12/1/11 9:00", "20.00")]
)
def test_every_line_and_the_shipping_carry_the_one_rate_of_the_order(read_rows: Reader, date: str, rate: str) -> None:
    order = snapshot(only_order(read_rows(row(date=date), row(code="M", date=date))))["order"]
    taxes = [*(line["tax"] for line in order["lines"]), order["totals"]["shipping_tax"]]
    assert [tax[0]["rate"] for tax in taxes] == [rate] * 3


def test_a_snapshot_is_json_without_floats_and_hashes_its_content(sample_orders: list[RetailOrder]) -> None:
    for order in sample_orders[:50]:
        body = snapshot(order)
        assert json.loads(json.dumps(body)) == body
        assert _floats(body) == []
        assert snapshot(order) == body
    assert len({snapshot(order)["source"]["content_hash"] for order in sample_orders[:50]}) == 50


def _floats(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [found for part in value.values() for found in _floats(part)]
    if isinstance(value, list):
        return [found for part in value for found in _floats(part)]
    return [value] if isinstance(value, float) else []


def test_a_buyer_without_number_is_null(read_rows: Reader) -> None:
    assert snapshot(only_order(read_rows(row(customer=""))))["order"]["buyer"]["external_id"] is None


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("United Kingdom", "GB"),
        ("EIRE", "IE"),
        ("RSA", "ZA"),
        ("Channel Islands", "GG"),
        ("USA", "US"),
        ("Hong Kong", "HK"),
        ("European Community", None),
        ("Unspecified", None),
        ("Atlantis", None),
        ("", None),
    ],
)
def test_a_country_is_a_code_or_null_never_an_error(read_rows: Reader, name: str, code: str | None) -> None:
    assert iso_country(name) == code
    assert snapshot(only_order(read_rows(row(country=name))))["order"]["ship_to"]["country"] == code


def test_every_country_of_the_sample_is_mapped(sample: Book) -> None:
    assert {document.country for document in sample.documents} <= set(ISO_3166)
    assert all(code is None or (len(code) == 2 and code.isupper()) for code in ISO_3166.values())


def test_a_run_goes_round_until_it_has_exactly_as_many_orders(read_rows: Reader) -> None:
    book = read_rows(row("30"), row("10"), row("20"))
    orders = orders_of(book)
    for count in (1, 2, 3, 4, 7):
        ids = ["30", "10", "20", "30-2", "10-2", "20-2", "30-3"][:count]
        assert [order.external_order_id for order in run_orders(orders, count)] == ids
        assert [order.external_order_id for order in expect(book, "demo", count)] == ids
    assert run_orders(orders) == orders


def test_a_second_pass_sells_the_same_under_another_number(read_rows: Reader) -> None:
    first, second = run_orders(orders_of(read_rows(row())), 2)
    assert first.lines == second.lines
    assert snapshot(second)["order"]["external_order_id"] == "1-2"


def test_nothing_cannot_be_repeated(read_rows: Reader) -> None:
    assert run_orders(orders_of(read_rows())) == []
    with pytest.raises(SourceError, match="contains no order"):
        run_orders([], 5)
    with pytest.raises(SourceError, match="from 1"):
        run_orders(orders_of(read_rows(row())), 0)
