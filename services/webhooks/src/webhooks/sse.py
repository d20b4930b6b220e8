"""Reads server-sent events (the HTML standard, section 9.2.6) from the pieces in which they arrive."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class ServerSent(NamedTuple):
    """An event of a stream."""

    id: str
    """Where a stream goes on behind it; empty: the server states none."""
    data: bytes


class Parser:
    """Parses one connection. An event that is incomplete when the connection ends is dropped, as the standard demands."""

    def __init__(self) -> None:
        self._line = b""
        """The beginning of a line."""
        self._id = ""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> Iterator[ServerSent]:
        """Yields the events that a piece completes. Comments, and fields that forwarding does not need, are passed over."""
        *lines, self._line = (self._line + piece).split(b"\n")
        for line in lines:
            field, _, value = line.removesuffix(b"\r").partition(b":")
            value = value.removeprefix(b" ")
            if field == b"id":
                self._id = value.decode()
            elif field == b"data":
                self._data.append(value)
            elif not field and not value and self._data:
                yield ServerSent(self._id, b"\n".join(self._data))
                self._data = []
