"""The lists of a store's orders: filters, sorts, search. What each costs is in `docs/search.md`."""

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from orjson import Fragment
from pydantic import BaseModel, Field

from chassis.declare.app import App, Principal
from chassis.http.bodies import as_json
from chassis.http.paging import CURSOR_PATTERN, Cursors
from chassis.http.problems import Problem, answers, known, respond
from contracts.base import Code, Country, Id, Text, Timestamp
from contracts.limits import MINOR_MAX
from contracts.money import Currency
from contracts.orders import CancelCause, FulfillmentStatus, MarketTerms, PaymentStatus
from contracts.snapshot import OrderContent
from orders.api.problems import PROBLEMS
from orders.api.shown import opened, plain, words
from orders.domain.shown import searched
from orders.domain.shown.searched import lexeme
from orders.domain.state.order import Order
from orders.responses.listed import OrderPage
from orders.search import SHOWN, SORTS, Archived, Filter, Place, Search, Sort
from orders.settings import email_keys

PERSONAL: Final = "personal.view"
"""The scope that an e-mail address is searched with."""
Reached = Literal["pending", "editing", "placing", "placed", "approved", "cancelled"]
"""The statuses that an order can have: all words of `Status` but `draft`, which belongs to orders that are not built yet."""
CONTENTS_MAX: Final = 100
"""Items of a page that have the content of their orders."""
CONTENTS: Final[Mapping[str, tuple[str, type[BaseModel]]]] = {
    "content": ("order", OrderContent), "market": ("market", MarketTerms),
}  # fmt: skip
"""Columns of JSON -> fields of an item, and their models, which add the values that are not stored."""
NAMES: Final = {"key": "order_id", "waiting_step": "step", "waiting_since": "since"}
"""Columns -> fields of an item."""
ARCHIVED: Final[Mapping[str, Archived]] = {"true": "yes", "false": "no", "any": "any"}
VALUES_MAX: Final = 20
"""Alternatives of one filter."""

Codes = Annotated[list[Code], Field(max_length=VALUES_MAX)]
Ids = Annotated[list[Id], Field(max_length=VALUES_MAX)]
Texts = Annotated[list[Annotated[Text, Field(min_length=1)]], Field(max_length=VALUES_MAX)]


class Asked(BaseModel):
    """The query of a list. A filter may be repeated: its values are alternatives. Different filters all have to fit."""

    status: Annotated[list[Reached], Field(max_length=VALUES_MAX)] = []
    payment_status: Annotated[list[PaymentStatus], Field(max_length=VALUES_MAX)] = []
    fulfillment_status: Annotated[list[FulfillmentStatus], Field(max_length=VALUES_MAX)] = []
    waiting: Codes = []
    cancel_cause: Annotated[list[CancelCause], Field(max_length=VALUES_MAX)] = []
    exception: Annotated[Codes, Field(description="Codes of open exceptions.")] = []
    hold: Annotated[Texts, Field(description="Reasons of holds that are not released.")] = []
    tag: Texts = []
    archived: Annotated[
        Literal["true", "false", "any"] | None,
        Field(
            description="Default: archived orders are left out, unless an id names them or the list is one of orders that wait."
            " `any`: all orders."
        ),
    ] = None
    number: Annotated[
        Ids, Field(description="Any id by which people call it: ours, the marketplace's, the buyer's, the reference.")
    ] = []
    external_order_id: Ids = []
    channel: Codes = []
    account: Codes = []
    market: Codes = []
    currency: Annotated[list[Currency], Field(max_length=VALUES_MAX)] = []
    country: Annotated[
        list[Country], Field(max_length=VALUES_MAX, description="Where the goods go, else the bill.")
    ] = []
    sku: Ids = []
    email: Annotated[Texts, Field(description="The buyer's, whole. Needs the scope `personal.view`, too.")] = []
    test: bool | None = None
    amount_min: Annotated[int | None, Field(ge=0, le=MINOR_MAX, description="Minor units of the order's currency.")] = (
        None
    )
    amount_max: Annotated[int | None, Field(ge=0, le=MINOR_MAX)] = None
    ordered_from: Timestamp | None = None
    ordered_to: Annotated[Timestamp | None, Field(description="Exclusive, like the end of every range.")] = None
    placed_from: Timestamp | None = None
    placed_to: Timestamp | None = None
    completed_from: Timestamp | None = None
    completed_to: Timestamp | None = None
    updated_from: Timestamp | None = None
    updated_to: Timestamp | None = None
    q: Annotated[
        Text | None,
        Field(min_length=1, description="The beginning of its number, an id as in `number`, or words of titles."),
    ] = None
    sort: Sort = "newest"
    content: Annotated[
        bool,
        Field(
            description=f"Whether items have `order`, `market` and `open`. A page then has at most {CONTENTS_MAX} items."
        ),
    ] = False
    count: Annotated[bool, Field(description="Whether to count the orders that fit, up to 1,000.")] = False
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: Annotated[
        str | None,
        Field(
            description="`next_cursor` of the page before, unchanged, with the same filters and sort.",
            json_schema_extra={"pattern": CURSOR_PATTERN},
        ),
    ] = None

    def fingerprint(self) -> str:
        """Returns a digest of filters and sort: a cursor belongs to them."""
        same = self.model_dump_json(exclude={"limit", "cursor", "count", "content"}, exclude_defaults=True)
        return hashlib.blake2s(same.encode(), digest_size=9).hexdigest()


