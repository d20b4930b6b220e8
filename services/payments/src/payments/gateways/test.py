"""The gateway `test`: `gatewayservers.plain`. POST /operations, GET /operations/{key}, GET /operations?reference=, GET /movements,
POST /cancellations."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import Field, ValidationError

from contracts.base import Frozen, Id, MinorUnsigned, Timestamp
from contracts.money import Currency
from payments.domain.gateway import GatewayCall, GatewayOutcome
from payments.domain.listing import Listed, ListedPage, Listing
from payments.gateways.http import Answer, Http
from payments.gateways.port import Action, Unclear, outcome

STATED: Final = (200, 201, 202, 402)
"""Answers that state an operation: asked after, succeeded, pending, refused."""
PAGE_ROWS: Final = 500
"""Rows of a page of the list. Its answer stays within the limit of `gateways.http`."""


class TestGateway:
    __test__ = False  # not a test class

    def __init__(self, url: str, timeout_seconds: float) -> None:
        self._http, self._url = Http(url, timeout_seconds), url.rstrip("/")

    async def call(self, call: GatewayCall) -> GatewayOutcome:
        answer = await self._http.request(
            "POST",
            "/operations",
            headers={"Idempotency-Key": str(call.operation_id)},
            json={
                "kind": call.kind,
                "order_id": str(call.order_id),
                "amount_minor": call.amount_minor,
                "currency": call.currency,
                "refers_to": str(call.refers_to) if call.refers_to else None,
                "reference": str(call.operation_id),
                "statement": call.reference,
                "account": call.store_id,
                "source": call.source,
                "payment_token": call.payment_token,
            },
        )
        if answer.status in STATED:
            return _read(answer.body, call)
        # Everything else (a key used for another body, too many calls, wrong credentials, an error of its own) states
        # nothing about the operation: only 402 is a no.
        raise Unclear(f"{call.kind} {call.operation_id} was answered with status {answer.status}")

    async def by_key(self, call: GatewayCall) -> GatewayOutcome | None:
        return await self._known(f"/operations/{call.operation_id}", call)

    async def by_reference(self, call: GatewayCall) -> GatewayOutcome | None:
        return await self._known("/operations", call, reference=str(call.operation_id))

    async def action(self, call: GatewayCall) -> Action | None:
        answer = await self._http.request("GET", "/operations", params={"reference": str(call.operation_id)})
        waiting = _parsed(answer.body, call).buyer if answer.status == 200 else None
        return Action("confirm", redirect_url=self._url + waiting) if waiting else None

    async def abandon(self, call: GatewayCall) -> GatewayOutcome | None:
        wanted = {"reference": str(call.operation_id)}
        return _found(await self._http.request("POST", "/cancellations", json=wanted), call)

    async def listed(self, asked: Listing) -> ListedPage:
        query = {
            "account": asked.store_id,
            "begin": asked.begins_at.isoformat(),
            "end": asked.ends_at.isoformat(),
            "limit": str(PAGE_ROWS),
        }
        if asked.cursor is not None:
            query |= {"cursor": asked.cursor}
        answer = await self._http.request("GET", "/movements", params=query)
        if answer.status != 200:
            raise Unclear(f"the list of movements was answered with status {answer.status}")
        try:
            page = Movements.model_validate(answer.body)
        except ValidationError as error:
            raise Unclear(f"the list of movements does not read: {error.error_count()} errors") from error
        rows = [
            Listed(one.kind, one.reference, one.names, one.currency, one.amount_minor, one.at) for one in page.movements
        ]
        return ListedPage(rows, page.cursor)

    async def close(self) -> None:
        await self._http.close()

    async def _known(self, path: str, call: GatewayCall, **query: str) -> GatewayOutcome | None:
        return _found(await self._http.request("GET", path, params=query), call)


class Operation(Frozen):
    """The body of an answer."""

    operation: str
    """The idempotency key that it received."""
    state: Literal["succeeded", "pending", "refused"]
    reference: str | None = Field(None, max_length=500)
    amount_minor: MinorUnsigned | None = None
    code: str = ""
    reason: str = ""
    buyer: str | None = Field(None, pattern=r"^/buyers/[!-~]+$")
    """The path at which its buyer pays, while it waits for that."""


class Moved(Frozen):
    kind: Literal["capture", "refund"]
    reference: Id
    operation: Id
    """The idempotency key that it received."""
    refers_to: Id | None = None
    """That of what it draws on."""
    currency: Currency
    amount_minor: MinorUnsigned
    at: Timestamp

    @property
    def names(self) -> tuple[str, ...]:
        return (self.operation,) if self.refers_to is None else (self.operation, self.refers_to)


class Movements(Frozen):
    """A page of the list."""

    movements: tuple[Moved, ...]
    cursor: Id | None = None


def _found(answer: Answer, call: GatewayCall) -> GatewayOutcome | None:
    """What the gateway has of an operation; None if it has none."""
    if answer.status == 404 and isinstance(answer.body, dict) and answer.body.get("code") == "unknown_operation":
        return None  # the gateway's own 404; another 404 may come from a proxy or a wrong address
    if answer.status in STATED:
        return _read(answer.body, call)
    raise Unclear(f"asking after {call.operation_id} was answered with status {answer.status}")


def _read(body: Any, call: GatewayCall) -> GatewayOutcome:
    read = _parsed(body, call)
    return outcome(
        read.state,
        reference=read.reference,
        amount_minor=read.amount_minor,
        code=read.code,
        reason=read.reason,
    )


def _parsed(body: Any, call: GatewayCall) -> Operation:
    try:
        read = Operation.model_validate(body)
    except ValidationError as error:
        raise Unclear(f"the answer on {call.operation_id} does not read: {error.error_count()} errors") from error
    if read.operation != str(call.operation_id):
        raise Unclear(f"asked about {call.operation_id}, got an answer about {read.operation}"[:500])
    return read
