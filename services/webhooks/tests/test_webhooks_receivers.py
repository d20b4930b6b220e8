"""The receivers of docs/endpoints.md accept what we sign and nothing else."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from devservices.ports import choose_port
from tests.waiting import PATIENCE_SECONDS
from webhooks.domain.signing import new_secret, signed_headers, signer_of

PAGE = Path(__file__).parents[3] / "docs" / "endpoints.md"
BLOCK = re.compile(r'^```\w+ title="(receiver\.\w+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
BODY = json.dumps({"type": "orders.placed", "subject": "é 😀 </script> 0.10"}, ensure_ascii=False).encode()
SECRET, FORMER = new_secret(), new_secret()
COMMANDS = {
    "receiver.py": [sys.executable, "{program}"],
    "receiver.mjs": ["node", "{program}"],
    "receiver.php": ["php", "-S", "127.0.0.1:{port}", "{program}"],
    "receiver.go": ["go", "run", "{program}"],
}
START_SECONDS_MAX = PATIENCE_SECONDS
"""Go compiles its HTTP server the first time."""


@pytest.fixture(params=[
    name if shutil.which(command[0]) else pytest.param(name, marks=pytest.mark.skip(reason=f"{command[0]} is not installed"))
    for name, command in COMMANDS.items()
])  # fmt: skip
def receiver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a receiver that has SECRET."""
    blocks = dict(BLOCK.findall(PAGE.read_text("utf-8")))
    assert blocks.keys() == COMMANDS.keys()
    program = tmp_path / request.param
    program.write_text(blocks[request.param], "utf-8")
    port = choose_port("RECEIVER_PORT", None, None, [])
    environment = os.environ | {"WEBHOOK_SECRET": SECRET, "PORT": str(port)}
    command = [part.format(program=program, port=port) for part in COMMANDS[request.param]]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    url, until = f"http://127.0.0.1:{port}/", time.monotonic() + START_SECONDS_MAX
    try:
        while not answers(url):
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.02)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # the whole group: `go run` starts the receiver
        process.wait()


def answers(url: str) -> bool:
    try:
        return bool(status(url, signed(SECRET), BODY))
    except OSError:
        return False


def signed(*secrets: str, at: datetime | None = None) -> dict[str, str]:
    return signed_headers([signer_of(secret) for secret in secrets], "msg_1", at or datetime.now(UTC), BODY)


def status(url: str, headers: dict[str, str], body: bytes) -> int:
    request = urllib.request.Request(url, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as response:
            code: int = response.status
            return code
    except urllib.error.HTTPError as error:
        return error.code


def test_a_receiver_of_the_page_accepts_what_we_sign_and_nothing_else(receiver: str) -> None:
    now = datetime.now(UTC)
    assert status(receiver, signed(SECRET), BODY) == 204
    assert status(receiver, signed(new_secret("v1a"), FORMER, SECRET), BODY) == 204
    assert status(receiver, signed(FORMER), BODY) == 401
    assert status(receiver, signed(SECRET), BODY.replace(b"0.10", b"0.1 ")) == 401
    assert status(receiver, signed(SECRET) | {"webhook-id": "msg_2"}, BODY) == 401
    assert status(receiver, signed(SECRET) | {"webhook-signature": "v1,AAAA"}, BODY) == 401
    for minutes, expected in ((-4, 204), (4, 204), (-6, 401), (6, 401)):
        assert status(receiver, signed(SECRET, at=now + timedelta(minutes=minutes)), BODY) == expected