class AskedApprovals(BaseModel):
    """The query of the orders that wait for approval."""

    market: Annotated[Codes, Field(description="Codes of markets; without it, the queue has the orders of all.")] = []
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: Annotated[
        str | None,
        Field(
            description="`next_cursor` of the page before, unchanged, with the same markets.",
            json_schema_extra={"pattern": CURSOR_PATTERN},
        ),
    ] = None


def _archived(asked: Asked) -> Archived:
    if asked.archived is not None:
        return ARCHIVED[asked.archived]
    named = asked.waiting or asked.number or asked.external_order_id
    return "any" if named or asked.sort == "waiting_longest" else "no"


def filters(store_id: str, asked: Asked, keys: tuple[bytes, ...]) -> Filter:
    """Returns what a query asks for. keys: of the hashes of e-mail addresses."""

    def one_of(kind: str, values: list[str]) -> list[str]:
        return [searched.any_of([lexeme(store_id, kind, value) for value in values])] if values else []

    numbers = [value.casefold() for value in asked.number]
    ids = [value.casefold() for value in asked.external_order_id]
    emails = [searched.email_hash(email, key) for email in asked.email for key in keys]
    found = Filter(
        lexemes=[
            *one_of(searched.SKU, asked.sku), *one_of(searched.EMAIL, emails), *one_of(searched.NAME, numbers),
            *one_of(searched.NAME, ids), *one_of(searched.COUNTRY, list(asked.country)),
            *one_of(searched.CURRENCY, list(asked.currency)), *one_of(searched.MARKET, asked.market),
            *one_of(searched.CHANNEL, asked.channel), *one_of(searched.ACCOUNT, asked.account),
        ],
        words={
            name: values
            for name in ("status", "payment_status", "fulfillment_status", "waiting", "cancel_cause", "external_order_id")
            if (values := getattr(asked, name))
        },
        marks=[
            [searched.mark(kind, value) for value in values]
            for kind, values in (("hold", asked.hold), ("exception", asked.exception), ("tag", asked.tag))
            if values
        ],
        archived=_archived(asked),
        ranges={
            f"{name}_at": range_
            for name in ("ordered", "placed", "completed", "updated")
            if (range_ := (getattr(asked, f"{name}_from"), getattr(asked, f"{name}_to"))) != (None, None)
        },
        amount=(asked.amount_min, asked.amount_max),
        selective=bool(emails or numbers or ids),
    )  # fmt: skip
    if asked.test is not None:
        is_test = searched.any_of([lexeme(store_id, searched.TEST, "")])
        if asked.test:
            found.lexemes.append(is_test)
        else:
            found.without = [is_test]
    if asked.q is not None:
        found.prefixes = (asked.q,)
        titles = [f"'{lexeme(store_id, searched.WORD, word)}'" for word in searched.words(asked.q)]
        named = searched.any_of([lexeme(store_id, searched.NAME, asked.q.casefold())])
        found.names = f"{named} | ({searched.all_of(titles)})" if titles else named
    return found


