"""What a browser is sent of a source, at any moment at which it takes messages, loses its connection, or is too slow."""

from __future__ import annotations

import re
from uuid import uuid4

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.domain.people import Grant, Person
from console.live.hub import Audience
from console.live.rows import is_position
from console.live.watcher import QUEUED_MAX, Watcher, framed

ANN = Person(uuid4(), "ann", "ann", (Grant("viewer", None),))
ONE = frozenset({"tail:x"})


def bodies(sent: bytes) -> list[dict[str, object]]:
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


@given(acts=st.lists(st.sampled_from(("publish", "publish", "publish", "burst", "take", "lose", "fail")), max_size=60))
def test_every_message_is_sent_or_counted_whatever_happens(acts: list[str]) -> None:
    """`lose`: what was taken does not arrive, and the browser connects again. `fail`: the source fails and runs again.

    The source is a list of numbers; a position is how many of them precede it.
    """
    audience, published, received, skipped = Audience("tail"), 0, set[int](), 0
    watcher, known = Watcher(ANN, ONE, "tail=0"), "tail=0"
    audience.join(watcher)

    def read(to: Audience, since: int) -> None:
        for number in range(since, published):
            to.publish("tail:x", {"n": number})
        to.reached(str(published))

    def serve(common: int) -> None:
        for newcomer in audience.newcomers():
            read(newcomer, int(newcomer.position))
        read(audience, common)

    for act in [*acts, "take"]:
        before = published
        published += {"publish": 1, "burst": QUEUED_MAX + 3}.get(act, 0)
        if act == "fail":
            audience.begin_again()
        serve(before)
        if act == "lose":
            watcher.take()
            audience.leave(watcher)
            watcher = Watcher(ANN, ONE, known)
            audience.join(watcher)
            serve(published)
        if act in ("take", "lose"):
            sent = watcher.take()
            known = last_id(sent) or known
            for body in bodies(sent):
                if "n" in body:
                    received.add(body["n"])  # type: ignore[arg-type]
                else:
                    skipped += body["skipped"]  # type: ignore[operator]
    assert len(received) + skipped >= published
    assert skipped or received == set(range(published))


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
