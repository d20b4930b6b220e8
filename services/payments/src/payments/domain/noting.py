"""The open differences of an order, in its ledger: so that their changes are published under the order, in their sequence."""

from __future__ import annotations

from uuid import UUID

from contracts.base import Command, OrderKeyed
from contracts.deciding import Context, Effect
from contracts.differences import ORDER_DIFFERENCES_MAX, DifferencesChanged, OpenDifference
from payments.domain.ledger import Ledger


class NoteDifference(OrderKeyed, Command, type="payments.note_difference"):
    """A difference of the order has opened, or has changed; or it is closed."""

    difference_id: UUID
    open: OpenDifference | None


def note(ledger: Ledger, command: NoteDifference, context: Context) -> list[Effect]:
    others = {key: one for key, one in ledger.differences.items() if key != command.difference_id}
    if command.open is not None and command.difference_id in ledger.differences:
        now = {**ledger.differences, command.difference_id: command.open}  # it keeps its place
    else:
        now = others if command.open is None else {**others, command.difference_id: command.open}
    if now == ledger.differences or len(now) > ORDER_DIFFERENCES_MAX:
        return []
    return [
        DifferencesChanged(
            order_id=context.key, store_id=context.store_id, operation_id=command.operation_id, open=tuple(now.values())
        )
    ]


def folded(ledger: Ledger, event: DifferencesChanged) -> Ledger:
    return ledger.model_copy(update={"differences": {one.difference_id: one for one in event.open}})
