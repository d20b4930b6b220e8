"""`python -m system up`, `status` and `down`: one command for the servers alone and for the whole system."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.real
ROOT = Path(__file__).parents[3]  # the clone: its cache holds Kafka's jars
NAME = f"system-test-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
DIRECTORY = ROOT / ".devservices" / NAME
SERVICES = ("orders", "payments", "fulfillment", "invoicing", "webhooks", "console")


def run(command: str, *options: str, status: int = 0) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("KAFKA_PORT", "POSTGRES_PORT")}
    done = subprocess.run(
        [sys.executable, "-m", "system", command, "--root", str(ROOT), "--name", NAME, *options],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def addresses(printed: str) -> list[str]:
    return [line for line in printed.splitlines() if line.startswith(("KAFKA_BOOTSTRAP_SERVERS=", "POSTGRES_URL="))]


@pytest.fixture
def nothing_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "POSTGRES_URL", "TRADEWIND_DEVSERVICES"):
        monkeypatch.delenv(name, raising=False)
    yield
    run("down")
    shutil.rmtree(DIRECTORY, ignore_errors=True)


def test_up_starts_servers_alone_then_the_services_beside_them_and_down_stops_all(nothing_left: None) -> None:
    servers = run("up", "--servers")
    assert len(addresses(servers)) == 2 and "orders" not in servers
    assert run("status").count(" runs") == 2

    whole = run("up")
    assert addresses(whole) == addresses(servers)
    members = json.loads((DIRECTORY / "system.json").read_text())
    keys = json.loads((DIRECTORY / "keys.json").read_text())
    assert set(SERVICES) == keys.keys() < members.keys()
    assert (DIRECTORY / "keys.json").stat().st_mode & 0o077 == 0
    request = urllib.request.Request(
        f"{members['orders']['url']}/v1/orders", headers={"authorization": f"Bearer {keys['orders']}"}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
        assert json.load(answer)["items"] == []
    register = whole[whole.index(f"  KEY={keys['webhooks']}") : whole.index("  Open the console")]
    registered = subprocess.run(["bash", "-c", register], capture_output=True, check=True)
    assert json.loads(registered.stdout)["status"] == "pending"
    link = re.findall(rf"{members['console']['url']}/sign-in\?token=\S+", whole)
    with urllib.request.urlopen(*link, timeout=PATIENCE_SECONDS) as answer:
        assert b'<button class="primary" type="submit">Sign in</button>' in answer.read()

    assert "starting" not in run("up")
    assert json.loads((DIRECTORY / "system.json").read_text()) == members
    assert run("status").count(" runs") == 9

    assert "stopped 9 processes" in run("down")
    run("status", status=3)
    assert run("down") == "nothing runs\n"


def test_containers_cannot_be_left_running(monkeypatch: pytest.MonkeyPatch, nothing_left: None) -> None:
    monkeypatch.setenv("TRADEWIND_DEVSERVICES", "docker")
    run("up", status=1)
