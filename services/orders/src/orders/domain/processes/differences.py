"""What a newer snapshot states differently from the order as it runs here, by the code of the exception that it raises.

Fields that change neither goods nor money nor where they go are taken over (`INFORMS`). Every other field is compared, a
field that is new in the contract included. A difference raises its exception once: `Order.stated` holds what was stated last.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple

from pydantic import BaseModel

from contracts.orders import Change
from contracts.personal import is_personal
from contracts.snapshot import SECURED, Line, OrderContent
from orders.domain.content.agreement import reworded
from orders.domain.content.snapshots import CANCELLED, REFUNDED, merged, partly_shipped, requested
from orders.domain.engine.story import Story
from orders.domain.state.order import Order, has_shipped

ORDER_INFORMS: Final = (
    "external_number", "basket_id", "purchase_order_number", "site", "placed_at", "is_business", "programs", "related",
    "buyer", "bill_to", "tax_address", "ship_from", "tax_registrations", "windows",
    "buyer_note", "delivery_note", "seller_note", "discounts", "settlement", "payments", "shipments", "invoices", "attributes",
    "payment_method", "payment_token",
)  # fmt: skip
LINE_INFORMS: Final = (
    "parent_line_id", "external_unit_ids", "gtin", "gtin_type", "channel_product_id", "title", "unit_price_minor",
    "tax_category", "commission_minor", "ship_from", "windows", "state",
)  # fmt: skip
QUANTITY_INFORMS: Final = ("accepted", "shipped")
CANCELLATION_INFORMS: Final = (
    "request_id", "requested_by", "requested_at", "executed_by", "executed_at", "reason",
)  # fmt: skip
TOTALS_INFORMS: Final = ("due_minor", "commission_minor")
INFORMS: Final = frozenset(
    [*ORDER_INFORMS]
    + [f"lines[].{name}" for name in LINE_INFORMS]
    + [f"lines[].quantity.{name}" for name in QUANTITY_INFORMS]
    + [f"lines[].cancellation.{name}" for name in CANCELLATION_INFORMS]
    + [f"totals.{name}" for name in TOTALS_INFORMS]
)

_REACHED: Final = {
    name: n for n, name in enumerate(("ready_to_fulfill", "partially_shipped", "shipped", "delivered", "closed"), start=1)
}  # fmt: skip

CODE_OF: Final[Mapping[str, str]] = {
    "lines[].cancellation.requested": "cancel_requested",
    "lines[].cancellation.executed": "line_cancelled",
    "lines[].quantity.cancelled": "line_cancelled",
    "lines[].cancelled_minor": "line_cancelled",
    "lines[].quantity.refunded": "refund_made",
    "refunds": "refund_made",
    "ship_to": "address_changed",
}
"""Path, or the beginning of a path -> exception. Everything else is `snapshot_changed`."""
CODES: Final = (
    "address_changed", "snapshot_changed", "line_cancelled", "cancel_requested", "refund_made", "payment_reversed",
    "lifecycle_reversed", "shipment_reported",
)  # fmt: skip
CARRIED_OUT: Final = frozenset({"address_changed", "snapshot_changed", "line_cancelled", "cancel_requested"})
"""Those that an edit takes over."""
NEVER_TAKEN: Final = frozenset({"tax_collection", "gift_cards"})
"""Who supplies decides who invoices: by it a capture is invoiced, or left without an invoice. Gift cards were redeemed when the
order was authorized."""
FOLLOWS_A_CANCEL: Final = frozenset({"line_cancelled", "cancel_requested", "refund_made", "payment_reversed"})
"""What a marketplace states because an order was cancelled."""


class Raw(NamedTuple):
    """A field that differs, personal values included: only for comparing."""

    path: str
    rule: str
    """The path without the ids of lines and refunds."""
    before: Any
    after: Any
    personal: bool


Found = Mapping[str, tuple[Raw, ...]]
"""By code of exception."""


def find(order: Order, told: OrderContent) -> Found:
    """What `told` states differently from the order's content, by code; without the fields that inform only."""
    assert order.content is not None
    found: dict[str, tuple[Raw, ...]] = {}
    for raw in _compare(order.content, told):
        code = _code(order, told, raw)
        if code:
            found[code] = (*found.get(code, ()), raw)
    return found


