"""The VAT of one document: computed once per rate, then spread over the lines, so that every sum is exact.

Rounding per line would collect another amount: 3 x 19.99 @ 17 % is 8.71 on the sum, but 8.70 line by line.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Literal, NamedTuple

from contracts.invoicing import InvoiceLine, InvoiceLineWanted, VatGroup
from contracts.money import split, vat_in_gross, vat_on_net


class Assessed(NamedTuple):
    """Lines sum to the groups, groups to the document; all of them to what was captured."""

    groups: tuple[VatGroup, ...]
    lines: tuple[InvoiceLine, ...]


def assess(wanted: Sequence[InvoiceLineWanted], price_basis: Literal["gross", "net"]) -> Assessed:
    """Groups in the order of their first line, lines in the order given; rates in canonical form.

    gross: a line's gross is what was captured for it; VAT of a group = round half up(G x r / (100 + r)); the group's net is
    spread over its lines.
    net: a line's net is the one told; VAT of a group = round half up(N x r / 100), spread over its lines. This rules only if
    net + VAT of the whole document is what was captured (a line's gross may then differ by a cent from what was captured
    for it alone). A marketplace that rounds per line captured something else: then the captured gross rules, as above.
    """
    by_rate: dict[str, list[int]] = {}
    for place, line in enumerate(wanted):
        by_rate.setdefault(canonical(line.rate), []).append(place)
    vat_of_nets = _vat_of_nets(wanted, by_rate) if price_basis == "net" else None

    groups: list[VatGroup] = []
    lines: dict[int, InvoiceLine] = {}
    for rate, places in by_rate.items():
        if vat_of_nets is not None:
            nets = [wanted[place].net_minor or 0 for place in places]
            vat = vat_of_nets[rate]
            vats = _spread(vat, nets)
        else:
            amounts = [wanted[place].amount_minor for place in places]
            vat = vat_in_gross(sum(amounts), rate)
            nets = _spread(sum(amounts) - vat, amounts)
            vats = [amount - net for amount, net in zip(amounts, nets, strict=True)]
        net = sum(nets)
        groups.append(VatGroup(rate=rate, net_minor=net, vat_minor=vat, gross_minor=net + vat))
        for place, line_net, line_vat in zip(places, nets, vats, strict=True):
            line = wanted[place]
            lines[place] = InvoiceLine(
                line_id=line.line_id,
                sku=line.sku,
                title=line.title,
                quantity=line.quantity,
                rate=rate,
                net_minor=line_net,
                vat_minor=line_vat,
                gross_minor=line_net + line_vat,
            )
    return Assessed(tuple(groups), tuple(lines[place] for place in range(len(wanted))))


@lru_cache(maxsize=256)
def canonical(rate: str) -> str:
    """The one spelling of a rate, so that equal rates are one group: no zero that says nothing.

    >>> canonical("20.00"), canonical("25.5"), canonical("08.10"), canonical("0.0")
    ('20', '25.5', '8.1', '0')
    """
    return f"{Decimal(rate).normalize():f}"


def _vat_of_nets(wanted: Sequence[InvoiceLineWanted], by_rate: dict[str, list[int]]) -> dict[str, int] | None:
    """Rate -> VAT on its nets; null if a net is not told, or if they do not add up to what was captured."""
    nets = [line.net_minor for line in wanted if line.net_minor is not None]
    if len(nets) < len(wanted):
        return None
    vat = {rate: vat_on_net(sum(nets[place] for place in places), rate) for rate, places in by_rate.items()}
    captured = sum(line.amount_minor for line in wanted)
    return vat if sum(nets) + sum(vat.values()) == captured else None


def _spread(total: int, weights: Sequence[int]) -> list[int]:
    """Largest remainder; lines of nothing get nothing."""
    return split(total, weights) if any(weights) else [0] * len(weights)
