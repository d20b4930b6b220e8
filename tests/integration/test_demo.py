"""`python -m demo` as a person starts it: to the penny, stopped at any moment, refused in a sentence, nothing left behind."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

import devservices
from demo.report import COLUMNS
from system.processes import System
from tests.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.real

ROOT = Path(__file__).resolve().parents[2]
MARK = "TRADEWIND_DEMO_TEST"
SMALL = """\
InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
732001,A1,LANTERN,2,12/1/2010 8:26,2.55,17850,United Kingdom
732001,post,POSTAGE,1,12/1/2010 8:26,3.005,17850,United Kingdom
732002,M,Manual,1,12/1/2010 8:28,10.01,17850,France
C73203,A1,LANTERN,-2,12/1/2010 8:26,2.55,17850,United Kingdom
732004,A2,MUG,x,12/1/2010 8:26,2.55,17850,United Kingdom
732005,A2,MUG,3,12/1/2010 8:26,0,17850,EIRE
732006,A3,"TEA, POT",7,1/5/2011 8:26,0.07,,United Kingdom
732007,A1,LANTERN,3,1/5/2011 8:30,3.3333,17850,United Kingdom
732007,A2,MUG,2,1/5/2011 8:30,1.10,17850,United Kingdom
732007,POST,POSTAGE,1,1/5/2011 8:30,4.00,17850,United Kingdom
"""
RUN = 60  # of the file's five orders: round and round, with each kind of trouble among them


@dataclass
class Demo:
    """A demo in an instance of its own; everything it starts carries the mark in its environment."""

    folder: Path
    mark: str
    instance: str

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "demo", "--instance", self.instance, "--reports", str(self.folder), *arguments],
            cwd=ROOT,
            env=os.environ | {MARK: self.mark},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ends(self, *arguments: str) -> tuple[int, str]:
        process = self.start(*arguments)
        told, _ = process.communicate(timeout=2 * PATIENCE_SECONDS)
        return process.returncode, told

    def left_running(self) -> list[str]:
        """A training of Kafka gets a signal, and ends once it gets the processor: it has the lowest priority."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.mark:
                    command = " ".join(process.cmdline())
                    if "devservices train" in command:
                        process.wait(60)
                    else:
                        found.append(command[:200])
            except psutil.TimeoutExpired:
                found.append(command[:200])
            except psutil.Error:
                continue
        return found


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    one = Demo(tmp_path, uuid.uuid4().hex, f"demo-test-{os.environ.get('PYTEST_XDIST_WORKER', 'gw0')}")
    yield one
    assert one.left_running() == []


def test_a_demo_of_a_file_nobody_has_seen_comes_out_right_to_the_penny(demo: Demo, tmp_path: Path) -> None:
    file = tmp_path / "small.csv"
    file.write_text(SMALL)
    status, told = demo.ends("--file", str(file), "--orders", str(RUN))
    assert status == 0, told

    report = json.loads((tmp_path / "report.json").read_text())
    # 732001: 510 + 301 (300.5 rounds up); 732002: 1,001; 732005: nothing; 732006: 49; 732007: 1,000 + 220 + 400
    assert report["source"] == {
        "rows": 8, "orders": 5, "total_minor": 3481, "left_out": {"broken_row": 1, "cancellation": 1},
    }  # fmt: skip
    assert report["received"] == RUN == report["completed"] + sum(report["cancelled"].values())
    assert report["waiting"] == {} and report["unexpected"] == []
    assert report["invariants"]["checked"] > 1000 and report["invariants"]["violated"] == 0
    assert report["duplicates_removed"] >= RUN // 10
    deliveries = report["deliveries"]
    assert (deliveries["receivers"], deliveries["waiting"], deliveries["unexpected"]) == (2, 0, [])
    assert deliveries["delivered"] > 10 * RUN and deliveries["retried"] >= 1  # a receiver was down in between
    assert report["orders_per_second"] > 0 and report["received_to_completed_ms"]["p50"] > 0

    with (tmp_path / "orders.csv").open(newline="") as rows:
        orders = list(csv.DictReader(rows))
    assert len({order["order_id"] for order in orders}) == RUN
    assert all(order["expected"] == order["actual"] for order in orders)
    sums = report["money"]["GBP"] | report["changes"]["GBP"] | report["prepaid"]["GBP"]
    assert {name: sum(int(order[name]) for order in orders) for name in COLUMNS} == sums
    changed = report["changes"]["GBP"]  # 2 edits add a piece, 1 removes the mugs; 2 pieces are refunded, 1 is replaced
    assert (changed["edits"], changed["lines_cancelled"], changed["refunds"]) == (3, 1, 3)
    assert (changed["lines_cancelled_minor"], changed["reversals"], changed["reversed_minor"]) == (220, 1, 333)
    assert (report["prepaid"]["GBP"]["prepayments"], report["trial_balance"]["GBP"]["prepayments"]) == (7, 0)
    assert report["stock"] == {"skus": 3, "unexpected": []}
    assert "line 6, Quantity: 'x' is no whole number" in told


