"""Edits and refunds that have left their order's document: the journal has them whole, each under the id of its request."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from fastapi import Response

from chassis import journal
from chassis.declare.app import App, Principal
from chassis.http.bodies import as_json
from chassis.http.problems import respond
from orders.api.loading import load
from orders.domain.state.order import Order, ProcessClosed, RefundAdopted
from orders.domain.state.run import Run

TYPES: Final = (ProcessClosed.TYPE, RefundAdopted.TYPE)
LEFT: Final = None
"""What a request is answered with if the edit or refund has left the document; `filled` puts it in."""
_LEFT: Final = b"null"
_CARRIED: Final = ("etag", "location", "idempotency-replayed")


async def closed_runs(app: App, who: Principal, order_id: UUID, order: Order, kind: str) -> list[Run]:
    """Returns those of a kind, the oldest first."""
    if not order.closed:
        return []
    runs = _runs(await journal.entries(app.read, "orders", who.store_id, order_id, only=TYPES), kind)
    return [run for request_id, run in runs.items() if f"{kind}:{request_id}" in order.closed]


async def closed_run(app: App, who: Principal, order_id: UUID, order: Order, kind: str, request_id: UUID) -> Run | None:
    """Returns the one of a request; None if there is none of this kind."""
    if f"{kind}:{request_id}" not in order.closed:
        return None
    found = await journal.entries(app.read, "orders", who.store_id, order_id, operation_id=request_id, only=TYPES)
    return _runs(found, kind).get(request_id)


def _runs(found: Sequence[journal.Entry], kind: str) -> Mapping[UUID, Run]:
    """By request. A refund that an edit causes has the id of the edit."""
    runs: dict[UUID, Run] = {}
    for entry in found:
        if entry.type == ProcessClosed.TYPE:
            closed = ProcessClosed.model_validate_json(entry.payload)
            if closed.operation_id is not None and closed.run.kind == kind:
                runs[closed.operation_id] = closed.run
        else:
            adopted = RefundAdopted.model_validate_json(entry.payload)
            if (run := runs.get(adopted.refund_id)) is None:
                continue
            data = run.data.model_copy(update={"reference": adopted.reference})
            runs[adopted.refund_id] = run.model_copy(update={"data": data})
    return runs


async def filled(
    answer: Response, app: App, who: Principal, order_id: UUID, kind: str, request_id: UUID,
    shown: Callable[[Order, Run], Any],
) -> Response:  # fmt: skip
    """Returns the answer to a request. If what it is about has left the order's document, nothing was changed, and the answer
    has no body: it is read from the journal, also when the answer is repeated for its Idempotency-Key."""
    if bytes(answer.body) != _LEFT:
        return answer
    order, _ = await load(app, who, order_id)
    run = await closed_run(app, who, order_id, order, kind, request_id)
    assert run is not None, "the request was carried out on it"
    headers = {name: answer.headers[name] for name in _CARRIED if name in answer.headers}
    return respond(as_json(answer.status_code, shown(order, run), headers))
