"""Options that the commands of the system and of the demo share."""

from __future__ import annotations

import argparse
import os


def add_port_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--kafka-port` and `--postgres-port`; their defaults are KAFKA_PORT and POSTGRES_PORT of the environment."""
    for name in ("kafka", "postgres"):
        variable = f"{name.upper()}_PORT"
        parser.add_argument(
            f"--{name}-port", type=_port, default=os.environ.get(variable) or None,
            help=f"default: {variable} of the environment, else a free port",
        )  # fmt: skip


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is no port: a number from 1 to 65535 is expected")
    return int(text)
