"""The port to payment gateways: what the code of one gateway provides. `policy` decides when it is called and asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol, runtime_checkable

from payments.domain.disputes import DisputeCall, DisputeState
from payments.domain.gateway import GatewayCall, GatewayOutcome, Refunds, RefundsCall
from payments.domain.listing import ListedPage, Listing


class Unclear(Exception):
    """The call may or may not have reached the gateway, or it did and its answer cannot be read."""

    def __init__(self, text: str, after_seconds: float | None = None) -> None:
        """after_seconds: not to be called again before; null: the policy's own pause."""
        super().__init__(text)
        self.after_seconds = after_seconds


class NotListable(Exception):
    """The gateway has no list of its movements: nothing can be compared with it."""


@dataclass(frozen=True, slots=True)
class Action:
    """What the buyer has to do. A secret of the buyer's session: passed on, never stored or logged."""

    kind: Literal["pay", "confirm"]
    """`pay`: enter a means of payment. `confirm`: pass the check of the bank (3-D Secure)."""
    client_secret: str | None = field(default=None, repr=False)
    """For the gateway's library in the browser."""
    redirect_url: str | None = field(default=None, repr=False)
    """Where the buyer is sent, if the gateway has a page for it."""


class Gateway(Protocol):
    """Requests and answers of one gateway. No retries, no pauses, no decisions: those are `policy.Policy`'s.

    Each method makes a fixed, small number of requests. Each raises Unclear unless the gateway's answer is certain.
    """

    async def call(self, call: GatewayCall) -> GatewayOutcome:
        """Requests the operation with `operation_id` as idempotency key and as reference; returns its state.

        A repeated key must have no second effect at the gateway. `refused` is returned only for the gateway's own, final
        no about this operation: a rejected key, a rate limit or an error of a proxy is Unclear.

        An authorization with `call.capture` is also captured, if the gateway can do both in one request: `captured` of the
        outcome, also of the methods below, states whether it did. If it cannot, the capture is requested as an operation.
        """

    async def by_key(self, call: GatewayCall) -> GatewayOutcome | None:
        """Returns the gateway's record of the idempotency key; None if it has none. Moves nothing."""

    async def by_reference(self, call: GatewayCall) -> GatewayOutcome | None:
        """Returns the gateway's record of the reference, also after the key has expired; None if it has none. Moves nothing."""

    async def action(self, call: GatewayCall) -> Action | None:
        """Returns what a storefront needs for the buyer to complete a pending authorization; None: the buyer has nothing to do."""

    async def listed(self, asked: Listing) -> ListedPage:
        """Returns a page of the gateway's own list of captures and refunds, by the time at which it made them.

        Every movement that has succeeded within the period is on one of the pages, also one that no operation of ours has asked for. One
        that is on two pages is the same one. Raises NotListable if the gateway has no such list.
        """

    async def close(self) -> None:
        """Closes its connections."""


@runtime_checkable
class Abandons(Protocol):
    """A gateway that can cancel an authorization whose buyer has not paid."""

    async def abandon(self, call: GatewayCall) -> GatewayOutcome | None:
        """Cancels the authorization, also if it has succeeded and nothing is captured of it; returns its state after that.

        `refused`: nothing can be paid on it any more. `succeeded`: it cannot be cancelled. `pending`: not now. None: the
        gateway has no record of it. Cancelling it again changes nothing.
        """


@runtime_checkable
class HasDisputes(Protocol):
    """A gateway whose payments buyers can dispute."""

    async def dispute(self, call: DisputeCall) -> DisputeState:
        """Returns the gateway's record of a dispute. Raises Unclear unless it is certain."""


@runtime_checkable
class HasRefunds(Protocol):
    """A gateway where a person can refund a payment without us."""

    async def refunds(self, call: RefundsCall) -> Refunds:
        """Returns the refunds of a payment that have succeeded, whoever asked for them. Raises Unclear unless it has them all."""


def outcome(
    state: Literal["succeeded", "pending", "refused"],
    *,
    reference: str | None = None,
    amount_minor: int | None = None,
    captured: bool = False,
    held_until: datetime | None = None,
    code: str = "",
    reason: str = "",
    later: bool = False,
) -> GatewayOutcome:
    """What a gateway reports, its texts cut to what the database and its readers can store."""
    return GatewayOutcome(
        state=state,
        gateway_reference=_text(reference) if reference else None,
        amount_minor=amount_minor,
        captured=captured,
        held_until=held_until,
        code=_text(code),
        reason=_text(reason),
        later=later,
    )


def _text(theirs: str) -> str:
    return theirs.replace("\0", "")[:500]
