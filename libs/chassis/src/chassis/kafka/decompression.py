"""Bounds for what aiokafka decompresses: 1 MB on the wire can decompress to gigabytes."""

from __future__ import annotations

import struct
from contextvars import ContextVar
from typing import Any, Final

import cramjam
from aiokafka.record import default_records, legacy_records
from aiokafka.record._crecords import default_records as c_default_records
from aiokafka.record._crecords import legacy_records as c_legacy_records

BATCH_BYTES_MAX: Final = 16 * 1024 * 1024
"""A batch may decompress to this many bytes: ten times what a producer compresses into 1.5 MB."""
POLL_BYTES_MAX: Final = 2 * BATCH_BYTES_MAX
"""All compressed batches of one poll may decompress to this many bytes; the rest is left to the next poll."""

_room: ContextVar[list[int] | None] = ContextVar("room", default=None)
"""Bytes that the present poll may still decompress to, in a list of one; None outside of a poll."""
_XERIAL: Final = b"\x82SNAPPY\0"


class BatchTooLarge(Exception):
    """A batch would decompress to more than BATCH_BYTES_MAX."""


class PollFull(Exception):
    """The batches of this poll decompress to more than POLL_BYTES_MAX: not an error of any one batch."""


class bounded_poll:
    """Within it at most POLL_BYTES_MAX are decompressed in all; above that PollFull is raised."""

    def __enter__(self) -> None:
        self._token = _room.set([POLL_BYTES_MAX])

    def __exit__(self, *error: object) -> None:
        _room.reset(self._token)


def _counted(data: bytes) -> bytes:
    room = _room.get()
    if room is not None:
        if len(data) > room[0]:
            raise PollFull
        room[0] -= len(data)
    return data


def _framed(codec: Any) -> Any:
    def decode(payload: Any) -> bytes:
        buffer = bytearray(BATCH_BYTES_MAX)  # its pages are made when they are first written
        try:
            size = codec.decompress_into(payload, buffer)
        except cramjam.DecompressionError as error:
            if "whole buffer" in str(error):
                raise BatchTooLarge(f"it decompresses to more than {BATCH_BYTES_MAX} bytes") from None
            raise
        return _counted(bytes(memoryview(buffer)[:size]))

    return decode


def _snappy(payload: Any) -> bytes:
    """Raw snappy, or blocks of it in the framing of snappy-java."""
    data = bytes(payload)
    blocks, at = [data], 16
    if data.startswith(_XERIAL):
        blocks = []
        while at < len(data):
            (size,) = struct.unpack_from(">I", data, at)
            blocks.append(data[at + 4 : at + 4 + size])
            at += 4 + size
    if sum(cramjam.snappy.decompress_raw_len(block) for block in blocks) > BATCH_BYTES_MAX:
        raise BatchTooLarge(f"it decompresses to more than {BATCH_BYTES_MAX} bytes")
    return _counted(b"".join(bytes(cramjam.snappy.decompress_raw(block)) for block in blocks))


def bound_decompression() -> None:
    """Replaces the decoders of aiokafka by the functions above: its own allocate the size that a batch states."""
    decoders = {
        "gzip_decode": _framed(cramjam.gzip),
        "snappy_decode": _snappy,
        "lz4_decode": _framed(cramjam.lz4),
        "zstd_decode": _framed(cramjam.zstd),
    }
    for module in (default_records, legacy_records, c_default_records, c_legacy_records):
        for name, decoder in decoders.items():
            if hasattr(module, name):
                setattr(module, name, decoder)
