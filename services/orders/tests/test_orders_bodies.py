"""Bodies of requests that move money or end an order: a misspelt field is refused, so that nothing else is done than what was meant."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, ValidationError

from contracts.orders import CaptureOrder, Refund
from orders.api.captures import CaptureBody
from orders.api.edits import ConfirmBody
from orders.api.force import ForceBody
from orders.api.refunds import RefundBody
from orders.api.requests import CancelBody, ResolveBody

LINE = {"line_id": "1", "quantity": 1}
FORCED = {"operation_id": str(UUID(int=1)), "outcome": "failed"}


@pytest.mark.parametrize(
    ("body", "stated", "misspelt"),
    [
        (RefundBody, {"lines": [LINE]}, {"dryrun": True}),
        (RefundBody, {"lines": [LINE]}, {"amount_minor": 100}),
        (RefundBody, {}, {"lines": [LINE | {"restock": True}]}),
        (CaptureBody, {}, {"line": [LINE]}),
        (CaptureBody, {}, {"lines": [{"line_id": "1", "qty": 1}]}),
        (CancelBody, {"reason": "late"}, {"dry_run": True}),
        (ConfirmBody, {}, {"previw": "p1"}),
        (ForceBody, FORCED, {"amount_minor": 1}),
        (ResolveBody, {"resolution": "keep"}, {"until": "2026-12-01"}),
    ],
)
def test_a_misspelt_field_is_refused(body: type[BaseModel], stated: dict[str, Any], misspelt: dict[str, Any]) -> None:
    body.model_validate(stated)
    with pytest.raises(ValidationError) as refused:
        body.model_validate(stated | misspelt)
    assert [error["type"] for error in refused.value.errors()] == ["extra_forbidden"]


def test_a_body_is_the_command_that_it_asks_for() -> None:
    """Commands of later releases may have further fields: on the topic they are ignored."""
    keyed: dict[str, Any] = {"order_id": UUID(int=1), "store_id": "st_1", "operation_id": UUID(int=2), "actor": "a"}
    captured = CaptureOrder(**keyed, lines=CaptureBody.model_validate({"lines": [LINE]}).lines)
    assert captured.model_dump(mode="json")["lines"] == [LINE]
    refunded = Refund(**keyed, lines=RefundBody.model_validate({"lines": [LINE]}).lines)
    assert refunded.model_dump(mode="json")["lines"] == [LINE | {"amount_minor": None}]
    with pytest.raises(ValidationError, match="may be listed once"):
        CaptureBody.model_validate({"lines": [LINE, LINE]})
