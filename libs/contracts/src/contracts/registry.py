"""Type -> model -> topic. The one list that topics, schemas, AsyncAPI and the decoder are made from."""

from __future__ import annotations

from typing import Final, NamedTuple

from contracts import fulfillment, invoicing, orders, payments, snapshot
from contracts.base import Command, Event, Message, PrivateEvent

PARTITIONS: Final = 12
"""Of every topic, for ever: a changed count would move keys. More needs a new topic version and a drain."""
SNAPSHOTS: Final = "marketplace.orders.v1"
SNAPSHOTS_BULK: Final = "marketplace.orders.bulk.v1"
"""Mass replays: live orders do not wait behind a file."""


class Topic(NamedTuple):
    name: str
    addressed: bool
    """Addressed to its reader (snapshots, commands): an unknown type is parked there, on events it is ignored."""
    about: str


SERVICES: Final = ("orders", "payments", "fulfillment", "invoicing")

TOPICS: Final[dict[str, Topic]] = {
    topic.name: topic
    for topic in (
        Topic(SNAPSHOTS, True, "What marketplaces now say of their orders."),
        Topic(SNAPSHOTS_BULK, True, "The same from mass replays."),
        *(Topic(f"{service}.commands.v1", True, f"What {service} is asked to do.") for service in SERVICES),
        *(Topic(f"{service}.events.v1", False, f"What happened in {service}.") for service in SERVICES),
    )
}


def _concrete(base: type[Message]) -> list[type[Message]]:
    found: list[type[Message]] = []
    for model in base.__subclasses__():
        if model.TYPE and not issubclass(model, PrivateEvent) and model.__module__.startswith("contracts."):
            found.append(model)
        found += _concrete(model)
    return found


_MODULES: Final = (snapshot, orders, payments, fulfillment, invoicing)  # imported: their classes are registered
MESSAGES: Final[dict[str, type[Message]]] = {model.TYPE: model for model in _concrete(Message)}
"""Every published type."""


def topic_of(model: type[Message]) -> str:
    """Where a message of this model is published."""
    if model.TYPE == "marketplace.snapshot":
        return SNAPSHOTS
    kind = "commands" if issubclass(model, Command) else "events"
    return f"{model.owner()}.{kind}.v1"


def is_published(model: type[Message]) -> bool:
    return issubclass(model, Event) and not issubclass(model, PrivateEvent)
