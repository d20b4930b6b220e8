"""How an order is paid: which payment method of its market it has, and the line of the method's surcharge.

An order's copy of the market's terms has its method in the place of the list. The surcharge is added to orders that are placed
by a request, unless they state its line: the total of a snapshot is what the buyer has paid, and stays.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Final, NamedTuple

from contracts.base import SHIPPING_LINE
from contracts.money import decimal_string, round_half_up, split, vat_in_gross
from contracts.orders import SURCHARGE_LINE, MarketTerms, PaymentMethod
from contracts.snapshot import Line, OrderContent, Quantities, Tax, fitting, open_rate
from orders.domain.content.amounts import grand_minor, itemized, payable, taxes_of_a_charge

OF_A_METHOD: Final = ("payment_methods", "payment_method", "gateway", "account", "capture", "capture_up_to_minor")
"""Terms that the payment method of an order decides."""


class Chosen(NamedTuple):
    content: OrderContent
    """With the surcharge, if it was added."""
    terms: MarketTerms
    """With the method in the place of `payment_methods`; those still list them if none fits."""


class Offer(NamedTuple):
    """A payment method for an order."""

    method: PaymentMethod
    surcharge_minor: int
    """What it adds to the order, tax included."""
    why_not: str | None
    """Why the order cannot be paid by it; null: it can."""


def chosen(content: OrderContent, terms: MarketTerms, placed_here: bool) -> Chosen:
    """The method that the order names, or else the first that fits. placed_here: the surcharge is added."""
    if not terms.payment_methods or not content.priced or not any(line.pieces for line in content.lines):
        return Chosen(content, terms)
    for method in _named(content, terms):
        try:
            after = _paid_by(content, method) if placed_here else content
        except ValueError:  # see `why_not`
            continue
        if _why_unfit(method, after.currency, country(after), grand_minor(after) or 0) is None:
            return Chosen(after, with_method(terms, method))
    return Chosen(content, terms)


def why_not(content: OrderContent, terms: MarketTerms) -> tuple[str, str] | None:
    """Why no method of the terms is the order's: code and detail of an exception; null: the order has one.

    terms: as `chosen` has left them.
    """
    named = content.payment_method
    known = {terms.payment_method} if not terms.payment_methods else {one.code for one in terms.payment_methods}
    if named is not None and named not in known:
        return "payment_method_unknown", f"the market {terms.code} has no payment method {named}"
    if not terms.payment_methods:
        return None
    total = grand_minor(content) or 0
    unfit = [
        f"{one.code}: {_why_unfit(one, content.currency, country(content), total) or _no_room(one)}"
        for one in _named(content, terms)
    ]
    return "payment_method_refused", "; ".join(unfit)[:500]


def _no_room(method: PaymentMethod) -> str:
    return "with its surcharge the order would exceed a limit: of the method, or of lines, pieces, bytes or minor units"


def _named(content: OrderContent, terms: MarketTerms) -> list[PaymentMethod]:
    named = content.payment_method
    return [one for one in terms.payment_methods if named in (None, one.code)]


def with_method(terms: MarketTerms, method: PaymentMethod) -> MarketTerms:
    """The terms of an order that is paid by this method."""
    change: dict[str, object] = {
        "payment_methods": (), "payment_method": method.code, "gateway": method.gateway, "account": method.account,
    }  # fmt: skip
    stated = {name: told for name in ("capture", "capture_up_to_minor") if (told := getattr(method, name)) is not None}
    return terms.model_copy(update=change | stated)


def kept(before: MarketTerms, now: MarketTerms) -> MarketTerms:
    """The present terms of an order that has started: its payment method stays."""
    if before.payment_method is None and not now.payment_methods:
        return now
    return now.model_copy(update={name: getattr(before, name) for name in OF_A_METHOD})


def offers(terms: MarketTerms, currency: str, country: str | None, amount_minor: int) -> list[Offer]:
    """The methods of a market for an order of this amount, the surcharge not included."""
    methods = terms.payment_methods or (_only(terms),)
    found = []
    for method in methods:
        surcharge = surcharge_minor(method, currency, amount_minor)
        found.append(Offer(method, surcharge, _why_unfit(method, currency, country, amount_minor + surcharge)))
    return found


def _only(terms: MarketTerms) -> PaymentMethod:
    return PaymentMethod(
        code=terms.payment_method or "default", gateway=terms.gateway, account=terms.account, capture=terms.capture,
        capture_up_to_minor=terms.capture_up_to_minor,
    )  # fmt: skip


def country(content: OrderContent) -> str | None:
    """Where the buyer is billed, else where the order goes."""
    of = [address.country for address in (content.bill_to, content.ship_to) if address is not None and address.country]
    return of[0] if of else None


def _why_unfit(method: PaymentMethod, currency: str, country: str | None, total_minor: int) -> str | None:
    """total_minor: with the surcharge."""
    limits = {one.currency: one.max_minor for one in method.currencies}
    if limits and currency not in limits:
        return f"it takes {', '.join(limits)}, not {currency}"
    if method.countries and country not in method.countries:
        return f"it takes orders to {', '.join(method.countries)}, not to {country or 'an unknown country'}"
    most = limits.get(currency)
    if most is not None and total_minor > most:
        amounts = (decimal_string(minor, currency) for minor in (most, total_minor))
        return "it takes at most {} {currency}, the order costs {}".format(*amounts, currency=currency)
    return None


# -- the surcharge ----------------------------------------------------------------------------------------------------


def surcharge_minor(method: PaymentMethod, currency: str, amount_minor: int) -> int:
    """What an order of this amount costs more, tax included, rounded to the nearest minor unit. A free order costs nothing."""
    if not amount_minor:
        return 0
    fixed = next((one.surcharge_minor for one in method.currencies if one.currency == currency), None) or 0
    return fixed + round_half_up(Fraction(amount_minor) * Fraction(method.surcharge_percent or 0) / 100)


def _paid_by(content: OrderContent, method: PaymentMethod) -> OrderContent:
    """The order with the method's code and surcharge. Raises ValueError if it exceeds a limit of orders."""
    content = content.model_copy(update={"payment_method": method.code})
    before = grand_minor(content) or 0
    gross = surcharge_minor(method, content.currency, before)
    if not gross or any(line.external_line_id == SURCHARGE_LINE for line in content.lines):
        return content
    line = _line(content, method, gross)
    after = _with_line(content, line)
    if _costs(after) != [*_costs(content), (SURCHARGE_LINE, gross)]:  # totals that are shared by lines would reach it
        after = _with_line(itemized(content), line)
    return fitting(after)


