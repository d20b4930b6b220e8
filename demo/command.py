"""The command line: options checked, the file read and reckoned, and one sentence for whatever goes wrong."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from demo.interrupt import Interrupt
from demo.oracle import Expected, expect
from demo.retail import RetailOrder, orders_of, run_orders
from demo.source import Book, SourceError, read
from devservices.errors import DevservicesError
from system.processes import SERVICES

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "demo" / "online_retail.csv"
REPORTS = ROOT / "demo"
INSTANCE = "demo"
STORE = "demo"
"""Of all orders, keys and tables that the demo makes."""


class UsageError(Exception):
    """An option that cannot be used; the message is one sentence."""


@dataclass(frozen=True)
class Task:
    """What is to be replayed: read and reckoned before anything starts."""

    book: Book
    orders: Sequence[RetailOrder]
    """The file's, each once."""
    run: Sequence[RetailOrder]
    """Those that are sent."""
    expected: Sequence[Expected]
    """How each of them must end."""
    reports: Path = REPORTS
    """The directory of report.json and orders.csv."""
    instance: str = INSTANCE
    kafka_port: int | None = None
    postgres_port: int | None = None
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    """Address by service, of services that already run; empty: the demo starts its own."""

    @property
    def logs(self) -> Path:
        return ROOT / ".devservices" / self.instance / "logs"


def main(interrupt: Interrupt) -> int:
    """Returns the exit status; raises KeyboardInterrupt when `interrupt` was."""
    started = time.monotonic()
    try:
        task = task_of(options(sys.argv[1:]))
    except (SourceError, UsageError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    try:
        from demo.runner import run  # what follows needs the servers' and services' packages

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
    """Raises SourceError when the file cannot be used, UsageError when an option cannot."""
    elsewhere = _elsewhere(os.environ) if chosen.attached else {}
    book = read(chosen.file)
    orders = orders_of(book)
    run = run_orders(orders, chosen.orders)
    expected = expect(book, STORE, chosen.orders)
    return Task(
        book, orders, run, expected, chosen.reports, chosen.instance, chosen.kafka_port, chosen.postgres_port, elsewhere
    )


def _elsewhere(environment: Mapping[str, str]) -> dict[str, str]:
    """Where the services already run. Raises UsageError when the environment does not say all that is needed."""
    needed = [f"{name.upper()}_URL" for name in SERVICES] + ["POSTGRES_URL", "KAFKA_BOOTSTRAP_SERVERS"]
    if missing := [name for name in needed if not environment.get(name)]:
        raise UsageError(f"--attached needs {', '.join(missing)} in the environment.")
    return {name: environment[f"{name.upper()}_URL"] for name in SERVICES}


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """Raises UsageError with one sentence."""
    parser = _Parser(prog="python -m demo", description="Replay real orders through the real system.")
    parser.add_argument("--file", type=Path, default=SAMPLE, help="a CSV of the same columns; the sample by default")
    parser.add_argument("--orders", type=_count, help="exactly so many: round and round through the file")
    parser.add_argument("--reports", type=Path, default=REPORTS, help="directory of report.json and orders.csv; demo/")
    parser.add_argument("--instance", default=INSTANCE, help="another name, to run beside another demo of this clone")
    parser.add_argument(
        "--attached", action="store_true",
        help="through services that already run and have no orders yet: ORDERS_URL, PAYMENTS_URL, FULFILLMENT_URL, "
        "INVOICING_URL, POSTGRES_URL and KAFKA_BOOTSTRAP_SERVERS say where",
    )  # fmt: skip
    for name in ("kafka", "postgres"):
        variable = f"{name.upper()}_PORT"
        parser.add_argument(
            f"--{name}-port", type=_port, default=os.environ.get(variable) or None,
            help=f"a free one by default, or {variable} of the environment",
        )  # fmt: skip
    return parser.parse_args(arguments)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{re.sub('^argument (--[a-z-]+): ', '', message)}.")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 10**7):
        raise argparse.ArgumentTypeError(f"ORDERS is {text!r}: a whole number from 1 is expected")
    return int(text)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is no port: a number from 1 to 65535 is expected")
    return int(text)


def _sentence(error: BaseException) -> str:
    """The innermost of a group, with its kind where the text alone says little."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) if isinstance(error, RuntimeError) and str(error) else f"{type(error).__name__}: {error}"


def _keep(error: BaseException, logs: Path) -> Path:
    """The whole story goes to a file: the terminal gets a sentence."""
    logs.mkdir(parents=True, exist_ok=True)
    path = logs / "demo.log"
    path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    return path
