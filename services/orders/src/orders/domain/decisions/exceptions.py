"""Every kind of exception: what a person may decide about it, and what ends it by itself. `docs/exceptions.md` is made of it.

Where no process can do what the marketplace states, `accept` records that the marketplace is right and changes nothing: the same
difference is not raised again, and goods and money are left to a person.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from contracts.deciding import Refusal
from contracts.orders import Resolution, Resolve, Retry
from contracts.snapshot import OrderContent
from orders.domain.content import methods, snapshots
from orders.domain.content.snapshots import CARRIED
from orders.domain.engine.story import Story
from orders.domain.processes import changes, differences, place, rebill, repay, undo, upstream
from orders.domain.state.order import Order, retryable
from orders.domain.state.run import Run

PARTLY_SHIPPED: Final = "partly_shipped_elsewhere"
Apply = Callable[[Story, Resolve], Refusal | None]


def _always(order: Order) -> str | None:
    return None


@dataclass(frozen=True)
class Choice:
    """A resolution that a person may choose."""

    does: str
    """For the documentation."""
    apply: Apply
    guard: Callable[[Order], str | None] = _always
    """Why it is not possible now, a code of the action `resolve`; null: it is."""


@dataclass(frozen=True)
class Kind:
    code: str
    raised: str
    accept: Choice | None
    keep: Choice | None
    otherwise: str
    """What ends it besides."""

    def choice(self, resolution: Resolution) -> Choice | None:
        return self.accept if resolution == "accept" else self.keep

    @property
    def resolutions(self) -> list[Resolution]:
        names: tuple[Resolution, ...] = ("accept", "keep")
        return [name for name in names if self.choice(name) is not None]


# -- what a resolution does -------------------------------------------------------------------------------------------


def nothing(story: Story, message: Resolve) -> Refusal | None:
    return None


def start(story: Story, found: snapshots.Obstacle | None) -> None:
    """Starts placing, or raises why an order that is ready upstream does not start."""
    for code in snapshots.OBSTACLES:
        known = story.order.exceptions.get(code)
        if known is not None and (code, known.detail) != found:
            story.resolve_exception(code)
    if found is not None:
        story.raise_exception(*found)
    elif story.order.status == "placing":
        place.begin(story)


def edit(story: Story, content: OrderContent, answers: UUID | None = None) -> None:
    """Nothing has begun: what is stated now is the order. It is judged by its market's present terms, and starts if it may."""
    order = story.order
    content, terms = methods.chosen(content, story.terms, order.placed_here)
    status, fulfillment, found = snapshots.standing(content, terms, order.waived)
    if status == "placing" and (shipped := order.exceptions.get(PARTLY_SHIPPED)) is not None:
        status, found = "pending", (PARTLY_SHIPPED, shipped.detail)  # only a person can decide what is left to ship
    if status == "placing" and order.holds:
        status = "pending"  # it starts when it is released
    now = (content, terms, status, fulfillment)
    if now != (order.content, order.market, order.status, order.fulfillment_status):
        story.edit(content, terms, status=status, fulfillment=fulfillment, answers=answers)
    start(story, found)


def start_if_ready(story: Story) -> None:
    """Judges an order anew that has not started."""
    assert story.order.content is not None
    edit(story, story.order.content)


def check_again(story: Story, message: Resolve | Retry) -> Refusal | None:
    start_if_ready(story)
    if (code := obstacle(story.order)) is not None:
        return Refusal("obstacle_remains", f"{code}: {story.order.exceptions[code].detail}")
    return None


def obstacle(order: Order) -> str | None:
    """The exception that keeps an order from starting."""
    if order.status != "pending":
        return None
    return next((code for code in order.exceptions if code in snapshots.OBSTACLES), None)


def open_code(order: Order, exception_id: UUID) -> str | None:
    return next((code for code, one in order.exceptions.items() if one.exception_id == exception_id), None)


