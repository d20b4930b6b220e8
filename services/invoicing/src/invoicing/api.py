"""HTTP of invoicing: reads invoices and credit notes, reads and writes sellers."""

from typing import Annotated, Any, Final, Literal
from uuid import UUID

from asyncpg import Connection
from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy import Select, func, select, tuple_
from sqlalchemy.dialects.postgresql import aggregate_order_by

from chassis.declare.app import About, App, Principal, Problems
from chassis.http.bodies import as_json
from chassis.http.commands import CONDITIONAL, etag, precondition
from chassis.http.paging import Cursor, Cursors, Limit, Page
from chassis.http.problems import Problem, answers, respond
from chassis.http.strict import Strict
from contracts.base import Code, Timestamp
from invoicing import store
from invoicing.domain.sellers import SellerDetails, SellerTerms
from invoicing.responses import CreditNote, DocumentSummary, Invoice, SellerShown, SellerWritten
from invoicing.tables import documents, sellers

PROBLEMS: Final[Problems] = {
    "document_unknown": About(404, "No such document", "This store has no invoice or credit note of this id.",
        "`GET /v1/invoices?order_id=` lists those of an order."),
    "seller_unknown": About(404, "No such seller", "This store has no seller of this code.",
        "`GET /v1/sellers` lists them; `PUT /v1/sellers/{code}` makes one."),
    "prefix_taken": About(409, "Prefix of the other kind of document",
        "The seller has numbered its other kind of document with this prefix: numbers would repeat.", "Choose another prefix."),
}  # fmt: skip
DOCUMENTS: Final = Cursors("invoices", Timestamp, UUID)
SELLERS: Final = Cursors("sellers", Code)
LISTED: Final = [
    *(column for column in documents.c if column.name not in ("body", "store_id", "operation_id")),
    documents.c.body["version"].as_integer().label("version"),
]
SELLER: Final = [column for column in sellers.c if column.name != "store_id"]


SellerBody = Annotated[SellerDetails, Strict()]
"""A seller, whole: a field that is missing gets its default, an unknown one is refused."""


def routes(app: App) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["invoicing"])
    Viewer = Annotated[Principal, Depends(app.principal("invoices.view"))]
    Editor = Annotated[Principal, Depends(app.principal("invoices.edit"))]

    @router.get("/invoices", response_model=Page[DocumentSummary])
    async def list_documents(
        who: Viewer,
        order_id: UUID | None = None,
        kind: Literal["invoice", "credit"] | None = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Any:
        """Invoices and credit notes, newest first; a credit note names its `invoice_id`."""
        query = _page(select(*LISTED), who.store_id, limit, cursor)
        if order_id is not None:
            query = query.where(documents.c.order_id == order_id)
        if kind is not None:
            query = query.where(documents.c.kind == kind)
        rows = [dict(row) for row in await app.read(query)]
        return DOCUMENTS.page(rows, limit, key=lambda row: (row["issued_at"], row["document_id"]))

    @router.get(
        "/invoices/{document_id}", response_model=Invoice | CreditNote, openapi_extra=answers("document_unknown")
    )
    async def read_document(document_id: UUID, who: Viewer) -> Response:
        """The document exactly as it was issued, and the ids of an invoice's credit notes in `credited_by`."""
        mine = documents.c.store_id == who.store_id
        credits = documents.alias()
        credited_by = (
            select(func.array_agg(aggregate_order_by(credits.c.document_id, credits.c.issued_at, credits.c.sequence)))
            .where(credits.c.invoice_id == documents.c.document_id, credits.c.kind == "credit")
            .scalar_subquery()
            .label("credited_by")
        )
        query = select(documents.c.document_id, documents.c.kind, documents.c.body, credited_by)
        rows = await app.read(query.where(mine, documents.c.document_id == document_id))
        if not rows:
            raise Problem(404, "document_unknown", "No such document", f"This store has no document {document_id}.")
        row = rows[0]
        extra = {"credited_by": row["credited_by"] or []} if row["kind"] == "invoice" else {}
        shown = {"document_id": row["document_id"], "kind": row["kind"], **row["body"], **extra}
        return respond(
            as_json(200, shown)
        )  # not through the model: it would add fields that the document did not have when it was issued

    @router.get("/sellers", response_model=Page[SellerShown])
    async def list_sellers(who: Viewer, limit: Limit = 50, cursor: Cursor = None) -> Any:
        query = select(*SELLER).where(sellers.c.store_id == who.store_id).order_by(sellers.c.code).limit(limit + 1)
        if (last := SELLERS.after(cursor)) is not None:
            query = query.where(sellers.c.code > last[0])
        rows = [dict(row) for row in await app.read(query)]
        return SELLERS.page(rows, limit, key=lambda row: (row["code"],))

    @router.get("/sellers/{code}", response_model=SellerShown, openapi_extra=answers("seller_unknown"))
    async def read_seller(code: Code, who: Viewer, response: Response) -> Any:
        rows = await app.read(select(*SELLER).where(sellers.c.store_id == who.store_id, sellers.c.code == code))
        if not rows:
            raise Problem(404, "seller_unknown", "No such seller", f"This store has no seller {code}.")
        response.headers.update(etag(rows[0]["version"]))
        return dict(rows[0])

    @router.put(
        "/sellers/{code}", response_model=SellerWritten, dependencies=CONDITIONAL, openapi_extra=answers("prefix_taken")
    )
    async def put_seller(request: Request, code: Code, body: SellerBody, who: Editor, response: Response) -> Any:
        """Write a seller whole. `missing` lists the fields that it lacks before it can issue."""
        terms = SellerTerms(code=code, **{name: getattr(body, name) for name in SellerDetails.model_fields})

        async def write(tx: Connection) -> int:
            precondition(request, await store.seller_version(tx, who.store_id, code))
            return await store.put_seller(tx, who.store_id, terms)

        try:
            version = await app.write(write)
        except store.PrefixTaken as taken:
            raise Problem(409, "prefix_taken", "Prefix of the other kind of document", f"{taken}.") from None
        response.headers.update(etag(version))
        return {**terms.model_dump(mode="json"), "version": version, "missing": terms.missing()}

    return router


def _page(query: Select[Any], store_id: str, limit: int, cursor: str | None) -> Select[Any]:
    query = query.where(documents.c.store_id == store_id)
    if (last := DOCUMENTS.after(cursor)) is not None:
        query = query.where(tuple_(documents.c.issued_at, documents.c.document_id) < last)
    return query.order_by(documents.c.issued_at.desc(), documents.c.document_id.desc()).limit(limit + 1)
