"""An edit as a change of what was sold: the changes of its lines, and the content that results. Pure; `edit` carries it out.

Fewer pieces are cancelled pieces of their line, as a marketplace states them: `ordered` never shrinks, and price, discount and
tax follow the pieces that are left. A line whose price changes states the amounts of the pieces that are left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from contracts.base import SHIPPING_LINE
from contracts.limits import MINOR_MAX, ORDER_LINES_MAX, QUANTITY_MAX
from contracts.money import round_half_up, split, vat_on_net
from contracts.orders.edits import EditChanges, LineEdit, NewLine
from contracts.snapshot import Line, OrderContent, Quantities, Tax, Totals
from orders.domain.content.amounts import itemized
from orders.domain.content.snapshots import HERE


class Reason(NamedTuple):
    """Why an edit cannot be made."""

    code: str
    """One of `EDIT_CODES`."""
    detail: str
    lines: tuple[str, ...] = ()
    """The ids of the lines that it is about."""


class Applied(NamedTuple):
    content: OrderContent
    """What is sold after the edit, as far as it can be made."""
    reasons: tuple[Reason, ...]


def applied(content: OrderContent, changes: EditChanges) -> Applied:
    """The content of a priced order after an edit, and why the edit cannot be made."""
    by_id = {line.external_line_id: line for line in content.lines}
    new = [*(one.replace_by for one in changes.lines if one.replace_by is not None), *changes.add]
    if reasons := (*_refused(by_id, changes.lines, new),):
        return Applied(content, reasons)
    fewer = {one.line_id: _pieces(one) for one in changes.lines if _only_fewer(by_id[one.line_id], one)}
    content = _with_fewer(content, fewer)
    priced = [one for one in changes.lines if one.line_id not in fewer and _changes(by_id[one.line_id], one)]
    if priced or new or changes.shipping_minor not in (None, content.totals.shipping_minor or 0):
        content, reasons = _repriced(itemized(content), priced, new, changes.shipping_minor)
    addresses = {name: told for name in ("ship_to", "bill_to") if (told := getattr(changes, name)) is not None}
    return Applied(content.model_copy(update=addresses) if addresses else content, reasons)


def _refused(by_id: Mapping[str, Line], edits: Sequence[LineEdit], new: Sequence[NewLine]) -> Iterator[Reason]:
    if unknown := tuple(one.line_id for one in edits if one.line_id not in by_id):
        yield Reason("line_unknown", "the order has no such line", unknown)
    if gone := tuple(one.line_id for one in edits if one.line_id in by_id and not by_id[one.line_id].pieces):
        yield Reason("line_cancelled", "no piece of the line is left; add a line instead", gone)
    stated = [one.line_id for one in new if one.line_id is not None]
    used = {*by_id, SHIPPING_LINE}
    if taken := tuple(one for one in dict.fromkeys(stated) if one in used or stated.count(one) > 1):
        yield Reason("line_exists", "a new line has an id of its own", taken)
    for code, missing in (
        ("price_missing", [one for one in new if one.unit_price_minor is None]),
        ("sku_missing", [one for one in new if one.requires_shipping and not one.sku]),
    ):
        if missing:
            what = code.partition("_")[0]
            yield Reason(code, f"a new line has no {what}", tuple(one.line_id or one.sku or "" for one in missing))


def _pieces(edit: LineEdit) -> int:
    return 0 if edit.replace_by is not None else edit.quantity or 0


def _changes(line: Line, edit: LineEdit) -> bool:
    return (
        edit.quantity not in (None, line.pieces) or edit.unit_price_minor is not None or edit.discount_minor is not None
    )


def _only_fewer(line: Line, edit: LineEdit) -> bool:
    """Whether pieces are cancelled, or pieces that were cancelled are sold again, at the line's price."""
    if edit.replace_by is not None:
        return True
    if edit.quantity is None or edit.unit_price_minor is not None or edit.discount_minor is not None:
        return False
    again = line.quantity.cancelled if line.cancelled_minor is None else 0
    return edit.quantity != line.pieces and edit.quantity <= line.pieces + again


# -- fewer pieces -----------------------------------------------------------------------------------------------------


def _with_fewer(content: OrderContent, pieces: dict[str, int]) -> OrderContent:
    """pieces: line id -> those that are left. Totals stay: they include cancelled pieces."""
    if not pieces:
        return content
    lines = tuple(
        _fewer(line, sold, pieces[line.external_line_id]) if line.external_line_id in pieces else line
        for line, sold in zip(content.lines, content.discounted(), strict=True)
    )
    return content.model_copy(update={"lines": lines})


