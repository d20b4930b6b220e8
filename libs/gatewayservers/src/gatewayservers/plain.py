"""A payment gateway to test against: a real HTTP server with latency, declines, late answers, and calls that time out.

    python -m gatewayservers.plain --port 8900 --ledger charges.jsonl --trouble demo

    POST /operations                 {kind, order_id, amount_minor, currency, refers_to, reference[, account, source, payment_token, trouble]},
                                     with `Idempotency-Key`: 201 succeeded, 202 pending, 402 refused; a repeated key: the same
                                     again. It draws on `refers_to`, a key, or on `source`, a reference of the gateway
    POST /cancellations              {reference}: cancels an authorization that waits for its buyer, or of which nothing is captured
                                     402 it is cancelled or refused, 201 it cannot be cancelled, 202 not now
    GET  /operations/{key}           by idempotency key, while it is remembered; 404 unknown_operation
    GET  /operations?reference=R     by reference, for ever
    GET  /movements?account=A&begin=T&end=T[&limit=N&cursor=C]     captures and refunds that have succeeded, the oldest first
    POST /buyers/{key}/{what}        the buyer pays or fails: `confirm`, `fail`
    and the routes of `controls`; it sends no events

Token: `tok_needs_buyer` waits for the buyer; with any other and without one it is paid. Trouble: the words of `faults`. What moved
is in the ledger file (JSON lines, on disk before the answer), so a gateway that is killed and started again has its operations.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from aiohttp import web

from gatewayservers import serving
from gatewayservers.controls import Moved, Routes, Webhooks
from gatewayservers.faults import KINDS, Faults
from gatewayservers.plain_book import Book, Entry

__all__ = ["NEEDS_BUYER", "Book", "Entry", "Server"]
NEEDS_BUYER: Final = "tok_needs_buyer"


class Server:
    def __init__(self, book: Book, faults: Faults) -> None:
        self.book, self.faults = book, faults

    @property
    def payments(self) -> list[str]:
        """What a buyer has, or had, before them, the oldest first."""
        return [entry.key for entry in self.book.entries if entry.state == "waiting" or entry.is_end]

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/operations", self.operate)
        app.router.add_get("/operations/{key}", self.by_key)
        app.router.add_get("/operations", self.by_reference)
        app.router.add_post("/cancellations", self.cancel)
        app.router.add_post("/buyers/{key}/{what}", self.buyer)
        app.router.add_get("/movements", self.movements)
        Routes(self.faults, self._moved, Webhooks(None, lambda event, body: {})).add_to(app)
        return app

    async def operate(self, request: web.Request) -> web.StreamResponse:
        await self.faults.latency()
        key = request.headers.get("Idempotency-Key", "")
        try:
            wish = await request.json()
            kind, order_id, reference = wish["kind"], str(UUID(wish["order_id"])), str(wish["reference"])
            amount, currency, refers_to = wish["amount_minor"], str(wish["currency"]), wish.get("refers_to")
            account, source = str(wish.get("account") or ""), wish.get("source")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return _problem(400, "malformed", repr(error))
        if source is not None:
            refers_to = self.book.drawn_on(refers_to, str(source))
        if not key or kind not in KINDS or type(amount) is not int or amount < 0:
            return _problem(400, "malformed", "a key, one of the kinds and an amount >= 0 are needed")
        trouble = wish.get("trouble") or request.headers.get("Trouble") or self.faults.of(order_id, kind)
        # From here to the entry nothing is awaited: two calls with one key at the same time are one operation.
        known = self.book.by_key(key, time.time())
        if known is not None:
            wished = (kind, order_id, amount, currency, refers_to)
            if (known.kind, known.order_id, known.amount_minor, known.currency, known.refers_to) != wished:
                return _problem(409, "key_reused", "the key belongs to another operation")
            await self.book.on_disk()
            return await self._hold() if trouble == "silent" else _responded(self.book.answer(known, time.time()))
        waits = kind == "authorize" and wish.get("payment_token") == NEEDS_BUYER

        def write() -> tuple[dict[str, Any], bool]:
            entry = self._carry_out(
                key, kind, order_id, amount, currency, refers_to, reference, account, trouble, waits
            )
            answer = self.book.answer(entry, now=0)  # a late one is pending first, however slow this process is
            return answer, entry.state == "succeeded"

        return await self._written(key, trouble, write)

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        await self.faults.latency()
        try:
            reference = str((await request.json())["reference"])
        except (ValueError, KeyError, TypeError) as error:
            return _problem(400, "malformed", repr(error))
        entry = self.book.by_reference(reference)
        if entry is None or entry.kind != "authorize":
            return _problem(404, "unknown_operation", "there is no authorization of that name")
        trouble = self.faults.of(entry.order_id, "void")
        return await self._written(f"cancel {reference}", trouble, lambda: (self._cancelled(entry), True))

    async def buyer(self, request: web.Request) -> web.StreamResponse:
        entry, now = self.book.by_key(request.match_info["key"], time.time()), time.time()
        if entry is None or entry.state != "waiting":
            return _problem(400, "not_waiting", "no buyer is waited for")
        pays = request.match_info["what"] == "confirm"
        ended = self.book.end(entry, "succeeded" if pays else "refused", "" if pays else "card_declined", now)
        await self.book.on_disk()
        return web.json_response(self.book.answer(ended, now))

    async def _written(
        self, key: str, trouble: str | None, write: Callable[[], tuple[dict[str, Any], bool]]
    ) -> web.StreamResponse:
        """A request that moves money, under a trouble. write: carries it out; returns the answer, and whether it is done at once."""
        is_first = self.faults.is_first(key)
        if trouble == "lost" and is_first:
            return await self._hold()
        if trouble == "down" and is_first:
            return _problem(500, "down", "try later")
        answer, is_done = write()
        await self.book.on_disk()
        if trouble == "silent":
            return await self._hold()
        if is_done and is_first:
            if trouble == "timed_out":
                return await self._hold()
            if trouble == "broken":
                return _problem(500, "broken", "done, and answered as an error")
        return _responded(answer)

    def _cancelled(self, entry: Entry) -> dict[str, Any]:
        now = time.time()
        return self.book.answer(self.book.cancel(entry, now), now)

    def _carry_out(
        self, key: str, kind: str, order_id: str, amount: int, currency: str, refers_to: str | None, reference: str,
        account: str, trouble: str | None, waits: bool,
    ) -> Entry:  # fmt: skip
        now = time.time()
        code = "card_declined" if trouble == "declined" else self.book.refusal(kind, refers_to, amount) or ""
        state = "refused" if code else "waiting" if waits else "late" if trouble == "late" else "succeeded"
        entry = Entry(
            key=key,
            kind=kind,
            order_id=order_id,
            amount_minor=amount,
            currency=currency,
            refers_to=refers_to,
            reference=reference,
            gateway_reference=f"tg_{len(self.book.entries) + 1}",
            state=state,
            code=code,
            at=now,
            settles_at=now + self.faults.times.late_ms / 1000 if state == "late" else now,
            account=account,
        )
        self.book.write(entry)
        return entry

    async def by_key(self, request: web.Request) -> web.StreamResponse:
        await self.faults.latency()
        return await self._found(self.book.by_key(request.match_info["key"], time.time()))

    async def by_reference(self, request: web.Request) -> web.StreamResponse:
        await self.faults.latency()
        return await self._found(self.book.by_reference(request.query.get("reference", "")))

    async def movements(self, request: web.Request) -> web.StreamResponse:
        await self.faults.latency()
        query, now = request.query, time.time()
        try:
            begin, end = (datetime.fromisoformat(query[name]).timestamp() for name in ("begin", "end"))
            after, limit = int(query.get("cursor", -1)), min(int(query.get("limit", 100)), 1000)
        except (KeyError, ValueError) as error:
            return _problem(400, "malformed", repr(error))
        page: list[dict[str, Any]] = []
        for place in range(after + 1, len(self.book.entries)):  # the list only grows, so a place is a cursor
            one = self.book.entries[place]
            if (
                one.kind in ("capture", "refund") and one.account == query.get("account")
                and begin <= one.settles_at < end and one.state_at(now) == "succeeded"
            ):  # fmt: skip
                page.append({
                    "kind": one.kind, "reference": one.gateway_reference, "operation": one.key, "refers_to": one.refers_to,
                    "currency": one.currency, "amount_minor": one.amount_minor,
                    "at": datetime.fromtimestamp(one.settles_at, UTC).isoformat(),
                })  # fmt: skip
                if len(page) == limit:
                    return web.json_response({"movements": page, "cursor": str(place)})
        return web.json_response({"movements": page, "cursor": None})

    def _moved(self) -> Iterator[Moved]:
        for one in self.book.entries:
            if one.state in ("succeeded", "late"):
                yield Moved(
                    one.key, one.kind, one.order_id, one.amount_minor, one.currency, one.gateway_reference, one.settles_at, one.at
                )  # fmt: skip

    async def _found(self, entry: Entry | None) -> web.StreamResponse:
        await self.book.on_disk()
        if entry is not None and self.faults.of(entry.order_id, entry.kind) == "silent":
            return await self._hold()
        if entry is None:
            return _problem(404, "unknown_operation", "there is no operation of that name")
        return web.json_response(self.book.answer(entry, time.time()))

    async def _hold(self) -> web.StreamResponse:
        """Longer than any client waits; the connection then ends without an answer."""
        await self.faults.hold()
        return _problem(504, "held", "too late")


def _responded(answer: dict[str, Any]) -> web.Response:
    return web.json_response(answer, status={"succeeded": 201, "pending": 202, "refused": 402}[answer["state"]])


def _problem(status: int, code: str, detail: str) -> web.Response:
    return web.json_response({"code": code, "detail": detail}, status=status)


def parser() -> argparse.ArgumentParser:
    arguments = serving.parser("python -m gatewayservers.plain", __doc__.partition("\n")[0])
    arguments.add_argument("--ledger", type=Path, help="JSON lines of what moved; without it, they are lost at its end")
    return arguments


def main(argv: list[str] | None = None) -> int:
    options = parser().parse_args(argv)
    book = Book(options.ledger, options.key_seconds)
    book.open()
    asyncio.run(serving.serve(Server(book, serving.faults(options)).app(), options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
