"""The messages of one order: a tree of cause and effect over all services, and one of them in full."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from sqlalchemy.engine import RowMapping

from console.api.order import row_of
from console.api.refusals import refusal
from console.api.requesting import revealed
from console.api.serving import Pages
from console.audit import Subject
from console.domain.people import PERSONAL, Person
from console.domain.tree import Delivery, Message, grown
from console.owners import Answer

PATHS: Final[Mapping[str, str]] = {
    "orders": "/v1/journal?order_id={order_id}&limit=200",
    "payments": "/v1/journal?order_id={order_id}&limit=200",
    "fulfillment": "/v1/journal?order_id={order_id}&limit=200",
    "invoicing": "/v1/journal?order_id={order_id}&limit=200",
    "webhooks": "/v1/attempts?order_id={order_id}&limit=200",
}
"""What a page asks of each service. Most orders have less than a page; a longer one goes on with the cursor of each service."""
FOLLOWS: Final = ":"
"""Between a service and its cursor, in the address of a further page."""


def add_routes(router: APIRouter, pages: Pages) -> None:
    SignedIn = Annotated[Person, Depends(pages.person)]

    @router.get("/orders/{order_id}/messages")
    async def messages(
        order_id: str,
        person: SignedIn,
        message: UUID | None = None,
        operation: UUID | None = None,
        after: Annotated[list[str] | None, Query(max_length=len(PATHS))] = None,
    ) -> Response:
        """message: shown in full. operation: its outcome is. after: where the journals of this page begin, `<service>:<cursor>`."""
        row = await row_of(pages, person, order_id)
        return await page(person, row, message, operation, after)

    @router.post("/orders/{order_id}/messages/reveal")
    async def reveal(
        order_id: str,
        person: SignedIn,
        message: UUID,
        after: Annotated[list[str] | None, Query(max_length=len(PATHS))] = None,
    ) -> Response:
        """Shows personal data of a message in the answer to this one request."""
        row = await row_of(pages, person, order_id)
        await revealed(pages, person, Subject("message", str(message), row["store_id"], row["order_id"]))
        return await page(person, row, message, None, after, personal=True)

    async def page(
        person: Person,
        row: RowMapping,
        message: UUID | None,
        operation: UUID | None,
        after: Sequence[str] | None,
        *,
        personal: bool = False,
    ) -> Response:
        cursors = _cursors(after or ())
        answers = await _read(pages, person, row["order_id"], row["store_id"], cursors, personal=personal)
        more = {name: cursor for name, answer in answers.items() if (cursor := _body(answer).get("next_cursor"))}
        unread = [name for name in PATHS if name not in answers or answers[name].state != "answered" or name in more]
        tree = grown(_messages(answers), _deliveries(answers.get("webhooks")), unread)
        chosen = tree.outcome_of(str(operation)) if operation else tree.message(str(message)) if message else None
        return pages.page(
            "messages.html", person=person, row=row, tree=tree, chosen=chosen, asked=message or operation, after=after or [],
            revealed=personal, may_reveal=person.at(row["store_id"]).may(PERSONAL),
            silent={name: one.why for name, one in answers.items() if one.state in ("silent", "unset")},
            next_page=[f"{name}{FOLLOWS}{cursor}" for name, cursor in more.items()],
        )  # fmt: skip


def _cursors(after: Sequence[str]) -> Mapping[str, str]:
    """Returns the cursor of each service that a page reads. Raises Problem 400."""
    if not after:
        return dict.fromkeys(PATHS, "")
    cursors = {name: cursor for name, follows, cursor in (one.partition(FOLLOWS) for one in after) if follows}
    if len(cursors) != len(after) or not cursors.keys() <= PATHS.keys():
        raise refusal("filter_invalid", "after: use the link of the page before")
    return cursors


async def _read(
    pages: Pages, person: Person, order_id: UUID, store_id: str, cursors: Mapping[str, str], *, personal: bool
) -> Mapping[str, Answer]:
    def path(name: str, cursor: str) -> str:
        return PATHS[name].format(order_id=order_id) + (f"&cursor={quote(cursor, safe='')}" if cursor else "")

    answers = await asyncio.gather(
        *(
            pages.owners.read(name, path(name, cursor), store_id, person, personal=personal)
            for name, cursor in cursors.items()
        )
    )
    return dict(zip(cursors, answers, strict=True))


def _body(answer: Answer | None) -> Mapping[str, Any]:
    return answer.body if answer is not None and isinstance(answer.body, dict) else {}


def _messages(answers: Mapping[str, Answer]) -> Iterator[Message]:
    for name, answer in answers.items():
        for one in _body(answer).get("items", ()) if name != "webhooks" else ():
            yield Message(
                id=one["message_id"], service=one["service"], kind=one["kind"], type=one["type"],
                at=datetime.fromisoformat(one["at"]), published=one["published"], operation_id=one["operation_id"],
                actor=one["actor"], via=one["via"], cause_type=one["cause_type"], cause_id=one["cause_id"],
                version=one["version"], body=one["body"],
            )  # fmt: skip


def _deliveries(answer: Answer | None) -> Iterator[Delivery]:
    for one in _body(answer).get("items", ()):
        yield Delivery(
            id=one["id"], event_id=one["event_id"], endpoint_id=one["endpoint_id"], host=one["host"], number=one["number"],
            at=datetime.fromisoformat(one["at"]), outcome=one["outcome"],
            answer=str(one["http_status"] or one["error"] or ""),
        )  # fmt: skip
