"""How money is taken: capture, then invoice exactly what was captured. One settle per capture, started by the market's option.

A capture draws on one authorization: where an order has several, what is settled at once is as many settles. What is
captured already, in the same call as its authorization, is only invoiced.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Final, Literal
from uuid import UUID

from contracts import invoicing, payments
from contracts.base import SHIPPING_LINE
from contracts.money import split
from contracts.orders import CaptureLine, CaptureRequested
from contracts.payments import MoneyLine
from orders.domain.content.amounts import Payable, payable
from orders.domain.content.facts import CaptureFact, Facts
from orders.domain.engine.process import Closed, Past, Process, Step, Undo
from orders.domain.engine.story import Story
from orders.domain.processes import undo
from orders.domain.state.order import Order, capture_option, is_invoiced
from orders.domain.state.run import Run, RunData

KIND: Final = "settle"
RENEW: Final = "renew"
EXPIRED: Final = "authorization_expired"
TAKING: Final = (RENEW, "capture")
"""The steps before the money is taken."""


class SettleData(RunData):
    kind: Literal["settle"] = "settle"
    lines: tuple[MoneyLine, ...]
    """To capture and to invoice."""
    authorization_id: UUID | None = None
    """What the capture draws on; null where there is nothing to take."""
    renews: bool = False
    """The authorization has expired: another one is asked for, and the capture draws on that."""
    capture_id: UUID | None = None
    """Null until it is captured, and where there is nothing to take."""
    to_invoice: tuple[invoicing.InvoiceLineWanted, ...] = ()
    """The lines as they were captured, where an edit has changed the order before their invoice; else they follow from it."""


def capture(story: Story, run: Run, operation: UUID) -> payments.Capture:
    data, content = data_of(run), story.order.content
    assert content is not None and data.authorization_id is not None
    return payments.Capture(
        **story.addressed(operation),
        authorization_id=data.authorization_id,
        currency=content.currency,
        lines=data.lines,
    )


def issue(story: Story, run: Run, operation: UUID) -> invoicing.Issue:
    order = story.order
    content, capture_id = order.content, data_of(run).capture_id
    assert content is not None and order.market is not None and capture_id is not None
    return invoicing.Issue(
        **story.addressed(operation),
        capture_id=capture_id, seller=order.market.seller, order_number=order.number, order_placed_at=content.placed_at,
        currency=content.currency, price_basis=content.price_basis, buyer=content.buyer, bill_to=content.bill_to,
        ship_to=content.ship_to,
        lines=data_of(run).to_invoice or _to_invoice(story, run),
    )  # fmt: skip


def _to_invoice(story: Story, run: Run) -> tuple[invoicing.InvoiceLineWanted, ...]:
    assert story.order.content is not None
    by_id = {line.line_id: line for line in payable(story.order.content)}
    before = _taken(story.runs, story.facts, before=run)
    return tuple(_invoiced(by_id[line.line_id], line, before) for line in data_of(run).lines)


def _invoiced(whole: Payable, line: MoneyLine, before: Mapping[str, tuple[int, int]]) -> invoicing.InvoiceLineWanted:
    """A captured line with its tax. If a line is captured in parts, the parts of a stated tax add up to it."""
    vat, taxes = whole.vat_minor, whole.taxes
    if vat is not None and line.amount_minor != whole.amount_minor:
        _, amount_before = before.get(line.line_id, (0, 0))
        vat = _share(vat, amount_before + line.amount_minor, whole.amount_minor) - _share(
            vat, amount_before, whole.amount_minor
        )
        shares = split(vat, [tax.vat_minor for tax in taxes]) if taxes and vat else [0] * len(taxes)
        taxes = tuple(tax.model_copy(update={"vat_minor": share}) for tax, share in zip(taxes, shares, strict=True))
    return invoicing.InvoiceLineWanted(
        line_id=line.line_id, sku=whole.sku, title=whole.title, quantity=1 if line.line_id == SHIPPING_LINE else line.quantity,
        amount_minor=line.amount_minor, rate=whole.rate, vat_minor=vat, taxes=taxes,
    )  # fmt: skip


def _share(total: int, part: int, whole: int) -> int:
    """What `part` of `whole` has of the total; grows with the part, from nothing to all."""
    return split(total, [part, whole - part])[0] if whole else 0


def capture_failed(story: Story, run: Run, event: payments.Failed | Past) -> None:
    """An issuer holds an amount for some days only. Where the order has a token of its means of payment, that is authorized anew;
    else a person decides: `retry` asks for an authorization that waits for the buyer."""
    if event.code != EXPIRED:
        story.step_failed(run, event.code, event.reason)
        return
    data = data_of(run)
    assert story.order.content is not None and data.authorization_id is not None
    # Nothing is held any more: until a payment of it is renewed, the order is not authorized. Its other amounts stay for their
    # own captures, which renew them.
    gone = story.context.new_id(f"expired {run.id}")
    story.send(
        payments.Void(**story.addressed(gone), authorization_id=data.authorization_id, lines=data.lines, expired=True)
    )
    run = story.set_data(run, renews=True)
    if story.order.content.payment_token is not None:
        story.enter_first(run)
    else:
        story.step_failed(story.set(run, step=RENEW), event.code, event.reason)


def renew(story: Story, run: Run, operation: UUID) -> payments.Authorize:
    """Exactly what the capture is to take."""
    order = story.order
    assert order.content is not None and order.market is not None
    return payments.Authorize(
        **story.addressed(operation),
        gateway=order.market.gateway, account=order.market.account, payment_token=order.content.payment_token,
        currency=order.content.currency, reference=order.content.external_order_id, lines=data_of(run).lines,
    )  # fmt: skip


def renewal_declined(story: Story, run: Run, event: payments.Declined | Past) -> None:
    story.step_failed(run, event.code, event.reason)


def was_renewed(story: Story, run: Run, event: payments.Authorized | Past | None) -> None:
    """An authorization has the id of the operation that asked for it."""
    if event is not None:
        story.set_data(run, authorization_id=event.operation_id, renews=False)


def not_expired(story: Story, run: Run) -> bool:
    return not data_of(run).renews or data_of(run).capture_id is not None


SELLER_AGAIN_SECONDS_MIN, SELLER_AGAIN_SECONDS_MAX = 30, 900


def invoice_failed(story: Story, run: Run, event: invoicing.Failed) -> None:
    """A person corrects the cause and retries. A seller that is unknown or incomplete is asked for again by itself: at first
    after 30 seconds, then each time after as long as it has lasted, at most 15 minutes."""
    due_at = None
    if event.code in ("seller_unknown", "seller_incomplete"):
        lasted = (story.context.now - run.since).total_seconds()
        pause = min(max(lasted, SELLER_AGAIN_SECONDS_MIN), SELLER_AGAIN_SECONDS_MAX)
        due_at = story.context.now + timedelta(seconds=pause)
    story.set(run, waits="person", operation_id=None, due_at=due_at, detail=event.code)
    story.raise_exception("invoice_failed", f"{event.code}: {event.reason}")


def nothing_to_take(story: Story, run: Run) -> bool:
    return sum(line.amount_minor for line in data_of(run).lines) == 0


def no_capture(story: Story, run: Run) -> bool:
    return data_of(run).capture_id is not None or nothing_to_take(story, run)


def no_invoice(story: Story, run: Run) -> bool:
    return nothing_to_take(story, run) or not is_invoiced(story.order)


def was_captured(story: Story, run: Run, event: payments.Captured | Past | None) -> None:
    if event is not None:
        captures = story.facts.captures.values()
        capture_id = next(one.capture_id for one in captures if one.operation_id == event.operation_id)
        story.set_data(run, capture_id=capture_id)


def was_invoiced(story: Story, run: Run, event: invoicing.Issued | Past | None) -> None:
    if not any(one.step == "invoice" and one.waits == "person" for one in story.runs.values()):
        story.resolve_exception("invoice_failed")


def data_of(run: Run) -> SettleData:
    assert isinstance(run.data, SettleData)
    return run.data


# -- the undo ---------------------------------------------------------------------------------------------------------


def refund(story: Story, run: Run, operation: UUID) -> payments.Refund:
    """What is left of one capture."""
    assert story.order.content is not None
    capture = _unrefunded(story)[0]
    return payments.Refund(
        **story.addressed(operation),
        capture_id=capture.capture_id,
        currency=story.order.content.currency,
        lines=tuple(line.to_refund for line in capture.lines if line.amount_minor > line.refunded_minor),
    )


def _unrefunded(story: Story) -> list[CaptureFact]:
    return [capture for capture in story.facts.captures.values() if capture.unrefunded_minor]


def unrefunded(story: Story) -> int:
    return sum(capture.unrefunded_minor for capture in _unrefunded(story))


def credit(story: Story, run: Run, operation: UUID) -> invoicing.Credit:
    """What is left of one invoice."""
    invoice = _uncredited(story)[0].invoice_id
    assert invoice is not None
    return invoicing.Credit(**story.addressed(operation), invoice_id=invoice, reason=undo.data_of(run).cause)


def _uncredited(story: Story) -> list[CaptureFact]:
    return [capture for capture in story.facts.captures.values() if capture.uncredited_minor]


def uncredited(story: Story) -> int:
    return sum(capture.uncredited_minor for capture in _uncredited(story))


def leaves(story: Story, run: Run) -> Closed | None:
    """What it took is computed from its capture. The tax of a later one depends on what was taken before it, so that none
    leaves before those that began earlier have ended."""
    for earlier in story.runs.values():
        if earlier.id == run.id:
            break
        if earlier.kind == KIND and not earlier.end:
            return None
    if (capture := _capture_of(run, story.facts)) is not None:
        capture = capture.model_copy(update={"settled": True})
        story.note(captures={**story.facts.captures, str(capture.capture_id): capture})
        return Closed()
    return None if data_of(run).lines else Closed()  # a free line that is settled is not settled anew


# fmt: off
REFUND = Undo("refund", ask=refund, yes=payments.Refunded,  no={payments.Failed: undo.step_refused},     left=unrefunded)
CREDIT = Undo("credit", ask=credit, yes=invoicing.Credited, no={invoicing.Failed: undo.step_refused},  left=uncredited)

SETTLE = Process(KIND, SettleData, (
    #    step       command      yes                     no -> what it causes                         left out when         its end            undo
    Step(RENEW,     ask=renew,   yes=payments.Authorized, no={payments.Declined: renewal_declined},  skip=not_expired,     then=was_renewed),
    Step("capture", ask=capture, yes=payments.Captured,  no={payments.Failed: capture_failed},       skip=no_capture,      then=was_captured, undo=REFUND),
    Step("invoice", ask=issue,   yes=invoicing.Issued,   no={invoicing.Failed: invoice_failed},  skip=no_invoice,      then=was_invoiced, undo=CREDIT),
), leaves=leaves)
# fmt: on


def begin_captured(story: Story) -> None:
    """Settle every capture that is in no settle: its money is taken. A settle of which the same was refused takes it over."""
    own = {capture.capture_id for run in _of_order(story) if (capture := _capture_of(run, story.facts)) is not None}
    for capture in story.facts.captures.values():
        if capture.settled or capture.past or capture.capture_id in own:
            continue
        if (refused := _refused(story, capture)) is not None:
            story.enter_anew(story.set_data(refused, capture_id=capture.capture_id))
        elif (lines := _sold(story, capture)) is not None:
            data = SettleData(lines=lines, capture_id=capture.capture_id)
            story.begin(Run(id=story.next_id(KIND), data=data, since=story.context.now))
        else:
            story.add_remark(
                "capture_not_settled", f"capture {capture.capture_id} is not of what is sold and not captured"
            )


def _refused(story: Story, capture: CaptureFact) -> Run | None:
    """A settle that waits for a person because the capture of these amounts was refused."""
    amounts = {line.line_id: line.amount_minor for line in capture.lines}
    for run in _of_order(story):
        waits = run.step in TAKING and run.waits == "person" and not run.end
        if waits and {line.line_id: line.amount_minor for line in data_of(run).lines} == amounts:
            return run
    return None


def _sold(story: Story, capture: CaptureFact) -> tuple[MoneyLine, ...] | None:
    """What it took, where it is within what is in no settle yet. An amount without pieces is for its share of them."""
    rest, lines = left(story.present), list[MoneyLine]()
    for line in capture.lines:
        whole = rest.get(line.line_id)
        if whole is None or line.amount_minor > whole.amount_minor:
            return None
        pieces = line.quantity or _share(whole.quantity, line.amount_minor, whole.amount_minor)
        lines.append(_money_line(line.line_id, min(pieces, whole.quantity), line.amount_minor))
    return tuple(lines)


def begin_rest(story: Story) -> None:
    """Settle everything that is in no settle yet."""
    assert story.order.content is not None
    taken = _taken(story.runs, story.facts)
    _begin(story, [rest for line in payable(story.order.content) if (rest := _rest(line, taken)) is not None])


def left(order: Order) -> dict[str, MoneyLine]:
    """line id -> what is in no settle yet."""
    assert order.content is not None
    taken = _taken(order.runs, order.facts)
    return {line.line_id: rest for line in payable(order.content) if (rest := _rest(line, taken)) is not None}


def begin_by_hand(story: Story, wanted: Sequence[CaptureLine], answers: UUID) -> None:
    """Settle these pieces, or all that is left. Lines of which nothing is left are left out."""
    rest, lines = left(story.order), list[MoneyLine]()
    for one in wanted or [CaptureLine(line_id=line_id) for line_id in rest]:
        if (line := rest.get(one.line_id)) is not None:
            lines.append(_pieces(story, line, one.quantity))
    story.state(CaptureRequested, answers=answers, lines=tuple(lines), actor=story.context.actor)
    _begin(story, lines)


def _pieces(story: Story, rest: MoneyLine, quantity: int | None) -> MoneyLine:
    """So many pieces of what is left of a line: the parts of a line add up to it."""
    assert story.order.content is not None
    if quantity is None or quantity == rest.quantity:
        return rest
    whole = next(line for line in payable(story.order.content) if line.line_id == rest.line_id)
    before, amount_before = _taken(story.runs, story.facts).get(rest.line_id, (0, 0))
    amount = _share(whole.amount_minor, before + quantity, whole.quantity)
    return MoneyLine(line_id=rest.line_id, quantity=quantity, amount_minor=max(amount - amount_before, 0))


def begin_shipment(story: Story, pieces: Mapping[str, int]) -> None:
    """Settle what a shipment carried; with the first one also what does not ship: digital lines and the shipping charge.

    A line that ships in parts is taken in parts that add up to it: each time the share of all pieces so far, less what
    was taken. So is what an edit adds to pieces that have shipped: at most the rounding of their share.
    """
    assert story.order.content is not None
    taken = _taken(story.runs, story.facts)
    lines = []
    for line in payable(story.order.content):
        if line.ships:
            now = pieces.get(line.line_id, 0)
            before, amount_before = taken.get(line.line_id, (0, 0))
            so_far = min(before + now, line.quantity)
            amount = max(_share(line.amount_minor, so_far, line.quantity) - amount_before, 0)
            if now or amount:
                lines.append(MoneyLine(line_id=line.line_id, quantity=now, amount_minor=amount))
        elif (rest := _rest(line, taken)) is not None:
            lines.append(rest)
    _begin(story, lines)


def _rest(line: Payable, taken: Mapping[str, tuple[int, int]]) -> MoneyLine | None:
    """What of a line is in no settle yet."""
    if line.line_id not in taken:
        return line.money
    pieces, amount = taken[line.line_id]
    if amount >= line.amount_minor:
        return None
    return MoneyLine(
        line_id=line.line_id, quantity=max(line.quantity - pieces, 0), amount_minor=line.amount_minor - amount
    )


def _taken(runs: Mapping[str, Run], facts: Facts, before: Run | None = None) -> dict[str, tuple[int, int]]:
    """line id -> (pieces, amount) in settles: in all, or in those that began before one of them."""
    taken: dict[str, tuple[int, int]] = {}
    for capture in facts.captures.values():
        if capture.settled:
            _add(taken, capture.sold)
    for run in runs.values():
        if before is not None and run.id == before.id:
            break
        if isinstance(run.data, SettleData):
            own = _capture_of(run, facts)
            _add(taken, own.sold if own is not None else _amounts(run.data.lines))
    return taken


def _amounts(lines: Iterable[MoneyLine]) -> dict[str, tuple[int, int]]:
    return {line.line_id: (line.quantity, line.amount_minor) for line in lines}


def _add(taken: dict[str, tuple[int, int]], more: Mapping[str, tuple[int, int]]) -> None:
    for line_id, (pieces, minor) in more.items():
        quantity, amount = taken.get(line_id, (0, 0))
        taken[line_id] = (quantity + pieces, amount + minor)


def _begin(story: Story, lines: Sequence[MoneyLine]) -> None:
    if not lines:
        return
    for authorization_id, part in _by_authorization(story, lines):
        data = SettleData(lines=tuple(part), authorization_id=authorization_id)
        story.begin(Run(id=story.next_id(KIND), data=data, since=story.context.now))


def _by_authorization(story: Story, lines: Sequence[MoneyLine]) -> list[tuple[UUID | None, list[MoneyLine]]]:
    """The lines by the authorization that their capture draws on: what is left of the oldest first.

    What no authorization has is asked of the newest: payments refuses it, and a person sees why. A line that costs nothing
    is captured with an authorization that names it; where none does, there is nothing to take of it.
    """
    every = [*story.facts.authorizations.values()]
    known = [one for one in every if not one.spent or one is every[-1]]
    authorizations = [one.authorization_id for one in known]
    parts: dict[UUID | None, list[MoneyLine]] = {name: [] for name in (*authorizations, None)}
    left = _left(story) if len(authorizations) > 1 else {}
    for line in lines:
        if not line.amount_minor:
            named = (one.authorization_id for one in known if line.line_id in one.authorized)
            parts[next(named, None)].append(line)
        elif len(authorizations) < 2:
            parts[authorizations[0] if authorizations else None].append(line)
        else:
            for name, part in _shared(line, authorizations, left):
                parts[name].append(part)
    return [(name, part) for name, part in parts.items() if part]


def _shared(
    line: MoneyLine, authorizations: Sequence[UUID], left: Mapping[UUID, Mapping[str, int]]
) -> Iterator[tuple[UUID, MoneyLine]]:
    pieces = amount = 0
    for name in authorizations:
        rest = line.amount_minor - amount
        drawn = rest if name == authorizations[-1] else min(rest, max(left.get(name, {}).get(line.line_id, 0), 0))
        if drawn:
            amount += drawn
            so_far = _share(line.quantity, amount, line.amount_minor)
            yield name, MoneyLine(line_id=line.line_id, quantity=so_far - pieces, amount_minor=drawn)
            pieces = so_far


def _left(story: Story) -> dict[UUID, dict[str, int]]:
    """authorization -> line id -> what is left, without what settles are going to capture."""
    left = {one.authorization_id: one.left_by_line for one in story.facts.unspent}
    for run in story.runs.values():
        if isinstance(run.data, SettleData) and not run.end and not is_captured(run, story.facts):
            drawn_on = _drawn_on(run, story.facts)
            own = left.get(drawn_on, {}) if drawn_on is not None else {}
            for line in run.data.lines:
                own[line.line_id] = own.get(line.line_id, 0) - line.amount_minor
    return left


def _drawn_on(run: Run, facts: Facts) -> UUID | None:
    """The authorization that its capture draws on: while the settle is suspended, its renewal may have been answered. None: it is
    still to be renewed."""
    data = data_of(run)
    if not data.renews:
        return data.authorization_id
    return run.operation_id if str(run.operation_id) in facts.authorizations else None


def _is_to_be_renewed(run: Run, facts: Facts) -> bool:
    return not run.end and data_of(run).renews and not is_captured(run, facts) and _drawn_on(run, facts) is None


def renewing(runs: Mapping[str, Run], facts: Facts) -> dict[str, int]:
    """line id -> minor units that are held by no authorization, because settles are going to ask for another one."""
    amounts: dict[str, int] = {}
    for run in runs.values():
        if isinstance(run.data, SettleData) and _is_to_be_renewed(run, facts):
            for line in run.data.lines:
                amounts[line.line_id] = amounts.get(line.line_id, 0) + line.amount_minor
    return amounts


def is_captured(run: Run, facts: Facts) -> bool:
    return _capture_of(run, facts) is not None


def _capture_of(run: Run, facts: Facts) -> CaptureFact | None:
    """The capture of a settle; while the settle is suspended, only the fact names its operation."""
    if not isinstance(run.data, SettleData):
        return None
    capture_id = run.data.capture_id
    if capture_id is not None:
        return facts.captures[str(capture_id)]
    if run.operation_id is None:
        return None
    return next((one for one in facts.captures.values() if one.operation_id == run.operation_id), None)


# -- an edit of the order ---------------------------------------------------------------------------------------------


def captured(runs: Mapping[str, Run], facts: Facts) -> dict[str, tuple[int, int]]:
    """line id -> (pieces, amount) that was captured and that no edit has given back."""
    taken: dict[str, tuple[int, int]] = {}
    for capture in _captures(runs, facts):
        _add(taken, capture.sold)
    return taken


def _captures(runs: Mapping[str, Run], facts: Facts) -> list[CaptureFact]:
    """The captures of the order's settles, the oldest first: not those of before it was placed anew."""
    own = {capture.capture_id for run in runs.values() if (capture := _capture_of(run, facts)) is not None}
    return [one for one in facts.captures.values() if one.settled or one.capture_id in own]