def _fewer(line: Line, sold: int, pieces: int) -> Line:
    if not pieces:
        executed = line.cancellation.model_copy(update={"executed": True, "executed_by": HERE})
        return line.model_copy(update={"cancellation": executed, "cancelled_minor": None})
    change: dict[str, object] = {
        "quantity": line.quantity.model_copy(update={"cancelled": line.quantity.ordered - pieces})
    }
    if line.cancelled_minor is not None:
        change["cancelled_minor"] = sold - _share(sold - line.cancelled_minor, pieces, line.pieces)
    return line.model_copy(update=change)


# -- prices, more pieces, new lines -----------------------------------------------------------------------------------


class _Price(NamedTuple):
    """What a line costs: the amounts of a `Line`, before it is clear that they fit into one."""

    line_id: str
    total: int
    discount: int
    ordered: int


def _repriced(
    content: OrderContent, edits: Sequence[LineEdit], new: Sequence[NewLine], shipping: int | None
) -> tuple[OrderContent, tuple[Reason, ...]]:
    """The content, itemized, with these changes; its totals are computed anew."""
    net = content.price_basis == "net"
    by_id = {one.line_id: one for one in edits}
    prices = [_price(line, by_id.get(line.external_line_id)) for line in content.lines]
    ids = {line.external_line_id for line in content.lines} | {told.line_id for told in new if told.line_id is not None}
    for told in new:
        line_id = told.line_id or _free_id(ids)
        ids.add(line_id)
        total = (told.unit_price_minor or 0) * told.quantity
        prices.append(_Price(line_id, total, told.discount_minor, told.quantity))
    charge = (content.totals.shipping_minor or 0) if shipping is None else shipping
    if reasons := (*_too_much(prices, charge, net),):
        return content, reasons
    lines = [
        line if (edit := by_id.get(line.external_line_id)) is None else _line(line, edit, price, net)
        for line, price in zip(content.lines, prices, strict=False)
    ]
    lines += [_new(told, price, net) for told, price in zip(new, prices[len(lines) :], strict=True)]
    totals = content.totals
    if shipping is not None:
        lines, totals = _with_shipping(lines, totals, shipping, net)
    return content.model_copy(update={"lines": tuple(lines), "totals": _totals(lines, totals, net)}), ()


def _price(line: Line, edit: LineEdit | None) -> _Price:
    """An edited line has the amounts of the pieces that are left: cancelled ones are no longer in them."""
    total, discount, ordered = line.line_total_minor or 0, line.discount_minor, line.quantity.ordered
    if edit is None:
        return _Price(line.external_line_id, total, discount, ordered)
    pieces = line.pieces
    if line.quantity.cancelled:
        sold = total - discount
        counts = _share(sold, pieces, ordered) if line.cancelled_minor is None else sold - line.cancelled_minor
        discount = split(discount, [counts, sold - counts])[0] if sold else 0
        total = counts + discount
    wanted = pieces if edit.quantity is None else edit.quantity
    if edit.unit_price_minor is not None:
        total, discount = edit.unit_price_minor * wanted, _share(discount, wanted, pieces)
    else:
        counts, total = _share(total - discount, wanted, pieces), _share(total, wanted, pieces)
        discount = total - counts
    if edit.discount_minor is not None:
        discount = edit.discount_minor
    return _Price(line.external_line_id, total, discount, ordered + max(wanted - pieces, 0))


def _line(line: Line, edit: LineEdit, price: _Price, net: bool) -> Line:
    wanted = line.pieces if edit.quantity is None else edit.quantity
    cancelled = line.quantity.cancelled + max(line.pieces - wanted, 0)
    sold = (line.line_total_minor or 0) - line.discount_minor
    change: dict[str, object] = {
        "line_total_minor": price.total, "discount_minor": price.discount,
        "quantity": line.quantity.model_copy(update={"ordered": price.ordered, "cancelled": cancelled}),
        "cancelled_minor": 0 if cancelled else None,
        "tax": _taxes(line.tax, sold, price.total - price.discount, net),
    }  # fmt: skip
    if edit.unit_price_minor is not None:
        change["unit_price_minor"] = edit.unit_price_minor
    return line.model_copy(update=change)


def _new(told: NewLine, price: _Price, net: bool) -> Line:
    taxes = tuple(
        tax.model_copy(update={"amount_minor": vat_on_net(price.total - price.discount, tax.rate)})
        if net and tax.rate is not None and tax.amount_minor is None
        else tax
        for tax in told.tax
    )
    return Line(
        external_line_id=price.line_id, kind=told.kind, sku=told.sku, title=told.title, unit_price_minor=told.unit_price_minor,
        quantity=Quantities(ordered=told.quantity), line_total_minor=price.total, discount_minor=price.discount, tax=taxes,
        requires_shipping=told.requires_shipping,
    )  # fmt: skip


