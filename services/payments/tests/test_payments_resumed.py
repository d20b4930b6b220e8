"""A ledger that was restored from a backup goes on asking what became of the operations that a gateway answers later."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from contracts.payments import Authorized, MoneyLine, Pending
from payments.domain.answers import resumed
from payments.domain.folds import evolve
from payments.domain.gateway import GatewayCall, follow_up
from payments.domain.ledger import Ledger

ORDER, OPERATION = UUID(int=1), UUID(int=2)
LINES = (MoneyLine(line_id="1", quantity=1, amount_minor=900),)
PENDING = Pending(
    order_id=ORDER, store_id="shop", operation_id=OPERATION, currency="GBP", command="authorize", gateway="test",
    since=datetime(2026, 11, 20, tzinfo=UTC), lines=LINES, amount_minor=900,
)  # fmt: skip
AUTHORIZED = Authorized(
    order_id=ORDER, store_id="shop", operation_id=OPERATION, currency="GBP", authorization_id=OPERATION, gateway="test",
    lines=LINES, amount_minor=900,
)  # fmt: skip


def test_a_pending_operation_is_asked_after_by_the_task_that_asked_before_the_backup() -> None:
    call = GatewayCall(operation_id=OPERATION, gateway="test", kind="authorize", order_id=ORDER, store_id="shop",
                       currency="GBP", amount_minor=900)  # fmt: skip
    assert resumed(ORDER, "shop", evolve(Ledger(), PENDING)) == [follow_up(call)]


def test_an_operation_that_was_answered_is_not_asked_after_again() -> None:
    assert resumed(ORDER, "shop", evolve(evolve(Ledger(), PENDING), AUTHORIZED)) == []
