"""Pages of payments: the accounts of a store, and what the other pages of payments have in common."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from datetime import date
from typing import Annotated, Any, Final, Literal, NamedTuple

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from console.api.asking import ask
from console.api.files import File, NoFile, Piece, streamed
from console.api.filters import linked
from console.api.orders import seen_stores
from console.api.refusals import refusal
from console.api.rendering import query
from console.api.serving import Pages, demand
from console.audit import Subject
from console.domain.payments import RECONCILE, VIEW
from console.domain.people import Person
from contracts.base import Code

ROWS: Final = 50
Given = BeforeValidator(lambda value: None if value == "" else value)


class Tab(NamedTuple):
    """A page of payments. It is shown if the release of payments has the route."""

    name: str
    title: str
    path: str
    scope: str
    route: str


TABS: Final = (
    Tab("accounts", "Accounts", "/payments", VIEW, "/v1/accounts"),
    Tab("settlements", "Settlements", "/payments/settlements", RECONCILE, "/v1/settlements"),
    Tab("rows", "To explain", "/payments/rows", RECONCILE, "/v1/settlement-rows"),
    Tab("gift-cards", "Gift cards", "/payments/gift-cards", VIEW, "/v1/gift-cards"),
    Tab("payment-sessions", "Sessions", "/payments/sessions", VIEW, "/v1/payment-sessions"),
    Tab("disputes", "Disputes", "/payments/disputes", VIEW, "/v1/disputes"),
    Tab("differences", "Exceptions", "/payments/differences", RECONCILE, "/v1/differences"),
)


class OfStore(BaseModel):
    """The query of a list of one store."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    store: Code | Literal[""] = ""
    cursor: str | None = None


class AccountsAsked(OfStore):
    """Days are those of UTC; both ends belong to the period."""

    currency: Annotated[str, Field(pattern="^([A-Z]{3})?$")] = ""
    first: Annotated[date | None, Given] = Field(None, alias="from")
    last: Annotated[date | None, Given] = Field(None, alias="to")

    @property
    def period(self) -> dict[str, Any]:
        """As the routes of payments take it."""
        return {"currency": self.currency, "from": self.first, "to": self.last}


def add_routes(router: APIRouter, pages: Pages) -> None:
    SignedIn = Annotated[Person, Depends(pages.person)]

    @router.get("/payments")
    async def accounts(asked: Annotated[AccountsAsked, Query()], person: SignedIn) -> Response:
        """The trial balance: per currency all accounts, before, in and after a period."""
        common = await shared(pages, person, "accounts", asked)
        answer = None
        if common["store"] and common["offered"]:
            path = f"/v1/accounts?{query(asked.period)}"
            answer = await pages.owners.read("payments", path, common["store"], person)
        if answer is not None and answer.status in (400, 422):
            raise refusal("filter_invalid", "payments refuses the period, or the currency")
        return pages.page(
            "accounts.html", 503 if answer is not None and answer.state != "answered" else 200, **common, answer=answer,
            period=query(asked.period | {"store": common["store"]}),
        )  # fmt: skip

    @router.get("/payments/accounts/{account}.csv")
    async def entries(
        account: Annotated[str, Path(pattern="^[a-z_]{1,40}$")],
        asked: Annotated[AccountsAsked, Query()],
        person: SignedIn,
    ) -> Response:
        """The entries of an account in a period, as payments streams them."""
        store = await chosen(pages, person, asked.store)
        demand(person.at(store or None), VIEW)
        path = f"/v1/accounts/{account}/entries.csv?{query(asked.period)}"
        name = "-".join(
            filter(None, (account, store.replace(":", "-"), *(f"{one}" for one in (asked.first, asked.last) if one)))
        )
        file = File(Subject("account", account, store), "export", query(asked.period), f"{name}.csv", "bytes")
        try:
            return await streamed(pages, person, file, _pieces(pages.owners.streamed("payments", path, store, person)))
        except NoFile:
            raise refusal("service_silent", "payments has not answered with the file") from None


async def _pieces(chunks: AsyncGenerator[bytes]) -> AsyncGenerator[Piece]:
    async with aclosing(chunks):
        async for chunk in chunks:
            yield chunk, len(chunk)


async def chosen(pages: Pages, person: Person, wanted: str) -> str:
    """Returns the store of a page; empty: the person sees none yet. Raises Problem 404."""
    if wanted and not person.sees(wanted):
        raise refusal("store_unknown", f"{wanted} is none of your stores")
    return wanted or next(iter(await seen_stores(pages, person)), "")


async def shared(pages: Pages, person: Person, name: str, asked: OfStore) -> dict[str, Any]:
    """Returns what the template of each list needs; `offered`: whether payments has the route. Raises Problem 403 and 404."""
    tab = next(one for one in TABS if one.name == name)
    store = await chosen(pages, person, asked.store)
    demand(person.at(store) if store else person, tab.scope)
    return {
        "person": person, "asked": asked, "store": store, "stores": await seen_stores(pages, person), "tab": tab,
        "tabs": await tabs_of(pages, person, store), "link": linked(tab.path, asked), "offered": await pages.bar.offered("payments", tab.route),
    }  # fmt: skip


async def listed(pages: Pages, person: Person, common: Mapping[str, Any], path: str) -> Any:
    """Returns a page of a list of payments; an empty one without a store, or if payments has no such list. Raises Problem."""
    if not (common["store"] and common["offered"]):
        return {"items": [], "next_cursor": None}
    return await ask(pages, "payments", path, common["store"], person, "store_unknown")


async def tabs_of(pages: Pages, person: Person, store: str) -> Sequence[Tab]:
    here = person.at(store) if store else person
    return [one for one in TABS if here.may(one.scope) and await pages.bar.offered("payments", one.route)]


def check(person: Person, store_id: str, scope: str) -> None:
    """Raises Problem: 404 for a store that the person may not see, as for one that does not exist; 403 without the scope in it."""
    if not person.sees(store_id):
        raise refusal("store_unknown", f"{store_id} is none of your stores")
    demand(person.at(store_id), scope)
