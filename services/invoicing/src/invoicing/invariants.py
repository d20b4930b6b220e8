"""The invariants of invoicing's tables. One row per invariant: compared, violated."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from asyncpg import Connection

# fmt: off
INVARIANTS: Final[dict[str, str]] = {
    "numbers of a series are 1..n without a gap, and n is its last number": """
        select count(*), count(*) filter (where
            coalesce(d.first, 1) <> 1 or coalesce(d.last, 0) <> coalesce(d.documents, 0)
            or coalesce(d.last, 0) <> coalesce(s.last_number, -1))
        from series s full join (
            select store_id, seller, kind, series, min(sequence) as first, max(sequence) as last, count(*) as documents
            from documents group by 1, 2, 3, 4
        ) d using (store_id, seller, kind, series)""",
    "a number is its series and its sequence": """
        select count(*), count(*) filter (where number <> series || lpad(sequence::text, greatest(6, length(sequence::text)), '0'))
        from documents""",
    "dates of a series never run backwards": """
        select count(*), count(*) filter (where issued_at < previous_at or issued_on < previous_on)
        from (
            select issued_at, issued_on, lag(issued_at) over w as previous_at, lag(issued_on) over w as previous_on
            from documents window w as (partition by store_id, seller, kind, series order by sequence)
        ) d""",
    "net + VAT = total": """
        select count(*), count(*) filter (where net_minor + vat_minor <> total_minor) from documents""",
    "lines add up to the document, and their taxes to its rates": """
        select count(*), count(*) filter (where
            (lines.net, lines.vat, lines.gross) is distinct from (d.net_minor::numeric, d.vat_minor::numeric, d.total_minor::numeric)
            or lines.parts_differ or groups.unequal or groups.vat is distinct from d.vat_minor::numeric)
        from documents d
        cross join lateral (
            select sum((l->>'net_minor')::bigint) as net, sum((l->>'vat_minor')::bigint) as vat, sum((l->>'gross_minor')::bigint) as gross,
                bool_or(l->'taxes' <> '[]' and (l->>'vat_minor')::bigint is distinct from (
                    select sum((t->>'vat_minor')::bigint) from jsonb_array_elements(l->'taxes') t)) as parts_differ
            from jsonb_array_elements(d.body->'lines') l
        ) lines
        cross join lateral (
            select coalesce(bool_or(g.net is distinct from l.net or g.vat is distinct from l.vat or g.gross is distinct from g.net + g.vat), true)
                as unequal, sum(g.vat) as vat
            from (
                select coalesce(x->>'rate', '') as rate, (x->>'net_minor')::numeric as net, (x->>'vat_minor')::numeric as vat,
                    (x->>'gross_minor')::numeric as gross
                from jsonb_array_elements(d.body->'vat') x
            ) g full join (
                select coalesce(t->>'rate', '') as rate, sum((t->>'net_minor')::bigint) as net, sum((t->>'vat_minor')::bigint) as vat
                from jsonb_array_elements(d.body->'lines') l
                cross join lateral jsonb_array_elements(case l->'taxes' when '[]' then jsonb_build_array(l) else l->'taxes' end) t group by 1
            ) l using (rate)
        ) groups""",
    "credits of an invoice are at most the invoice": """
        select count(*), count(*) filter (where i.document_id is null or c.net > i.net_minor or c.vat > i.vat_minor or c.total > i.total_minor
            or c.issued_on < i.issued_on or c.currencies <> array[i.currency])
        from (
            select invoice_id, sum(net_minor) as net, sum(vat_minor) as vat, sum(total_minor) as total, min(issued_on) as issued_on,
                array_agg(distinct currency) as currencies
            from documents where kind = 'credit' group by 1
        ) c left join documents i on i.document_id = c.invoice_id and i.kind = 'invoice'""",
    "a document's columns agree with its body": """
        select count(*), count(*) filter (where body->>'number' is distinct from number
            or (body->>'total_minor')::bigint is distinct from total_minor or body->>'order_id' is distinct from order_id::text
            or (body->>'sequence')::bigint is distinct from sequence)
        from documents""",
    "an order's state has exactly its invoices, and how much of each is credited": """
        select count(*), count(*) filter (where d.document_id is null or b.invoice_id is null or b.credited <> coalesce(c.total, 0))
        from (
            select i.key::uuid as invoice_id, coalesce((
                select sum((l.value->>'gross_minor')::bigint) from json_each(i.value->'credited') l), 0) as credited
            from billings cross join lateral json_each(doc::json->'invoices') i
        ) b
        full join (select document_id from documents where kind = 'invoice') d on d.document_id = b.invoice_id
        left join (select invoice_id, sum(total_minor) as total from documents where kind = 'credit' group by 1) c
            on c.invoice_id = coalesce(d.document_id, b.invoice_id)""",
}
# fmt: on


async def check(tx: Connection) -> Iterable[tuple[str, int, int]]:
    rows = [(name, await tx.fetchrow(query)) for name, query in INVARIANTS.items()]
    return [(name, row[0], row[1]) for name, row in rows if row is not None]
