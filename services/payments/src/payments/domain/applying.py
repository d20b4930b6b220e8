"""What applies a proposal: the commands that bring the ledger, or the gateway, to the other side.

They are those that a person could give: `record` what the gateway has made, `force` the outcome that it has, `refund` what it
took twice. Each has its effect once, however often it is given: its operation is derived from the difference and the decision.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from contracts.base import Command
from contracts.differences import OurSide, TheirSide
from contracts.ids import derived, recorded_id
from contracts.payments import Force, MoneyLine, Record, Refund
from payments.domain.differences import About
from payments.domain.ledger import Ledger
from payments.domain.operation import capture_id_of


class Unappliable(Exception):
    """The proposal cannot be carried out. The text states why."""


def commands(
    ledger: Ledger, difference_id: UUID, about: About, attempt: int, who: Mapping[str, Any]
) -> Sequence[Command]:
    """The commands of a proposal, in their order. who: `store_id` and `actor`. attempt: counts the decisions to apply it; what
    was refused before may be given again under another. Raises Unappliable."""
    operation_id = derived(difference_id, f"applied {attempt}")
    if about.proposal not in ("book", "refund") or about.order_id is None or about.theirs is None:
        raise Unappliable("no correction is proposed: a person finds out what has happened")
    given = {**who, "order_id": about.order_id}
    if about.kind == "state_differs":
        assert about.ours is not None, "it differs from ours"
        return [
            Force(
                **given, operation_id=operation_id, target_operation_id=about.ours.operation_id, outcome="succeeded",
                reference=about.theirs.reference, reason="the gateway lists it as succeeded",
            )
        ]  # fmt: skip
    if about.proposal == "refund":
        assert about.ours is not None, "it was made twice"
        return _given_back(ledger, about, about.ours, about.theirs, operation_id, given)
    return [booked(ledger, about.gateway, about.theirs, operation_id, given)]


def booked(ledger: Ledger, gateway: str, theirs: TheirSide, operation_id: UUID, given: Mapping[str, Any]) -> Record:
    """Records a capture or a refund that the gateway has made without us, on what it draws on. Raises Unappliable."""
    names = {theirs.reference, *theirs.names}
    if theirs.kind == "capture":
        sources = {key: ledger.free(key) for key in ledger.authorizations if _is_named(ledger, key, names)}
    elif theirs.kind == "refund":
        sources = {key: ledger.refundable(key) for key in ledger.captures if _is_named(ledger, key, names)}
    else:
        raise Unappliable(f"{theirs.kind} is no kind of this release")
    if not sources:
        raise Unappliable(f"the order has nothing that this {theirs.kind} draws on")
    enough = (key for key, left in sources.items() if sum(left.values()) >= theirs.amount_minor)
    source = next(enough, next(iter(sources)))
    return Record(
        **given, operation_id=operation_id, kind=theirs.kind, system=gateway, payment_id=theirs.reference,
        currency=theirs.currency, lines=allotted(theirs.amount_minor, sources[source]), refers_to=source,
    )  # fmt: skip


def _is_named(ledger: Ledger, key: UUID, names: set[str]) -> bool:
    """Whether an authorization or a capture, or what the capture draws on, has one of the names."""
    known: list[str | None] = [str(key)]
    if key in ledger.captures:
        capture = ledger.captures[key]
        known += [capture.gateway_reference, str(capture.authorization_id)]
        key = capture.authorization_id
    if key in ledger.authorizations:
        known.append(ledger.authorizations[key].gateway_reference)
    return not names.isdisjoint(name for name in known if name is not None)


def _given_back(
    ledger: Ledger, about: About, ours: OurSide, theirs: TheirSide, operation_id: UUID, given: Mapping[str, Any],
) -> Sequence[Command]:  # fmt: skip
    """Books the second capture, so that the books have all that the gateway has moved; then its gateway refunds it."""
    first = ledger.captures.get(ours.operation_id)
    if first is None:
        raise Unappliable(f"the order has no capture {ours.operation_id}")
    if any(capture.gateway_reference == theirs.reference for capture in ledger.captures.values()) and (
        recorded_id(given["store_id"], about.gateway, "authorize", theirs.reference) not in ledger.authorizations
    ):
        raise Unappliable(f"the ledger has {theirs.reference} by now")
    lines = allotted(theirs.amount_minor, {line_id: line.captured_minor for line_id, line in first.lines.items()})
    capture_id = capture_id_of(recorded_id(given["store_id"], about.gateway, "authorize", theirs.reference))
    return [
        Record(
            **given, operation_id=operation_id, kind="authorize", capture=True, gateway=about.gateway, system=about.gateway, account=first.account,
            payment_id=theirs.reference, currency=theirs.currency, lines=lines,
        ),
        Refund(
            **given, operation_id=derived(operation_id, "refund"), capture_id=capture_id, currency=theirs.currency, lines=lines
        ),
    ]  # fmt: skip


def allotted(amount_minor: int, left: Mapping[str, int]) -> tuple[MoneyLine, ...]:
    """The amount over lines, the first ones filled first; their sum is always the amount.

    What has no room is on the last line, so that the ledger refuses it with the line and what is left.

    >>> [(one.line_id, one.amount_minor) for one in allotted(700, {"1": 500, "2": 0, "3": 400})]
    [('1', 500), ('3', 200)]
    """
    parts = dict(_parts(amount_minor, left))
    rest = amount_minor - sum(parts.values())
    if rest and left:
        last = [*left][-1]
        parts[last] = parts.get(last, 0) + rest
    return tuple(MoneyLine(line_id=line_id, quantity=0, amount_minor=minor) for line_id, minor in parts.items())


def _parts(amount_minor: int, left: Mapping[str, int]) -> Iterable[tuple[str, int]]:
    for line_id, room in left.items():
        part = min(amount_minor, room)
        if part > 0:
            amount_minor -= part
            yield line_id, part
