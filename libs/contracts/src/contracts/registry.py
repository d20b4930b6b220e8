"""Type -> model -> topic. The one list that topics, schemas, AsyncAPI and the decoder are made from."""

from __future__ import annotations

from typing import Final, NamedTuple

from contracts import differences, fulfillment, gift_cards, invoicing, orders, payments, snapshot, webhooks
from contracts.base import Command, Event, Message, PrivateEvent

PARTITIONS: Final = 12
"""Partitions of every topic, for ever: another count would move keys. More partitions need a new topic version and a drain."""
SNAPSHOTS: Final = "marketplace.orders.v1"
SNAPSHOTS_BULK: Final = "marketplace.orders.bulk.v1"
"""Mass replays are on a topic of their own, so live orders do not wait behind them."""


class Topic(NamedTuple):
    name: str
    addressed: bool
    """Whether it is addressed to its reader (snapshots, commands). There an unknown type is parked, on events it is ignored."""
    about: str


SERVICES: Final = ("orders", "payments", "fulfillment", "invoicing", "webhooks")
"""Those that publish events."""


def _concrete(base: type[Message]) -> list[type[Message]]:
    found: list[type[Message]] = []
    for model in base.__subclasses__():
        if model.TYPE and not issubclass(model, PrivateEvent) and model.__module__.startswith("contracts."):
            found.append(model)
        found += _concrete(model)
    return found


_MODULES: Final = (snapshot, orders, payments, gift_cards, differences, fulfillment, invoicing, webhooks)
"""Their classes are registered."""
MESSAGES: Final[dict[str, type[Message]]] = {model.TYPE: model for model in _concrete(Message)}
"""Every published type."""


_COMMANDED: Final = {model.owner() for model in MESSAGES.values() if issubclass(model, Command)}
TOPICS: Final[dict[str, Topic]] = {
    topic.name: topic
    for topic in (
        Topic(SNAPSHOTS, True, "Orders as marketplaces state them now."),
        Topic(SNAPSHOTS_BULK, True, "The same from mass replays."),
        *(Topic(f"{name}.commands.v1", True, f"Commands to {name}.") for name in SERVICES if name in _COMMANDED),
        *(Topic(f"{name}.events.v1", False, f"Events of {name}.") for name in SERVICES),
    )
}
"""A service without commands has no commands topic."""


def topic_of(model: type[Message]) -> str:
    """Returns the topic on which a message of this model is published."""
    if model.TYPE == "marketplace.snapshot":
        return SNAPSHOTS
    kind = "commands" if issubclass(model, Command) else "events"
    return f"{model.owner()}.{kind}.v1"


def is_published(model: type[Message]) -> bool:
    return issubclass(model, Event) and not issubclass(model, PrivateEvent)
