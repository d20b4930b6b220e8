"""The workload has the published shape, and Tradewind's services and the peer receive the same orders."""

from __future__ import annotations

from collections import Counter
from decimal import ROUND_HALF_UP, Decimal

from bench import dbos_flow
from bench.console import COPIED, Generator
from bench.workload import SKUS, STORE, Series, utc_now
from contracts.envelope import read
from contracts.registry import SNAPSHOTS
from contracts.snapshot import Snapshot


def test_an_order_is_a_function_of_its_series_and_number() -> None:
    assert Series("a").order(7) == Series("a").order(7)
    assert Series("a").order(7)["lines"] != Series("b").order(7)["lines"]
    assert Series("a").key(7) != Series("b").key(7)


def test_orders_have_one_to_five_lines_and_three_on_average() -> None:
    counts = Counter(len(Series("a").order(n)["lines"]) for n in range(5_000))
    assert set(counts) == {1, 2, 3, 4, 5}
    mean = sum(lines * orders for lines, orders in counts.items()) / 5_000
    assert abs(mean - 3) < 0.1


def test_every_sku_is_as_popular_as_another() -> None:
    sold = Counter(line["sku"] for n in range(20_000) for line in Series("a").order(n)["lines"])
    assert len(sold) > 0.99 * SKUS
    assert max(sold.values()) < 25  # six on average


def test_a_row_of_the_console_has_every_column() -> None:
    for line in Generator(1_000).lines():
        assert line.count(b"\t") == len(COPIED) - 1 and line.endswith(b"\n")


def test_a_record_of_the_load_decodes_as_a_snapshot() -> None:
    series = Series("a")
    for n in range(200):
        key, value = series.snapshot(n)
        received = read(SNAPSHOTS, key, value, series.snapshot_headers(n, key, utc_now()))
        assert isinstance(received.body, Snapshot)
        assert (received.store_id, received.key) == (STORE, series.key(n))
        assert received.body.order.priced


def test_the_peers_invoice_holds_the_same_tax_as_ours() -> None:
    for n in range(500):
        [(_, values)] = dbos_flow.invoice("key", Series("a").order(n))
        gross = Decimal(values["grand"])
        assert values["vat"] == int((gross * 20 / 120).quantize(Decimal(1), ROUND_HALF_UP))
        assert values["net"] + values["vat"] == gross
