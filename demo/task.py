"""What one demo replays, read and worked out before anything starts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from demo.expected import Expected
from demo.payment_methods import GATEWAYS, WITHOUT_CARD, Method
from demo.retail import RetailOrder
from demo.source import Book

ROOT: Final = Path(__file__).resolve().parent.parent
"""The clone: the directory of `demo/` and `.devservices/`."""
REPORTS: Final = ROOT / "demo"
INSTANCE: Final = "demo"


@dataclass(frozen=True)
class Task:
    book: Book
    orders: Sequence[RetailOrder]
    """The file's orders, each once."""
    run: Sequence[RetailOrder]
    """The orders that are sent."""
    expected: Sequence[Expected]
    """How each order of the run must end."""
    reports: Path = REPORTS
    """The directory of report.json and orders.csv."""
    instance: str = INSTANCE
    kafka_port: int | None = None
    postgres_port: int | None = None
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    """service -> URL of services that already run; empty: the demo starts its own."""

    @property
    def methods(self) -> Collection[Method]:
        """The payment methods of the run."""
        return WITHOUT_CARD if self.elsewhere else tuple(GATEWAYS)

    @property
    def logs(self) -> Path:
        return ROOT / ".devservices" / self.instance / "logs"