@pytest.mark.parametrize("moment", ["starting Kafka", "preparing databases", "orders settled"])
def test_ctrl_c_at_any_moment_stops_everything_and_says_so_in_a_line(demo: Demo, moment: str) -> None:
    process = demo.start()
    assert process.stdout is not None
    for line in process.stdout:
        if moment in line:
            break
    else:
        pytest.fail(f"the demo ended before it printed {moment!r}")
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)  # as `timeout` and `make` do: one Ctrl-C comes twice
    last = process.stdout.read().strip().splitlines()
    assert process.wait(60) == 130
    assert last == ["Stopped: everything that the demo started has ended."]


def test_a_missing_file_is_refused_in_a_sentence_before_anything_starts(demo: Demo, tmp_path: Path) -> None:
    status, told = demo.ends("--file", str(tmp_path / "no.csv"))
    assert (status, told) == (2, f"demo: {tmp_path / 'no.csv'} cannot be read: No such file or directory.\n")


def test_wrong_columns_are_refused_in_a_sentence_before_anything_starts(demo: Demo, tmp_path: Path) -> None:
    file = tmp_path / "wrong.csv"
    file.write_text("Invoice;Code\n1;2\n")
    status, told = demo.ends("--file", str(file))
    assert status == 2 and told.count("\n") == 1 and "has the wrong columns" in told


def test_a_named_port_that_is_taken_is_refused_in_a_sentence(demo: Demo) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, told = demo.ends("--kafka-port", str(port))
    assert status == 1 and f"kafka_port={port} cannot be used" in told


def test_a_demo_says_who_has_its_instance(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRADEWIND_DEVSERVICES", raising=False)  # containers are not under test here
    first = demo.start()
    assert first.stdout is not None and "starting Kafka" in first.stdout.readline()
    lock = ROOT / ".devservices" / demo.instance / "lock"
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (lock.exists() and lock.read_text().strip() == str(first.pid)):
        assert time.monotonic() < deadline, "the first demo never took its lock"
        time.sleep(0.02)
    status, told = demo.ends()
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=PATIENCE_SECONDS)
    assert status == 1 and f"is in use by process {first.pid}" in told


def test_an_attached_demo_without_addresses_is_refused_in_a_sentence(demo: Demo) -> None:
    status, told = demo.ends("--attached")
    assert status == 2 and told.count("\n") == 1 and "--attached needs ORDERS_URL, PAYMENTS_URL" in told


@pytest.mark.chaos(minutes=1)
def test_an_attached_demo_goes_through_services_that_already_run_and_wants_them_empty(
    demo: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "small.csv"
    file.write_text(SMALL)
    with (
        devservices.running(ROOT, name=demo.instance, reset=True) as servers,
        System(ROOT, servers.kafka, servers.postgres, tmp_path / "logs") as system,
    ):
        system.prepare()
        gateway = system.add(
            "testgateway",
            command=[sys.executable, "-m", "gatewayservers.plain", "--port", "{port}", "--trouble", "demo"],
        )
        system.settings = {"PAYMENTS_TEST_GATEWAY_URL": gateway.url, "ORDERS_PARK_RETRY_SECONDS": "1"}
        system.start()
        monkeypatch.setenv("POSTGRES_URL", servers.postgres.dsn("postgres"))
        monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", servers.kafka.bootstrap_servers)
        for name in system.names:
            monkeypatch.setenv(f"{name.upper()}_URL", system.url(name))
        status, told = demo.ends("--attached", "--file", str(file), "--orders", str(RUN))
        assert status == 0, told
        assert json.loads((tmp_path / "report.json").read_text())["received"] == RUN
        status, told = demo.ends("--attached", "--file", str(file))
        assert status == 1 and "holds orders already" in told
