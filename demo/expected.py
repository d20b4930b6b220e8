"""What a run must end with, order by order and in sum, and where it did not. `oracle` computes it, the services' databases are
compared with it. Amounts are pence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, NotRequired, TypedDict

End = Literal[
    "completed", "cancelled:out_of_stock", "cancelled:declined", "cancelled:customer", "cancelled:refunded"
]  # fmt: skip


class Money(NamedTuple):
    """Pence that moved in an order's whole life: gross and cumulative, nothing subtracted."""

    authorized_minor: int = 0
    captured_minor: int = 0
    voided_minor: int = 0
    refunded_minor: int = 0
    invoiced_minor: int = 0
    credited_minor: int = 0


class Changes(NamedTuple):
    """What was changed of an order after it was placed. Amounts in pence, VAT included."""

    edits: int = 0
    added_minor: int = 0
    """By how much edits made lines dearer."""
    lines_cancelled: int = 0
    """Lines that edits removed."""
    lines_cancelled_minor: int = 0
    refunds: int = 0
    """Those that were requested, and those of edits; not the money that goes back with a cancel."""
    refunds_minor: int = 0
    credit_notes: int = 0
    reversals: int = 0
    """Requests that reversed captured lines."""
    reversed_minor: int = 0


class Prepaid(NamedTuple):
    """What a buyer has paid in a session before the order was sent. Amounts in pence."""

    prepayments: int = 0
    """Sessions that were paid."""
    prepaid_minor: int = 0
    given_back_minor: int = 0
    """What no authorization has taken over."""


MONEY: Final = Money._fields
CHANGES: Final = Changes._fields
PREPAID: Final = Prepaid._fields


class ActualRow(TypedDict):
    """The result of one order, as the services' databases have it afterwards."""

    actual: str
    """`completed`, `cancelled:<cause>` or `waiting:<reason>`."""
    authorized_minor: int
    captured_minor: int
    voided_minor: int
    refunded_minor: int
    invoiced_minor: int
    credited_minor: int
    edits: int
    added_minor: int
    lines_cancelled: int
    lines_cancelled_minor: int
    refunds: int
    refunds_minor: int
    credit_notes: int
    reversals: int
    reversed_minor: int
    prepayments: int
    prepaid_minor: int
    given_back_minor: int
    total_minor: NotRequired[int | None]
    """What the order costs in the end; compared if present."""
    invoiced_vat_minor: NotRequired[int | None]
    """The VAT on all its invoices; compared if present."""
    credited_vat_minor: NotRequired[int | None]
    """The VAT on all its credit notes; compared if present."""
    gateway: NotRequired[str | None]
    """The gateway of its first authorization; compared if there is one."""
    settled: NotRequired[bool]
    """False while a process is open that does not wait for a person. Without it, `actual` decides."""


@dataclass(frozen=True, slots=True)
class Expected:
    """One order of the run as it must end. Amounts in pence."""

    order_id: str
    external_order_id: str
    lines: int
    total_minor: int
    """As it was sent."""
    vat_minor: int
    """The VAT in the total, owed only when it is invoiced."""
    trouble: str
    """`out_of_stock`, `declined`, `late`, `timed_out`, `cancelled`, `refunded`, `line_cancelled`, `edited`, `replaced_cheaper`,
    `replaced_equal`, `replaced_dearer`, or empty."""
    end: End
    money: Money
    changes: Changes
    invoiced_vat_minor: int
    credited_vat_minor: int
    card_minor: int = 0
    """The gift card that was issued for it; 0: none."""
    by_card_minor: int = 0
    """What the card has paid of it in the end."""
    gateway: str = "test"
    """`test`, `stripe`, `manual` or `marketplace`."""
    prepaid: Prepaid = field(default_factory=Prepaid)

    @property
    def final_minor(self) -> int:
        """What the order costs after its edits."""
        return self.total_minor + self.changes.added_minor - self.changes.lines_cancelled_minor


@dataclass(frozen=True, slots=True)
class Aggregate:
    """All expected orders together."""

    received: int
    completed: int
    cancelled: dict[str, int]
    total_minor: int
    vat_minor: int
    invoiced_vat_minor: int
    credited_vat_minor: int
    money: Money
    changes: Changes


