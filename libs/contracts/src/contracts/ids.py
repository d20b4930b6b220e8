"""Ids that two programs must compute alike, and ids that a decision may make up: all are functions of their input.

Identity has one meaning everywhere: a message is (time, source, store, record key, id), and what its decision makes is
(store, record key, message, name). So two orders, or two stores, never share an id, even if a sender repeats one.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from hashlib import blake2b, sha1
from operator import attrgetter
from typing import Final
from uuid import UUID

ORDER_NAMESPACE: Final = UUID("b4f1c1a6-5d0e-5c39-9a43-6a1d1a0f7e21")
"""Namespace of every order id; printed with worked examples in docs/order-ids.md."""


def order_id(store_id: str, channel: str, account: str, external_order_id: str) -> UUID:
    """The id of an order everywhere. Only the last part may hold `|`, so no two orders share a name.

    >>> order_id("st_12", "bol", "store-887", "A2K8290LP8")
    UUID('cdac17fa-748d-5c30-afb4-776fd89a573f')
    """
    return _uuid5(ORDER_NAMESPACE.bytes, f"{store_id}|{channel}|{account}|{external_order_id}")


PAYMENT_NAMESPACE: Final = UUID("6f0f6a52-7d3c-5f1e-8a57-2f8f4c6f0b13")
"""Namespace of the operations that happened in a payment system elsewhere."""


def recorded_id(store_id: str, system: str, kind: str, payment_id: str) -> UUID:
    """The id of an operation that a payment system elsewhere calls `payment_id`: stated twice, it is the same one.

    Only the last part may hold `|`, so no two operations share a name.
    """
    return _uuid5(PAYMENT_NAMESPACE.bytes, f"{store_id}|{system}|{kind}|{payment_id}")


def message_id(time: datetime, source: str, store_id: str, key: UUID, ce_id: str) -> UUID:
    """The identity of a message: 48 bits of its time in ms, then 80 bits of a hash of the rest.

    It is the message's row in the inbox, which is partitioned by time, and the root of every id that its decision makes.
    `ce_id` may be any text without NUL: connectors number per order, per store or per run.
    """
    milliseconds = int(time.timestamp() * 1000) & 0xFFFF_FFFF_FFFF
    digest = blake2b(key.bytes + f"{store_id}\0{source}\0{ce_id}".encode(), digest_size=10).digest()
    return UUID(bytes=milliseconds.to_bytes(6, "big") + digest)


def decided(store_id: str, key: UUID, message: UUID, name: str) -> UUID:
    """The id of what the decision on `message` calls `name`: a batch that is decided again decides the same ids."""
    return _uuid5(message.bytes + key.bytes, f"{store_id}|{name}")


def derived(parent: UUID, name: str | int) -> UUID:
    """The id of the `name`-th thing that came of `parent`, which belongs to one order already."""
    return _uuid5(parent.bytes, str(name))


def in_order(ids: Iterable[UUID]) -> list[UUID]:
    """Returns ids sorted as PostgreSQL sorts them. Compared as numbers: the comparison of two UUIDs is a call of Python code."""
    return sorted(ids, key=attrgetter("int"))


def _uuid5(namespace: bytes, name: str) -> UUID:
    """`uuid.uuid5` for a namespace of any length: of two ids, too."""
    return UUID(bytes=sha1(namespace + name.encode(), usedforsecurity=False).digest()[:16], version=5)
