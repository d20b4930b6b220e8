"""The port to payment gateways: what one is asked, what it answers, and which need no asking."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import PositiveFloat

from contracts.base import UNLESS_EMPTY, Code, Frozen, Id, MinorUnsigned, Text, Timestamp
from contracts.deciding import Task
from contracts.differences import TheirSide
from contracts.ids import derived
from contracts.money import Currency
from contracts.payments import MARKETPLACE, RECORDED, AccountName, GatewayName, MoneyLines, PaymentToken, ReturnUrl

Kind = Literal["authorize", "capture", "void", "refund"]

TASK_KIND: Final = "gateway"
REFUNDS_KIND: Final = "refunds"
CHECK_KIND: Final = "gateway_check"
"""Asks a gateway what it has under an operation whose outcome a person stated."""
INFORMED: Final[frozenset[str]] = frozenset({RECORDED})
"""Gateways that are not asked: an operation is pending until payments is informed of it."""
AT_ONCE: Final[frozenset[str]] = frozenset({MARKETPLACE})
"""Gateways where the money already lies with the marketplace: an operation succeeds at once, without a call."""
ITEMIZED: Final[frozenset[str]] = frozenset({"dintero"})
"""Gateways that take the lines of an operation, and not only its amount."""

NO_BUYER: Final[frozenset[str]] = INFORMED | AT_ONCE | {"manual"}
"""Gateways where no buyer pays in a session."""


def is_done_uncalled(gateway: str | None, amount_minor: int) -> bool:
    """Whether an operation succeeds at once. amount_minor: the gateway's part; 0 if gift cards move all of it."""
    return gateway in AT_ONCE or amount_minor == 0


class GatewayCall(Frozen):
    """What a gateway is asked to do. `operation_id` is its idempotency key and its reference, for ever."""

    operation_id: UUID
    gateway: GatewayName
    account: AccountName | None = None
    """The store's account there: the one that authorized. Null: the store's first."""
    kind: Kind
    order_id: UUID
    store_id: Code
    currency: Currency
    amount_minor: MinorUnsigned
    refers_to: UUID | None = None
    """The operation at the gateway that this one draws on: a capture's or void's authorization, a refund's capture."""
    source: Text | None = None
    """The gateway's reference of `refers_to`, if it has reported one."""
    left_minor: MinorUnsigned | None = None
    """What stays of the authorization after this capture or void; 0: the gateway may release the rest. Null for others."""
    reference: Id | None = None
    """The order's name on the buyer's statement; sent with an authorization."""
    capture: bool = False
    """An authorization: capture all of it in the same call, if the gateway can; its outcome states whether it did."""
    payment_token: PaymentToken | None = None
    """The gateway's token of the means of payment; sent with an authorization. Null: the buyer enters it at the gateway."""
    return_url: ReturnUrl | None = None
    """Where the buyer is sent after paying: of the order's session; sent with an authorization. Null: as the account states."""
    reported_as: Text | None = None
    """The gateway's reference of this operation, if it has reported one."""
    lines: Annotated[MoneyLines, UNLESS_EMPTY] = ()
    """What is moved per line; for the gateways of `ITEMIZED`."""
    ask_only: bool = False
    """The gateway has accepted the operation: only its outcome is asked for, it is never called again."""
    abandon: bool = False
    """An authorization whose time is over: it is cancelled at the gateway, if that can do so, else its outcome is asked for."""


class GatewayOutcome(Frozen):
    """What a gateway made of it. Only `pending` is not the end."""

    state: Literal["succeeded", "pending", "refused", "not_set_up", "unknown"]
    """`not_set_up`: no gateway of that name is configured (`code` gateway_unknown), or the credentials of the store's account are
    missing (credentials_missing), and none was ever called for this operation. `unknown`: it has no
    operation of this id; the outcome of a check alone."""
    gateway_reference: Text | None = None
    amount_minor: MinorUnsigned | None = None
    """What it moved, if the gateway states it."""
    captured: bool = False
    """An authorization that is captured, too."""
    held_until: Timestamp | None = None
    """When the issuer releases what is not captured of an authorization; null: the gateway does not state it."""
    expires_in_seconds: PositiveFloat | None = None
    """How long a pending authorization may wait for its buyer; null: for as long as its gateway has it."""
    code: Text = ""
    reason: Text = ""
    later: bool = False
    """It was refused, and the same may succeed later, as another operation."""


class RefundsCall(Frozen):
    """Asks for all refunds of a payment, also those that no operation here has asked for."""

    order_id: UUID
    store_id: Code
    gateway: GatewayName
    account: AccountName | None
    payment: Id
    """The gateway's reference of the authorization."""


class Refunds(Frozen):
    """The refunds of a payment that have succeeded at its gateway."""

    made: tuple[TheirSide, ...]

    @property
    def operation_ids(self) -> Iterator[UUID]:
        """What they have as operations of ours."""
        for theirs in self.made:
            yield from operations_named(theirs)


class Contradiction(Exception):
    """A gateway reports what cannot be: two ends of one operation, another amount, or an operation that was not asked for.

    Money may have moved that is not in the ledger: the report is parked until a person has compared both sides.
    """


def operations_named(theirs: TheirSide) -> Iterator[UUID]:
    for name in theirs.names:
        try:
            yield UUID(name)
        except ValueError:
            continue


def task(call: GatewayCall) -> Task:
    """One task per operation, of the operation's id."""
    return Task(task_id=call.operation_id, kind=TASK_KIND, body=call)


def follow_up(call: GatewayCall, reported_as: str | None = None) -> Task:
    """Asks what became of an operation that the gateway answers later. One per operation, however often that is reported.

    A task of its own, for what it reports must not be taken for a repetition of the first report. reported_as: the
    gateway's reference of the operation, if it has reported one.
    """
    asking = call.model_copy(update={"ask_only": True, "reported_as": reported_as or call.reported_as})
    return Task(task_id=follow_up_id(call.operation_id), kind=TASK_KIND, body=asking)


def follow_up_id(operation_id: UUID) -> UUID:
    return derived(operation_id, "what became of it")


def abandoning(call: GatewayCall, reported_as: str | None = None) -> Task:
    """Cancels an authorization that waits for its buyer, and reports how it ended. Takes the place of its `follow_up`."""
    update = {"ask_only": True, "abandon": True, "reported_as": reported_as or call.reported_as}
    return Task(task_id=abandoning_id(call.operation_id), kind=TASK_KIND, body=call.model_copy(update=update))


def abandoning_id(operation_id: UUID) -> UUID:
    return derived(operation_id, "its time is over")


def check(call: GatewayCall) -> Task:
    """Asks what the gateway has under an operation whose outcome a person stated: nothing is moved by it.

    It runs beside the order's other calls, because the gateway may stay silent for as long as it likes.
    """
    asking = call.model_copy(update={"ask_only": True})
    task_id = derived(call.operation_id, "what the gateway has")
    return Task(task_id=task_id, kind=CHECK_KIND, body=asking, beside=True)