def _free_id(taken: set[str]) -> str:
    return next(name for n in range(1, len(taken) + 2) if (name := str(n)) not in taken)


def _too_much(prices: Sequence[_Price], shipping: int, net: bool) -> Iterator[Reason]:
    if over := tuple(price.line_id for price in prices if price.discount > price.total):
        yield Reason("discount_exceeds", "the discount is more than its line costs", over)
    money = (sum(price.total for price in prices) + shipping) * (2 if net else 1)  # a tax is less than what it is on
    pieces = sum(price.ordered for price in prices)
    if money > MINOR_MAX or pieces > QUANTITY_MAX or len(prices) > ORDER_LINES_MAX:
        detail = (
            f"an order has at most {MINOR_MAX} minor units, {QUANTITY_MAX} pieces and {ORDER_LINES_MAX} lines;"
            f" this one would have {money}, {pieces} and {len(prices)}"
        )
        yield Reason("total_exceeds", detail)


def _with_shipping(lines: Sequence[Line], totals: Totals, charge: int, net: bool) -> tuple[list[Line], Totals]:
    """The lines and totals with a charge that is wholly due: lines that are cancelled take no part of it off any more."""
    before = totals.shipping_minor or 0
    parts = [line.shipping_minor if line.pieces else 0 for line in lines]
    rest = before - sum(line.shipping_minor for line in lines)
    shares = split(charge, [*parts, rest]) if sum(parts) + rest else [0] * len(parts)
    taxes = totals.shipping_tax
    if not before and net and not taxes:
        taxes = _heaviest(lines)
    change = {"shipping_minor": charge, "shipping_tax": _taxes(taxes, before, charge, net)}
    moved = [
        line.model_copy(update={"shipping_minor": share}) if line.shipping_minor != share else line
        for line, share in zip(lines, shares[: len(parts)], strict=True)
    ]
    return moved, totals.model_copy(update=change)


def _heaviest(lines: Sequence[Line]) -> tuple[Tax, ...]:
    """The rates of the line that costs most: shipping follows it if nothing is stated of it."""
    costs = [line for line in lines if line.pieces and any(tax.rate is not None for tax in line.tax)]
    heaviest = max(costs, key=lambda line: (line.line_total_minor or 0) - line.discount_minor, default=None)
    return tuple(Tax(rate=tax.rate) for tax in heaviest.tax if tax.rate is not None) if heaviest else ()


def _totals(lines: Sequence[Line], totals: Totals, net: bool) -> Totals:
    items = sum(line.line_total_minor or 0 for line in lines)
    discount = sum(line.discount_minor for line in lines)
    tax = None
    if net:
        taxes = [tax for line in lines for tax in line.tax] + list(totals.shipping_tax)
        tax = sum(tax.amount_minor or 0 for tax in taxes if tax.collected_by == "seller")
    grand = items + (totals.shipping_minor or 0) - discount + (tax or 0)
    change: dict[str, object] = {"discount_minor": discount, "tax_minor": tax, "grand_minor": grand}
    if totals.items_minor is not None:
        change["items_minor"] = items
    if totals.buyer_paid_minor is not None:
        change["buyer_paid_minor"] = totals.buyer_paid_minor + grand - (totals.grand_minor or 0)
    return totals.model_copy(update=change)


def _taxes(taxes: tuple[Tax, ...], before: int, after: int, net: bool) -> tuple[Tax, ...]:
    """The taxes of an amount that changes: one tax by its rate; several, or one without a rate, in proportion.

    A tax that is only an amount, on nothing, gives no tax on a price: it is left out.
    """
    if before == after:
        return taxes
    ours = [tax for tax in taxes if tax.collected_by == "seller"]
    others = [tax for tax in taxes if tax.collected_by != "seller"]
    if len(ours) == 1 or not before:
        by_rate = tuple(
            tax.model_copy(update={"amount_minor": vat_on_net(after, tax.rate) if net else None})
            for tax in ours
            if tax.rate is not None
        )
        if by_rate or not before:
            return (*by_rate, *others)
    stated = [tax.amount_minor or 0 for tax in ours]
    shares = split(_share(sum(stated), after, before), stated) if any(stated) else [0] * len(ours)
    scaled = (
        tax if tax.amount_minor is None else tax.model_copy(update={"amount_minor": share})
        for tax, share in zip(ours, shares, strict=True)
    )
    return (*scaled, *others)


def _share(total: int, part: int, whole: int) -> int:
    """The part's share of the total, rounded half up; as `split` gives it to the first of two."""
    return round_half_up(Fraction(total * part, whole)) if whole else 0
