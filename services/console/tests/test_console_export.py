"""The CSV file of a list: its form, who may have it, that it ends with its receiver; needs `CONSOLE_TEST_DATABASE_URL`."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from console_world import NOW, Browser, Life, Publisher, emptied
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect

from chassis.http.spreadsheet import FORMULA, harmless
from chassis.process.app import App
from console import exporting
from console.listing import Asked
from console.spreadsheet import Table
from contracts import orders
from contracts.snapshot import Buyer

URL = os.environ.get("CONSOLE_TEST_DATABASE_URL", "")
real = [pytest.mark.asyncio, pytest.mark.skipif(not URL, reason="CONSOLE_TEST_DATABASE_URL is not set")]
TABLES = ("order_rows", "stores", "people", "freshness", "audit", "inbox", "parked", "parked_keys")
ROW = {
    "order_id": "1",
    "currency": "EUR",
    "grand_minor": 123456,
    "captured_minor": 0,
    "channel": "amazon",
    "account": "eu",
}


@given(number=st.text(), tags=st.lists(st.text(), max_size=3))
def test_every_text_survives_the_file_and_none_is_a_formula(number: str, tags: list[str]) -> None:
    text = Table(["tags"], personal=False).lines([{**ROW, "number": number, "tags": tags}]).decode()
    assert text.endswith("\r\n")
    [[first, _, last]] = csv.reader(io.StringIO(text, newline=""), strict=True)
    readable = number.encode("utf-8", "replace").decode()
    assert first in (readable, f"'{readable}") and not first.startswith(FORMULA) and not last.startswith(FORMULA)


def test_a_formula_is_text_and_other_values_stay_as_they_are() -> None:
    assert [harmless(text) for text in ("=1+1", "+1", "-1", "@x", "\tx", "A=1")] == ["'=1+1", "'+1", "'-1", "'@x", "'\tx", "A=1"]  # fmt: skip


def test_the_currency_of_several_amounts_is_one_column() -> None:
    table = Table(["amount", "captured"], personal=False)
    assert table.header() == b"number,order_id,amount,currency,captured\r\n"
    assert table.lines([{**ROW, "number": "A-1"}]) == b"A-1,1,1234.56,EUR,0.00\r\n"


@pytest_asyncio.fixture
async def app() -> AsyncIterator[App]:
    async with emptied(TABLES) as app:
        yield app


async def sold(app: App, number: int) -> None:
    lives = [Life(number=f"A-{n}") for n in range(number)]
    await Publisher(app).publish(*(life.received(status="pending") for life in lives))


class TestOnARealPostgres:
    pytestmark = real

    async def test_the_file_has_every_order_of_the_list_once_in_pages(
        self, app: App, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(exporting, "EXPORT_PAGE_ROWS", 3)
        await sold(app, 8)
        other = Life(number="B-1")
        placed = other.next(orders.Placed, status="placed", payment_status="authorized", placed_at=NOW)
        await Publisher(app).publish(other.received(), placed)
        browser = Browser(app)
        await browser.sign_in("finance")
        answer = await browser.get("/exports/orders.csv?waiting=payment&waiting=snapshot&column=status&column=ordered")
        assert answer.status == 200 and answer.headers["content-type"].startswith("text/csv")
        assert answer.headers["content-disposition"].startswith('attachment; filename="orders-st_1-')
        rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
        assert {row["number"] for row in rows} == {f"A-{n}" for n in range(8)} and len(rows) == 8
        assert list(rows[0]) == ["number", "order_id", "status", "ordered_at"]
        assert rows[0]["ordered_at"] == "2026-11-21T09:30:00Z"
        [row] = await app.fetch("select person, subject_kind, action, outcome from audit")
        assert tuple(row) == ("ann", "export", "export", "done: 8 rows")

    async def test_personal_columns_need_their_scope_and_the_file_its_own(self, app: App) -> None:
        life = Life(number="=A-1")
        bought = life.received(buyer=Buyer(name="Anna", email="Anna@example.com", phone="123"))
        await Publisher(app).publish(bought, life.shipped("JD014"))
        finance, operator, viewer = Browser(app), Browser(app), Browser(app)
        await finance.sign_in("finance", name="fin")
        [row] = csv.DictReader(io.StringIO((await finance.get("/exports/orders.csv?personal=true")).text, newline=""))
        assert (row["number"], row["email"], row["tracking_numbers"]) == ("'=A-1", "anna@example.com", "jd014")
        assert "email" not in (await finance.get("/exports/orders.csv")).text
        await operator.sign_in("operator", name="op")
        assert (await operator.get("/exports/orders.csv")).status == 403
        assert "/exports/orders.csv" not in (await operator.get("/orders")).text
        assert "/exports/orders.csv" in (await finance.get("/orders")).text
        await viewer.sign_in("finance", stores=["st_2"], name="vic")
        assert (await viewer.get("/exports/orders.csv?store=st_1")).status == 404

    async def test_a_receiver_that_is_gone_ends_the_reading(self, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(exporting, "EXPORT_PAGE_ROWS", 1)
        await sold(app, 30)
        browser = Browser(app)
        await browser.sign_in("finance")
        sent = await broken(browser, "/exports/orders.csv", after_chunks=2)
        [row] = await app.fetch("select outcome from audit")
        rows = int(row["outcome"].removeprefix("broken: ").removesuffix(" rows"))
        assert sent <= rows <= sent + 2, "no more is read than was sent"

    async def test_a_search_that_more_orders_fit_than_are_read_has_no_file(
        self, app: App, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("console.listing.LOOK_BACK", 3)
        await sold(app, 5)
        browser = Browser(app)
        await browser.sign_in("finance")
        answer = await browser.get("/exports/orders.csv?q=A-")
        assert answer.status == 400 and "add a word" in answer.text
        with pytest.raises(exporting.SearchTooWide):
            async for _ in exporting.chunks(app.read, "st_1", Asked(q="A-"), [], personal=False, search_personal=False):
                pass


async def broken(browser: Browser, path: str, after_chunks: int) -> int:
    """Gets a file, and is gone after some chunks; returns how many it has received."""
    named = {"host": "console.test", "cookie": "; ".join(f"{name}={value}" for name, value in browser.cookies.items())}
    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": path, "raw_path": path.encode(), "root_path": "", "server": ("console.test", 80), "query_string": b"",
        "client": ("test", 1), "headers": [(name.encode(), value.encode()) for name, value in named.items()],
    }  # fmt: skip
    chunks = 0

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        nonlocal chunks
        if message["type"] == "http.response.body":
            chunks += 1
            if chunks > after_chunks:
                raise OSError("the receiver is gone")

    with pytest.raises(ClientDisconnect):
        await browser.asgi(scope, receive, send)
    return after_chunks