def resolutions(code: str) -> list[Resolution]:
    """Those of a kind; none for a code that a newer release raised."""
    return KINDS[code].resolutions if code in KINDS else []


def ends_by(code: str) -> str:
    """What ends an exception of a kind: its resolutions, and what else."""
    if code not in KINDS:
        return "a newer release, which raised it"
    return ", ".join([*KINDS[code].resolutions, KINDS[code].otherwise])


def why_not(order: Order, code: str, resolution: Resolution) -> str | None:
    """Why an open exception cannot end by a resolution now; null: it can."""
    kind = KINDS.get(code)
    choice = kind.choice(resolution) if kind is not None else None
    return "resolution_unsupported" if choice is None else choice.guard(order)


def _unless_obstacle(order: Order) -> str | None:
    return "obstacle_remains" if obstacle(order) is not None else None


def _unless_not_possible(code: str) -> Callable[[Order], str | None]:
    def guard(order: Order) -> str | None:
        if order.status == "pending":
            return None
        reason = changes.why_not(order, code)
        return reason.code if reason is not None else None

    return guard


def _unless_undoing_or_shipped(order: Order) -> str | None:
    """The buyer has what has shipped: placed anew, it would be charged a second time. A marketplace that carried the order
    through asks for neither goods nor money."""
    if order.status != "cancelled" or order.open_runs:
        return "undo_running"
    shipped = any(one.status in ("shipped", "delivered") for one in order.facts.shipments.values())
    return "goods_shipped" if shipped and order.stated is not None and order.stated.lifecycle not in CARRIED else None


def _unless_asked(order: Order) -> str | None:
    if order.held:
        return "order_held"
    return None if _refused_invoices(order) else "step_not_failed"


def _refused_invoices(order: Order) -> list[Run]:
    return [run for run in retryable(order) if run.step == "invoice"]


def start_all_the_same(story: Story, message: Resolve) -> Refusal | None:
    """The obstacle is waived by now; another one is raised, not refused."""
    if story.order.status == "pending":
        start_if_ready(story)
    return None


def carried_elsewhere(story: Story, message: Resolve) -> Refusal | None:
    order = story.order
    assert order.content is not None and order.market is not None
    fulfillment = order.fulfillment_status if order.fulfillment_status == "not_required" else "fulfilled"
    story.edit(order.content, order.market, status="approved", fulfillment=fulfillment)
    start(story, None)
    return None


def take_over(code: str) -> Apply:
    """By an edit; a cancel request of an order that has not started changes its content."""

    def apply(story: Story, message: Resolve) -> Refusal | None:
        order = story.order
        assert order.content is not None
        if order.status != "pending":
            changes.accept(story, code, message.operation_id)
            return None
        after = snapshots.with_requested_cancelled(order.content)
        if not snapshots.wholly_cancelled(after):
            edit(story, after)
        elif not undo.is_running(story):
            undo.begin(story, "customer", message.operation_id)
        return None

    return apply


def record_refund(story: Story, message: Resolve) -> Refusal | None:
    order = story.order
    assert order.content is not None
    if order.stated is not None:
        upstream.book(story, order.stated, accepted=True)
        assert story.order.content is not None
        story.take_over(differences.refunded(story.order.content, order.stated))
        differences.forget_what_agrees(story)
    else:
        start_all_the_same(story, message)
    return None


def place_anew(story: Story, message: Resolve) -> Refusal | None:
    order = story.order
    assert order.stated is not None and order.market is not None
    content, terms = methods.chosen(order.stated, story.terms, order.placed_here)
    status, fulfillment, found = snapshots.standing(content, terms, order.waived)
    story.reinstate(content, status=status, fulfillment=fulfillment)
    story.take_over_terms(terms)
    start(story, found)
    return None


def try_again(story: Story, message: Resolve) -> Refusal | None:
    refused = _refused_invoices(story.order)
    story.take_over_terms()
    for run in refused:
        story.retry(run, message.operation_id)
    return None


