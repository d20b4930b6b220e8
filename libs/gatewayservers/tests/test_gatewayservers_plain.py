"""The plain server's book: buyers who pay or leave, cancels, and all of it after a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from gatewayservers import plain
from gatewayservers.faults import Faults, Times
from gatewayservers.serving import listening

ORDER = UUID(int=7)


def opened(path: Path | None) -> plain.Book:
    book = plain.Book(path, 3600)
    book.open()
    return book


class Client:
    def __init__(self, book: plain.Book, url: str, session: aiohttp.ClientSession) -> None:
        self.book, self.url, self.session = book, url, session

    async def post(self, path: str, key: str = "", **body: Any) -> tuple[int, Any]:
        async with self.session.post(self.url + path, json=body, headers={"Idempotency-Key": key}) as answer:
            return answer.status, await answer.json()

    async def operate(self, kind: str, key: str, amount: int = 10_00, **more: Any) -> tuple[int, Any]:
        body = {
            "kind": kind,
            "order_id": str(ORDER),
            "amount_minor": amount,
            "currency": "EUR",
            "reference": f"r {key}",
        }
        return await self.post("/operations", key, **body | more)

    async def cancel(self, key: str) -> tuple[int, Any]:
        return await self.post("/cancellations", reference=f"r {key}")

    async def moved(self) -> list[tuple[str, int]]:
        async with self.session.get(f"{self.url}/charges") as answer:
            return [(one["kind"], one["amount_minor"]) for one in (await answer.json())["charges"]]


async def each(path: Path, *stories: Any) -> None:
    """Each story has a server of its own, which reads what the one before has left on disk."""
    for story in stories:
        book = opened(path)
        async with listening(plain.Server(book, Faults(Times(latency_ms=0, late_ms=0))).app()) as url:
            async with aiohttp.ClientSession() as session:
                await story(Client(book, url, session))


async def test_what_waits_for_its_buyer_is_pending_until_it_is_paid_or_cancelled_also_after_a_restart(
    tmp_path: Path,
) -> None:
    async def asked(client: Client) -> None:
        for key in ("a", "b", "c"):
            status, answer = await client.operate("authorize", key, payment_token=plain.NEEDS_BUYER)
            assert (status, answer["state"], answer["buyer"]) == (202, "pending", f"/buyers/{key}")
        status, answer = await client.operate("capture", "x", refers_to="a")
        assert (status, answer["code"]) == (402, "unknown_reference"), "nothing is held yet"

    async def acted(client: Client) -> None:
        assert (await client.post("/buyers/a/confirm"))[1]["state"] == "succeeded"
        assert (await client.post("/buyers/b/fail"))[1]["code"] == "card_declined"
        assert [(await client.cancel("c"))[0] for _ in range(2)] == [402, 402]

    async def ended(client: Client) -> None:
        assert [(await client.operate("authorize", key, payment_token=plain.NEEDS_BUYER))[0] for key in "abc"] == [
            201,
            402,
            402,
        ]
        assert [(await client.post(f"/buyers/{key}/confirm"))[0] for key in "abc"] == [400, 400, 400]
        assert (await client.operate("capture", "y", 4_00, refers_to="a"))[0] == 201
        assert await client.moved() == [("authorize", 10_00), ("capture", 4_00)]

    await each(tmp_path / "book", asked, acted, ended)


async def test_a_cancel_releases_what_is_held_once_and_nothing_that_was_captured(tmp_path: Path) -> None:
    async def cancelled(client: Client) -> None:
        for key in ("a", "b"):
            assert (await client.operate("authorize", key))[0] == 201
        assert (await client.operate("capture", "c", 4_00, refers_to="b"))[0] == 201
        assert [(await client.cancel(key))[1]["state"] for key in ("a", "a", "b")] == [
            "refused",
            "refused",
            "succeeded",
        ]
        assert (await client.cancel("none"))[0] == (await client.cancel("c"))[0] == 404

    async def stays(client: Client) -> None:
        assert (await client.cancel("a"))[1]["code"] == "authorization_cancelled"
        status, answer = await client.operate("capture", "d", 1, refers_to="a")
        assert (status, answer["code"]) == (402, "amount_exceeded")
        assert sorted(await client.moved()) == [
            ("authorize", 10_00),
            ("authorize", 10_00),
            ("capture", 4_00),
            ("void", 10_00),
        ]

    await each(tmp_path / "book", cancelled, stays)


@pytest.mark.parametrize("late_ms", [0, 3_600_000])
async def test_what_is_late_cannot_be_cancelled_before_it_has_succeeded(late_ms: float) -> None:
    book, faults = opened(None), Faults(Times(latency_ms=0, late_ms=late_ms))
    faults.tell(ORDER, {"authorize": "late"})
    async with listening(plain.Server(book, faults).app()) as url, aiohttp.ClientSession() as session:
        client = Client(book, url, session)
        await client.operate("authorize", "a")
        assert (await client.cancel("a"))[0] == (202 if late_ms else 402)
        assert await client.moved() == ([] if late_ms else [("authorize", 10_00), ("void", 10_00)])
