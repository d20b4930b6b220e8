"""Composition; `python -m console`."""

from __future__ import annotations

import os
from typing import Final

from chassis.process.cli import run
from console.commands import REBUILD, SIGN_IN, SIGN_OUT
from console.handlers import SERVICE

NICENESS: Final = 10
"""The services that process orders get the processor first: a page may be late, an order not."""


def main() -> None:
    os.nice(NICENESS)
    run(SERVICE, SIGN_IN, SIGN_OUT, REBUILD)
