"""Which settles begin, and when: by the option of the order's market, by hand, for a parcel, for what was captured elsewhere.

A capture draws on one authorization: where an order has several, what is settled at once is as many settles.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from uuid import UUID

from contracts.orders import CaptureLine, CaptureRequested
from contracts.payments import MoneyLine
from orders.domain.content.amounts import payable
from orders.domain.content.facts import CaptureFact
from orders.domain.engine.story import Story
from orders.domain.processes.settled import (
    KIND,
    TAKING,
    SettleData,
    authorization_of,
    capture_of,
    data_of,
    is_captured,
    left,
    money_line,
    of_order,
    rest_of,
    share_of,
    taken_by_settles,
)
from orders.domain.state.order import capture_option
from orders.domain.state.run import Run


def begin_captured(story: Story) -> None:
    """Settle every capture that is in no settle: its money is taken. A settle of which the same was refused takes it over."""
    own = {capture.capture_id for run in of_order(story) if (capture := capture_of(run, story.facts)) is not None}
    for capture in story.facts.captures.values():
        if capture.settled or capture.past or capture.reversal_id is not None or capture.capture_id in own:
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
    for run in of_order(story):
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
        pieces = line.quantity or share_of(whole.quantity, line.amount_minor, whole.amount_minor)
        lines.append(money_line(line.line_id, min(pieces, whole.quantity), line.amount_minor))
    return tuple(lines)


def begin_rest(story: Story) -> None:
    """Settle everything that is in no settle yet."""
    assert story.order.content is not None
    taken = taken_by_settles(story.runs, story.facts)
    _begin(story, [rest for line in payable(story.order.content) if (rest := rest_of(line, taken)) is not None])


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
    before, amount_before = taken_by_settles(story.runs, story.facts).get(rest.line_id, (0, 0))
    amount = share_of(whole.amount_minor, before + quantity, whole.quantity)
    return MoneyLine(line_id=rest.line_id, quantity=quantity, amount_minor=max(amount - amount_before, 0))


def begin_shipment(story: Story, pieces: Mapping[str, int]) -> None:
    """Settle what a shipment carried; with the first one also what does not ship: digital lines and the shipping charge.

    A line that ships in parts is taken in parts that add up to it: each time the share of all pieces so far, less what
    was taken. So is what an edit adds to pieces that have shipped: at most the rounding of their share.
    """
    assert story.order.content is not None
    taken = taken_by_settles(story.runs, story.facts)
    lines = []
    for line in payable(story.order.content):
        if line.ships:
            now = pieces.get(line.line_id, 0)
            before, amount_before = taken.get(line.line_id, (0, 0))
            so_far = min(before + now, line.quantity)
            amount = max(share_of(line.amount_minor, so_far, line.quantity) - amount_before, 0)
            if now or amount:
                lines.append(MoneyLine(line_id=line.line_id, quantity=now, amount_minor=amount))
        elif (rest := rest_of(line, taken)) is not None:
            lines.append(rest)
    _begin(story, lines)


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
            if not ships or any(of_order(story)) or (place is not None and place.end == "done"):
                begin_shipment(story, {})
        case _:
            pass  # that moment is to come


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
            so_far = share_of(line.quantity, amount, line.amount_minor)
            yield name, MoneyLine(line_id=line.line_id, quantity=so_far - pieces, amount_minor=drawn)
            pieces = so_far


def _left(story: Story) -> dict[UUID, dict[str, int]]:
    """authorization -> line id -> what is left, without what settles are going to capture."""
    left = {one.authorization_id: one.left_by_line for one in story.facts.unspent}
    for run in story.runs.values():
        if isinstance(run.data, SettleData) and not run.end and not is_captured(run, story.facts):
            drawn_on = authorization_of(run, story.facts)
            own = left.get(drawn_on, {}) if drawn_on is not None else {}
            for line in run.data.lines:
                own[line.line_id] = own.get(line.line_id, 0) - line.amount_minor
    return left
