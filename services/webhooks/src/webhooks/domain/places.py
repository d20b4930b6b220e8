"""Places in the feed. A reader keeps its place as a cursor and goes on from there, also after a restore.

A restored database gives positions that it had given before once more, perhaps to other events. So a new epoch begins at the
restored head, and a place of an earlier epoch goes back to it: what follows is repeated, and nothing is missed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Place(NamedTuple):
    """The events up to `position` have been read."""

    epoch: int
    position: int


class Resumed(NamedTuple):
    position: int
    """Where reading goes on."""
    rewound: bool
    """Whether events are repeated."""


def resumed(place: Place, epochs: Iterable[Place], head: Place) -> Resumed:
    """Returns where a reader goes on. epochs: the beginning of each, in any order; head: of the present one."""
    limit = min((began.position for began in epochs if began.epoch > place.epoch), default=head.position)
    position = min(place.position, limit)
    return Resumed(position, position < place.position)
