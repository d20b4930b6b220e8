"""Small files, and the demo's own file, which is read once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from demo.records import COLUMNS
from demo.retail import RetailOrder, orders_of
from demo.source import Book, read

HEADER = ",".join(COLUMNS)
SAMPLE = Path(__file__).parents[1] / "online_retail.csv"

Reader = Callable[..., Book]


def row(
    invoice: str = "1",
    code: str = "85123A",
    quantity: str = "6",
    price: str = "2.55",
    *,
    description: str = "T-LIGHT HOLDER",
    date: str = "12/1/10 8:26",
    customer: str = "17850",
    country: str = "United Kingdom",
) -> str:
    """One valid row of a file; every cell can be replaced."""
    return f"{invoice},{code},{description},{quantity},{date},{price},{customer},{country}"


@pytest.fixture
def read_rows(tmp_path: Path) -> Reader:
    """A function that writes a file of these lines below the header, and reads it."""

    def read_lines(*lines: str, encoding: str = "utf-8", end: str = "\r\n") -> Book:
        path = tmp_path / "orders.csv"
        path.write_bytes("".join(line + end for line in (HEADER, *lines)).encode(encoding))
        return read(path)

    return read_lines


@pytest.fixture(scope="session")
def sample() -> Book:
    return read(SAMPLE)


@pytest.fixture(scope="session")
def sample_orders(sample: Book) -> list[RetailOrder]:
    return orders_of(sample)