def before_edit(story: Story) -> None:
    """What is captured and not invoiced will be invoiced as it was sold."""
    for run in _of_order(story):
        if not run.end and is_captured(run, story.facts) and not data_of(run).to_invoice:
            story.set_data(run, to_invoice=_to_invoice(story, run))


def after_edit(story: Story, returned: Iterable[MoneyLine]) -> list[tuple[UUID, tuple[MoneyLine, ...]]]:
    """Takes off the settles what is no longer to be paid. Returns what goes back of each capture, the newest first."""
    back = {line.line_id: line for line in returned}
    parts = [
        (capture.capture_id, lines)
        for capture in reversed(_captures(story.runs, story.facts))
        if back and (lines := _give_back(story, capture, back))
    ]
    assert story.order.content is not None
    kept = captured(story.runs, story.facts)
    left = {
        line.line_id: line.amount_minor - kept.get(line.line_id, (0, 0))[1] for line in payable(story.order.content)
    }
    open_ones = [run for run in _of_order(story) if not run.end and not is_captured(run, story.facts)]
    for run in sorted(open_ones, key=lambda one: _is_to_be_renewed(one, story.facts)):  # what is held is taken first
        _trim(story, run, left)
    return parts


def _give_back(story: Story, capture: CaptureFact, back: dict[str, MoneyLine]) -> tuple[MoneyLine, ...]:
    """What of `back` this capture has, which is taken from it. What a refund has given back before does not go back twice."""
    sold, returned, refund = capture.sold, {**capture.returned}, list[MoneyLine]()
    for line in capture.lines:
        pieces, amount = sold[line.line_id]
        if (wanted := back.get(line.line_id)) is None or amount <= 0:
            continue
        now = _money_line(line.line_id, min(wanted.quantity, max(pieces, 0)), min(wanted.amount_minor, amount))
        _add(returned, _amounts([now]))
        rest = _money_line(line.line_id, wanted.quantity - now.quantity, wanted.amount_minor - now.amount_minor)
        back.pop(line.line_id)
        if rest.amount_minor:
            back[line.line_id] = rest
        left = line.to_refund
        if left.amount_minor:
            amount = min(now.amount_minor, left.amount_minor)
            refund.append(_money_line(line.line_id, min(now.quantity, left.quantity), amount))
    if returned != capture.returned:
        capture = capture.model_copy(update={"returned": returned})
        story.note(captures={**story.facts.captures, str(capture.capture_id): capture})
    return tuple(refund)


