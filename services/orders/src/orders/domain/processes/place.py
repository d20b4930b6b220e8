"""How an order is placed. A row: the command, its yes, its noes and what they cause, what leaves it out, the end, the undo."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final, Literal
from uuid import UUID

from contracts import fulfillment, payments
from contracts.orders import Approved, Placed
from contracts.payments import MARKETPLACE, RECORDED
from orders.domain.content.amounts import destination, payable, ships_anything
from orders.domain.content.facts import ShipmentFact
from orders.domain.engine.process import Past, Process, Step, Undo
from orders.domain.engine.story import SHORT, STOCK_AGAIN_MAX_SECONDS, Story
from orders.domain.processes import changes, holds, settling, undo
from orders.domain.state.order import capture_option
from orders.domain.state.run import Run, RunData

UNPAID_SECONDS_MAX: Final = 86_400
"""How long an order asks anew for a payment that its buyer has not made, where its market states no patience."""


class PlaceData(RunData):
    kind: Literal["place"] = "place"
    stock_tries: int = 0
    """How often the stock was short; the pause before the next try grows with it."""


def reserve(story: Story, run: Run, operation: UUID) -> fulfillment.Reserve:
    order = story.order
    assert order.content is not None and order.market is not None
    return fulfillment.Reserve(
        **story.addressed(operation),
        locations=order.market.locations,
        lines=tuple(
            fulfillment.WantedLine(line_id=line.line_id, sku=line.sku or "", quantity=line.quantity)
            for line in payable(order.content) if line.ships
        ),
    )  # fmt: skip


def authorize(story: Story, run: Run, operation: UUID) -> payments.Authorize:
    order = story.order
    assert order.content is not None and order.market is not None
    return payments.Authorize(
        **story.addressed(operation),
        gateway=order.market.gateway, account=order.market.account, payment_token=order.content.payment_token,
        currency=order.content.currency, reference=order.content.external_order_id,
        lines=tuple(line.money for line in payable(order.content)),
        capture=captured_at_once(story, run),
        unless_recorded=order.market.gateway == RECORDED and story.facts.undone is None,  # placed anew, it needs a new one
        gift_cards=order.content.gift_cards,
    )  # fmt: skip


def captured_at_once(story: Story, run: Run) -> bool:
    """Whether a capture of all of it would be asked next: then both are asked in one. Where something may still come between
    and cancel the order, money is not taken: a void costs nothing, a refund does."""
    order, market = story.order, story.order.market
    assert market is not None
    if market.hold_window_seconds is not None:
        return False
    match capture_option(order):
        case "on_placement":
            return True
        case "on_approval":
            return market.gateway == MARKETPLACE and approved_by_rule(story, run)
        case _:
            return False


def start(story: Story, run: Run, operation: UUID) -> fulfillment.Start:
    order = story.order
    assert order.content is not None
    story.note(start_asked=True, reserved=False)
    return fulfillment.Start(
        **story.addressed(operation),
        ship_to=destination(order.content),
    )  # fmt: skip


def nothing_ships(story: Story, run: Run) -> bool:
    assert story.order.content is not None
    return not ships_anything(story.order.content)


def is_free(story: Story, run: Run) -> bool:
    return story.order.grand_minor == 0


def is_authorized(story: Story, run: Run) -> bool:
    """Whether nothing is to be asked: the order is free, or its money moves elsewhere and exactly its amounts were authorized
    there before the order came to ask."""
    order = story.order
    assert order.content is not None and order.market is not None
    if is_free(story, run):
        return True
    if order.market.gateway != RECORDED:
        return False
    wanted = {line.line_id: line.money.amount_minor for line in payable(order.content)}
    granted = (one.authorized for one in story.facts.authorizations.values() if not one.released)
    # An authorization that was captured at once has left only its capture.
    captured = (one for one in story.facts.captures.values() if not one.past)
    taken = ({line.line_id: line.amount_minor for line in one.lines} for one in captured)
    return wanted in (*granted, *taken)


def follow(story: Story, event: payments.Authorized) -> None:
    """What was recorded while the request for it was under way answers the request: payments has it under an id of its own, and does
    nothing when the request arrives (`unless_recorded`)."""
    run = story.runs.get("place")
    if run is None or run.step != "authorize" or run.operation_id is None or str(event.operation_id) in story.asks:
        return
    if is_authorized(story, run):
        story.answered(event.model_copy(update={"operation_id": run.operation_id}))


def approved_by_rule(story: Story, run: Run) -> bool:
    """By the terms of its market: always, or if it meets every stated condition."""
    order, market = story.order, story.order.market
    assert market is not None and order.grand_minor is not None
    below, gateways = market.approve_below_minor, market.approve_gateways
    if market.approval == "automatic" or (below is None and not gateways):
        return market.approval == "automatic"
    return (below is None or order.grand_minor < below) and (not gateways or market.gateway in gateways)


def out_of_stock(story: Story, run: Run, event: fulfillment.OutOfStock) -> None:
    """By the market: cancel, or wait and ask as a new operation (the answer was a no), until its patience ends."""
    assert story.order.market is not None
    if story.order.market.on_short == "cancel":
        undo.begin(story, "out_of_stock")
        return
    tries = _data(run).stock_tries
    pause = min(30 * 2 ** min(tries, 10), STOCK_AGAIN_MAX_SECONDS)
    run = story.set(run, waits="stock", operation_id=None, due_at=story.due(run, pause), detail=SHORT)
    story.set_data(run, stock_tries=tries + 1)
    changes.proceed(story)


def decline_code(story: Story, event: payments.Declined) -> str:
    """`payment_abandoned` also for a payment that the buyer could not make in a session: no means of payment of the order was refused."""
    content = story.order.content
    has_token = content is not None and content.payment_token is not None
    return event.code if event.session_id is None or has_token else payments.PAYMENT_ABANDONED


def declined(story: Story, run: Run, event: payments.Declined | Past) -> None:
    """A buyer who has not paid may try again: the authorization is asked for anew, with the order's token if it has one, else for a
    further session. Until the market's patience ends, or a day after the first request. If a part was paid, or was captured too
    late, the order is undone: that gives it back."""
    code = event.code if isinstance(event, Past) else decline_code(story, event)
    until = story.patience_ends(run) or run.since + timedelta(seconds=UNPAID_SECONDS_MAX)
    moved = unvoided(story) or any(not one.past for one in story.facts.captures.values())
    if code == payments.PAYMENT_ABANDONED and story.context.now < until and not moved:
        story.ask_anew(run)
    else:
        undo.begin(story, "declined")


def shipments_cancelled(story: Story, run: Run, event: Any) -> None:
    """The warehouse gave the order back without being asked to."""
    undo.begin(story, "out_of_stock")


def begin(story: Story) -> None:
    story.begin(Run(id="place", data=PlaceData(), since=story.context.now))


def _data(run: Run) -> PlaceData:
    assert isinstance(run.data, PlaceData)
    return run.data


def placed(story: Story, run: Run, event: payments.Authorized | Past | None) -> None:
    story.state(Placed, status="placed", placed_at=story.context.now)
    holds.place_window(story)
    settling.begin_captured(story)
    changes.proceed(story)
    if capture_option(story.order) == "on_placement":
        settling.begin_rest(story)


def approved(story: Story, run: Run, event: None) -> None:
    option = capture_option(story.order)
    actor = story.context.actor if story.approving else "rule:approval"
    story.state(Approved, status="approved", approved_at=story.context.now, actor=actor, answers=story.approving)
    if option == "on_approval" or (option == "per_shipment" and nothing_ships(story, run)):
        settling.begin_rest(story)


def fulfilled(story: Story, run: Run, event: fulfillment.Fulfilled | Past | None) -> None:
    if not nothing_ships(story, run):
        story.note(fulfilled=True)
        if story.order.fulfillment_status != "fulfilled":
            story.fulfillment_changed("fulfilled")


# -- the undo ---------------------------------------------------------------------------------------------------------


def release(story: Story, run: Run, operation: UUID) -> fulfillment.Release:
    return fulfillment.Release(**story.addressed(operation))


def void(story: Story, run: Run, operation: UUID) -> payments.Void:
    """What is left of one authorization."""
    left = next(one for one in story.facts.authorizations.values() if one.left_minor)
    return payments.Void(**story.addressed(operation), authorization_id=left.authorization_id)


def unvoided(story: Story) -> int:
    return sum(one.left_minor for one in story.facts.authorizations.values())


def stop(story: Story, run: Run, operation: UUID) -> fulfillment.CancelShipments:
    return fulfillment.CancelShipments(**story.addressed(operation))


def stoppable(story: Story) -> int:
    order = story.order
    return int(
        story.facts.start_asked
        and order.status != "cancelled"
        and order.fulfillment_status != "fulfilled"
        and order.completed_at is None
    )


def stopped(story: Story, run: Run, event: fulfillment.ShipmentsCancelled | fulfillment.TooLate) -> None:
    if story.order.fulfillment_status == "in_progress":
        story.fulfillment_changed("unfulfilled")
    undo.decided(story, run)


def too_late(story: Story, run: Run, event: fulfillment.TooLate) -> None:
    """Something has shipped. It stays as it is if all the money has come back; else the cancel is refused."""
    if undo.data_of(run).certain:
        stopped(story, run, event)
    else:
        undo.refuse(story, run)


def give_back(story: Story, run: Run, operation: UUID) -> fulfillment.Reduce:
    """The pieces of a partly shipped order that have not shipped."""
    pieces: dict[str, int] = {}
    for shipment in _picking(story):
        for line_id, quantity in shipment.lines.items():
            pieces[line_id] = pieces.get(line_id, 0) + quantity
    lines = tuple(fulfillment.LinePieces(line_id=line_id, quantity=quantity) for line_id, quantity in pieces.items())
    return fulfillment.Reduce(**story.addressed(operation), lines=lines)


def not_given_back(story: Story) -> int:
    """Pieces."""
    if story.order.status != "cancelled":
        return 0
    return sum(quantity for shipment in _picking(story) for quantity in shipment.lines.values())


def _picking(story: Story) -> list[ShipmentFact]:
    return [shipment for shipment in story.facts.shipments.values() if shipment.status == "picking"]


def shipped_meanwhile(story: Story, run: Run, event: fulfillment.TooLate) -> None:
    """What is left to give back is less: it is asked for anew."""


# fmt: off
RELEASE = Undo("release", ask=release, yes=fulfillment.Released,                                                left=lambda story: int(story.facts.reserved))
VOID = Undo("void",       ask=void,    yes=payments.Voided,              no={payments.Failed: undo.step_refused},    left=unvoided)
GIVE_BACK = Undo("give_back", ask=give_back, yes=fulfillment.Reduced, no={fulfillment.TooLate: shipped_meanwhile},  left=not_given_back)
STOP = Undo("stop",       ask=stop,    yes=fulfillment.ShipmentsCancelled, no={fulfillment.TooLate: too_late},      left=stoppable, then=stopped, decides=True)

PLACE = Process("place", PlaceData, (
    #    step         command        yes                           no -> what it causes                                      left out when          waits for            its end         undo
    Step("reserve",   ask=reserve,   yes=fulfillment.Reserved,  no={fulfillment.OutOfStock: out_of_stock},                skip=nothing_ships,                                         undo=RELEASE),
    Step("authorize", ask=authorize, yes=payments.Authorized,   no={payments.Declined: declined},                         skip=is_authorized,                        then=placed,     undo=VOID),
    Step("approve",   ask=None,      yes=None,                                                                            skip=approved_by_rule, waits="approval",   then=approved),
    Step("fulfill",   ask=start,     yes=fulfillment.Fulfilled, no={fulfillment.ShipmentsCancelled: shipments_cancelled}, skip=nothing_ships,    waits="warehouse",  then=fulfilled,  undo=STOP),
))
# fmt: on
