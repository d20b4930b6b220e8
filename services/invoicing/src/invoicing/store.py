"""SQL of invoicing: the series of a batch, the documents of a batch, the sellers, the invariants.

Whatever the size of the batch: one statement locks its series, one reads its sellers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from asyncpg import Connection, Record
from pydantic import ConfigDict

from chassis.database import Piece, Rows, columns
from chassis.service import Change
from contracts.base import Code, Frozen
from contracts.invoicing import Credited, Issued
from contracts.snapshot import Address
from invoicing.domain.billing import Billings
from invoicing.domain.sellers import SellerTerms
from invoicing.domain.series import Series, SeriesKey

LOCK_SERIES: Final = """
select s.store_id, s.seller, s.kind, s.last_number, s.last_issued_at, s.last_issued_on
from series s join unnest($1::text[], $2::text[], $3::text[]) as wanted (store_id, seller, kind)
    using (store_id, seller, kind)
order by s.store_id, s.seller, s.kind for update of s"""

BEGIN_SERIES: Final = """
insert into series (store_id, seller, kind)
select wanted.store_id, wanted.seller, wanted.kind
from unnest($1::text[], $2::text[], $3::text[]) as wanted (store_id, seller, kind)
    join sellers on sellers.store_id = wanted.store_id and sellers.code = wanted.seller
order by 1, 2, 3 on conflict do nothing"""

# A statement of its own after the locks: its clock is read, and its sellers are seen, when nobody else can issue any more.
READ_SELLERS: Final = """
select clock_timestamp() as locked_at, wanted.store_id, wanted.seller, s.code, s.name, s.address::text as address,
    s.vat_number, s.time_zone, s.invoice_prefix, s.credit_prefix
from unnest($1::text[], $2::text[]) as wanted (store_id, seller)
    left join sellers s on s.store_id = wanted.store_id and s.code = wanted.seller"""

SERIES: Final = Piece(
    """
series_written as (
insert into series (store_id, seller, kind, last_number, last_issued_at, last_issued_on)
select * from unnest({0}::text[], {1}::text[], {2}::text[], {3}::bigint[], {4}::timestamptz[], {5}::date[])
on conflict (store_id, seller, kind) do update set last_number = excluded.last_number,
    last_issued_at = excluded.last_issued_at, last_issued_on = excluded.last_issued_on)""",
    6,
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


async def load_series(tx: Connection, keys: Sequence[SeriesKey]) -> Mapping[SeriesKey, Series]:
    """Lock and read. The first document of a seller begins its series; an unknown seller has none, and locks nothing."""
    wanted = columns(keys, 3)
    rows = await tx.fetch(LOCK_SERIES, *wanted)
    if len(rows) < len(keys):
        await tx.execute(BEGIN_SERIES, *wanted)
        rows = await tx.fetch(LOCK_SERIES, *wanted)
    last = {SeriesKey(row["store_id"], row["seller"], row["kind"]): row for row in rows}

    pairs = sorted({(key.store_id, key.seller) for key in keys})
    read = await tx.fetch(READ_SELLERS, *columns(pairs, 2))
    sellers = {(row["store_id"], row["seller"]): _seller(row) for row in read}
    locked_at = max(row["locked_at"] for row in read)
    return {
        key: Series(
            seller=sellers[key.store_id, key.seller] if row is not None else None,
            last_number=row["last_number"] if row is not None else 0,
            last_issued_at=row["last_issued_at"] if row is not None else None,
            last_issued_on=row["last_issued_on"] if row is not None else None,
            locked_at=locked_at,
        )
        for key, row in ((key, last.get(key)) for key in keys)
    }


def series_rows(changed: Mapping[SeriesKey, Series]) -> Rows:
    rows = [(*key, s.last_number, s.last_issued_at, s.last_issued_on) for key, s in changed.items() if s.last_number]
    return Rows(SERIES, columns(rows, SERIES.parameters))


def document_rows(changes: Sequence[Change[Billings]]) -> list[Rows]:
    """What the batch issued. A document that was stated again is in the state already, and is not written again."""
    rows = [
        _row(document)
        for change in changes
        for before, after in (
            (change.before.invoices, change.after.invoices),
            (change.before.credits, change.after.credits),
        )
        if len(after) > len(before)
        for key, document in after.items()
        if key not in before
    ]
    return [Rows(DOCUMENTS, columns(rows, DOCUMENTS.parameters))]


def _row(document: Issued | Credited) -> tuple[Any, ...]:
    issued = isinstance(document, Issued)
    return (
        document.invoice_id if isinstance(document, Issued) else document.credit_note_id,
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
        document.model_dump_json(),
    )


# Sellers


class PrefixTaken(ValueError):
    """The seller's other kind of document has used this prefix: its numbers would come a second time."""


PUT_SELLER: Final = """
insert into sellers (store_id, code, name, address, vat_number, time_zone, invoice_prefix, credit_prefix)
values ($1, $2, $3, $4::text::jsonb, $5, $6, $7, $8)
on conflict (store_id, code) do update set name = excluded.name, address = excluded.address,
    vat_number = excluded.vat_number, time_zone = excluded.time_zone, invoice_prefix = excluded.invoice_prefix,
    credit_prefix = excluded.credit_prefix"""

USED_BY_OTHER_KIND: Final = """
select series from documents where store_id = $1 and seller = $2
    and ((kind = 'credit' and series = $3) or (kind = 'invoice' and series = $4)) limit 1"""


async def put_seller(tx: Connection, store_id: str, terms: SellerTerms) -> None:
    """Write a seller whole. What is issued from now on carries it; what was issued stays as it is.

    Its series are locked first: a batch that numbers from them has either ended, or will see this seller.
    """
    await tx.fetch(
        "select from series where store_id = $1 and seller = $2 order by kind for update", store_id, terms.code
    )
    taken = await tx.fetchval(USED_BY_OTHER_KIND, store_id, terms.code, terms.invoice_prefix, terms.credit_prefix)
    if taken is not None:
        raise PrefixTaken(f"seller {terms.code} has numbered its other kind of document with {taken!r}")
    await tx.execute(
        PUT_SELLER,
        store_id,
        terms.code,
        terms.name,
        terms.address.model_dump_json(exclude_none=True),
        terms.vat_number,
        terms.time_zone,
        terms.invoice_prefix,
        terms.credit_prefix,
    )


def _seller(row: Record) -> SellerTerms | None:
    if row["code"] is None:
        return None
    return SellerTerms(
        code=row["code"],
        name=row["name"],
        address=Address.model_validate_json(row["address"]),
        vat_number=row["vat_number"],
        time_zone=row["time_zone"],
        invoice_prefix=row["invoice_prefix"],
        credit_prefix=row["credit_prefix"],
    )


class _SellerEntry(SellerTerms):
    model_config = ConfigDict(extra="forbid")

    store: Code


class SellersFile(Frozen):
    """`sellers: [{store, code, name, address: {...}, vat_number, time_zone, invoice_prefix, credit_prefix}]`."""

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
