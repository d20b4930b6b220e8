"""What marketplaces and people send to the order of a play."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Self
from uuid import UUID

from orders_engine import Engine
from orders_words import NOW, ORDER, STORE, uid

from contracts.deciding import Wake
from contracts.orders import (
    Approve,
    ApproveAndCapture,
    AskAgain,
    Cancel,
    CaptureLine,
    CaptureOrder,
    ConfirmEdit,
    DiscardEdit,
    EditChanges,
    Force,
    GiveUp,
    GiveUpRefund,
    Hold,
    LineEdit,
    MarketTerms,
    OpenEdit,
    Place,
    Refund,
    RefundLine,
    Release,
    Resolution,
    Resolve,
    Retry,
    RetryRefund,
)
from contracts.snapshot import OrderContent, Snapshot, Source
from orders.domain.processes.kinds import wake_at
from orders.domain.state.order import MarketKey


class People(Engine):
    def receives(
        self,
        told: OrderContent,
        terms: MarketTerms | None = None,
        *,
        seconds: float = 0,
        digest: str = "",
        sequence: int = 0,
    ) -> Self:
        """A snapshot, `seconds` after the first one by the marketplace's clock."""
        if terms is not None:
            self.markets = {MarketKey(STORE, "bol", "a1"): terms}
        source = Source(
            channel="bol", account="a1", updated_at=NOW + timedelta(seconds=seconds), content_hash=digest or str(uid(told.model_dump_json())),
            sequence=sequence,
        )  # fmt: skip
        return self.when(Snapshot(source=source, order=told), actor="bol/a1")

    def placed_over_http(self, told: OrderContent, terms: MarketTerms, op: str = "place") -> Self:
        self.markets = {MarketKey(STORE, "api", "shop"): terms}
        return self.when(Place(**self._person(op), channel="api", account="shop", order=told))

    def approves(self, op: str = "approve") -> Self:
        return self.when(Approve(**self._person(op)))

    def cancels(self, op: str = "cancel") -> Self:
        return self.when(Cancel(**self._person(op)))

    def opens_an_edit(self, *lines: LineEdit, op: str = "edit", **more: Any) -> Self:
        return self.when(OpenEdit(**self._person(op), changes=EditChanges(lines=lines, **more)))

    def confirms(self, op: str = "confirm", edit: str = "edit", preview: str | None = None) -> Self:
        return self.when(ConfirmEdit(**self._person(op), edit_id=uid(edit), preview=preview))

    def discards(self, op: str = "discard", edit: str = "edit") -> Self:
        return self.when(DiscardEdit(**self._person(op), edit_id=uid(edit)))

    def retries(self, op: str = "retry") -> Self:
        return self.when(Retry(**self._person(op)))

    def asks_again(self, op: str = "ask") -> Self:
        return self.when(AskAgain(**self._person(op)))

    def gives_up_waiting(self, op: str = "give up") -> Self:
        return self.when(GiveUp(**self._person(op), reason="silent since yesterday"))

    def forces(self, target: UUID, outcome: Any, op: str = "force", reference: str | None = None) -> Self:
        body = {"target_operation_id": target, "outcome": outcome, "reference": reference, "reason": "seen"}
        return self.when(Force(**self._person(op), **body))

    def resolves(self, code: str, resolution: Resolution, op: str = "resolve") -> Self:
        """The open exception of that code."""
        exception_id = self.order.exceptions[code].exception_id
        body = {"exception_id": exception_id, "resolution": resolution, "reason": "seen"}
        return self.when(Resolve(**self._person(f"{op} {exception_id}"), **body))

    def captures(self, *lines: CaptureLine, op: str = "capture") -> Self:
        """By hand; without lines, all that is left."""
        return self.when(CaptureOrder(**self._person(op), lines=lines))

    def approves_and_captures(self, op: str = "approve and capture") -> Self:
        return self.when(ApproveAndCapture(**self._person(op)))

    def holds(self, reason: str = "manual", op: str = "hold", until: datetime | None = None) -> Self:
        return self.when(Hold(**self._person(op), reason=reason, note="seen", until=until))

    def releases(self, reason: str | None = None, op: str = "release") -> Self:
        """The hold with that reason, or the only one."""
        hold = next(one for one in self.order.holds.values() if reason in (None, one.reason))
        return self.releases_id(hold.hold_id, op)

    def releases_id(self, hold_id: UUID, op: str = "release") -> Self:
        return self.when(Release(**self._person(op), hold_id=hold_id))

    def refunds(self, *lines: tuple[str, int], op: str = "refund", **wanted: Any) -> Self:
        """Lines as (id, pieces); `wanted`: the other fields of the request."""
        pieces = tuple(RefundLine(line_id=line_id, quantity=quantity) for line_id, quantity in lines)
        return self.when(Refund(**self._person(op), **{"lines": pieces, **wanted}))

    def retries_refund(self, refund: str = "refund", op: str = "retry refund") -> Self:
        return self.when(RetryRefund(**self._person(op), refund_id=uid(refund)))

    def gives_up(self, refund: str = "refund", op: str = "give up") -> Self:
        return self.when(GiveUpRefund(**self._person(op), refund_id=uid(refund), reason="paid by hand"))

    def _person(self, op: str) -> dict[str, Any]:
        return {"order_id": ORDER, "store_id": STORE, "operation_id": uid(op), "actor": "person:ann"}

    def wakes(self, after_seconds: float | None = None) -> Self:
        """Time passes until the next timer, or for the given time."""
        due = wake_at(self.order)
        if after_seconds is not None:
            self.now += timedelta(seconds=after_seconds)
        else:
            assert due is not None, "no timer is armed"
            self.now = due
        return self.when(Wake(due or self.now), actor="timer")

    @property
    def wakes_in(self) -> float | None:
        due = wake_at(self.order)
        return None if due is None else (due - self.now).total_seconds()
