"""What the routes share: whose account is asked about, and an order whole."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import Depends, Path, Request

from chassis.declare.app import App, Principal
from contracts.base import Id
from contracts.ids import derived, order_id
from contracts.snapshot import OrderContent
from dintero_compat import accounts, additions, details, drafts, events
from dintero_compat.accounts import AID_PATTERN, Account
from dintero_compat.details import Details
from dintero_compat.domain import happening, paying, reversing, showing
from dintero_compat.domain.happening import Include
from dintero_compat.domain.placing import CHANNEL
from dintero_compat.owners import Owners
from dintero_compat.refusals import order_unknown, refused

OrderId = Annotated[Id, Path(description="The `order_id` of the order, or its `id`.")]
PAGE: Final = 500
"""Entries or steps that are asked for at a time."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: who asks, about which account."""

    who: Principal
    """A principal of the account's store."""
    account: Account


@dataclass(frozen=True, slots=True)
class Money:
    """An order's money at payments."""

    ledger: Mapping[str, Any] | None
    """`Books`; null: payments has nothing of the order yet."""
    entries: list[Mapping[str, Any]]
    details: Details

    def collections(self, numbers: Mapping[str, int]) -> dict[str, list[dict[str, Any]]]:
        return paying.operations(self.ledger, self.entries, numbers, self.details) if self.ledger is not None else {}


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of an order: its own, and those that drafts have added."""

    numbers: Mapping[str, int]
    """Our line ids -> `line_id`."""
    added: Sequence[Mapping[str, Any]]
    """Items of drafts."""

    @property
    def ids(self) -> Mapping[int, str]:
        return {number: line_id for line_id, number in self.numbers.items()}


def deletion_of(comment_id: str) -> str:
    """Names the event of a request that deletes a comment."""
    return f"comment {comment_id} deleted"


class Desk:
    def __init__(self, app: App) -> None:
        self.app = app
        self.owners = Owners(app)

    def asked(self, scope: str) -> Callable[..., Awaitable[Asked]]:
        """Returns a FastAPI dependency: the request of a key that has the scope, about an account of the key's store."""
        principal = self.app.principal(scope, one_store=False)

        async def found(
            aid: Annotated[str, Path(pattern=AID_PATTERN, description="P or T, and eight digits.")],
            who: Annotated[Principal, Depends(principal)],
        ) -> Asked:
            account = await accounts.find(self.app, aid)
            if account is None or who.store_id not in ("", account.store_id):
                raise refused("account_unknown", f"no account {aid} in the store of the API key")
            return Asked(replace(who, store_id=account.store_id), account)

        return found

    async def order(self, asked: Asked, name: str) -> dict[str, Any]:
        """Returns `OrderRead` of an order, by its `order_id` or its `id`. Raises Problem 404."""
        key = order_id(asked.account.store_id, CHANNEL, asked.account.aid, name)
        found: dict[str, Any] | None = await self.owners.read("orders", asked.who, f"/v1/orders/{key}")
        if found is None:
            try:
                found = await self.owners.read("orders", asked.who, f"/v1/orders/{UUID(name)}")
            except ValueError:
                raise order_unknown() from None
        if found is None:
            raise order_unknown()
        return found

    async def money(self, asked: Asked, key: str) -> Money:
        """Returns an order's ledger with all its entries. key: our id of the order."""
        ledger = await self.owners.read("payments", asked.who, f"/v1/orders/{key}/ledger")
        if ledger is None:
            return Money(None, [], {})
        entries, cursor = list(ledger["entries"]), ledger["entries_cursor"]
        while cursor is not None:
            place = (("limit", PAGE), ("cursor", cursor))
            page = await self.owners.read("payments", asked.who, f"/v1/orders/{key}/entries", place)
            entries += page["items"]
            cursor = page["next_cursor"]
        return Money(ledger, entries, await details.of_order(self.app, asked.account, UUID(key)))

    async def whole(self, asked: Asked, order: Mapping[str, Any], include: Include = "false") -> dict[str, Any]:
        """Returns an order in Dintero's shape. order: `OrderRead`. include: the kinds of events that it is shown with."""
        money, draft, lines, happened = await asyncio.gather(
            self.money(asked, order["order_id"]),
            drafts.of_order(self.app, asked.account, order["external_order_id"]),
            self.lines(asked, order),
            self.events(asked, order, include),
        )
        status = money.ledger["dintero_payment_status"] if money.ledger is not None else None
        collections = money.collections(lines.numbers)
        stored = draft.doc["order"] if draft is not None else {}
        by = {"created_by": draft.created_by} if draft is not None else {}
        shown = showing.shown(order, asked.account.aid, collections, status, stored, lines.added)
        shown["comments"] = await self.comments(asked, order)
        return {**shown, **by, **happened}

    async def lines(self, asked: Asked, order: Mapping[str, Any]) -> Lines:
        """Returns the lines of an order. order: `OrderRead`."""
        numbers = showing.line_numbers(OrderContent.model_validate(order["order"]))
        added = await additions.items_of(self.app, asked.account, UUID(order["order_id"]))
        return Lines(numbers | {reversing.ours(item["line_id"]): item["line_id"] for item in added}, added)

    async def comments(self, asked: Asked, order: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Returns the latest comments of an order. A note whose deletion was requested here stays at orders, and is no comment."""
        found, key = showing.comments(order), UUID(order["order_id"])
        deletions = {derived(key, deletion_of(one["id"])): one["id"] for one in found}
        gone = {deletions[event_id] for event_id in await events.among(self.app, asked.account, key, [*deletions])}
        return [one for one in found if one["id"] not in gone]

    async def events(self, asked: Asked, order: Mapping[str, Any], include: Include) -> dict[str, Any]:
        """Returns `events` and their `state`; empty if none are to be included."""
        if include == "false":
            return {}
        stored = await events.stored(self.app, asked.account, UUID(order["order_id"]))
        return happening.together(await self._timeline(asked, order), stored, include)

    async def _timeline(self, asked: Asked, order: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Returns all steps, the oldest first."""
        steps: list[Mapping[str, Any]] = list(order["timeline"])
        cursor = order["timeline_next_cursor"]
        while cursor is not None:
            place = (("limit", PAGE), ("cursor", cursor))
            page = await self.owners.read("orders", asked.who, f"/v1/orders/{order['order_id']}/timeline", place)
            steps = page["items"][::-1] + steps
            cursor = page["next_cursor"]
        return steps

    async def happened(
        self, request: Request, asked: Asked, order: Mapping[str, Any], what: str, draft_id: UUID | None = None
    ) -> None:
        """Stores the event of a request that changed an order. what: names the change, so that a repetition is the same event."""
        key = UUID(order["order_id"])
        body: dict[str, Any] = {
            "version": order["version"],
            "request": {
                "path": request.scope["path"],
                "method": request.method,
                "body": events.request_body(await request.body()),
            },
        }
        if draft_id is not None:
            body["draft_id"] = str(draft_id)
        await events.add(self.app, asked.account, key, derived(key, what), "api-event", asked.who.actor, body)
