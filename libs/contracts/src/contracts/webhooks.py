"""Events of the webhooks service: how the endpoints of a store fare. Deliveries themselves are no events."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from contracts.base import Addressed, Counter, Event, Id, Open, Text, Timestamp

DisabledBecause = Literal["request", "gone", "failing"]
"""A person requested it; the receiver answered 410; nothing succeeded for days."""


class EndpointKeyed(Addressed, key="endpoint_id"):
    """Declares the key of a message about one endpoint."""

    endpoint_id: UUID


class EndpointEvent(EndpointKeyed, Event):
    host: Text
    """The host of its URL. The path and the query may be secret and are left out."""


class EndpointFailing(EndpointEvent, type="webhooks.endpoint_failing"):
    """For ten minutes nothing has succeeded, or too many deliveries waited for a retry. New ones wait; nothing is lost."""

    since: Timestamp
    failures: Counter
    """Attempts that failed in a row."""
    last: Text
    """The outcome of the latest: an HTTP status, or what prevented an answer."""


class EndpointRecovered(EndpointEvent, type="webhooks.endpoint_recovered"):
    """A delivery succeeded after `endpoint_failing`, and new ones are sent again."""

    failing_since: Timestamp


class EndpointDisabled(EndpointEvent, type="webhooks.endpoint_disabled"):
    """Nothing is delivered until the endpoint is enabled again. Its place in the feed stays."""

    because: Annotated[DisabledBecause, Open()]
    failing_since: Timestamp | None = None


class DeliveryExhausted(EndpointEvent, type="webhooks.delivery_exhausted"):
    """Deliveries failed in every attempt. At most one an hour for an endpoint."""

    count: Counter
    """Deliveries since the last event of this type."""
    event_id: Id
    """The event of the latest delivery, as `GET /v1/events/{id}` names it."""
    event_type: Id
    last: Text
    """As in `webhooks.endpoint_failing`."""