def reinstating(last: OrderContent, told: OrderContent) -> tuple[Raw, ...]:
    """What `told` states of a cancelled order beyond `last` that does not follow from the cancel."""
    return tuple(raw for raw in _compare(last, told) if _reinstates(raw))


def _reinstates(raw: Raw) -> bool:
    if raw.rule == "lifecycle":
        return raw.after in _REACHED or raw.before in CANCELLED
    if raw.rule == "payment_state":
        return raw.after in SECURED
    return _of_rule(raw.rule) not in ("", *FOLLOWS_A_CANCEL)


def shown(changes: tuple[Raw, ...]) -> tuple[Change, ...]:
    """As it is published: bounded in width, personal values left out."""
    return tuple(_shown(raw) for raw in changes)


def record(story: Story, told: OrderContent) -> Found:
    """Takes over what informs, resolves what no longer differs. Returns what differs and was not stated before."""
    _reword(story, told)
    order = story.order
    assert order.content is not None
    found, before = find(order, told), stated_before(order)
    news = {code: found[code] for code in CODES if code in found and _differs(found, before, code)}
    story.take_over(informed(order, told, found))
    kept: Literal["", "stated", "kept"] = "kept" if is_undecided(order) else "stated" if CARRIED_OUT & {*news} else ""
    _record_stated(story, told, found, kept)
    for code in before:
        if code not in found:
            story.resolve_exception(code)
    if not requested(told):
        story.resolve_exception("cancel_requested")
    return news


def compare(story: Story, told: OrderContent) -> None:
    """Takes over what informs, raises what differs and was not stated before, resolves what no longer differs."""
    for code, changes in record(story, told).items():
        raise_anew(story, code, changes)


def compare_anew(story: Story, told: OrderContent) -> None:
    """As `compare`, for a content whose differences were not raised one by one."""
    story.record_stated(None)
    compare(story, told)


def compare_edited(
    story: Story, before: OrderContent, carried: OrderContent | None, accepted: Collection[str] = ()
) -> None:
    """After an edit: exceptions show what differs from the order as it is now.

    before: what was sold until then. carried: what the marketplace had stated if the edit took it over; what has changed since
    is raised. Null: a person's edit, and what differs by it alone is not raised. accepted: the exceptions that it took over;
    what it left of them is raised again.
    """
    order = story.order
    assert order.content is not None
    told = order.stated or before
    told = merged(order.content, told, told)
    _reword(story, told)
    order = story.order
    found, shown_before = find(order, told), find(order.model_copy(update={"content": before}), told)
    since = {_code(order, told, raw) for raw in _compare(carried, told)} if carried is not None else frozenset()
    assert order.market is not None
    awaited = "edit_open" if order.market.on_change == "apply" else None  # taken over once the edit has ended
    for code in CODES:
        if code not in found:
            story.resolve_exception(code)
        elif code in order.exceptions:
            if _differs(found, shown_before, code):
                raise_anew(story, code, found[code], order.exceptions[code].why_not)
        elif code in since:
            raise_anew(story, code, found[code], awaited)
        elif code in accepted and (
            left := tuple(raw for raw in found[code] if raw.rule.partition(".")[0] in NEVER_TAKEN)
        ):
            raise_anew(story, code, left, "edit_empty", "an edit does not take this over")
    _record_stated(story, told, found, "kept" if is_undecided(story.order) else "")


def _reword(story: Story, told: OrderContent) -> None:
    """What both sell alike is no difference. Not while an edit is carried out: it is computed in the words of before."""
    order = story.order
    assert order.content is not None
    if order.wanted is None and told != order.content:
        story.take_over(reworded(order.content, told))


def _record_stated(story: Story, told: OrderContent, found: Found, base: Literal["", "stated", "kept"]) -> None:
    """Records what the marketplace states, where it differs or a person has set another billing address here."""
    assert story.order.content is not None
    differs = bool(found) or told.bill_to != story.order.content.bill_to
    story.record_stated(told if differs else None, base if found else "")


def forget_what_agrees(story: Story) -> None:
    """After a difference was taken over: what the marketplace states is recorded only if it differs otherwise."""
    told = story.order.stated
    if told is not None and not (found := find(story.order, told)):
        _record_stated(story, told, found, "")


def raise_refused(story: Story, codes: Iterable[str], why_not: str, detail: str) -> None:
    """Raises differences that could not be taken over, with the reason."""
    order = story.order
    found = find(order, order.stated) if order.stated is not None else {}
    for code in codes:
        if code in found:
            raise_anew(story, code, found[code], why_not, detail)


