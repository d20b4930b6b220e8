"""SQL of invoicing: the series of a batch, the documents of a batch, the sellers, the invariants.

One statement locks the sellers of a batch and one reads their series, however large the batch is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from asyncpg import Connection, Record
from pydantic import ConfigDict

from chassis.declare.service import Change
from chassis.declare.sql import Piece, Rows, columns
from contracts.base import Code, Frozen, to_json
from contracts.invoicing import Credited, Issued
from contracts.snapshot import Address
from invoicing.domain.billing import Billings, DocumentKey
from invoicing.domain.sellers import SellerTerms
from invoicing.domain.series import Last, Numbering, SeriesKey

# The seller's row is the lock of all its series: which series a document belongs to follows from the seller's format and
# from the day, and both are only certain once no other transaction can issue.
LOCK_SELLERS: Final = """
select s.store_id, s.code, s.name, s.address::text as address, s.vat_number, s.time_zone, s.invoice_prefix, s.credit_prefix,
    s.number_format, s.number_reset
from sellers s join unnest($1::text[], $2::text[]) as wanted (store_id, code) using (store_id, code)
order by s.store_id, s.code for update of s"""

# A statement of its own after the lock: its clock is read, and the numbers are seen, when no other transaction can issue.
READ_SERIES: Final = """
select clock_timestamp() as locked_at, wanted.store_id, wanted.seller, s.kind, s.series, s.last_number, s.last_issued_at,
    s.last_issued_on
from unnest($1::text[], $2::text[]) as wanted (store_id, seller)
    left join series s on s.store_id = wanted.store_id and s.seller = wanted.seller"""

SERIES: Final = Piece(
    """
series_written as (
insert into series (store_id, seller, kind, series, last_number, last_issued_at, last_issued_on)
select * from unnest({0}::text[], {1}::text[], {2}::text[], {3}::text[], {4}::bigint[], {5}::timestamptz[], {6}::date[])
on conflict (store_id, seller, kind, series) do update set last_number = excluded.last_number,
    last_issued_at = excluded.last_issued_at, last_issued_on = excluded.last_issued_on)""",
    7,
)

DOCUMENTS: Final = Piece(
    """
documents_written as (
insert into documents (document_id, order_id, store_id, kind, operation_id, seller, series, sequence, number, issued_at,
    issued_on, currency, net_minor, vat_minor, total_minor, capture_id, invoice_id, body)
select document_id, order_id, store_id, kind, operation_id, seller, series, sequence, number, issued_at,
    issued_on, currency, net_minor, vat_minor, total_minor, capture_id, invoice_id, body::jsonb
from unnest({0}::uuid[], {1}::uuid[], {2}::text[], {3}::text[], {4}::uuid[], {5}::text[], {6}::text[], {7}::bigint[],
    {8}::text[], {9}::timestamptz[], {10}::date[], {11}::text[], {12}::bigint[], {13}::bigint[], {14}::bigint[], {15}::uuid[],
    {16}::uuid[], {17}::text[]) as d (document_id, order_id, store_id, kind, operation_id, seller, series, sequence, number, issued_at,
    issued_on, currency, net_minor, vat_minor, total_minor, capture_id, invoice_id, body))""",
    18,
)


async def load_series(tx: Connection, keys: Sequence[SeriesKey]) -> Mapping[SeriesKey, Numbering]:
    """Lock the sellers, then read their series. An unknown seller locks nothing and issues nothing."""
    pairs = columns(sorted({(key.store_id, key.seller) for key in keys}), 2)
    sellers = {(row["store_id"], row["code"]): _seller(row) for row in await tx.fetch(LOCK_SELLERS, *pairs)}
    read = await tx.fetch(READ_SERIES, *pairs)
    last: dict[SeriesKey, dict[str, Last]] = {key: {} for key in keys}
    for row in read:
        key = SeriesKey(row["store_id"], row["seller"], row["kind"])
        if key in last:
            last[key][row["series"]] = Last(row["last_number"], row["last_issued_at"], row["last_issued_on"])
    locked_at = max(row["locked_at"] for row in read)
    return {key: Numbering(sellers.get((key.store_id, key.seller)), last[key], locked_at) for key in keys}


def series_rows(changed: Mapping[SeriesKey, Numbering]) -> Rows:
    """The series that got a number."""
    rows = [(*key, name, *numbering.last[name]) for key, numbering in changed.items() for name in numbering.numbered]
    return Rows(SERIES, columns(rows, SERIES.parameters))


LOAD_DOCUMENTS: Final = (
    "select document_id, kind, body::text as body from documents where document_id = any($1::uuid[])"
)


async def load_documents(tx: Connection, keys: Sequence[DocumentKey]) -> dict[DocumentKey, Issued | Credited]:
    """Documents as they were issued. They never change, so they are not locked."""
    rows = await tx.fetch(LOAD_DOCUMENTS, [key.document_id for key in keys])
    models: dict[str, type[Issued | Credited]] = {"invoice": Issued, "credit": Credited}
    return {DocumentKey(row["document_id"]): models[row["kind"]].model_validate_json(row["body"]) for row in rows}


def document_rows(changes: Sequence[Change[Billings]]) -> list[Rows]:
    """What the batch issued. A document has the id of the operation that issued it; stated again, it answers another one."""
    rows = [
        _row(event)
        for change in changes
        for event in change.events
        if isinstance(event, (Issued, Credited)) and event.operation_id == _id(event)
    ]
    return [Rows(DOCUMENTS, columns(rows, DOCUMENTS.parameters))]


def _id(document: Issued | Credited) -> UUID:
    return document.invoice_id if isinstance(document, Issued) else document.credit_note_id


def _row(document: Issued | Credited) -> tuple[Any, ...]:
    issued = isinstance(document, Issued)
    return (
        _id(document),
        document.order_id,
        document.store_id,
        "invoice" if issued else "credit",
        document.operation_id,
        document.seller.code,
        document.series,
        document.sequence,
        document.number,
        document.issued_at,
        document.issued_on,
        document.currency,
        document.net_minor,
        document.vat_minor,
        document.total_minor,
        document.capture_id if isinstance(document, Issued) else None,
        None if issued else document.invoice_id,
        to_json(document),
    )


# Sellers


class PrefixTaken(ValueError):
    """The seller's other kind of document has used this prefix: its numbers would come a second time."""


