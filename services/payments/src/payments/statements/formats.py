"""The formats of reports, by name, and the one way to read them."""

from __future__ import annotations

from codecs import BOM_UTF8
from dataclasses import replace
from typing import Final, Literal, get_args

from payments.domain.statements import Statement, StatementUnreadable, balanced
from payments.statements import camt053, dintero, mapped, stripe
from payments.statements.mapped import Mapping

Format = Literal["stripe", "stripe_csv", "dintero", "dintero_csv", "camt053", "csv"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)
"""`csv`: any columns, by a mapping that comes with the file."""


def read(
    form: Format,
    body: bytes,
    mapping: Mapping | None = None,
    statement_id: str = "",
    account: str = "",
    payout_minor: int | None = None,
    encoding: str | None = None,
) -> list[Statement]:
    """Returns the statements of a report; the rows of each sum to what it states.

    statement_id, account, payout_minor: for a report that does not state them. encoding: of a body that was decoded before;
    what it declares is ignored. Raises StatementUnreadable, StatementUnbalanced.
    """
    if form in ("stripe", "dintero"):
        body = body.removeprefix(BOM_UTF8)  # a JSON text has none, files that were saved have
    match form:
        case "stripe":
            found = stripe.read(body)
        case "dintero":
            found = dintero.read(body)
        case "camt053":
            found = camt053.read(body, encoding)
        case "stripe_csv":
            found = mapped.read(body, mapped.shipped("stripe"), statement_id, account)
        case "dintero_csv":
            found = mapped.read(body, mapped.shipped("dintero"), statement_id, account)
        case "csv":
            if mapping is None:
                raise StatementUnreadable("`csv` needs a mapping, which states what each column means")
            found = mapped.read(body, mapping, statement_id, account)
    if not found:
        raise StatementUnreadable("the report has no rows")
    return [balanced(_stated(_named(one), payout_minor if len(found) == 1 else None)) for one in found]


def _named(statement: Statement) -> Statement:
    for name in (statement.statement_id, statement.account):
        if len(name) > 200 or "\0" in name:
            raise StatementUnreadable("the id of a statement, and its account, have at most 200 characters without NUL")
    return statement


def _stated(statement: Statement, payout_minor: int | None) -> Statement:
    if statement.stated_minor is not None:
        return statement
    if payout_minor is None:
        raise StatementUnreadable(
            f"statement {statement.statement_id} states no payout and no balances: give the amount that has arrived"
        )
    return replace(statement, payout_minor=payout_minor)
