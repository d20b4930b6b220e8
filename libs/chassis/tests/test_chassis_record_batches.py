"""Which batch cannot be read, and where it ends."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from aiokafka import TopicPartition

from chassis.kafka.decompression import BATCH_BYTES_MAX, POLL_BYTES_MAX, PollFull, bound_decompression, bounded_poll
from chassis.kafka.record_batches import STORED_BYTES_MAX, Entry, Fetched, Unread, read
from devservices import raw_batches
from devservices.raw_batches import batch, binary_header, cut_off, flipped, sealed, with_codec

PART = TopicPartition("t", 3)
CODECS = ("GZIP", "SNAPPY", "LZ4", "ZSTD")
bound_decompression()


def entries(raw: bytes, position: int = 0, end: int = 100, records_max: int = 500) -> tuple[list[Entry], int]:
    return read(PART, Fetched(raw, None, end), position, records_max)


def offsets(found: list[Entry]) -> list[int | tuple[int, int]]:
    """The offset of each record, and the first and last offset of each unreadable batch."""
    return [(one.first, one.offset) if isinstance(one, Unread) else one.offset for one in found]


SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "an unknown codec": lambda raw: with_codec(raw, 6),
    "a codec that does not fit the bytes": lambda raw: with_codec(raw, raw_batches.ZSTD),
    "a wrong checksum": flipped,
    "a header name that is not UTF-8": binary_header,
    "records that are cut off": cut_off,
    "a magic byte of a former format": lambda raw: raw[:16] + b"\x01" + raw[17:],
    "a negative number of records": lambda raw: sealed(raw[:57] + struct.pack(">i", -5) + raw[61:]),
    "more records than it holds": lambda raw: sealed(raw[:57] + struct.pack(">i", 5_000) + raw[61:]),
    "bytes of another kind": lambda raw: sealed(raw[:61] + b"\xff" * (len(raw) - 61)),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
@pytest.mark.parametrize("before", [0, 2])
def test_exactly_the_bad_batch_is_unread_wherever_it_stands(spoil: Callable[[bytes], bytes], before: int) -> None:
    """Promise 6."""
    good, behind = batch([b"a"] * before, base=0), batch([b"c"] * 2, base=before + 3)
    bad = spoil(batch([b"b", b"b", b"b"], base=before))
    found, position = entries((good if before else b"") + bad + behind)
    assert (offsets(found), position) == ([*range(before), (before, before + 2)], before + 3)
    assert (found[-1].cause, found[-1].value) == ("batch_unreadable", bad)
    assert offsets(entries(behind, position)[0]) == [before + 3, before + 4]


def test_a_batch_that_is_shorter_than_it_states_is_unread() -> None:
    bad = batch([b"b"] * 3)[:-5]
    found, position = entries(bad, end=3)
    assert (offsets(found), position) == ([(0, 2)], 3)
    found, position = entries(bad[:20], end=3)
    assert (offsets(found), position) == ([(0, 0)], 1)


@pytest.mark.parametrize("length", [-100, -12, 0, 13, 30, 2**31 - 1])
def test_a_batch_whose_length_is_wrong_is_stepped_over_within_the_log(length: int) -> None:
    good = batch([b"b"] * 3, base=5)
    found, position = entries(good[:8] + struct.pack(">i", length) + good[12:], position=5, end=8)
    assert offsets(found)[0] in [(5, 5), (5, 7)]
    assert 5 < position <= 8


def test_a_last_offset_that_a_disk_changed_takes_no_good_batch_along() -> None:
    """The checksum is wrong, so the header may be wrong, too: the next batch decides."""
    raw = batch([b"b"] * 3)
    bad = raw[:23] + struct.pack(">i", 40) + raw[27:]
    found, position = entries(bad + batch([b"c"], base=3))
    assert (offsets(found), position) == ([(0, 2)], 3)
    found, position = entries(raw[:23] + struct.pack(">i", 10_000) + raw[27:], end=3)
    assert (offsets(found), position) == ([(0, 0)], 1)  # beyond the end of the log: one offset at a time


def test_a_hole_before_a_bad_batch_is_no_part_of_it() -> None:
    found, position = entries(batch([b"a"] * 2) + with_codec(batch([b"b"], base=5), 7))
    assert (offsets(found), position) == ([0, 1, (2, 5)], 6)
    found, position = entries(with_codec(batch([b"a"] * 4), 7) + batch([b"b"], base=4), position=2)
    assert (offsets(found), position) == ([(2, 3)], 4)  # the records before it were read


@pytest.mark.parametrize("codec", CODECS)
def test_a_compressed_batch_is_read(codec: str) -> None:
    found, _ = entries(batch([b"a", b"b"], codec=getattr(raw_batches, codec)))
    assert [one.value for one in found] == [b"a", b"b"]


@pytest.mark.parametrize("codec", CODECS)
def test_a_batch_that_decompresses_to_too_much_is_unread_and_takes_no_memory(codec: str) -> None:
    """Promise 6: a megabyte on the wire must not become gigabytes."""
    raw = batch([b"0" * 1024] * (BATCH_BYTES_MAX // 1024), codec=getattr(raw_batches, codec))
    found, position = entries(raw, end=1 << 20)
    (unread,) = found
    assert isinstance(unread, Unread)
    assert (unread.cause, position) == ("batch_too_large", BATCH_BYTES_MAX // 1024)


def test_of_many_large_batches_a_poll_takes_what_it_has_room_for() -> None:
    half = BATCH_BYTES_MAX // 2
    batches = [batch([b"0" * half], base=n, codec=raw_batches.ZSTD) for n in range(10)]
    with bounded_poll():
        found, position = entries(b"".join(batches))
        with pytest.raises(PollFull):
            entries(b"".join(batches[position:]), position)
    assert offsets(found) == list(range(position))
    assert 1 < position <= POLL_BYTES_MAX // half
    with bounded_poll():
        assert offsets(entries(b"".join(batches[position:]), position)[0])[0] == position


def test_an_unreadable_batch_is_stored_up_to_a_limit_and_blocks_no_order() -> None:
    (unread,), _ = entries(flipped(batch([b"x" * 2 * STORED_BYTES_MAX])))
    refused = unread.rejected()
    assert refused.record.value is not None
    assert (len(refused.record.value), refused.key, refused.record.offset) == (STORED_BYTES_MAX, None, 0)


def test_no_more_records_are_taken_than_asked_for() -> None:
    found, position = entries(batch([b"a"] * 5) + flipped(batch([b"b"], base=5)), records_max=3)
    assert (offsets(found), position) == ([0, 1, 2], 3)
