"""What the bar shows of other services: how many endpoints get nothing, and which sections their releases have routes for.

Both are asked beside the pages: no page waits for them, and one may show what was so half a minute ago.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import select

from chassis.declare.app import App
from console.api.navigation import SECTIONS, Section
from console.domain.people import Person
from console.owners import Owners
from console.remembered import Remembered
from console.tables import stores

TROUBLED: Final = "/v1/endpoints?needs_attention=true&limit=100"
TROUBLED_SECONDS: Final = 30.0
ROUTES_SECONDS: Final = 600.0
LEARN_AGAIN_SECONDS: Final = 5.0
DOCUMENT_SECONDS_MAX: Final = 20.0
"""A service makes its OpenAPI document when it is asked for it first, which takes a second; no page waits that long."""
NOBODY: Final = Person(UUID(int=0), "console", "console", ())
"""Asks what needs no API key."""
STORES_MAX: Final = 50
"""Stores whose endpoints are counted for one person."""


class Entry(NamedTuple):
    section: Section
    waiting: int
    """How many things in it need a person."""


class Bar:
    def __init__(self, app: App, owners: Owners) -> None:
        self._app, self._owners = app, owners
        self._troubled: Remembered[Person, int] = Remembered(self._count_troubled, TROUBLED_SECONDS)
        self._routes: Remembered[str, frozenset[str]] = Remembered(self._routes_of, ROUTES_SECONDS)

    def of(self, person: Person) -> Sequence[Entry]:
        """Returns the sections that a person sees."""
        mine = [one for one in SECTIONS if person.may(one.scope) and self._is_offered(one)]
        return [Entry(one, self._troubled.get(person) or 0 if one.name == "webhooks" else 0) for one in mine]

    def offers(self, owner: str, path: str) -> bool:
        """Returns whether the release of a service that answers has a route, as far as it was asked."""
        return path in (self._routes.get(owner) or ())

    async def offered(self, owner: str, path: str) -> bool:
        """As `offers`, but waits for the answer of a service that was never asked, for as long as any page does."""
        return path in (await self._routes.within(owner, self._owners.ask_seconds_max) or ())

    async def learn(self) -> None:
        """Asks each service with optional sections for its routes until it has answered.

        From the start of the process on, not when a person reads the first page: a service makes its document with a second of CPU,
        and what else it is asked for takes longer meanwhile.
        """
        unknown = sorted({section.route[0] for section in SECTIONS if section.route is not None})
        while unknown:
            found = await asyncio.gather(*(self._routes.asked(owner) for owner in unknown))
            unknown = [owner for owner, routes in zip(unknown, found, strict=True) if routes is None]
            await asyncio.sleep(LEARN_AGAIN_SECONDS if unknown else 0)

    async def settled(self) -> None:
        """Waits until nothing is being asked."""
        await asyncio.gather(self._troubled.settled(), self._routes.settled())

    async def close(self) -> None:
        await asyncio.gather(self._troubled.close(), self._routes.close())

    def _is_offered(self, section: Section) -> bool:
        return section.route is None or self.offers(*section.route)

    async def _count_troubled(self, person: Person) -> int | None:
        rows = await self._app.read(select(stores.c.store_id).order_by(stores.c.store_id))
        mine = [row["store_id"] for row in rows if person.sees(row["store_id"])][:STORES_MAX]
        answers = await asyncio.gather(*(self._owners.read("webhooks", TROUBLED, one, person) for one in mine))
        if any(one.state != "answered" for one in answers):
            return None
        return sum(len(one.body["items"]) for one in answers)

    async def _routes_of(self, owner: str) -> frozenset[str] | None:
        answer = await self._owners.read(owner, "/openapi.json", None, NOBODY, seconds_max=DOCUMENT_SECONDS_MAX)
        return frozenset(answer.body.get("paths", ())) if answer.state == "answered" else None
