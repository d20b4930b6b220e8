"""Fifty clients of one order at the same time, and the serial order that explains what they were answered."""

from __future__ import annotations

import asyncio
import copy
import itertools
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.integration.order_client import Client, Round, Subject, code_of, subject_of
from tests.integration.order_model import Line, Model, Request
from tests.integration.shop import Shop


@dataclass
class Sent:
    request: Request
    code: str | None
    answer: Any
    began: float = 0
    """When it was sent, and when it was answered. Seconds of a monotonic clock."""
    ended: float = 0

    @property
    def amounts(self) -> dict[str, int]:
        """What its answer states of `Model.amounts`."""
        match self.request.name, self.code:
            case "refund", None:
                return {"moves": self.answer["amount_minor"]}
            case "refund", "refund_exceeds":
                return {"left": self.answer["allowed"]}
            case "capture", "capture_exceeds":
                return {"left": int(self.answer["detail"].split()[-2])}
            case "open", None:
                preview = self.answer["preview"]
                return {"total": preview["total_minor"], "new_total": preview["new_total_minor"]}
            case _:
                return {}

    def answered_by(self, model: Model) -> bool:
        """Whether an order in this state gives this answer; the model is left as it is afterwards."""
        possible = model.amounts(self.request)
        return (
            all(amount in possible[name] for name, amount in self.amounts.items())
            and model.apply(self.request) == self.code
        )


class Crowd(Client):
    """Clients of one order, each with an Idempotency-Key of its own, who all repeat their request."""

    def __init__(self, shop: Shop, subject: Subject) -> None:
        super().__init__(shop)
        self.subject = subject

    async def sends(
        self, name: str, path: str, body: Any = None, *, as_modelled: Any = None, service: str = "orders"
    ) -> Sent:
        key, began = uuid.uuid4().hex, time.monotonic()
        path = path if service != "orders" else f"{self.subject.path}/{path}"
        first, *repeated = await asyncio.gather(
            *(self.shop.call(service, "POST", path, body if body is not None else {}, key=key) for _ in range(2))
        )
        ended = time.monotonic()
        repeated.append(await self.shop.call(service, "POST", path, body if body is not None else {}, key=key))
        assert repeated == [first, first], "a repeated request has the same answer"
        request = Request(name, as_modelled if as_modelled is not None else body or {})
        return Sent(request, code_of(first), first[1], began, ended)

    async def refunds(self, line: str, **wanted: int) -> list[Sent]:
        modelled = (
            {"pieces": {line: wanted["quantity"]}}
            if "quantity" in wanted
            else {"minor": {line: wanted["amount_minor"]}}
        )
        return [await self.sends("refund", "refunds", {"lines": [{"line_id": line} | wanted]}, as_modelled=modelled)]

    async def captures(self, line: str, pieces: int) -> list[Sent]:
        lines = [{"line_id": line, "quantity": pieces}]
        return [await self.sends("capture", "capture", {"lines": lines}, as_modelled={"pieces": {line: pieces}})]

    async def edits(self, pieces: int) -> list[Sent]:
        body = {"lines": [{"line_id": "3", "quantity": pieces}]}
        opened = await self.sends("open", "edits", body)
        if opened.code is not None:
            return [opened]
        return [opened, await self.sends("confirm", f"edits/{opened.answer['edit_id']}/confirm")]

    async def holds(self) -> list[Sent]:
        held = await self.sends("hold", "holds", {"reason": "manual"})
        if held.code is not None:
            return [held]
        return [held, await self.sends("release", f"holds/{held.answer['hold_id']}/release")]

    async def asks(self, name: str) -> list[Sent]:
        return [await self.sends(name, name)]

    async def ships(self, parcel: str, location: str) -> list[Sent]:
        return [
            await self.sends(
                "ship", f"/v1/shipments/{parcel}/ship", as_modelled={"location": location}, service="fulfillment"
            )
        ]

    async def in_order(self, sent: list[Sent]) -> list[Sent]:
        """The accepted requests of orders by the version of the order that they made; one that changed nothing comes after
        the one that did."""
        timeline = (await self.get("orders", f"{self.subject.path}/timeline?limit=500"))["items"]
        versions = {step["operation_id"]: step["version"] for step in timeline if step["version"] is not None}
        accepted = [one for one in sent if one.code is None and one.request.name != "ship"]
        edits = sorted(
            (one.answer["edit_id"] for one in accepted if one.request.name == "confirm"), key=versions.__getitem__
        )
        confirmed = sorted(step["version"] for step in timeline if step["type"] == "orders.edit_confirmed")

        def version(one: Sent) -> int:
            if one.request.name == "confirm":  # edits are confirmed in the order in which they are opened
                return confirmed[edits.index(one.answer["edit_id"])]
            found = one.answer.get("version") or versions[one.answer.get("refund_id") or one.answer["edit_id"]]
            assert isinstance(found, int)
            return found

        return sorted(accepted, key=version)


def explained(model: Model, accepted: list[Sent], refused: list[Sent]) -> Model:
    """The model after the accepted requests. Each was answered as it is by what those before it have made of the order, and each
    of the others is refused like that at a moment between its sending and its answer: so all of them have a serial order."""
    for n, one in enumerate(accepted):
        assert all(one.ended > before.began for before in accepted[:n]), (
            "a request counts before one that was answered earlier"
        )
    states = [copy.deepcopy(model)]
    for one in accepted:
        assert one.answered_by(model), (one, accepted)
        states.append(copy.deepcopy(model))
    for one in refused:
        # what a request to capture takes is refunded only when the gateway has answered, which is later
        earliest = max(
            (n for n, other in enumerate(accepted, 1) if other.ended < one.began and other.request.name != "capture"),
            default=0,
        )
        latest = min((n for n, other in enumerate(accepted) if other.began > one.ended), default=len(accepted))
        moments = states[earliest : latest + 1]
        assert any(one.answered_by(then) for moment in moments for then in _as_seen_by(one.request, moment)), (
            one,
            accepted,
        )
    return model


def _as_seen_by(request: Request, model: Model) -> Iterator[Model]:
    """The order as it may be for a request at this moment: a refund finds only captures whose answer has come. Those of which
    something has gone back have one."""
    unsure = [n for n, one in enumerate(model.captures) if not any(any(line.back) for line in one.values())]
    if request.name != "refund":
        unsure = []
    for count in range(len(unsure) + 1):
        for under_way in itertools.combinations(unsure, count):
            seen = copy.deepcopy(model)
            for n in under_way:
                seen.captures[n] = {}
            yield seen


async def of_three_lines(shop: Shop, account: str, currency: str) -> Crowd:
    """Two lines at one location, the third at another; the pieces of a line cost the same."""
    subject = subject_of(account, currency, shop.number(), [2, 12, 11])
    for line, content in zip(["1", "2", "3"], subject.content["lines"], strict=True):
        content |= {"quantity": {"ordered": 10}, "line_total_minor": 10_000, "discount_minor": 0}
        subject.model.lines[line] = Line(content["sku"], 10, 10_000, (10, 10_000), subject.model.lines[line].rate)
    subject.content["totals"] |= {"discount_minor": 0, "grand_minor": 30_495}
    old = subject.model
    subject.model = Model(old.lines, old.capture, old.approved, ship_to=old.ship_to, drawn=False)
    crowd = Crowd(shop, subject)
    await crowd.place(subject)
    await Round(crowd).until_one_of(subject, [subject.model], "its placement")
    return crowd
