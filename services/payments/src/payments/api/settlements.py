"""Settlement reports and bank statements: import, list, and the queue of rows that a person explains."""

import asyncio
import hashlib
from datetime import date
from typing import Annotated, Any, Literal
from uuid import UUID

from asyncpg import Connection
from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, ConfigDict, Field, model_validator
from sqlalchemy import Select, select, tuple_

from chassis.declare.app import App, Principal
from chassis.http.paging import Cursor, Cursors, Limit, Page
from chassis.http.problems import Problem, answers
from contracts.base import Flag, Id, Minor, Text, Timestamp
from contracts.payments import GatewayName
from payments import explaining, importing, settlements
from payments.domain.settling import Resolution
from payments.domain.statements import StatementUnbalanced, StatementUnreadable
from payments.explaining import Explained, Unresolvable
from payments.settlements import Source
from payments.statements import formats
from payments.statements.formats import Format
from payments.statements.mapped import Mapping
from payments.tables import settlement_rows
from payments.tables import settlements as table

LIST = Cursors("settlements", Timestamp, UUID)
ROWS = Cursors("settlement rows", UUID, int)
Place = Annotated[int, Path(ge=1, le=2**31 - 1)]
SHOWN = [column for column in table.c if column.name not in ("store_id", "content_sha256")]
ROW_SHOWN = [column for column in settlement_rows.c if column.name not in ("store_id", "settles")]
ROWS_SHOWN = select(*ROW_SHOWN, table.c.currency).join(table, table.c.key == settlement_rows.c.settlement_id)
RowState = Literal[
    "matched", "booked", "payout", "overpaid", "unmatched", "amount_differs", "currency_differs", "reference_ambiguous", "repeated", "unreadable",
]  # fmt: skip


