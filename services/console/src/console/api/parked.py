"""The page of parked messages over all services: groups by cause and code line, lists by order and state."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, BeforeValidator, Field

from console import parked
from console.api.orders import seen_stores
from console.api.refusals import refusal
from console.api.rendering import query
from console.api.serving import Pages, demand
from console.domain.parked import CAUSES, EDIT_SCOPE, STATES, VIEW_SCOPE, State, cause_of
from console.domain.people import Person
from console.parked import PARKING, Collected
from contracts.base import Code, Text

ROWS_OF_EACH: Final = 25
"""Messages of one service in a list of all."""
ROWS_OF_ONE: Final = 50

Service = Literal["orders", "payments", "fulfillment", "invoicing", "webhooks", "console"]
Given = BeforeValidator(lambda value: value if value != "" else None)


class Asked(BaseModel):
    """The query of the lists."""

    service: Annotated[Service | None, Given] = None
    state: State = "waiting"
    cause: Code | Literal[""] = ""
    line: Text = ""
    order: Annotated[Text, Field(max_length=200)] = ""
    store: Annotated[Code | None, Given] = None
    cursor: str | None = None
    """In the list of one service."""

    @property
    def grouped(self) -> bool:
        return self.state == "waiting" and not self.order.strip()


def add_routes(router: APIRouter, pages: Pages) -> None:
    SignedIn = Annotated[Person, Depends(pages.person)]

    @router.get("/parked")
    async def lists(asked: Annotated[Asked, Query()], person: SignedIn) -> Response:
        store = chosen_store(person, asked.store)
        services = [asked.service] if asked.service else PARKING
        values: dict[str, Any] = {
            "person": person, "asked": asked, "store": store, "stores": await _stores(pages, person), "link": _linked(asked), "causes": sorted(CAUSES),
            "services": PARKING, "states": STATES, "cause_of": cause_of, "may_edit": person.at(store).may(EDIT_SCOPE),
        }  # fmt: skip
        if asked.grouped:
            found = await parked.collect(pages.owners, person, store, "/v1/parked-groups", services)
            return pages.page("parked.html", **values, groups=groups_of(found, asked), silent=found.silent)
        found = await _messages(pages, person, store, asked, services)
        rows = parked.merged(found)
        return pages.page(
            "parked.html", **values, silent=found.silent, rows=rows, numbers=await numbers_of(pages, person, rows),
            further={name: body["next_cursor"] for name, body in found.bodies.items() if body["next_cursor"]},
        )  # fmt: skip


def chosen_store(person: Person, wanted: str | None) -> str | None:
    """Returns the store whose messages are listed; None: all. Raises Problem 404."""
    demand(person, VIEW_SCOPE)
    if wanted:
        if not person.sees(wanted):
            raise refusal("store_unknown", f"{wanted} is none of your stores")
        return wanted
    stores = parked.stores_of(person)
    if stores is None:
        return None
    if not stores:
        raise refusal("store_unknown", "you have no store")
    return stores[0]


async def _stores(pages: Pages, person: Person) -> Sequence[str]:
    """Returns the stores that a person chooses from."""
    return parked.stores_of(person) or await seen_stores(pages, person)


def groups_of(found: Collected, asked: Asked | None = None) -> Sequence[Mapping[str, Any]]:
    """Returns the groups of all services that fit, the largest first."""
    groups = [{**one, "service": name} for name, body in found.bodies.items() for one in body["items"]]
    if asked is not None:
        groups = [
            one
            for one in groups
            if asked.cause in ("", one["cause"]) and asked.line.strip() in (one["raised_at"] or "")
        ]
    return sorted(groups, key=lambda one: -one["count"])


async def _messages(
    pages: Pages, person: Person, store: str | None, asked: Asked, services: Sequence[str]
) -> Collected:
    orders = await parked.orders_named(pages.app, person, asked.order.strip()) if asked.order.strip() else [None]
    limit = ROWS_OF_ONE if asked.service else ROWS_OF_EACH
    bodies: dict[str, Any] = {}
    silent: dict[str, str] = {}
    for order_id in orders:
        wanted = {
            "state": asked.state, "limit": limit, "key": order_id, "cause": asked.cause, "raised_at": asked.line.strip(),
            "cursor": asked.cursor if asked.service else None,
        }  # fmt: skip
        found = await parked.collect(pages.owners, person, store, f"/v1/parked?{query(wanted)}", services)
        silent |= found.silent
        for name, body in found.bodies.items():
            before = bodies.get(name, {"items": []})["items"]
            bodies[name] = {"items": [*before, *body["items"]], "next_cursor": body["next_cursor"]}
    return Collected(bodies, silent)


async def numbers_of(pages: Pages, person: Person, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, str]:
    return await parked.numbers_of(pages.app, person, {one["key"] for one in rows if one["key"]})


def _linked(asked: Asked) -> Any:
    """Returns a function that makes the address of the same list with something changed, from its first page on."""
    same = asked.model_dump(mode="json", exclude_defaults=True, exclude={"cursor"})

    def link(**change: Any) -> str:
        wanted = query(same | change)
        return f"/parked?{wanted}" if wanted else "/parked"

    return link
