"""Pages of settlements: the statements of a store, the import of one, its rows, and the queue of rows that a person explains."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, ConfigDict, Field

from console import parked
from console.api import requesting
from console.api.asking import ask, found
from console.api.filters import linked
from console.api.payments import ROWS, OfStore, check, listed, shared, tabs_of
from console.api.refusals import refusal
from console.api.rendering import query
from console.api.requesting import Failed
from console.api.serving import Pages, form, form_with_files
from console.audit import Subject
from console.domain.payments import FORMATS, RECONCILE, RESOLUTIONS, explanation_of, import_of
from console.domain.people import Person
from console.owners import Answer
from contracts.base import Code

RowState = Literal[
    "matched", "booked", "payout", "overpaid", "unmatched", "amount_differs", "currency_differs", "reference_ambiguous", "repeated", "unreadable",
]  # fmt: skip
Place = Annotated[int, Path(ge=1, le=2**31 - 1)]
DONE: Final[Mapping[str, tuple[str, str]]] = {
    "imported": ("Imported.", "Its rows are booked; those that match nothing wait for an explanation."),
    "statement_repeated": ("It was imported before.", "Nothing was booked."),
    "statement_differs": ("It was imported before, with another content.", "Nothing was booked. Compare both reports."),
    "explained": ("Explained.", "The books follow it."),
}


class SettlementsAsked(OfStore):
    done: str = ""


class RowsAsked(OfStore):
    row: Annotated[str, Field(pattern=r"^([0-9a-f-]{36}/[0-9]{1,10})?$")] = ""
    """The row whose form is shown: settlement and place."""
    order: Annotated[str, Field(max_length=200)] = ""
    """Number or id of the order whose operations the form offers."""
    done: str = ""


class OneAsked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    state: RowState | Literal[""] = ""
    cursor: str | None = None
    done: str = ""


def add_routes(router: APIRouter, pages: Pages) -> None:
    SignedIn = Annotated[Person, Depends(pages.person)]

    @router.get("/payments/settlements")
    async def settlements(asked: Annotated[SettlementsAsked, Query()], person: SignedIn) -> Response:
        return await _list(pages, person, asked)

    @router.post("/payments/{store_id}/settlements")
    async def import_report(request: Request, store_id: Code, person: SignedIn) -> Response:
        """Imports a report: all of its statements, or none."""
        check(person, store_id, RECONCILE)
        raw = await form_with_files(request)
        fields = {name: value.decode("utf-8", "replace") for name, value in raw.items() if name != "report"}
        asked = SettlementsAsked(store=store_id)
        try:
            wanted = import_of(raw)
        except ValueError as error:
            return await _list(pages, person, asked, requesting.incomplete("import", fields, error))
        subject = Subject("settlement", f"{wanted.body['gateway']}/{wanted.body['format']}"[:200], store_id)  # type: ignore[index]
        outcome = await requesting.request(pages, person, subject, "import_statement", wanted, fields)
        if isinstance(outcome, Failed):
            return await _list(pages, person, asked, outcome)
        statements = outcome.body["statements"]
        if len(statements) == 1:
            one = statements[0]
            here = f"/payments/{store_id}/settlements/{one['settlement_id']}"
            return RedirectResponse(f"{here}?done={one['code'] or 'imported'}", 303)
        return RedirectResponse(f"/payments/settlements?{query({'store': store_id, 'done': 'imported'})}", 303)

    @router.get("/payments/{store_id}/settlements/{settlement_id}")
    async def one(
        store_id: Code, settlement_id: UUID, asked: Annotated[OneAsked, Query()], person: SignedIn
    ) -> Response:
        check(person, store_id, RECONCILE)
        own = f"/v1/settlements/{settlement_id}"
        answer = await pages.owners.read("payments", own, store_id, person)
        if answer.state == "nothing":
            raise refusal("settlement_unknown", f"{store_id} has no such statement")
        settlement = found("payments", answer, "settlement_unknown")
        wanted = query({"state": asked.state, "cursor": asked.cursor, "limit": ROWS})
        rows = await ask(pages, "payments", f"{own}/rows?{wanted}", store_id, person, "settlement_unknown")
        return pages.page(
            "settlement.html", person=person, store=store_id, settlement=settlement, rows=rows["items"], next_cursor=rows["next_cursor"],
            asked=asked, link=linked(f"/payments/{store_id}/settlements/{settlement_id}", asked), done=DONE.get(asked.done),
            tabs=await tabs_of(pages, person, store_id), numbers=await _numbers(pages, person, rows["items"]),
        )  # fmt: skip

    @router.get("/payments/rows")
    async def queue(asked: Annotated[RowsAsked, Query()], person: SignedIn) -> Response:
        """The rows of all statements that a person has to explain; their money is in suspense."""
        return await _queue(pages, person, asked)

    @router.post("/payments/{store_id}/settlements/{settlement_id}/rows/{place}")
    async def explain(
        request: Request, store_id: Code, settlement_id: UUID, place: Place, person: SignedIn
    ) -> Response:
        check(person, store_id, RECONCILE)
        fields = await form(request)
        asked = RowsAsked(store=store_id, row=f"{settlement_id}/{place}", order=fields.get("order", "")[:200])
        try:
            wanted = explanation_of(settlement_id, place, fields)
        except ValueError as error:
            return await _queue(pages, person, asked, requesting.incomplete("explain", fields, error))
        subject = Subject("settlement_row", f"{settlement_id}/{place}", store_id)
        outcome = await requesting.request(pages, person, subject, f"explain_{fields['resolution']}", wanted, fields)
        if isinstance(outcome, Failed):
            return await _queue(pages, person, asked, outcome)
        return RedirectResponse(f"/payments/rows?{query({'store': store_id, 'done': 'explained'})}", 303)


async def _list(pages: Pages, person: Person, asked: SettlementsAsked, failed: Failed | None = None) -> Response:
    common = await shared(pages, person, "settlements", asked)
    body = await listed(pages, person, common, f"/v1/settlements?{query({'cursor': asked.cursor, 'limit': ROWS})}")
    return pages.page(
        "settlements.html", failed.status if failed else 200, **common, settlements=body["items"], next_cursor=body["next_cursor"],
        formats=FORMATS, failed=failed, done=DONE.get(asked.done), fields=failed.fields if failed else {},
        nonce=failed.nonce if failed else uuid4(),
    )  # fmt: skip


async def _queue(pages: Pages, person: Person, asked: RowsAsked, failed: Failed | None = None) -> Response:
    common = await shared(pages, person, "rows", asked)
    body = await listed(pages, person, common, f"/v1/settlement-rows?{query({'cursor': asked.cursor, 'limit': ROWS})}")
    opened = next((row for row in body["items"] if _key(row) == asked.row), None)
    operations = await _operations(pages, person, common["store"], asked, opened) if opened is not None else ()
    return pages.page(
        "settlement-rows.html", failed.status if failed else 200, **common, rows=body["items"], next_cursor=body["next_cursor"], key=_key,
        operations=operations, resolutions=RESOLUTIONS, failed=failed, done=DONE.get(asked.done), fields=failed.fields if failed else {},
        nonce=failed.nonce if failed else uuid4(), numbers=await _numbers(pages, person, body["items"]),
    )  # fmt: skip


async def _operations(
    pages: Pages, person: Person, store: str, asked: RowsAsked, row: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Returns the operations that a row may be, of the order that is named, or that the row has: captures and refunds, and what
    waits for a transfer."""
    orders = await parked.orders_named(pages.app, person, asked.order.strip()) if asked.order.strip() else []
    if not orders and row["order_id"]:
        orders = [UUID(row["order_id"])]
    operations: list[dict[str, Any]] = []
    for order_id in orders:
        answer: Answer = await pages.owners.read("payments", f"/v1/payments/{order_id}", store, person)
        if answer.state != "nothing":
            operations += found("payments", answer, "order_unknown")["operations"]
    return [one for one in operations if _is_offered(one)]


def _is_offered(operation: Mapping[str, Any]) -> bool:
    state, kind = operation["state"], operation["kind"]
    waits = state == "pending" and operation["gateway"] == "manual" and kind in ("authorize", "void", "refund")
    return bool(waits or (state == "succeeded" and kind in ("capture", "refund")))


async def _numbers(pages: Pages, person: Person, rows: list[Mapping[str, Any]]) -> Mapping[str, str]:
    return await parked.numbers_of(pages.app, person, {row["order_id"] for row in rows if row["order_id"]})


def _key(row: Mapping[str, Any]) -> str:
    return f"{row['settlement_id']}/{row['place']}"