TIMES: Final = Cursors("orders", Code, Timestamp, UUID)
AMOUNTS: Final = Cursors("orders", Code, Annotated[int, Field(strict=True, ge=-1, le=MINOR_MAX)], UUID)
"""Cursors: the digest of filters and sort, the value of the sort, the key."""


async def listed(app: App, who: Principal, asked: Asked) -> Response:
    """Answers a list. Raises Problem 400, 403 or 409."""
    if asked.email and not who.may(PERSONAL):
        raise known("scope_missing", f"to search by e-mail address this call needs the scope {PERSONAL}, too")
    keys = email_keys()
    if asked.email and not keys:
        raise Problem(409, "filter_unavailable", PROBLEMS["filter_unavailable"].title, "ORDERS_EMAIL_KEYS is not set")
    search = Search(who.store_id, filters(who.store_id, asked, keys), asked.sort)
    cursors = TIMES if SORTS[asked.sort].type == "timestamptz" else AMOUNTS
    belongs_to = asked.fingerprint()
    start: Place | None = None
    if (after := cursors.after(asked.cursor)) is not None:
        digest, *place = after
        if digest != belongs_to:
            raise known("cursor_invalid", "it belongs to other filters or another sort")
        start = (place[0], place[1])
    if asked.content:
        page = await search.page(app.read, min(asked.limit, CONTENTS_MAX), start, (*SHOWN, *CONTENTS, "doc"))
    else:
        page = await search.page(app.read, asked.limit, start)
    searched_to = page.searched_to[0] if page.searched_to is not None else None
    body: dict[str, Any] = {
        "items": [item(row) for row in page.rows],
        "next_cursor": cursors.at((belongs_to, *page.more_after)) if page.more_after is not None else None,
        "searched_back_to": plain(searched_to) if cursors is TIMES else None,
        "searched_to_minor": searched_to if cursors is AMOUNTS else None,
        "count": None,
    }
    if asked.count:
        value, capped = await search.count(app.read)
        body["count"] = {"value": value, "capped": capped}
    return respond(as_json(200, body))


def item(row: Any) -> dict[str, Any]:
    """Returns a row of `search` as the list shows it."""
    shown = {NAMES.get(name, name): plain(row[name]) for name in SHOWN}
    contents = {
        name: Fragment(model.model_validate_json(row[column]).model_dump_json())
        for column, (name, model) in CONTENTS.items()
        if column in row
    }
    what_is_open = {"open": opened(Order.model_validate_json(row["doc"]))} if "doc" in row else {}
    return {
        **shown,
        **words(row),
        "number": row["external_order_id"],
        "tags": row["tags"] or [],
        **contents,
        **what_is_open,
    }


def add_routes(router: APIRouter, app: App) -> None:
    view = app.principal("orders.view")

    @router.get("/orders", response_model=OrderPage, openapi_extra=answers("filter_unavailable"))
    async def list_orders(who: Annotated[Principal, Depends(view)], asked: Annotated[Asked, Query()]) -> Response:
        """The store's orders that fit all filters. A page may have fewer items than `limit`; null in `next_cursor` ends the list."""
        return await listed(app, who, asked)

    @router.get("/approvals", response_model=OrderPage)
    async def list_approvals(
        who: Annotated[Principal, Depends(view)], asked: Annotated[AskedApprovals, Query()]
    ) -> Response:
        """The orders that a person has to approve: the one that has waited longest first. One that is held follows its release."""
        queue = Asked(waiting=["approval"], sort="waiting_longest", **asked.model_dump())
        return await listed(app, who, queue)