LOCK_SELLER: Final = "select version from sellers where store_id = $1 and code = $2 for update"

PUT_SELLER: Final = """
insert into sellers (store_id, code, name, address, vat_number, time_zone, invoice_prefix, credit_prefix, number_format,
    number_reset)
values ($1, $2, $3, $4::text::jsonb, $5, $6, $7, $8, $9, $10)
on conflict (store_id, code) do update set name = excluded.name, address = excluded.address,
    vat_number = excluded.vat_number, time_zone = excluded.time_zone, invoice_prefix = excluded.invoice_prefix,
    credit_prefix = excluded.credit_prefix, number_format = excluded.number_format, number_reset = excluded.number_reset,
    version = sellers.version + ((sellers.name, sellers.address, sellers.vat_number, sellers.time_zone, sellers.invoice_prefix,
        sellers.credit_prefix, sellers.number_format, sellers.number_reset) is distinct from
        (excluded.name, excluded.address, excluded.vat_number, excluded.time_zone, excluded.invoice_prefix,
        excluded.credit_prefix, excluded.number_format, excluded.number_reset))::int
returning version"""

USED_BY_OTHER_KIND: Final = """
select series from series where store_id = $1 and seller = $2
    and ((kind = 'credit' and series ~ $3) or (kind = 'invoice' and series ~ $4)) limit 1"""


async def seller_version(tx: Connection, store_id: str, code: str) -> int | None:
    """Locks a seller and returns its version; None if it does not exist."""
    version: int | None = await tx.fetchval(LOCK_SELLER, store_id, code)
    return version


async def put_seller(tx: Connection, store_id: str, terms: SellerTerms) -> int:
    """Writes a seller whole and returns its version. What is issued from now on carries it; what was issued stays as it is.

    Its row is locked first: a batch that numbers for it has either ended, or will see the seller as written here.
    Raises PrefixTaken if a number could repeat one of the other kind, in any year.
    """
    await seller_version(tx, store_id, terms.code)
    taken = await tx.fetchval(
        USED_BY_OTHER_KIND, store_id, terms.code, terms.series_pattern("invoice"), terms.series_pattern("credit")
    )
    if taken is not None:
        raise PrefixTaken(f"seller {terms.code} has numbered its other kind of document with {taken!r}")
    version: int = await tx.fetchval(
        PUT_SELLER,
        store_id,
        terms.code,
        terms.name,
        terms.address.model_dump_json(exclude_none=True),
        terms.vat_number,
        terms.time_zone,
        terms.invoice_prefix,
        terms.credit_prefix,
        terms.number_format,
        terms.number_reset,
    )
    return version


def _seller(row: Record) -> SellerTerms:
    return SellerTerms(
        code=row["code"],
        name=row["name"],
        address=Address.model_validate_json(row["address"]),
        vat_number=row["vat_number"],
        time_zone=row["time_zone"],
        invoice_prefix=row["invoice_prefix"],
        credit_prefix=row["credit_prefix"],
        number_format=row["number_format"],
        number_reset=row["number_reset"],
    )


class _SellerEntry(SellerTerms):
    model_config = ConfigDict(extra="forbid")

    store: Code


class SellersFile(Frozen):
    """`sellers: [{store, code, name, address: {...}, vat_number, time_zone, invoice_prefix, credit_prefix,
    number_format, number_reset}]`."""

    sellers: tuple[_SellerEntry, ...]


async def apply(tx: Connection, file: Mapping[str, Any]) -> list[str]:
    """Write the sellers of a file; all of them or, on the first that is refused, none."""
    written = []
    for entry in SellersFile.model_validate(file).sellers:
        await put_seller(tx, entry.store, entry)
        missing = entry.missing()
        note = f" (issues nothing yet: lacks {', '.join(missing)})" if missing else ""
        written.append(f"seller {entry.store}/{entry.code}{note}")
    return written
