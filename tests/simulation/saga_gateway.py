"""The payment gateways of the simulation, and the payment systems elsewhere that only inform of what they did.

What a gateway did with an operation it never changes. It may refuse, answer later, answer twice, report a captured authorization,
state how long a buyer has, find an authorization expired when it is to capture, and open disputes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal
from uuid import UUID

from saga_orders import STORE

from contracts.deciding import Refusal, Reported, Task
from contracts.payments import PAYMENT_ABANDONED, Outcome, Record
from payments.domain.answers import EXPIRED
from payments.domain.disputes import DISPUTE_KIND, DisputeCall, DisputeState
from payments.domain.gateway import INFORMED, GatewayCall, GatewayOutcome
from payments.domain.operation import Operation

if TYPE_CHECKING:
    from saga_world import World

Says = Literal["yes", "no", "expired"]


class Gateway:
    def __init__(self, world: World) -> None:
        self.world = world
        self.truth: dict[UUID, GatewayOutcome] = {}
        """What it did with an operation."""

    # -- what it is asked ---------------------------------------------------------------------------------------------

    def tasks(self) -> list[Task]:
        """The first of each order that moves money: one at a time per key."""
        first: dict[UUID, Task] = {}
        for task in self.world.payments.tasks.values():
            if isinstance(task.body, GatewayCall):
                first.setdefault(task.body.order_id, task)
        return list(first.values())

    def run(self, task: Task, *, says: Says = "yes", pending: bool = False, pays_within: float | None = None) -> None:
        """It does what it is asked, or refuses; `pending`: it answers later. `expired` is the answer to a capture alone.
        pays_within: how long the buyer has to pay an authorization that is pending, seconds."""
        call = task.body
        assert isinstance(call, GatewayCall)
        if call.operation_id not in self.truth:
            self.truth[call.operation_id] = _outcome(call, says)
        outcome = self.truth[call.operation_id]
        if pending and not call.ask_only:
            expires = pays_within if call.kind == "authorize" else None
            outcome = GatewayOutcome(state="pending", expires_in_seconds=expires)
        del self.world.payments.tasks[task.task_id]
        self._report(task, outcome)

    def report_again(self, n: int) -> None:
        """Who lost its lease reports too."""
        if self.truth:
            operation_id = list(self.truth)[n % len(self.truth)]
            for key, ledger in self.world.payments.states().items():
                operation = ledger.operations.get(operation_id)
                if operation is not None and operation.gateway == "test" and operation.kind not in ("prepay", "return"):
                    call = GatewayCall(
                        operation_id=operation_id, gateway="test", kind=operation.kind, order_id=key,
                        store_id=STORE, currency="EUR", amount_minor=operation.amount_minor,
                        refers_to=operation.refers_to,
                    )  # fmt: skip
                    if not operation.is_open:
                        self._report(Task(operation_id, "gateway", call), self.truth[operation_id])

    def _report(self, task: Task, outcome: GatewayOutcome | DisputeState) -> None:
        assert isinstance(task.body, (GatewayCall, DisputeCall))
        report = Reported(task.task_id, task.kind, task.body, outcome)
        self.world.payments.handle(report, task.body.order_id, self.world.name(), kind=f"task:{task.kind}")

    def has_expired(self, key: UUID) -> bool:
        """Whether an authorization of an order has expired, or was paid after its time: it is voided."""
        ledger = self.world.payments.states().get(key)
        operations = ledger.operations.values() if ledger is not None else ()
        return any(one.abandoned or one.code in (EXPIRED, PAYMENT_ABANDONED) for one in operations)

    # -- disputes -----------------------------------------------------------------------------------------------------

    def disputes(self) -> list[Task]:
        return [task for task in self.world.payments.tasks.values() if task.kind == DISPUTE_KIND]

    def states(self, task: Task, state: Literal["open", "won", "lost"], payment: str, amount_minor: int) -> None:
        """What it states about a dispute of a payment: it withholds all of it until the dispute is won."""
        withheld = 0 if state == "won" else amount_minor
        del self.world.payments.tasks[task.task_id]
        self._report(
            task, DisputeState(state=state, payment=payment, amount_minor=amount_minor, withheld_minor=withheld)
        )

    # -- payment systems elsewhere ------------------------------------------------------------------------------------

    def awaited(self) -> list[tuple[UUID, UUID, Operation]]:
        """Order, id and operation of what payments waits to be informed of."""
        return [
            (key, operation_id, operation)
            for key, ledger in sorted(self.world.payments.states().items())
            for operation_id, operation in ledger.operations.items()
            if operation.state == "pending" and operation.gateway in INFORMED
        ]

    def inform(self, key: UUID, operation: Operation, outcome: Outcome = "succeeded") -> Refusal | None:
        assert operation.kind != "reverse" and operation.currency is not None
        return self.world.request(
            Record(
                order_id=key, store_id=STORE, operation_id=self.world.name(), actor="api-key:till", kind=operation.kind,
                system="psp", payment_id=str(self.world.name()), currency=operation.currency, lines=operation.gateway_lines,
                refers_to=operation.refers_to, capture=operation.with_capture and self.world.n % 2 == 0, outcome=outcome,
            )
        )  # fmt: skip


def _outcome(call: GatewayCall, says: Says) -> GatewayOutcome:
    if says == "expired" and call.kind == "capture":
        return GatewayOutcome(state="refused", code=EXPIRED)
    if says == "no":
        return GatewayOutcome(state="refused", code="no_funds")
    captured = call.capture and call.operation_id.int % 2 == 0  # half of the calls are to a gateway that can do both
    return GatewayOutcome(state="succeeded", gateway_reference=f"tg_{call.operation_id}", captured=captured)