def is_undecided(order: Order) -> bool:
    """Whether a person has to decide about a difference, or an edit is taking it over."""
    return order.carried is not None or not CARRIED_OUT.isdisjoint(order.exceptions)


def base_of(order: Order) -> OrderContent:
    """What the changes of a newer snapshot are counted from: what the marketplace stated before those that are undecided."""
    assert order.content is not None
    return (order.base if is_undecided(order) else order.stated) or order.content


def takes(codes: Iterable[str]) -> Callable[[str], bool]:
    """Which fields are taken over for these codes, by rule."""
    wanted = CARRIED_OUT.intersection(codes)
    return lambda rule: rule not in ("lifecycle", "payment_state", *NEVER_TAKEN) and _of_rule(rule) in wanted


def stated_before(order: Order) -> Found:
    """The differences that the marketplace stated last."""
    return find(order, order.stated) if order.stated is not None else {}


def compare_late_cancel(story: Story, told: OrderContent, before: Found) -> None:
    """Raises what a marketplace states about a shipped order that it has cancelled: the cancel, and the money that it
    refunds. `before`: the differences that were raised already."""
    found = find(story.order, told)
    cancelled = tuple(raw for code in ("lifecycle_reversed", "line_cancelled") for raw in found.get(code, ()))
    story.raise_exception("cancelled_too_late", "the marketplace cancelled what has shipped", shown(cancelled))
    compare_refunds(story, told, before)


def compare_refunds(story: Story, told: OrderContent, before: Found) -> None:
    """Raises a refund that differs from those in `before`."""
    _raise_changed(story, find(story.order, told), before, ("refund_made",))


def _raise_changed(story: Story, found: Found, before: Found, codes: Iterable[str]) -> None:
    for code in codes:
        if code not in found:
            if code in before:
                story.resolve_exception(code)
        elif _differs(found, before, code):
            raise_anew(story, code, found[code])


def _differs(found: Found, before: Found, code: str) -> bool:
    return _essence(found[code]) != _essence(before.get(code, ()))


def _essence(changes: tuple[Raw, ...]) -> tuple[Raw, ...]:
    """What makes a difference another one: that a parcel which we did not ship has arrived too does not."""
    return tuple(raw._replace(after="shipped") if raw.after in ("delivered", "closed") else raw for raw in changes)


def raise_anew(story: Story, code: str, changes: tuple[Raw, ...], why_not: str | None = None, reason: str = "") -> None:
    """A difference that changed is another exception: what a person accepts is what was shown.

    why_not, reason: why it could not be taken over, as a code and in words.
    """
    story.resolve_exception(code)
    paths = ", ".join(dict.fromkeys(raw.path for raw in changes))
    tried = f"not taken over, {why_not}{': ' if reason else ''}{reason}; " if why_not is not None else ""
    story.raise_exception(code, f"{tried}the marketplace states differently: {paths}", shown(changes), why_not)


def informed(order: Order, told: OrderContent, found: Found) -> OrderContent:
    """Our content with the fields that inform taken over from `told`. The billing address that a person has set stays until the
    marketplace states another one than before."""
    ours = order.content
    assert ours is not None
    change: dict[str, Any] = {name: getattr(told, name) for name in ORDER_INFORMS}
    if told.bill_to == (order.stated or ours).bill_to:
        change["bill_to"] = ours.bill_to
    if not {"lifecycle_reversed", "shipment_reported"}.intersection(found):
        change["lifecycle"] = told.lifecycle
    change["totals"] = _copied(ours.totals, told.totals, TOTALS_INFORMS)
    if told.payment_state in SECURED:
        change["payment_state"] = told.payment_state
    by_id = {line.external_line_id: line for line in told.lines}
    change["lines"] = tuple(
        _line_informed(line, by_id[line.external_line_id]) if line.external_line_id in by_id else line
        for line in ours.lines
    )
    return ours.model_copy(update=change)


def _line_informed(ours: Line, told: Line) -> Line:
    if ours == told:
        return ours
    change: dict[str, Any] = {name: getattr(told, name) for name in LINE_INFORMS}
    change["quantity"] = _copied(ours.quantity, told.quantity, QUANTITY_INFORMS)
    withdrawn = ("requested",) if not told.cancellation.requested else ()
    change["cancellation"] = _copied(ours.cancellation, told.cancellation, (*CANCELLATION_INFORMS, *withdrawn))
    return ours.model_copy(update=change)


