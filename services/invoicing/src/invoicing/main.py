"""Composition; `python -m invoicing`."""

from __future__ import annotations

from chassis.process.cli import run
from invoicing.handlers import SERVICE


def main() -> None:
    run(SERVICE)
