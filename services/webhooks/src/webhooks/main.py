"""Composition; `python -m webhooks`."""

from __future__ import annotations

from chassis.process.cli import run
from webhooks.handlers import SERVICE
from webhooks.listen import LISTEN


def main() -> None:
    run(SERVICE, LISTEN)