def _copied(ours: Any, told: Any, names: tuple[str, ...]) -> Any:
    return ours.model_copy(update={name: getattr(told, name) for name in names})


def refunded(ours: OrderContent, told: OrderContent) -> OrderContent:
    """Our content with the refunds that the marketplace states."""
    by_id = {line.external_line_id: line.quantity for line in told.lines}
    lines = tuple(
        line.model_copy(update={"quantity": _copied(line.quantity, by_id[line.external_line_id], ("refunded",))})
        if line.external_line_id in by_id
        else line
        for line in ours.lines
    )
    return ours.model_copy(update={"refunds": told.refunds, "payment_state": told.payment_state, "lines": lines})


# -- which exception a field raises -----------------------------------------------------------------------------------


def _code(order: Order, told: OrderContent, raw: Raw) -> str:
    """'' for a field that informs only."""
    if raw.rule == "lifecycle":
        return _of_lifecycle(order, told, raw.before)
    if raw.rule == "payment_state":
        return "" if raw.after in SECURED else "refund_made" if raw.after in REFUNDED else "payment_reversed"
    if raw.rule == "lines[].cancellation.requested" and not raw.after:
        return ""  # the request is withdrawn
    return _of_rule(raw.rule)


def _of_rule(rule: str) -> str:
    while rule:
        if rule in INFORMS:
            return ""
        if rule in CODE_OF:
            return CODE_OF[rule]
        rule = rule.rpartition(".")[0]
    return "snapshot_changed"


def _of_lifecycle(order: Order, told: OrderContent, before: str) -> str:
    """The marketplace follows our shipments; it may also run ahead of them, or go back."""
    after = told.lifecycle
    if _REACHED.get(after, 0) < _REACHED.get(before, 0):
        return "lifecycle_reversed"
    ahead = (
        (partly_shipped(told) and not has_shipped(order) and order.fulfillment_status != "not_required")
        or (_REACHED.get(after, 0) > _REACHED["partially_shipped"]
            and order.fulfillment_status not in ("fulfilled", "not_required"))
    )  # fmt: skip
    return "shipment_reported" if ahead else ""


# -- the comparison ---------------------------------------------------------------------------------------------------

_KEYS: Final = {"lines": "external_line_id", "refunds": "external_refund_id"}


def _compare(ours: Any, told: Any, path: str = "", rule: str = "", personal: bool = False) -> Iterator[Raw]:
    """Every field that differs. For a line that only one side has: the fields that are filled, under `lines[]`."""
    if ours == told:
        return
    model = ours if isinstance(ours, BaseModel) else told if isinstance(told, BaseModel) else None
    if model is not None:
        alone = ours is None or told is None
        for name, field in type(model).model_fields.items():
            before, after = getattr(ours, name, None), getattr(told, name, None)
            if alone and not before and not after:
                continue
            below = f"{rule}.{name}" if rule else name
            yield from _compare(
                before,
                after,
                f"{path}.{name}" if path else name,
                rule if alone and rule == "lines[]" else below,
                personal or is_personal(field.metadata, field.annotation),
            )
    elif isinstance(ours, tuple) or isinstance(told, tuple):
        befores, afters = _by_key(path, ours or ()), _by_key(path, told or ())
        below = f"{rule}[]" if path == "lines" else rule
        for key in dict.fromkeys([*befores, *afters]):
            yield from _compare(befores.get(key), afters.get(key), f"{path}[{key}]", below, personal)
    elif not (ours in (None, "") and told in (None, "")):
        yield Raw(path, rule, ours, told, personal)


def _by_key(path: str, items: tuple[Any, ...]) -> dict[Any, Any]:
    key = _KEYS.get(path)
    return {getattr(item, key) if key else n: item for n, item in enumerate(items)}


def _shown(raw: Raw) -> Change:
    before, after = (None, None) if raw.personal else (_scalar(raw.before), _scalar(raw.after))
    change = "added" if raw.before in (None, "") else "removed" if raw.after in (None, "") else "changed"
    return Change(path=raw.path[:500], change=change, before=before, after=after)  # type: ignore[arg-type]


def _scalar(value: Any) -> Any:
    return value if value is None or isinstance(value, (bool, int)) else str(value)[:500]
