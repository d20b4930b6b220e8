"""The books of one order, and the form that states a payment which was made elsewhere."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.engine import RowMapping

from console import audit
from console.api import requesting
from console.api.order import order_page, row_of
from console.api.refusals import refusal
from console.api.requesting import Failed
from console.api.serving import Pages, demand, form
from console.domain.natural import natural
from console.domain.payments import RECORD, VIEW, record_of
from console.domain.people import Person

ORIGIN: Final = ("channel", "account", "external_order_id")


def add_routes(router: APIRouter, pages: Pages) -> None:
    SignedIn = Annotated[Person, Depends(pages.person)]

    @router.get("/orders/{order_id}/ledger")
    async def ledger(order_id: str, person: SignedIn) -> Response:
        """Balances of each line, operations, and the first entries."""
        row = await row_of(pages, person, order_id)
        demand(person.at(row["store_id"]), VIEW)
        path = f"/v1/orders/{row['order_id']}/ledger"
        answer = await pages.owners.read("payments", path, row["store_id"], person)
        books = answer.body if answer.state == "answered" else None
        return pages.page(
            "ledger.html", 503 if answer.state in ("silent", "unset") else 200, person=person, row=row, books=books, answer=answer,
            lines=sorted(books["lines"], key=lambda line: natural(line["line_id"])) if books else (),
        )  # fmt: skip

    @router.post("/orders/{order_id}/payments")
    async def record(request: Request, order_id: str, person: SignedIn) -> Response:
        row = await row_of(pages, person, order_id)
        demand(person.at(row["store_id"]), RECORD)
        if row["currency"] is None:
            raise refusal("form_invalid", "the order has no currency yet")
        fields = await form(request)
        try:
            wanted = record_of(row["order_id"], row["currency"], fields, await origin_of(row, person))
        except ValueError as error:
            return await order_page(pages, row, person, failed=requesting.incomplete("record_payment", fields, error))
        subject = audit.of_order(row["order_id"], row["store_id"])
        outcome = await requesting.request(pages, person, subject, "record_payment", wanted, fields)
        if isinstance(outcome, Failed):
            return await order_page(pages, row, person, failed=outcome)
        return RedirectResponse(f"/orders/{row['order_id']}?done=record", 303)

    async def origin_of(row: RowMapping, person: Person) -> dict[str, str] | None:
        """Where the order was sold, as orders states it; null: orders does not answer. Payments may have the order anyway."""
        answer = await pages.owners.read("orders", f"/v1/orders/{row['order_id']}", row["store_id"], person)
        return {name: answer.body[name] for name in ORIGIN} if answer.state == "answered" else None
