"""The channel `operations:`: the figures of the overview, whenever the processes were asked again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime
from typing import Final

from chassis.declare.app import App
from console import recording
from console.domain.people import Person
from console.live.hub import POLL_SECONDS, Audience

CHANNEL: Final = "operations:"
SCOPE: Final = "operations.view"

Cells = Callable[[], Awaitable[Mapping[str, str]]]
"""Renders the figures: name -> HTML."""


class OperationsSource:
    name = "operations"

    def __init__(self, app: App, cells: Cells) -> None:
        self._app, self._cells = app, cells

    async def admitted(self, person: Person, channels: Collection[str]) -> Collection[str]:
        return [one for one in channels if one == CHANNEL and person.may(SCOPE)]

    async def run(self, audience: Audience) -> None:
        """Who comes later receives the present figures: those between are of no use."""
        shown_at: datetime | None = None
        cells: Mapping[str, str] = {}
        while True:
            at = await recording.polled_at(self._app)
            if at != shown_at:
                shown_at, cells = at, await self._cells()
                _publish(audience, cells, at)
            for newcomer in audience.newcomers():
                _publish(newcomer, cells, shown_at)
            await asyncio.sleep(POLL_SECONDS)


def _publish(audience: Audience, cells: Mapping[str, str], at: datetime | None) -> None:
    if at is not None:
        audience.publish(CHANNEL, {"cells": cells})
        audience.reached(at.isoformat())