def _money_line(line_id: str, quantity: int, amount_minor: int) -> MoneyLine:
    return MoneyLine(line_id=line_id, quantity=quantity, amount_minor=amount_minor)


def _trim(story: Story, run: Run, left: dict[str, int]) -> None:
    """A settle that has captured nothing takes at most what is left of each line; it ends if that is nothing."""
    lines = []
    for line in data_of(run).lines:
        if line.line_id not in left:
            continue  # nothing of it is sold any more
        amount = min(line.amount_minor, max(left[line.line_id], 0))
        left[line.line_id] -= amount
        if amount == line.amount_minor:
            lines.append(line)
        elif amount:
            lines.append(_money_line(line.line_id, _share(line.quantity, amount, line.amount_minor), amount))
    if tuple(lines) != data_of(run).lines:
        run = story.set_data(run, lines=tuple(lines))
        if not lines:
            story.set(run, end="undone", waits="", operation_id=None, due_at=None, detail="")


def _of_order(story: Story) -> list[Run]:
    return [run for run in story.runs.values() if isinstance(run.data, SettleData)]


def begin_due(story: Story) -> None:
    """After an edit: settles what the market's option would have settled by now."""
    order, place = story.order, story.runs.get("place")
    assert order.content is not None
    match capture_option(order):
        case "on_placement":
            begin_rest(story)
        case "on_approval" if order.approved_at is not None:
            begin_rest(story)
        case "per_shipment" if order.approved_at is not None:
            ships = any(line.ships for line in payable(order.content))
            if not ships or any(_of_order(story)) or (place is not None and place.end == "done"):
                begin_shipment(story, {})
        case _:
            pass  # that moment is to come
