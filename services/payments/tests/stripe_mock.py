"""The official stripe-mock: it checks requests against Stripe's OpenAPI description, and answers in its shapes."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from devservices.ports import choose_port

VERSION: Final = "v0.197.0"
"""Describes the API version that `payments.gateways.stripe.gateway` pins."""
FOLDER: Final = Path(__file__).parents[3] / ".devservices" / f"stripe-mock-{VERSION}"
INSTALL_SECONDS_MAX: Final = 120


class NotThere(Exception):
    """It cannot be installed here; with the reason."""


def installed() -> Path:
    """Installs it once. Raises NotThere."""
    program = FOLDER / "stripe-mock"
    if program.exists():
        return program
    if shutil.which("go") is None:
        raise NotThere("Go is not installed")
    FOLDER.mkdir(parents=True, exist_ok=True)
    command = ["go", "install", f"github.com/stripe/stripe-mock@{VERSION}"]
    environment = os.environ | {"GOBIN": str(FOLDER), "GOFLAGS": ""}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=INSTALL_SECONDS_MAX, check=False
        )
    except subprocess.TimeoutExpired:
        raise NotThere(f"{' '.join(command)} took more than {INSTALL_SECONDS_MAX} s") from None
    if done.returncode:
        raise NotThere(f"{' '.join(command)}: {done.stderr.strip()[-300:]}")
    return program


@contextlib.contextmanager
def running() -> Iterator[str]:
    """Yields its URL."""
    port = choose_port("port", None)
    with subprocess.Popen(
        [installed(), "-http-addr", f"127.0.0.1:{port}"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("Listening for HTTP"):
                    break
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
