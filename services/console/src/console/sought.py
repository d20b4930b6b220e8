"""One record of a topic, as pages show it, and whether it fits what a person searches."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final
from uuid import UUID

from pydantic import ValidationError

from console.domain.people import Stores
from contracts.envelope import key_of
from contracts.personal import masked
from contracts.registry import MESSAGES

EXCERPT_CHARACTERS: Final = 160
BEFORE_CHARACTERS: Final = 40
"""In an excerpt, before the text that is searched."""


@dataclass(frozen=True)
class Record:
    """A record with what its headers state. No content of it raises an error here."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    """When the broker appended it, in milliseconds since 1970."""
    raw_key: bytes | None
    value: bytes | None
    raw_headers: Sequence[tuple[str, bytes | None]]

    @property
    def at(self) -> datetime:
        return datetime.fromtimestamp(self.timestamp / 1000, UTC)

    @cached_property
    def key(self) -> UUID | None:
        """Mostly the order."""
        return key_of(self.raw_key)

    @cached_property
    def headers(self) -> Mapping[str, str]:
        return {name: (value or b"").decode("utf-8", "replace") for name, value in self.raw_headers}

    @property
    def type(self) -> str:
        return self.headers.get("ce_type", "")

    @property
    def store_id(self) -> str:
        """Empty: it names none, and belongs to none."""
        return self.headers.get("ce_storeid", "")

    @cached_property
    def masked(self) -> Any:
        """The body with its personal values hidden; None if it does not validate: nothing states which they are."""
        model = MESSAGES.get(self.type)
        if model is None or self.value is None:
            return None
        try:
            return masked(model.model_validate_json(self.value, context=len(self.value)))
        except ValidationError:
            return None

    @property
    def whole(self) -> Any:
        """The body as it was sent; as text, if it is not JSON."""
        text = (self.value or b"").decode("utf-8", "replace")
        try:
            return json.loads(text)
        except ValueError:
            return text

    @cached_property
    def text(self) -> str:
        """The masked body in one line; empty if it is not shown."""
        return "" if self.masked is None else json.dumps(self.masked, ensure_ascii=False, separators=(", ", ": "))

    def excerpt(self, text: str) -> str:
        """Returns the part of the body around a text, else its beginning."""
        place = max(self.text.casefold().find(text.casefold()), 0) if text else 0
        begin = max(place - BEFORE_CHARACTERS, 0)
        cut = self.text[begin : begin + EXCERPT_CHARACTERS]
        return ("… " if begin else "") + cut + (" …" if begin + EXCERPT_CHARACTERS < len(self.text) else "")


@dataclass(frozen=True, slots=True)
class Sought:
    """The filters of a tail. The text is searched in masked bodies, so that it reveals no personal value."""

    stores: Stores
    """Those whose records are shown; null: all, and the records that name none."""
    topic: str = ""
    order: UUID | None = None
    type: str = ""
    """A whole type, or the beginning of some: `payments.`."""
    text: str = ""

    def fits(self, record: Record) -> bool:
        return (
            (not self.topic or record.topic == self.topic)
            and (self.order is None or record.key == self.order)
            and (
                not self.type
                or record.type == self.type
                or (self.type[-1] == "." and record.type.startswith(self.type))
            )
            and (self.stores is None or record.store_id in self.stores)
            and (not self.text or self._may_contain(record))
        )

    def _may_contain(self, record: Record) -> bool:
        """Bodies of ours are UTF-8 without escapes of letters, so that most need not be read."""
        wanted = self.text.casefold()
        return (
            wanted in (record.value or b"").decode("utf-8", "replace").casefold() and wanted in record.text.casefold()
        )
