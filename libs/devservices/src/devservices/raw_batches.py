"""Record batches by hand: as a producer never makes them, but a disk, a proxy or a foreign client may."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)


def batch(
    values: Sequence[bytes],
    *,
    base: int = 0,
    codec: int = NONE,
    header: tuple[str, bytes] = ("h", b"v"),
    producer: int = -1,
) -> bytes:
    """A good batch whose first record has the offset `base`."""
    builder = DefaultRecordBatchBuilder(2, codec, 0, producer, 0 if producer >= 0 else -1, 0, 1 << 30)
    for n, value in enumerate(values):
        builder.append(n, 1_700_000_000_000, b"key", value, [header])
    raw = bytearray(builder.build())
    struct.pack_into(">q", raw, 0, base)
    return bytes(raw)


def binary_header(raw: bytes) -> bytes:
    """The last header named `h` gets a name that is not UTF-8."""
    at = raw.rindex(b"\x02h\x02v")
    return sealed(raw[: at + 1] + b"\xff" + raw[at + 2 :])


def with_codec(raw: bytes, codec: int) -> bytes:
    attributes = struct.unpack_from(">h", raw, 21)[0]
    return sealed(raw[:21] + struct.pack(">h", attributes & ~7 | codec) + raw[23:])


def flipped(raw: bytes, at: int = -1) -> bytes:
    """One byte differs, as after a fault of a disk: the checksum is wrong."""
    changed = bytearray(raw)
    changed[at] ^= 0xFF
    return bytes(changed)


def cut_off(raw: bytes) -> bytes:
    """The records end early, and length and checksum fit what is left."""
    return sealed(raw[:-4])


def sealed(raw: bytes) -> bytes:
    """With the right length and checksum for its bytes."""
    changed = bytearray(raw)
    struct.pack_into(">i", changed, 8, len(raw) - 12)
    struct.pack_into(">I", changed, 17, calc_crc32c(bytes(changed[21:])))
    return bytes(changed)


async def send(producer: AIOKafkaProducer, part: TopicPartition, raw: bytes) -> int:
    """Produce these bytes as one batch, as they are; the offset of its first record."""
    builder = producer.create_batch()
    builder.append(key=b"key", value=b"", timestamp=None)
    builder.close()
    builder._build()
    builder._buffer = bytearray(raw)
    builder._build = lambda: builder._buffer
    sent = await producer.send_batch(builder, part.topic, partition=part.partition)
    return int((await sent).offset)
