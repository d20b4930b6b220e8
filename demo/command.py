"""The command line: checks the options, reads the file, works out the expected ends, and prints one sentence per error."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from demo.oracle import expect
from demo.retail import orders_of, run_orders
from demo.source import SourceError, read
from demo.task import INSTANCE, REPORTS, ROOT, Task
from devservices.errors import DevservicesError
from system.installation import STORE
from system.interrupt import Interrupt
from system.options import add_port_options
from system.processes import SERVICES

SAMPLE = ROOT / "demo" / "online_retail.csv"


class UsageError(Exception):
    """An option has a value that cannot be used; the message is one sentence."""


def main(interrupt: Interrupt) -> int:
    """Returns the exit status. Raises KeyboardInterrupt after a signal."""
    started = time.monotonic()
    try:
        task = task_of(options(sys.argv[1:]))
    except (SourceError, UsageError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    try:
        from demo.runner import run  # needs the packages of servers and services; a wrong file is reported without them

        return run(task, interrupt, Console(), started)
    except DevservicesError as error:
        print(f"demo: {error}", file=sys.stderr)
    except Exception as error:
        print(
            f"demo: {_sentence(error)} (see {_keep(error, task.logs)}; the services' logs are beside it)",
            file=sys.stderr,
        )
    return 1


def task_of(chosen: argparse.Namespace) -> Task:
    """Raises SourceError if the file cannot be used, UsageError if an option cannot."""
    elsewhere = _elsewhere(os.environ) if chosen.attached else {}
    book = read(chosen.file)
    orders = orders_of(book)
    run = run_orders(orders, chosen.orders)
    expected = expect(book, STORE, chosen.orders, with_stripe=not elsewhere)
    return Task(
        book, orders, run, expected, chosen.reports, chosen.instance, chosen.kafka_port, chosen.postgres_port, elsewhere
    )


def _elsewhere(environment: Mapping[str, str]) -> dict[str, str]:
    """service -> URL of services that already run. Raises UsageError if a variable is missing from the environment."""
    needed = [f"{name.upper()}_URL" for name in SERVICES] + ["POSTGRES_URL", "KAFKA_BOOTSTRAP_SERVERS"]
    if missing := [name for name in needed if not environment.get(name)]:
        raise UsageError(f"--attached needs {', '.join(missing)} in the environment.")
    return {name: environment[f"{name.upper()}_URL"] for name in SERVICES}


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """Raises UsageError if an option cannot be used."""
    parser = _Parser(prog="python -m demo", description="Replay real orders through the real system.")
    parser.add_argument("--file", type=Path, default=SAMPLE, help="a CSV of the same columns; the sample by default")
    parser.add_argument("--orders", type=_count, help="the number of orders; the file is repeated as needed")
    parser.add_argument("--reports", type=Path, default=REPORTS, help="directory of report.json and orders.csv; demo/")
    parser.add_argument("--instance", default=INSTANCE, help="another name, to run beside another demo of this clone")
    parser.add_argument(
        "--attached", action="store_true",
        help="through services that already run and have no orders yet: ORDERS_URL, PAYMENTS_URL, FULFILLMENT_URL, "
        "INVOICING_URL, POSTGRES_URL and KAFKA_BOOTSTRAP_SERVERS are their addresses",
    )  # fmt: skip
    add_port_options(parser)
    return parser.parse_args(arguments)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{re.sub('^argument (--[a-z-]+): ', '', message)}.")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 10**7):
        raise argparse.ArgumentTypeError(f"ORDERS is {text!r}: a whole number from 1 is expected")
    return int(text)


def _sentence(error: BaseException) -> str:
    """The text of the innermost error of a group; its type comes first unless it is a RuntimeError."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) if isinstance(error, RuntimeError) and str(error) else f"{type(error).__name__}: {error}"


def _keep(error: BaseException, logs: Path) -> Path:
    """Writes the traceback to a file; the terminal shows one sentence."""
    logs.mkdir(parents=True, exist_ok=True)
    path = logs / "demo.log"
    path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    return path
