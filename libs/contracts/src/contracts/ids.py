"""Ids that two programs must compute alike, and ids that a decision may make up: all are functions of their input."""

from __future__ import annotations

from hashlib import sha1
from typing import Final
from uuid import UUID

ORDER_NAMESPACE: Final = UUID("b4f1c1a6-5d0e-5c39-9a43-6a1d1a0f7e21")
"""Namespace of every order id; printed with worked examples in docs/order-ids.md."""
MESSAGE_NAMESPACE: Final = UUID("2f6f9d0e-3f5b-5d55-8d0b-0b1c7a3a52c4")


def order_id(store_id: str, channel: str, account: str, external_order_id: str) -> UUID:
    """The id of an order everywhere. Only the last part may hold `|`, so no two orders share a name.

    >>> order_id("st_12", "bol", "store-887", "A2K8290LP8")
    UUID('cdac17fa-748d-5c30-afb4-776fd89a573f')
    """
    return _uuid5(ORDER_NAMESPACE, f"{store_id}|{channel}|{account}|{external_order_id}")


def message_uuid(source: str, message_id: str) -> UUID:
    """One UUID for a CloudEvents (source, id) pair; ids of connectors may be any text."""
    return _uuid5(MESSAGE_NAMESPACE, f"{source}|{message_id}")


def derived(parent: UUID, name: str | int) -> UUID:
    """The id of the `name`-th thing that came of `parent`: a batch that is decided again decides the same ids."""
    return _uuid5(parent, str(name))


_VERSION_AND_VARIANT: Final = (0xF000 << 64) | (0xC000 << 48)
_FIVE_OF_RFC_9562: Final = (0x5000 << 64) | (0x8000 << 48)


def _uuid5(namespace: UUID, name: str) -> UUID:
    """As `uuid.uuid5`, in two thirds of its time: it is made twenty times on an order's way."""
    digest = sha1(namespace.bytes + name.encode(), usedforsecurity=False).digest()
    return UUID(int=int.from_bytes(digest[:16], "big") & ~_VERSION_AND_VARIANT | _FIVE_OF_RFC_9562)
