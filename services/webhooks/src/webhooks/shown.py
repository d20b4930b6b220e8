"""An event of the feed as integrators see it: CloudEvents 1.0, structured mode."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import orjson
from pydantic import BaseModel, Field, ValidationError

from chassis.http.paging import Cursors
from contracts.base import Message
from contracts.envelope import dataschema
from contracts.personal import masked
from contracts.registry import MESSAGES
from webhooks.domain.places import Place

PERSONAL: Final = "personal.view"
"""The scope that shows the values of `Personal` fields."""
CURSORS: Final = Cursors("feed", int, int)


class CloudEvent(BaseModel):
    """An event. Attributes are those of CloudEvents 1.0; `storeid`, `version`, `correlationid`, `cursor` are extensions."""

    specversion: str = Field(examples=["1.0"])
    id: str
    """Unique per source. The same in every answer and for every reader."""
    source: str
    """The service that published it."""
    type: str
    subject: UUID
    """The aggregate that it is about: mostly the order."""
    time: datetime
    """When it happened."""
    datacontenttype: str = Field(examples=["application/json"])
    dataschema: str | None = None
    """Left out for a type of a newer release."""
    storeid: str
    version: int | None = None
    """Counts the events of the aggregate at its source, from 1 without a gap; left out if the event states none."""
    correlationid: str
    cursor: str
    """The place in the feed behind this event."""
    data: dict[str, Any] | None = Field(
        description="A personal value is `***` without the scope `personal.view`; null then for a type of another release."
    )


class Events(BaseModel):
    """A part of the feed."""

    items: list[CloudEvent]
    next_cursor: str
    """Where to go on, also if there are no items."""
    head: str
    """The place of the newest event of the feed, of any store."""


class CursorShown(BaseModel):
    cursor: str


def cursor_of(place: Place) -> str:
    return CURSORS.at(place)


def shown(row: Mapping[Any, Any], epoch: int, *, personal: bool) -> dict[str, Any]:
    """Returns an event of the feed as JSON values. personal: with the values of `Personal` fields.

    An attribute without a value is left out: clients of CloudEvents refuse null, although its JSON format allows it.
    """
    model = MESSAGES.get(row["type"])
    schema = {"dataschema": dataschema(model.TYPE, model.SCHEMA_VERSION)} if model is not None else {}
    version = {"version": row["version"]} if row["version"] is not None else {}
    return {
        "specversion": "1.0",
        "id": row["event_id"],
        "source": row["source"],
        "type": row["type"],
        "subject": str(row["key"]),
        "time": row["time"].astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        **schema,
        "storeid": row["store_id"],
        **version,
        "correlationid": row["correlation_id"],
        "cursor": cursor_of(Place(epoch, row["position"])),
        "data": _data(row["body"], model, personal=personal),
    }


def _data(body: str, model: type[Message] | None, *, personal: bool) -> Any:
    """The body as it was published, or without personal values."""
    if personal:
        return orjson.Fragment(body)
    try:
        return masked(model.model_validate_json(body)) if model is not None else None
    except ValidationError:
        return None
