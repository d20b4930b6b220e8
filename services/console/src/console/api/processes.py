"""The page of processes: every order that waits in a process, the longest wait first, with what orders has of it now."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, NamedTuple, get_args
from urllib.parse import urlencode
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, Field
from sqlalchemy.engine import RowMapping

from console import freshness, listing
from console.api.order import requested, row_of
from console.api.orders import seen_stores, store_of
from console.api.rendering import query
from console.api.requesting import Failed
from console.api.serving import Pages, form
from console.api.shown import Waiting, waiting_of
from console.domain.acting import ACTIONS
from console.domain.people import Person
from console.listing import NO_STEP, VALUES_MAX, Given, Step
from console.owners import Answer
from contracts.base import Code

ENDED_BY: Final = ("ask", "retry", "give_up", "force")
"""The actions on an order that end a wait, or may."""
InProcess = Literal["answer", "approval", "confirm", "exception", "hold", "no_answer", "parked", "stock", "warehouse"]
"""What a process waits for, as the lists have it; `payment` and `snapshot` come before the first one."""


class Asked(BaseModel):
    """The query of the page. A filter may be repeated: its values are alternatives."""

    store: Code | None = None
    waiting: Annotated[list[InProcess], Given, Field(max_length=VALUES_MAX)] = []
    step: Step | Literal[""] = ""
    cursor: str | None = None
    open: UUID | None = None
    """The order whose forms are shown."""
    done: str = ""

    @property
    def listed(self) -> listing.Asked:
        """The list of orders that the page shows."""
        words: Any = self.waiting or get_args(InProcess)
        return listing.Asked(store=self.store, sort="waiting", waiting=words, step=self.step, cursor=self.cursor)

    def address(self, path: str = "/processes", **change: Any) -> str:
        """Returns the address of the same list with something changed."""
        same = self.model_dump(mode="json", exclude_defaults=True, exclude={"open", "done"})
        wanted = query(same | change)
        return f"{path}?{wanted}" if wanted else path

    def first_page(self, **change: Any) -> str:
        return self.address(**{"cursor": None, **change})


class Row(NamedTuple):
    """An order of the list, and what orders has of it now; if it is silent, what the list has."""

    order: RowMapping
    waiting: Waiting
    version: int
    """The version of the order at orders; 0: orders is silent."""
    processes: tuple[Mapping[str, Any], ...]
    allowed: frozenset[str]
    why_not: Mapping[str, str]
    """Action -> why orders does not allow it now, in its words."""


def add_routes(router: APIRouter, pages: Pages) -> None:
    SignedIn = Annotated[Person, Depends(pages.person)]

    @router.get("/processes")
    async def processes(asked: Annotated[Asked, Query()], person: SignedIn) -> Response:
        return await _page(pages, person, asked)

    @router.post("/processes/{order_id}/{action}")
    async def act(
        request: Request, order_id: str, action: str, asked: Annotated[Asked, Query()], person: SignedIn
    ) -> Response:
        row = await row_of(pages, person, order_id)
        outcome = await requested(pages, row, person, action, await form(request))
        if isinstance(outcome, Failed):
            return await _page(pages, person, asked.model_copy(update={"open": row["order_id"]}), failed=outcome)
        return RedirectResponse(asked.address(done=action), 303)


async def _page(pages: Pages, person: Person, asked: Asked, *, failed: Failed | None = None) -> Response:
    known = await seen_stores(pages, person)
    store = store_of(asked.listed, known)
    here = person.at(store or "")
    read = pages.app.read
    found = await listing.find(read, store or "", asked.listed, personal=False)
    groups = await listing.count_waits(read, store or "", get_args(InProcess))
    answer = await _answer(pages, person, store or "", found.rows)
    current_to, stale = await freshness.current_to(pages.app)
    return pages.page(
        "processes.html", failed.status if failed else 200, person=person, asked=asked, store=store, stores=known,
        groups=groups, found=found, rows=rows_of(found.rows, answer), current_to=current_to, stale=stale, failed=failed,
        silent=answer.why if answer.state in ("silent", "unset") else None,
        done=ACTIONS[asked.done].title if asked.done in ACTIONS else "",
        actions={name: ACTIONS[name] for name in ENDED_BY if here.may(ACTIONS[name].scope)},
        NO_STEP=NO_STEP,
        nonce=lambda name: failed.nonce if failed and failed.action == name else uuid4(),
    )  # fmt: skip


async def _answer(pages: Pages, person: Person, store: str, rows: Sequence[RowMapping]) -> Answer:
    """Returns what orders has of these rows now."""
    if not rows:
        return Answer("answered", {"items": []})
    ids = urlencode([("order_id", str(row["order_id"])) for row in rows])
    return await pages.owners.read("orders", f"/v1/processes?{ids}", store, person)


def rows_of(rows: Sequence[RowMapping], answer: Answer) -> list[Row]:
    items = answer.body["items"] if answer.state == "answered" else ()
    by_id: Mapping[str, Mapping[str, Any]] = {one["order_id"]: one for one in items}
    return [_row(row, by_id.get(str(row["order_id"]), {})) for row in rows]


def _row(row: RowMapping, order: Mapping[str, Any]) -> Row:
    legal = order.get("legal_actions", ())
    return Row(
        row, waiting_of(row, order), int(order.get("version") or 0), tuple(order.get("processes", ())),
        frozenset(one["action"] for one in legal if one["allowed"]),
        {one["action"]: one["detail"] for one in legal if not one["allowed"]},
    )  # fmt: skip