def give_back_again(code: str) -> Apply:
    def apply(story: Story, message: Resolve) -> Refusal | None:
        repay.again(story, code, message.operation_id)
        return None

    return apply


def leave_held(story: Story, message: Resolve) -> Refusal | None:
    repay.leave(story, repay.HELD)
    return None


def charge_again(story: Story, message: Resolve) -> Refusal | None:
    rebill.charge_again(story, message.operation_id)
    return None


# -- the table --------------------------------------------------------------------------------------------------------


def _taken_over(code: str, does: str) -> Choice:
    return Choice(does, take_over(code), _unless_not_possible(code))


CHECK: Final = Choice(
    "checks again, with the present terms of the market; 409 `obstacle_remains` if it cannot start",
    check_again,
    _unless_obstacle,
)
START: Final = Choice("starts placing all the same", start_all_the_same)
OURS: Final = Choice("the order stays as it runs here", nothing)
ACKNOWLEDGED: Final = Choice("recorded; goods and money are not moved: that is left to a person", nothing)
CORRECTED: Final = "a snapshot or a request without the cause, a cancel"
TAKEN_BACK: Final = "a snapshot that takes it back, a cancel that ends"

# fmt: off
KINDS: Final = {kind.code: kind for kind in (
    #    code                        raised when                                                            accept                                                                                          keep      ended otherwise by
    # an order that does not start
    Kind("currency_differs",         "the order is not in the currency of its market",                      CHECK,                                                                                          None,     "corrected terms of the market, " + CORRECTED),
    Kind("not_priced",               "a price is not stated",                                               CHECK,                                                                                          None,     CORRECTED),
    Kind("sku_missing",              "a line that ships has no SKU",                                        CHECK,                                                                                          None,     CORRECTED),
    Kind("tax_missing",              "neither a rate nor an amount of tax is stated of a line",             CHECK,                                                                                          None,     CORRECTED),
    Kind("payment_method_unknown",   "the market does not have the payment method that the order names",    CHECK,                                                                                          None,     "corrected terms of the market, " + CORRECTED),
    Kind("payment_method_refused",   "no payment method of the market, or not the one that the order names, takes its currency, country and amount", CHECK,                                                  None,     "corrected terms of the market, " + CORRECTED),
    Kind("payment_token_refused",    "a card number came in place of a payment token; it is not stored",    CHECK,                                                                                          None,     CORRECTED),
    Kind(PARTLY_SHIPPED,             "something had shipped before the order was first seen",               Choice("recorded as carried through by the marketplace: nothing is moved here", carried_elsewhere), Choice("everything is placed and shipped here", start_all_the_same), "a snapshot that states it shipped, a cancel"),
    Kind("addresses_differ",         "lines that ship have different delivery addresses",                    None,                                                                                           Choice("every line ships to the address of the order", start_all_the_same), CORRECTED),
    # a request, a refund
    Kind("cancel_requested",         "the buyer asks to cancel lines",                                      _taken_over("cancel_requested", "cancels these lines by an edit; every line: the order"), Choice("the order goes on, or starts", start_all_the_same), "a snapshot that withdraws the request or executes it, a cancel"),
    Kind("refund_made",              "the marketplace has refunded money, before the order started or more than was captured here", Choice("booked and credited, where it is within what is captured by now; else recorded in the order's content. An order that waited for it starts", record_refund), Choice("the order goes on, or starts", start_all_the_same), TAKEN_BACK),
    # a snapshot that differs from an order that has started
    Kind("address_changed",          "another delivery address",                                            _taken_over("address_changed", "taken over by an edit, and sent to the warehouse"), OURS,     TAKEN_BACK),
    Kind("snapshot_changed",         "other goods, quantities, prices, taxes, currency, shipping or gift",   _taken_over("snapshot_changed", "taken over by an edit"),                                                                                   OURS,     TAKEN_BACK),
    Kind("line_cancelled",           "a line or pieces of it are cancelled upstream",                       _taken_over("line_cancelled", "cancelled by an edit; the last line: cancels the order"),                                                                                   OURS,     TAKEN_BACK),
    Kind("payment_reversed",         "the payment is voided, charged back or open again",                   ACKNOWLEDGED,                                                                                   OURS,     TAKEN_BACK),
    Kind("lifecycle_reversed",       "the marketplace's lifecycle goes back",                               ACKNOWLEDGED,                                                                                   OURS,     TAKEN_BACK),
    Kind("shipment_reported",        "shipped upstream, and not by us",                                     ACKNOWLEDGED,                                                                                   OURS,     "our own shipment, " + TAKEN_BACK),
    Kind("cancelled_too_late",       "cancelled upstream after it has shipped",                             ACKNOWLEDGED,                                                                                   OURS,     "a snapshot that is not cancelled"),
    Kind("order_reinstated",         "alive or paid upstream after it was cancelled",                       Choice("placed anew as the marketplace now states it; 409 `undo_running` until the cancel has ended, `goods_shipped` if goods had shipped before it", place_anew, _unless_undoing_or_shipped), Choice("the order stays cancelled", nothing), "a snapshot that is cancelled again"),
    Kind("authorization_expiring",   "the issuer releases the amount within a day, and the order has no token to authorize it anew", Choice("recorded: capture or cancel the order before that time; afterwards the capture asks for an authorization anew", nothing), OURS, "a capture of all of it, a void, a cancel"),
    # a statement of a person
    Kind("payment_disputed",         "a buyer disputes a payment with their bank, or the dispute is lost (`GET /v1/disputes` of payments)", ACKNOWLEDGED,                                                   OURS,     "a dispute that is won; what is lost is raised anew"),
    Kind("books_differ",             "a reconciliation finds that the order's ledger and its gateway differ ([reconciliation.md](reconciliation.md#differences); `GET /v1/differences?order_id=` of payments)", None, Choice("seen: it stays open at payments", nothing), "the last difference that is applied or dismissed at payments, or gone; one that opens is raised anew"),
    Kind("outcome_contradicted",     "a gateway reports another outcome than the one that a person stated", Choice("the gateway is right: recorded. No amount moves: `force` states that a refused operation succeeded, a recorded refund takes money out of the books", nothing), Choice("the stated outcome stays", nothing), "nothing else; a further one is added to it"),
    # money that no process moves
    Kind(repay.LATE,                 "money was captured after the order had been cancelled: it is refunded by itself. Raised if the gateway refuses the refund, or if the money moves elsewhere (`recorded`)", Choice("asks for the refund again, like `retry`; the exception is open, as another one, until it is done", give_back_again(repay.LATE)), None, "the refund: where the gateway may make it later it is asked again by itself, after pauses that grow from a minute to a day; a refund that is recorded"),
    Kind("difference_unpaid",        "what the lines that replace reversed ones cost more is declined, or not captured", Choice("asks the gateway for it again", charge_again), Choice("it stays unpaid: reverse the lines, or record what is paid elsewhere", nothing), "a capture of the lines, a cancel"),
    Kind(repay.HELD,                 "a gateway refuses twice to release money that was authorized too late, or once too often: it is held for nothing", Choice("asks for the void again, like `retry`; the exception is open, as another one, until it is done", give_back_again(repay.HELD)), Choice("left to the issuer, who releases it when it expires", leave_held), "the void: asked again by itself, as that refund is; a capture of it, a cancel"),
    Kind("line_undescribed",         "a line that replaces a reversed one has no title or no rate, nor has the line that it replaces: no invoice has it", None, Choice("it stays on no invoice of ours", nothing), "a reversal that replaces the line by one with title and rate, a refund of it, a cancel"),
    # a process that waits
    Kind("invoice_failed",         "invoicing refuses the invoice",                                       Choice("asks for the invoice again, like `retry`", try_again, _unless_asked),                                   None,     "an invoice: a seller that is unknown or incomplete is tried again by itself within 15 minutes, another seller of the market at once; a cancel"),
)}
# fmt: on