class Unexpected(NamedTuple):
    order_id: str
    reason: str


def aggregate(expected: Sequence[Expected]) -> Aggregate:
    ends = Counter(order.end for order in expected)
    causes = {end.partition(":")[2]: n for end, n in sorted(ends.items()) if end != "completed"}
    return Aggregate(
        received=len(expected),
        completed=ends["completed"],
        cancelled=causes,
        total_minor=sum(order.total_minor for order in expected),
        vat_minor=sum(order.vat_minor for order in expected),
        invoiced_vat_minor=sum(order.invoiced_vat_minor for order in expected),
        credited_vat_minor=sum(order.credited_vat_minor for order in expected),
        money=Money(*(sum(order.money[n] for order in expected) for n in range(len(MONEY)))),
        changes=Changes(*(sum(order.changes[n] for order in expected) for n in range(len(CHANGES)))),
    )


def trial_balance(expected: Sequence[Expected]) -> dict[str, int]:
    """Account of payments' books -> debits less credits at the end, in pence. Without accounts at zero, except `prepayments` if
    anything was paid before its order.

    Every order is paid by one gateway, some by a gift card first. What is transferred has arrived at the bank, and what goes back
    of it has left. The other gateways have paid nothing out. What is paid before the order is what its authorization takes over,
    or goes back.
    """
    money = aggregate(expected).money
    issued = sum(order.card_minor for order in expected)
    by_cards = sum(order.by_card_minor for order in expected)
    kept = dict.fromkeys(("gateway_clearing", "bank", "marketplace_clearing"), 0)
    for order in expected:
        account = {"manual": "bank", "marketplace": "marketplace_clearing"}.get(order.gateway, "gateway_clearing")
        kept[account] += order.money.captured_minor - order.money.refunded_minor - order.by_card_minor
    prepaid = [order for order in expected if order.prepaid.prepayments]
    taken_over = sum(order.total_minor - order.card_minor for order in prepaid if order.money.authorized_minor)
    balances = {
        "customer": money.voided_minor + money.refunded_minor - money.authorized_minor,
        "authorized": money.authorized_minor - money.captured_minor - money.voided_minor,
        **kept,
        "gift_card_liability": by_cards - issued,
        "gift_cards_issued": issued,
        "prepayments": taken_over + sum(one.prepaid.given_back_minor - one.prepaid.prepaid_minor for one in prepaid),
    }
    return {account: minor for account, minor in balances.items() if minor or (account == "prepayments" and prepaid)}


def compare(expected: Iterable[Expected], actual: Mapping[str, ActualRow]) -> list[Unexpected]:
    """Every order that did not end as it must, in the order of sending, then orders that were not sent.

    actual: by order id. An order appears once, with all its differences.
    """
    found = []
    sent = set()
    for order in expected:
        sent.add(order.order_id)
        row = actual.get(order.order_id)
        wrong = ["never received"] if row is None else _differences(order, row)
        if wrong:
            found.append(Unexpected(order.order_id, "; ".join(wrong)))
    found += [Unexpected(order_id, "not in the file") for order_id in sorted(set(actual) - sent)]
    return found


def _differences(order: Expected, row: ActualRow) -> list[str]:
    pairs: list[tuple[str, object, object]] = [("end", order.end, row["actual"])]
    must_be = {**order.money._asdict(), **order.changes._asdict(), **order.prepaid._asdict()}
    pairs += [(name, amount, row[name]) for name, amount in must_be.items()]  # type: ignore[literal-required]  # keys of the row
    pairs += [
        (name, must_be, is_now)
        for name, must_be, is_now in (
            ("total_minor", order.final_minor, row.get("total_minor")),
            ("invoiced_vat_minor", order.invoiced_vat_minor, row.get("invoiced_vat_minor")),
            ("credited_vat_minor", order.credited_vat_minor, row.get("credited_vat_minor")),
            ("gateway", order.gateway, row.get("gateway")),
        )
        if is_now is not None
    ]
    return [f"{name} is {is_now}, expected {must_be}" for name, must_be, is_now in pairs if is_now != must_be]