class Report(BaseModel):
    """A report as text. One that is larger than a request is imported by `python -m payments import-statement`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    format: Format
    gateway: GatewayName
    """The gateway of the operations that the report is about; `manual` for the statement of a bank, `marketplace` for the payout of one."""
    content: Annotated[str, Field(min_length=1)]
    mapping: Mapping | None = None
    """For the format `csv`."""
    statement_id: Id | None = None
    """For a report that does not name itself."""
    account: Id | None = None
    """For a report that does not name its account."""
    payout_minor: Minor | None = None
    """What has arrived, for a report that states neither its payout nor balances."""


class ImportedShown(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)

    settlement_id: UUID
    statement_id: str
    code: Literal["", "statement_repeated", "statement_differs"]
    """`statement_repeated`: it was imported before; nothing was booked. `statement_differs`: the same, and its content differs."""
    states: dict[str, int]
    """Number of rows by state."""


class Imports(BaseModel):
    statements: list[ImportedShown]


class SettlementShown(BaseModel):
    """Amounts are minor units of `currency`."""

    settlement_id: UUID
    gateway: str
    account: str
    statement_id: str
    format: str
    currency: str
    begins_on: date | None
    ends_on: date | None
    opening_minor: int | None
    closing_minor: int | None
    stated_minor: int
    actor: str
    imported_at: Timestamp


class SettlementWhole(SettlementShown):
    states: dict[str, int]


class RowShown(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)

    settlement_id: UUID
    place: int
    number: int
    kind: str
    row_id: str
    names: list[str]
    currency: str
    """That of the statement."""
    gross_minor: int
    fee_minor: int
    net_minor: int
    booked_on: date | None
    exchanged_currency: str | None
    exchanged_minor: int | None
    exchange_rate: str | None
    state: RowState
    operation_id: UUID | None
    order_id: UUID | None
    payout: str | None
    allotted_minor: int
    open: bool
    text: str
    problem: str
    resolution: Resolution | None
    reason: str
    resolved_by: str | None
    resolved_at: Timestamp | None


class Resolved(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    resolution: Resolution
    """`match`: the row is the operation, or pays it: an authorization, a refund or a void that waits for a transfer. `fee`: it is a cost. `dismiss`: the money stays in suspense."""
    operation_id: UUID | None = None
    """The operation or the dispute, for `match`."""
    difference_is_fee: Flag = False
    """For `match`: what the row has more or less than the operation is a cost. Otherwise a transfer pays a part, or what is left of it stays
    for the next explanation."""
    reason: Text = ""

    @model_validator(mode="after")
    def names_the_operation_of_a_match(self) -> "Resolved":
        if (self.resolution == "match") != (self.operation_id is not None):
            raise ValueError("`match` names an operation, the others name none")
        return self


def add_routes(router: APIRouter, app: App) -> None:
    Reconciler = Annotated[Principal, Depends(app.principal("payments.reconcile"))]

    @router.post(
        "/settlements",
        response_model=Imports,
        openapi_extra=answers("gateway_unknown", "statement_unreadable", "statement_unbalanced"),
    )
    async def import_report(report: Report, who: Reconciler) -> Any:
        """Imports the statements of a report, all or none. A statement that was imported before books nothing."""
        if (why := await importing.why_no_report(app, who.store_id, report.gateway)) is not None:
            raise Problem(404, "gateway_unknown", "The gateway is not set up", why)
        content = report.content.encode()
        mapping = report.mapping.of(report.gateway).model_copy(update={"encoding": "utf-8"}) if report.mapping else None
        try:
            found = await asyncio.to_thread(
                formats.read, report.format, content, mapping, report.statement_id or "", report.account or "", report.payout_minor,
                "utf-8",
            )  # fmt: skip
        except StatementUnreadable as error:
            raise Problem(422, "statement_unreadable", "The report cannot be read", str(error)) from None
        except StatementUnbalanced as error:
            raise unbalanced(error) from None
        source = Source(who.store_id, report.gateway, who.actor, report.format, hashlib.sha256(content).hexdigest())

        async def write(tx: Connection) -> list[dict[str, Any]]:
            return [(await settlements.import_statement(tx, source, one))._asdict() for one in found]

        return {"statements": await app.write(write)}

    @router.get("/settlements", response_model=Page[SettlementShown])
    async def list_settlements(who: Reconciler, limit: Limit = 50, cursor: Cursor = None) -> Any:
        """The imported statements, newest first."""
        found = select(*SHOWN).where(table.c.store_id == who.store_id)
        if (last := LIST.after(cursor)) is not None:
            found = found.where(tuple_(table.c.imported_at, table.c.key) < last)
        rows = await app.read(found.order_by(table.c.imported_at.desc(), table.c.key.desc()).limit(limit + 1))
        return LIST.page(
            [_settlement(row) for row in rows], limit, key=lambda row: (row["imported_at"], row["settlement_id"])
        )

    @router.get(
        "/settlements/{settlement_id}", response_model=SettlementWhole, openapi_extra=answers("settlement_unknown")
    )
    async def one_settlement(settlement_id: UUID, who: Reconciler) -> Any:
        """A statement, and how many of its rows are in which state."""
        rows = await app.read(select(*SHOWN).where(table.c.key == settlement_id, table.c.store_id == who.store_id))
        if not rows:
            raise Problem(
                404, "settlement_unknown", "No such settlement", f"This store has no settlement {settlement_id}."
            )
        counted = await app.fetch(settlements.STATES, settlement_id)
        return _settlement(rows[0]) | {"states": {row["state"]: row["count"] for row in counted}}

    @router.get("/settlements/{settlement_id}/rows", response_model=Page[RowShown])
    async def rows_of_settlement(
        settlement_id: UUID, who: Reconciler, state: RowState | None = None, limit: Limit = 50, cursor: Cursor = None
    ) -> Any:
        """The rows of a statement, as the report has them."""
        found = ROWS_SHOWN.where(settlement_rows.c.settlement_id == settlement_id)
        if state is not None:
            found = found.where(settlement_rows.c.state == state)
        return await page_of_rows(found, who, limit, cursor)

    @router.get("/settlement-rows", response_model=Page[RowShown])
    async def open_rows(who: Reconciler, limit: Limit = 50, cursor: Cursor = None) -> Any:
        """The queue: rows of all statements that a person has to explain. Their money is in suspense."""
        return await page_of_rows(ROWS_SHOWN.where(settlement_rows.c.open), who, limit, cursor)

    async def page_of_rows(found: Select[Any], who: Principal, limit: int, cursor: str | None) -> Any:
        place = (settlement_rows.c.settlement_id, settlement_rows.c.place)
        found = found.where(settlement_rows.c.store_id == who.store_id)
        if (last := ROWS.after(cursor)) is not None:
            found = found.where(tuple_(*place) > last)
        rows = [dict(row) for row in await app.read(found.order_by(*place).limit(limit + 1))]
        return ROWS.page(rows, limit, key=lambda row: (row["settlement_id"], row["place"]))

    @router.post(
        "/settlements/{settlement_id}/rows/{place}/resolve",
        response_model=RowShown,
        openapi_extra=answers(
            "row_unknown", "row_resolved", "operation_unknown", "operation_settled", "amount_differs"
        ),
    )
    async def resolve_row(settlement_id: UUID, place: Place, stated: Resolved, who: Reconciler) -> Any:
        """Books what a person states about a row. The same statement once more changes nothing."""
        explained = Explained(
            stated.resolution, stated.operation_id, stated.reason, stated.difference_is_fee, who.actor
        )

        async def write(tx: Connection) -> None:
            await explaining.resolve(tx, who.store_id, settlement_id, place, explained)

        try:
            await app.write(write)
        except Unresolvable as error:
            raise unresolvable(error) from None
        found = ROWS_SHOWN.where(
            settlement_rows.c.settlement_id == settlement_id,
            settlement_rows.c.place == place,
            settlement_rows.c.store_id == who.store_id,
        )
        return dict((await app.read(found))[0])


def _settlement(row: Any) -> dict[str, Any]:
    return {"settlement_id" if name == "key" else name: value for name, value in row.items()}


def unbalanced(error: StatementUnbalanced) -> Problem:
    one = error.statement
    return Problem(
        422, "statement_unbalanced", "The rows do not sum to the payout", f"statement {one.statement_id}: {error}",
        stated_minor=one.stated_minor, summed_minor=one.summed_minor,
        unreadable=[{"number": row.number, "problem": row.problem, "text": row.text} for row in one.unreadable[:100]],
    )  # fmt: skip


def unresolvable(error: Unresolvable) -> Problem:
    match error.code:
        case "row_unknown":
            return Problem(404, "row_unknown", "No such row", error.detail)
        case "row_resolved":
            return Problem(409, "row_resolved", "The row is explained already", error.detail)
        case "operation_unknown":
            return Problem(409, "operation_unknown", "No such operation", error.detail)
        case "operation_settled":
            return Problem(409, "operation_settled", "Another row settles the operation", error.detail)
        case "amount_differs":
            return Problem(409, "amount_differs", "The amounts differ", error.detail)
