"""What is sent of an event: CloudEvents 1.0 in structured mode, signed as Standard Webhooks defines it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote

import orjson

from webhooks.shown import shown
from webhooks.window import FeedEvent

MEDIA_TYPE: Final = "application/cloudevents+json"
BATCH_MEDIA_TYPE: Final = "application/cloudevents-batch+json"
USER_AGENT: Final = "Tradewind-Webhooks/1"
REPLAY: Final = "tradewind-replay"
"""Header of what is sent once more on request: the id of the replay."""


TEST: Final = "tradewind-test"
"""Header of an example that is sent on request."""
SHOWN: Final = frozenset({"content-type", "user-agent", "webhook-id", "webhook-timestamp", "webhook-signature"})
"""The headers without secrets."""


def body_of(event: FeedEvent, *, thin: bool, personal: bool) -> bytes:
    """Returns the body of an event: the same bytes in each attempt, for every endpoint and stream with the same choices.

    thin: `dataref` instead of `data`, to be read from the API of webhooks.
    """
    if (body := event.bodies.get((thin, personal))) is None:
        body = rendered(shown(event.row, event.row["epoch"], personal=personal), thin=thin)
        event.bodies[thin, personal] = body
    return body


def batch_of(bodies: Iterable[bytes]) -> bytes:
    """Returns the body of a batch: a JSON array of the bodies of its events."""
    return b"[" + b",".join(bodies) + b"]"


def rendered(values: dict[str, Any], *, thin: bool) -> bytes:
    """values: as `shown` returns them; changed by the call."""
    if thin:
        del values["data"]
        values["dataref"] = f"/v1/events/{quote(values['id'], safe='')}"
    return orjson.dumps(values)
