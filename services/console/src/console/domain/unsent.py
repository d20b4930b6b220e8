"""A form that a person sent when their session was over: nothing was done, and its text is shown again after signing in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

UNSENT_MINUTES: Final = 60
"""After that it is deleted: it may hold personal data."""
UNSENT_CHARACTERS_MAX: Final = 128 * 1024
"""A larger form is lost. The edit of a parked message is the largest."""


class Field(NamedTuple):
    name: str
    text: str

    @property
    def shown(self) -> bool:
        """Whether a person has entered it; the others are ids that the page has put in."""
        return self.name != "nonce" and not self.name.endswith("_id")

    @property
    def long(self) -> bool:
        return "\n" in self.text or len(self.text) > 80


class Unsent(NamedTuple):
    """Belongs to the session, so to one person and one browser."""

    page: str
    """The address of the page that had the form."""
    path: str
    """Where the form is sent."""
    body: str
    """As the browser sent it."""

    @property
    def fields(self) -> Sequence[Field]:
        return [Field(*pair) for pair in parse_qsl(self.body, keep_blank_values=True)]

    @property
    def title(self) -> str:
        return self.path.rpartition("/")[2].replace("_", " ").replace("-", " ").capitalize()
