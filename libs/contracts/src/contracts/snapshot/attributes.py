"""Names and values without a field of their own: personalisation, options, tags, further ids."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from contracts.base import UNLESS_EMPTY, Frozen, Text
from contracts.limits import ATTRIBUTES_MAX
from contracts.snapshot.parties import PersonalText


class Attribute(Frozen):
    name: Text
    value: PersonalText


Attributes = Annotated[tuple[Attribute, ...], Field(max_length=ATTRIBUTES_MAX), UNLESS_EMPTY]
"""Stored and shown, never read by a decision."""
