"""Asks a receiver whether it expects the events of an endpoint: a mistyped URL would send them to a stranger."""

from __future__ import annotations

import hmac
import secrets
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid4

import orjson

from webhooks.delivery.outgoing import Outgoing
from webhooks.delivery.sender import Sender
from webhooks.domain.endpoint import Endpoint
from webhooks.vault import Vault

TYPE: Final = "webhooks.verify"
"""The type of the request, which is no event: the feed does not have it."""


class Failure(NamedTuple):
    detail: str
    http_status: int | None = None
    error: str | None = None


async def failure_of(
    sender: Sender, vault: Vault, store_id: str, endpoint_id: UUID, endpoint: Endpoint
) -> Failure | None:
    """Returns what is wrong with the receiver's answer; None: it expects events. Raises `vault.Unreadable`."""
    now, message_id, challenge = datetime.now(UTC), f"msg_{uuid4().hex}", secrets.token_urlsafe(24)
    body = orjson.dumps(_request(store_id, endpoint_id, message_id, challenge, now))
    outgoing = Outgoing(endpoint_id, endpoint, vault)
    answer = await outgoing.send(sender, outgoing.signed(body, message_id, now))
    if answer.status is None:
        return Failure(f"the receiver did not answer: {answer.error}", error=answer.error)
    if not answer.succeeded:
        return Failure(f"the receiver answered {answer.status}, not 2xx", answer.status)
    if endpoint.config.verify == "echo" and not _echoes(answer.body, challenge):
        return Failure("the answer does not contain the challenge of the request", answer.status)
    return None


def _request(store_id: str, endpoint_id: UUID, message_id: str, challenge: str, now: datetime) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": message_id,
        "source": "webhooks",
        "type": TYPE,
        "subject": str(endpoint_id),
        "time": now.isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "storeid": store_id,
        "data": {"challenge": challenge},
    }


def _echoes(answer: str, challenge: str) -> bool:
    """Whether an answer is the challenge, as text or as JSON with a member `challenge`."""
    try:
        stated = orjson.loads(answer)
    except ValueError:
        stated = answer.strip()
    if isinstance(stated, dict):
        stated = stated.get("challenge")
    return isinstance(stated, str) and hmac.compare_digest(stated.encode(), challenge.encode())
