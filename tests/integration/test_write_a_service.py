"""Extracts the service of docs/write-a-service.md from the page, runs it and checks its promises."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

import devservices
from contracts.base import Event
from contracts.envelope import headers
from contracts.orders import Approved, Completed
from system.processes import System
from tests.waiting import PATIENCE_SECONDS, patience, until

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "write-a-service.md"
BLOCK = re.compile(r'^```(python|diff) title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
STORE = "st_1"


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of our contracts, with the edits and files of the page."""
    clone = tmp_path_factory.mktemp("clone")
    shutil.copytree(
        ROOT / "libs/contracts/src", clone / "libs/contracts/src", ignore=shutil.ignore_patterns("__pycache__")
    )
    for kind, name, text in BLOCK.findall(PAGE.read_text()):
        file = clone / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if kind == "python":
            assert not file.exists(), f"the page writes {name} twice"
            file.write_text(text)
            continue
        old = "".join(line[1:] + "\n" for line in text.splitlines() if not line.startswith("+"))
        new = "".join(line[1:] + "\n" for line in text.splitlines() if not line.startswith("-"))
        before = file.read_text()
        assert before.count(old) == 1, f"the page edits a line that {name} does not have:\n{old}"
        file.write_text(before.replace(old, new))
    return clone


@pytest.fixture(scope="module")
def environment(clone: Path) -> dict[str, str]:
    return {"PYTHONPATH": f"{clone / 'libs/contracts/src'}:{clone / 'services/loyalty/src'}"}


@pytest.fixture(scope="module")
def system(clone: Path, environment: dict[str, str]) -> Iterator[System]:
    name = f"docs-service-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    # A static member resumes at once after a restart, without waiting for its session to expire.
    settings = environment | {"LOYALTY_KAFKA_GROUP_INSTANCE_ID": "loyalty-0"}
    with (
        devservices.running(ROOT, name=name, reset=True) as servers,
        System(clone, servers.kafka, servers.postgres, clone / "logs", names=("loyalty",), settings=settings) as system,
    ):
        yield system


def test_the_pages_own_test_passes(clone: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "services/loyalty/tests"],
        cwd=clone, env=os.environ | environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def completed(key: UUID, grand_minor: int) -> Completed:
    return Completed(order_id=key, store_id=STORE, status="approved", payment_status="paid", fulfillment_status="fulfilled",
                     version=1, completed_at=datetime.now(UTC), grand_minor=grand_minor, currency="EUR")  # fmt: skip


async def publish(system: System, *events: tuple[UUID, Event | bytes]) -> None:
    """Publishes like the orders service; each record twice, because delivery is at least once."""
    producer = AIOKafkaProducer(bootstrap_servers=system.kafka.bootstrap_servers)
    await producer.start()
    try:
        for key, event in events:
            kind, value = (
                (event.TYPE, event.model_dump_json().encode())
                if isinstance(event, Event)
                else ("orders.completed", event)
            )
            told = headers(ce_id=str(uuid4()), source="orders", type=kind, time=datetime.now(UTC), subject=str(key),
                           store_id=STORE, correlation_id="c")  # fmt: skip
            for _ in range(2):
                await producer.send_and_wait("orders.events.v1", value, key=str(key).encode(), headers=told)
    finally:
        await producer.stop()


def get(system: System, path: str, key: str) -> tuple[int, Any]:
    request = urllib.request.Request(system.url("loyalty") + path, headers={"authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


async def shown(system: System, path: str, key: str) -> bool:
    return (await asyncio.to_thread(get, system, path, key))[0] == 200


async def awarded(system: System, count: int) -> list[dict[str, Any]]:
    """The first `count` records of loyalty's own topic."""
    consumer = AIOKafkaConsumer(
        "loyalty.events.v1", bootstrap_servers=system.kafka.bootstrap_servers, auto_offset_reset="earliest"
    )
    await consumer.start()
    found: list[dict[str, Any]] = []
    try:
        async with patience():
            while len(found) < count:
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    found += [json.loads(record.value) for record in records]
    finally:
        await consumer.stop()
    return found


async def test_the_service_of_the_page_runs_and_keeps_what_the_page_promises(system: System) -> None:
    """Promises 1, 2 and 6, for a service without code for them."""
    system.prepare()
    [member] = [system.add("loyalty")]
    system.wait_ready(timeout_seconds=PATIENCE_SECONDS)
    viewer, keeper = (system.api_keys(STORE, [scope])["loyalty"] for scope in ("points.view", "parked.view"))

    one, other, never, bad = (uuid4() for _ in range(4))
    approved = Approved(order_id=never, store_id=STORE, status="approved", payment_status="paid", fulfillment_status="unfulfilled",
                        approved_at=datetime.now(UTC), actor="rule")  # fmt: skip
    await publish(
        system, (one, completed(one, 19_99)), (bad, b"{"), (never, approved), (other, completed(other, 250_00))
    )

    for order in (one, other):
        await until(lambda order=order: shown(system, f"/v1/points/{order}", viewer), "the points of an order")
    await until(lambda: get(system, "/v1/parked", keeper)[1]["items"], "the bad message, parked")
    assert get(system, f"/v1/points/{one}", viewer) == (200, {"order_id": str(one), "points": 19})
    assert get(system, f"/v1/points/{other}", viewer) == (200, {"order_id": str(other), "points": 250})
    assert get(system, f"/v1/points/{never}", viewer)[1]["type"] == "/problems/order_unknown"
    assert get(system, f"/v1/points/{one}", keeper)[0] == 403
    parked = get(system, "/v1/parked", keeper)[1]["items"]
    assert {(row["key"], row["cause"]) for row in parked} == {(str(bad), "bad_json")}

    system.kill(member)
    system.restart(member)
    system.wait_ready(timeout_seconds=PATIENCE_SECONDS)
    late = uuid4()
    await publish(system, (late, completed(late, 1_00)))
    await until(lambda: shown(system, f"/v1/points/{late}", viewer), "the points after a crash")

    told = await awarded(system, 3)
    assert {(row["order_id"], row["points"], row["version"]) for row in told} == {
        (str(one), 19, 1), (str(other), 250, 1), (str(late), 1, 1),
    }  # fmt: skip
    connection = await asyncpg.connect(system.postgres.dsn(system.database("loyalty")))
    try:
        rows = await connection.fetch("select key, points, revision from awards")
    finally:
        await connection.close()
    assert {tuple(row) for row in rows} == {(one, 19, 1), (other, 250, 1), (late, 1, 1)}
    assert system.stop(PATIENCE_SECONDS) == {"loyalty-0": 0}
