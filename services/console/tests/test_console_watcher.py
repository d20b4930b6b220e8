"""What a browser is sent of a source, at any moment at which it takes messages, loses its connection, or is too slow."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.domain.people import Grant, Person
from console.live.hub import Audience
from console.live.rows import is_position, oldest
from console.live.watcher import QUEUED_MAX, Watcher, framed

ANN = Person(uuid4(), "ann", "ann", (Grant("viewer", None),))
ONE = frozenset({"tail:x"})


@dataclass
class Page:
    """A page of the browser."""

    since: int
    """How many numbers precede it."""
    received: set[int] = field(default_factory=set)


def bodies(sent: bytes) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in re.findall(rb"^data: (.*)$", sent, re.M)]


def last_id(sent: bytes) -> str | None:
    found = re.findall(rb"^id: (.*)$", sent, re.M)
    return found[-1].decode() if found else None


def test_a_browser_that_is_too_slow_is_sent_the_newest_messages_and_how_many_are_missing() -> None:
    watcher = Watcher(ANN, ONE)
    for number in range(QUEUED_MAX + 7):
        watcher.push(framed("tail:x", {"n": number}))
    first, *rest = bodies(watcher.take())
    assert first == {"channel": "tail:x", "skipped": 7}
    assert [one["n"] for one in rest] == list(range(7, QUEUED_MAX + 7))
    watcher.push(framed("tail:x", {"n": 0}))
    assert [one["n"] for one in bodies(watcher.take())] == [0]


def test_an_id_never_precedes_a_message_that_it_includes() -> None:
    watcher = Watcher(ANN, ONE, "tail=1")
    watcher.push(framed("tail:x", {"n": 1}))
    watcher.mark("tail", "2")
    sent = watcher.take()
    assert sent.index(b"data:") < sent.index(b"id: tail=2")
    watcher.push(framed("tail:x", {"n": 2}))
    assert last_id(watcher.take()) == "tail=2", "its batch is not complete: after a reconnect it is read again"


@given(acts=st.lists(st.sampled_from(("publish", "publish", "burst", "take", "lose", "open", "fail")), max_size=60))
def test_every_message_is_sent_or_counted_whatever_happens(acts: list[str]) -> None:
    """`lose`: what was taken does not arrive, and the browser connects again. `open`: a page was made, something is published,
    and the browser connects again for all its pages. `fail`: the source fails and runs again.

    The source is a list of numbers; a position is how many of them precede it.
    """
    audience, published, skipped = Audience("tail"), 0, 0
    watcher, known, pages = Watcher(ANN, ONE, "tail=0"), "tail=0", [Page(0)]
    audience.join(watcher)

    def read(to: Audience, since: int) -> None:
        for number in range(since, published):
            to.publish("tail:x", {"n": number})
        to.reached(str(published))

    def serve(common: int) -> None:
        for newcomer in audience.newcomers():
            read(newcomer, min(map(int, newcomer.positions)))
        read(audience, common)

    def take() -> None:
        nonlocal known, skipped
        sent = watcher.take()
        known = last_id(sent) or known
        for body in bodies(sent):
            skipped += body.get("skipped", 0)
            for page in pages:
                page.received.add(body.get("n", 0))

    def connect(event_id: str) -> None:
        """Until an event with an id has come, this is the one with which the browser connects again."""
        nonlocal watcher, known
        known = event_id
        audience.leave(watcher)
        watcher = Watcher(ANN, ONE, event_id)
        audience.join(watcher)
        serve(published)

    for act in [*acts, "take"]:
        before = published
        published += {"publish": 1, "burst": QUEUED_MAX + 3, "open": 1}.get(act, 0)
        if act == "fail":
            audience.begin_again()
        serve(before)
        if act in ("take", "open"):
            take()
        if act == "open":
            pages.append(Page(before))
            connect(f"{known}&tail={before}")
        if act == "lose":
            watcher.take()
            connect(known)
            take()
    take()
    for page in pages:
        missing = set(range(page.since, published)) - page.received
        assert len(missing) <= skipped


@given(st.lists(st.integers(0, 5), max_size=30), st.data())
def test_the_oldest_position_is_that_in_which_the_fewest_transactions_are_visible(
    ends: list[int], data: st.DataObject
) -> None:
    """ends: which of the transactions that run commits next; one begins before each."""
    running, taken = list[int](), list[str]()
    for number, end in enumerate(ends, 10):
        running.append(number)
        if end < len(running):
            running.pop(end)
        taken.append(f"{min(running, default=number + 1)}:{number + 1}:{','.join(map(str, running))}")
    assert all(map(is_position, taken))
    if taken:
        some = data.draw(st.lists(st.sampled_from(taken), min_size=1))
        assert taken.index(oldest(some)) == min(map(taken.index, some))


@pytest.mark.parametrize(
    ("value", "valid"),
    [
        ("10:20:", True), ("10:20:10,14", True), ("10:10:", True),
        ("", False), ("20:10:", False), ("10:20:14,10", False), ("10:20:20", False), ("10:20:9", False), ("0:1:", False),
        ("10:20:10,10", False), ("10:20", False), ("a:b:", False), ("10:20:10,", False),
    ],
)  # fmt: skip
def test_a_position_is_what_postgresql_reads_as_a_snapshot(value: str, valid: bool) -> None:
    assert is_position(value) is valid
