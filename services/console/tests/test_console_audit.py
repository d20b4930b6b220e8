"""The page of the audit; needs `CONSOLE_TEST_DATABASE_URL`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from console_forms import Parsed
from console_owners import REAL
from console_world import NOW, STORE, Browser

from chassis.process.app import App
from console import trail

pytestmark = REAL
ADDED = """
insert into audit (nonce, at, person_id, person, store_id, subject_kind, subject_id, order_id, action, reason, outcome)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"""


async def added(app: App, minute: int, **changed: Any) -> None:
    """A row of the audit; its reason is the minute."""
    values: dict[str, Any] = {
        "person": "ann", "store_id": STORE, "subject_kind": "parked", "subject_id": "p-1", "order_id": None, "action": "replay",
        "outcome": "done",
    } | changed  # fmt: skip
    await app.fetch(
        ADDED, uuid4(), NOW + timedelta(minutes=minute), uuid4(), values["person"], values["store_id"], values["subject_kind"],
        values["subject_id"], values["order_id"], values["action"], f"minute {minute}", values["outcome"],
    )  # fmt: skip


def shown(text: str) -> list[int]:
    return [int(minute) for minute in re.findall(r"minute (\d+)", text)]


async def test_every_action_is_listed_once_newest_first_over_all_pages(
    app: App, browser: Browser, order: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trail, "ROWS", 3)
    for minute in range(8):
        await added(app, minute)
    await browser.sign_in("administrator")
    found, address = list[int](), "/audit"
    while address:
        page = await browser.get(address)
        found += shown(page.text)
        address = Parsed(page.text).links.get("Next page", "")
    assert found == list(range(7, -1, -1))


async def test_filters_have_to_fit(app: App, browser: Browser, order: UUID) -> None:
    await added(app, 1, person="bob", subject_kind="order", subject_id=str(order), order_id=order, action="cancel")
    await added(app, 2, outcome="order_held")
    await added(app, 3, store_id=None)
    await added(app, 4, action="export", outcome="done: 8 rows")
    await browser.sign_in("administrator")
    for query, found in (
        ("person=bob", [1]),
        ("outcome=done&action=export", [4]),
        ("action=replay", [3, 2]),
        ("outcome=order_held", [2]),
        ("order=a-7", [1]),
        (f"order={order}", [1]),
        ("order=A-8", []),
        ("since=2026-11-21T09:32&until=2026-11-21T09:33", [2]),
        ("person=bob&action=replay", []),
        ("person=&action=", [4, 3, 2, 1]),
    ):
        page = await browser.get(f"/audit?{query}")
        assert (page.status, shown(page.text)) == (200, found), query
    text = (await browser.get("/audit")).text
    assert f'<a href="/orders/{order}">A-7</a>' in text and "order_held" in text
    assert text.count("refused") == 1 and "8 rows" in text, "a file that was sent is not a refusal"
    for query in ("colour=red", "since=yesterday", "cursor=nonsense"):
        assert (await browser.get(f"/audit?{query}")).status == 400, query


async def test_only_administrators_see_it_and_each_the_stores_that_are_theirs(
    app: App, browser: Browser, order: UUID
) -> None:
    await added(app, 1)
    await added(app, 2, store_id="st_2")
    await added(app, 3, store_id=None)
    for role in ("viewer", "operator", "finance"):
        await browser.sign_in(role, name=role)
        assert (await browser.get("/audit")).status == 403
        assert 'href="/audit"' not in (await browser.get("/orders")).text
    await browser.sign_in("administrator", stores=[STORE], name="of-a-store")
    assert shown((await browser.get("/audit")).text) == [1]
    await browser.sign_in("administrator", name="of-all")
    assert shown((await browser.get("/audit")).text) == [3, 2, 1]


async def test_no_text_of_a_row_becomes_markup(app: App, browser: Browser) -> None:
    evil = "<script>alert(1)</script>"
    await added(app, 1, person=evil, subject_kind=evil, subject_id=evil, action=evil, outcome=evil)
    await browser.sign_in("administrator")
    text = (await browser.get("/audit")).text
    assert "<script>" not in text and text.count("&lt;script&gt;") >= 5
