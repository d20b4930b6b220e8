"""The checked-in example of a type, as an event of the feed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from contracts.base import Event
from contracts.examples import example
from contracts.registry import MESSAGES
from webhooks.shown import shown


def example_event(
    type: str, event_id: str, store_id: str | None, at: datetime, *, personal: bool
) -> dict[str, Any] | None:
    """Returns the example as `shown` returns an event; null: no example of the type is checked in.

    store_id: the receiver's; null: that of the example.
    """
    if (body := example(type)) is None:
        return None
    message = MESSAGES[type].model_validate_json(body)
    assert isinstance(message, Event), type
    row = {
        "event_id": event_id, "source": type.partition(".")[0], "type": type, "key": message.key, "time": at,
        "store_id": store_id or message.store_id, "version": message.version, "correlation_id": str(message.key), "position": 0,
        "body": body.decode(),
    }  # fmt: skip
    return shown(row, 0, personal=personal)
