"""Maintenance of what the servers run on. `python -m system up --servers` starts the servers.

python -m devservices pin-jars       resolves Kafka's jars again and writes the list of their SHA-256
python -m devservices train          writes the JVM's AOT cache for Kafka; every start of the servers runs it once
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from devservices.aot import train
from devservices.errors import DevservicesError
from devservices.jars import PIN_LIST, pin_jars


def main() -> int:
    arguments = _parser().parse_args()
    try:
        if arguments.command == "pin-jars":
            print(f"{pin_jars()} jars pinned in {PIN_LIST}")
        else:
            train(arguments.cache)
    except DevservicesError as error:
        print(f"devservices: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m devservices", description="Maintenance of what Kafka and PostgreSQL for development run on"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="pin-jars|train")
    commands.add_parser("pin-jars", help="resolve Kafka's jars again and write the list of their SHA-256")
    trained = commands.add_parser("train", help="write the JVM's AOT cache for Kafka, unless it exists")
    trained.add_argument("--cache", type=Path, required=True, help="directory of the jars and of the AOT cache")
    return parser


if __name__ == "__main__":
    sys.exit(main())
