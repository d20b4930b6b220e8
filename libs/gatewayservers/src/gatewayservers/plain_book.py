"""The book of the plain server: every operation ever, by key and by reference, on disk before it counts. No HTTP is in it."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

DRAWS_ON: Final = {"capture": "authorize", "void": "authorize", "refund": "capture"}
CANCELLED: Final = "authorization_cancelled"


@dataclass(frozen=True)
class Entry:
    """One line of the ledger: an operation that was carried out, taken in (late) or refused."""

    key: str
    kind: str
    order_id: str
    amount_minor: int
    currency: str
    refers_to: str | None
    reference: str
    gateway_reference: str
    state: str
    """succeeded, refused, late (succeeded from `settles_at` on), or waiting (for its buyer)."""
    code: str
    at: float
    settles_at: float
    account: str = ""
    is_end: bool = False
    """It has waited for its buyer, and takes the place of the entry that did."""

    def state_at(self, now: float) -> str:
        if self.state == "waiting":
            return "pending"
        if self.state == "late":
            return "succeeded" if now >= self.settles_at else "pending"
        return self.state

    def answer(self, now: float) -> dict[str, Any]:
        state = self.state_at(now)
        said = {"operation": self.key, "state": state, "reference": self.gateway_reference, "code": self.code}
        if self.state == "waiting":
            return said | {"buyer": f"/buyers/{self.key}"}
        more = {"reason": "the test gateway refuses"} if state == "refused" else {"amount_minor": self.amount_minor}
        return said | more


@dataclass
class Book:
    """Every operation ever, by key and by reference. Appended to the file before it counts."""

    path: Path | None
    key_seconds: float
    """How long a key is honoured; afterwards the same key is a new operation, as with real gateways."""
    entries: list[Entry] = field(default_factory=list)
    _by_key: dict[str, Entry] = field(default_factory=dict)
    _by_reference: dict[str, Entry] = field(default_factory=dict)
    _drawn: Counter[str] = field(default_factory=Counter)
    _succeeded: dict[str, Entry] = field(default_factory=dict)
    _cancelled: set[str] = field(default_factory=set)
    """The keys of authorizations that were released as a whole, by a cancel."""
    _file: Any = None
    _written: int = 0
    _synced: int = 0
    _syncing: asyncio.Task[None] | None = None

    def open(self) -> None:
        if self.path is None:
            return
        if self.path.exists():
            written = self.path.read_bytes()
            whole = written[: written.rfind(b"\n") + 1]  # a line that was cut off was never answered
            for line in whole.splitlines():
                self._know(Entry(**json.loads(line)))
            if whole != written:
                os.truncate(self.path, len(whole))
        self._file = self.path.open("ab", buffering=0)

    def write(self, entry: Entry) -> None:
        """Recorded at once, so that a second call with its key finds it; answered only when it is `on_disk`."""
        if self._file is not None:
            self._file.write(json.dumps(asdict(entry)).encode() + b"\n")
            self._written += 1
        self._know(entry)

    async def on_disk(self) -> None:
        """Everything written so far is on disk. Many callers share one fsync, or a slow disk would be the bottleneck."""
        wanted = self._written
        while self._synced < wanted:
            if self._syncing is None:
                self._syncing = asyncio.create_task(self._sync())
            await asyncio.shield(self._syncing)

    async def _sync(self) -> None:
        written = self._written
        try:
            await asyncio.to_thread(os.fsync, self._file.fileno())
            self._synced = written
        finally:
            self._syncing = None

    def _know(self, entry: Entry) -> None:
        if entry.is_end:
            waited = next(n for n, one in enumerate(self.entries) if one.gateway_reference == entry.gateway_reference)
            self.entries[waited] = self._by_reference[entry.reference] = entry
        else:
            self.entries.append(entry)
            self._by_reference.setdefault(entry.reference, entry)
        self._by_key[entry.key] = entry
        if entry.state not in ("refused", "waiting"):
            self._succeeded[entry.key] = entry
            if entry.refers_to:
                self._drawn[entry.refers_to] += entry.amount_minor
        if entry.kind == "void" and entry.refers_to and entry.key == f"cancel {entry.refers_to}":
            self._cancelled.add(entry.refers_to)

    def answer(self, entry: Entry, now: float) -> dict[str, Any]:
        """What is answered about an operation now."""
        answer = entry.answer(now)
        if entry.key in self._cancelled:
            return {**answer, "state": "refused", "code": CANCELLED}
        return answer

    def end(self, entry: Entry, state: str, code: str, now: float) -> Entry:
        """The end of an authorization that waited for its buyer."""
        ended = replace(entry, state=state, code=code, settles_at=now, is_end=True)
        self.write(ended)
        return ended

    def cancel(self, entry: Entry, now: float) -> Entry:
        """Cancels an authorization that waits, or of which nothing is captured or voided. Returns the entry after that: it is the
        same if the authorization cannot be cancelled, or is."""
        if entry.state == "waiting":
            return self.end(entry, "refused", CANCELLED, now)
        if entry.state_at(now) == "succeeded" and not self._drawn[entry.key]:
            self.write(replace(
                entry, key=f"cancel {entry.key}", kind="void", refers_to=entry.key, reference=f"cancel {entry.reference}",
                gateway_reference=f"{entry.gateway_reference}_cancel", state="succeeded", at=now, settles_at=now,
                is_end=False,
            ))  # fmt: skip
        return entry

    def forget(self, entry: Entry) -> None:
        """The book no longer has an operation: what it has answered was wrong."""
        self.entries.remove(entry)
        for index in (self._by_key, self._succeeded):
            index.pop(entry.key, None)
        self._by_reference.pop(entry.reference, None)

    def by_key(self, key: str, now: float) -> Entry | None:
        entry = self._by_key.get(key)
        return entry if entry is not None and now - entry.at < self.key_seconds else None

    def by_reference(self, reference: str) -> Entry | None:
        return self._by_reference.get(reference)

    def drawn_on(self, key: str | None, gateway_reference: str) -> str | None:
        """The operation that another one names: by its key or, if it was asked for by someone else, by the gateway's reference."""
        if key in self._succeeded:
            return key
        found = (one.key for one in self.entries if one.gateway_reference == gateway_reference)
        return next(found, key)

    def refusal(self, kind: str, refers_to: str | None, amount_minor: int) -> str | None:
        """Its own arithmetic: never more captured and voided than authorized, nor refunded than captured."""
        if kind not in DRAWS_ON:
            return None
        source = self._succeeded.get(refers_to or "")
        if source is None or source.kind != DRAWS_ON[kind]:
            return "unknown_reference"
        return "amount_exceeded" if self._drawn[source.key] + amount_minor > source.amount_minor else None