def _costs(content: OrderContent) -> list[tuple[str, int]]:
    """By line; the shipping charge first."""
    costs = [(row.line_id, row.amount_minor) for row in payable(content)]
    return sorted(costs, key=lambda cost: cost[0] != SHIPPING_LINE)


def _line(content: OrderContent, method: PaymentMethod, gross: int) -> Line:
    """Taxes are stated as amounts where the order states them in total: then the amounts add up as before."""
    taxes, net = taxes_of_a_charge(content), content.price_basis == "net"
    vat = 0
    if net or content.totals.tax_minor is not None:
        vat = vat_in_gross(gross, open_rate(taxes))
        weights = [round(1_000_000 * Fraction(tax.rate or 0)) for tax in taxes]
        shares = split(vat, weights) if vat else [0] * len(taxes)
        taxes = tuple(Tax(rate=tax.rate, amount_minor=share) for tax, share in zip(taxes, shares, strict=True))
    return Line(
        external_line_id=SURCHARGE_LINE, kind="fee", title=method.title or method.code, quantity=Quantities(ordered=1),
        line_total_minor=gross - (vat if net else 0), requires_shipping=False, tax=taxes,
    )  # fmt: skip


def _with_line(content: OrderContent, line: Line) -> OrderContent:
    """The order with one more line, in all of its totals."""
    totals, net = content.totals, content.price_basis == "net"
    assert line.line_total_minor is not None
    tax = sum(one.amount_minor or 0 for one in line.tax)
    gross = line.line_total_minor + (tax if net else 0)
    more = {"items_minor": line.line_total_minor, "tax_minor": tax, "grand_minor": gross, "buyer_paid_minor": gross}
    change: dict[str, Any] = {
        name: before + minor for name, minor in more.items() if (before := getattr(totals, name)) is not None
    }
    totals = totals.model_copy(update=change)
    return content.model_copy(update={"lines": (*content.lines, line), "totals": totals})


def is_placed_as(told: OrderContent, content: OrderContent) -> bool:
    """Whether `content` is what placing `told` has made of it: itself, or with a method and its surcharge."""
    if told == content:
        return True
    named = content.payment_method if told.payment_method is None else told.payment_method
    try:
        placed = told.model_copy(update={"payment_method": named})
        last = content.lines[-1] if content.lines else None
        ours = last is not None and last.external_line_id == SURCHARGE_LINE
        if last is None or not ours or any(line.external_line_id == SURCHARGE_LINE for line in told.lines):
            return placed == content
        return content in (_with_line(placed, last), _with_line(itemized(placed), last))
    except ValueError:  # with this line it would exceed a limit
        return False
