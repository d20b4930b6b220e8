"""Orders of any story against a model: edits, refunds, cancels, holds, captures by hand, snapshots, parcels, a gateway that fails.

Hypothesis makes the stories, of several orders at once in three currencies. After each round every order settles, and what
the four services show of it is what `order_model` computes, to the minor unit. Requests that are sent to one order at the
same time are explained by one of their orders.

    TRADEWIND_MODEL_STORIES=200 pytest tests/integration/test_order_model.py      # longer, other stories each time
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Coroutine
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.integration.order_client import RATES, SHOP, STREETS, Client, Round, Subject, address, subject_of
from tests.integration.order_crowd import Sent, explained, of_three_lines
from tests.integration.order_model import CHARGE, Model, Request
from tests.integration.shop import AMPLE, Shop

ORDERS = [
    ("at_placement", "EUR"),
    ("by_parcel", "JPY"),
    ("by_hand", "KWD"),
    ("at_approval", "EUR"),
    ("by_parcel", "KWD"),
    ("by_hand", "JPY"),
]
STORIES = int(os.environ.get("TRADEWIND_MODEL_STORIES", 0))
PASSING = ("late", "timed_out", "lost", "broken", "down")
"""Troubles of a gateway that end by themselves."""
T = TypeVar("T")
KINDS = (
    ["edit"] * 5 + ["refund"] * 5 + ["ship"] * 3 + ["end_of_edit"] * 3 + ["approve", "capture", "release", "refused_refund", "open"] * 2
    + ["snapshot"] * 3 + ["hold", "cancel"]
)  # fmt: skip


def changes(model: Model, pick: int) -> dict[str, Any]:
    """One to three changes of an order."""
    found: dict[str, Any] = {"lines": []}
    alive = [name for name, line in model.lines.items() if line.pieces]
    for number in range(1 + pick % 3):
        pick = pick // 7 + 13 * number
        kind = pick % 7
        if kind < 5 and alive:
            name = alive.pop(pick // 7 % len(alive))
            line: dict[str, Any] = {"line_id": name, "quantity": (pick // 5 + 1) % 5}
            if kind == 4 and line["quantity"]:
                line |= {"unit_price_minor": 100 + pick % 4_000, "discount_minor": 0}
            found["lines"].append(line)
        elif kind == 5 and pick % 4:
            found["shipping_minor"] = pick % 900
        elif kind == 5:
            found["ship_to"] = address(pick // 4)
        elif "add" not in found:
            new = {
                "line_id": f"n{pick}",
                "sku": f"{'ST'[pick // 7 % 2]}{pick % 10:03}",
                "title": "More",
                "quantity": 1 + pick % 3,
            }
            found["add"] = [new | {"unit_price_minor": 100 + pick % 4_000, "tax": [{"rate": RATES[pick % 3]}]}]
    return found


def stated_changes(subject: Subject, pick: int) -> dict[str, Any]:
    """What a marketplace changes of an order: fewer pieces of a line, no piece of one, another address.

    Fewer pieces only of a line whose price has not changed here: the marketplace states pieces at the price of before.
    """
    found: dict[str, Any] = {"lines": []}
    for line in subject.content["lines"]:
        ours, name, pick = subject.model.lines[line["external_line_id"]], line["external_line_id"], pick // 5 + 7
        stated = line["quantity"]["ordered"] - line["quantity"].get("cancelled", 0)
        as_sold = ours.whole == (line["quantity"]["ordered"], line["line_total_minor"] - line["discount_minor"])
        if ours.pieces and not line.get("cancellation") and pick % 3 == 0:
            pieces = pick % stated if as_sold else 0
            found["lines"].append({"line_id": name, "quantity": pieces})
    others = [street for street in map(address, range(len(STREETS))) if street != subject.content["ship_to"]]
    return found | ({"ship_to": others[pick % 2]} if pick % 4 == 0 or not found["lines"] else {})


class Stories(RuleBasedStateMachine):
    """The rule plans a request; the requests of a round are sent when one of them needs the outcome of another."""

    def __init__(self, shop: Shop, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.client, self.loop = Client(shop), loop
        self.subjects: list[Subject] = []
        self.round = Round(self.client)
        self.dice = random.Random()
        self.failed = False

    def wait(self, doing: Coroutine[Any, Any, T]) -> T:
        try:
            return asyncio.run_coroutine_threadsafe(doing, self.loop).result()
        except BaseException:
            self.failed = True
            raise

    @initialize(dice=st.randoms(use_true_random=True))
    def orders_are_placed(self, dice: random.Random) -> None:
        self.dice = dice
        seeds = [[dice.randrange(10**6) for _ in range(dice.choice((2, 3)))] for _ in ORDERS]
        number = self.client.shop.number
        self.subjects = [subject_of(*one, number(), seed) for one, seed in zip(ORDERS, seeds, strict=True)]

        async def place(subject: Subject) -> None:
            await self.client.place(subject)
            await self.round.until_one_of(subject, [subject.model], "its placement")

        async def place_all() -> None:
            await asyncio.gather(*(place(subject) for subject in self.subjects))

        self.wait(place_all())

    def plan(self, number: int, request: Request, *, beside: bool = False) -> None:
        """beside: at the same time as another one of the order, where their outcome is that of one of their orders."""
        if request.fault is not None and self.subjects[number].account == "at_approval":
            request.fault = None  # the marketplace has taken the money
        planned = self.round.requests.setdefault(number, [])
        names = {one.name for one in planned} | {request.name}
        pauses, takes = names & {"hold", "open", "edit"}, names & {"ship", "approve", "capture"}
        apart = (pauses and takes) or names & {"snapshot", "edit"} or any(one.fault for one in [*planned, request])
        if planned and (not beside or apart or len(planned) == 3):
            self.wait(self.round.run(self.subjects))
            planned = self.round.requests.setdefault(number, [])
        planned.append(request)

    @rule()
    def request(self) -> None:
        """Two of three requests are of a kind that the order has something for; the others are sent as they come."""
        dice = self.dice
        number, kind, pick = dice.randrange(len(ORDERS)), dice.choice(KINDS), dice.randrange(10**6)
        beside, fault = dice.random() < 0.4, dice.choice((None, None, None, "declined", *PASSING))
        model = self.subjects[number].model
        if pick % 3 or kind == "edit":
            if model.draft is not None and kind in ("edit", "open"):
                kind = "end_of_edit"
            elif not model.approved and kind in ("capture", "ship"):
                kind = "approve"
            elif not model.refundable and kind == "refund":
                kind = "edit"
        getattr(self, f"_{kind}")(number, pick, beside, fault)

    def _approve(self, number: int, pick: int, beside: bool, fault: str | None) -> None:
        self.plan(number, Request("approve"), beside=beside)

    def _cancel(self, number: int, pick: int, beside: bool, fault: str | None) -> None:
        self.plan(number, Request("cancel"), beside=beside)

    def _hold(self, number: int, pick: int, beside: bool, fault: str | None) -> None:
        self.plan(number, Request("hold"), beside=beside)

    def _release(self, number: int, pick: int, beside: bool, fault: str | None) -> None:
        if self.settled(number).holds:
            self.plan(number, Request("release", fault=fault))

    def _ship(self, number: int, pick: int, beside: bool, fault: str | None) -> None:
        names = {one.name for one in self.round.requests.get(number, ())}
        alone = names & {"ship", "edit", "confirm", "release", "approve", "cancel"}
        if parcels := [*(self.settled(number) if alone else self.subjects[number].model).parcels()]:
            self.plan(number, Request("ship", {"location": parcels[pick % len(parcels)]}), beside=beside)

    def _capture(self, number: int, pick: int, beside: bool, fault: str | None) -> None:
        names = [name for name, line in self.subjects[number].model.lines.items() if line.pieces]
        pieces = {names[pick % len(names)]: 1 + pick % 2} if pick // 7 % 3 and names else {}
        self.plan(number, Request("capture", {"pieces": pieces}, None if fault == "declined" else fault), beside=beside)

    def _refund(self, number: int, pick: int, beside: bool, fault: str | None) -> None:
        model = self.subjects[number].model
        names = [name for name in model.lines if name != CHARGE]
        name, left = names[pick % len(names)], model.refundable
        bodies: list[dict[str, Any]] = [
            {"pieces": {name: 1 + pick % 2}, "restock": pick % 3 == 0},
            {"pieces": {name: 1}, "minor": {CHARGE: 1 + pick % 600}},
            {"minor": {name: 1 + pick % 400}, "goodwill_minor": pick % 50},
            {"goodwill_minor": 1 + left * (pick % 7) // 6},
        ]
        self.plan(number, Request("refund", bodies[pick // 7 % len(bodies)], fault), beside=beside)

    def _refused_refund(self, number: int, pick: int, beside: bool, fault: str | None) -> None:
        if refused := len(self.settled(number).refused):
            name = "give_up_refund" if pick % 2 else "retry_refund"
            self.plan(number, Request(name, {"number": pick % refused}))

    def _open(self, number: int, pick: int, beside: bool, fault: str | None) -> None:
        self.plan(number, Request("open", changes(self.subjects[number].model, pick)), beside=beside)

    def _edit(self, number: int, pick: int, beside: bool, fault: str | None) -> None:
        self.plan(number, Request("edit", changes(self.settled(number), pick), fault))

    def _end_of_edit(self, number: int, pick: int, beside: bool, fault: str | None) -> None:
        names = {one.name for one in self.round.requests.get(number, ())}
        alone = names & {"open", "edit", "confirm", "discard"}
        model = self.settled(number) if alone else self.subjects[number].model
        if model.draft is not None and not model.by_marketplace:
            self.plan(number, Request("confirm", fault=fault) if pick % 4 else Request("discard"), beside=beside)

    def _snapshot(self, number: int, pick: int, beside: bool, fault: str | None) -> None:
        model, subject = self.settled(number), self.subjects[number]
        if model.cancelled or model.awaiting is not None:
            return
        by_rule = SHOP.markets[subject.account].get("on_change") == "apply"
        changes = stated_changes(subject, pick) if by_rule and pick % 4 else None
        if changes is not None and model.would_change(changes):
            self.plan(number, Request("snapshot", {"changes": changes}))
        elif not by_rule:
            self.plan(number, Request("snapshot", {"differs": pick % 2 == 0}))
        else:
            self.plan(number, Request("snapshot"))

    def settled(self, number: int) -> Model:
        """The model of an order, after the requests that are planned of it."""
        if self.round.requests.get(number):
            self.wait(self.round.run(self.subjects))
        return self.subjects[number].model

    def teardown(self) -> None:
        if self.failed:
            return  # what is asserted at the end would hide it
        self.wait(self.round.run(self.subjects))
        self.wait(self.everything_agrees())

    async def everything_agrees(self) -> None:
        """Nothing is under way any more, and nothing has changed since. The gateway has moved what the ledger states."""
        if not self.subjects:
            return
        await self.client.shop.until_at_rest([subject.order_id for subject in self.subjects])
        charges = self.client.shop.charges()
        for subject in self.subjects:
            await self.round.until_one_of(subject, [subject.model], "the end of the story")
            moved = Counter[str]()
            for one in charges:
                if one["order_id"] == subject.order_id:
                    moved[one["kind"]] += one["amount_minor"]
            if subject.account != "at_approval" and not subject.model.loose:
                money = subject.model.money
                assert {"authorize": money["authorized"], "capture": money["captured"], "void": money["voided"], "refund": money["refunded"]} == {
                    kind: moved[kind] for kind in ("authorize", "capture", "void", "refund")
                }, subject  # fmt: skip


async def test_books_stock_and_documents_of_any_story_are_those_of_the_model(shop: Shop) -> None:
    """Promises 1 to 5. In EUR, JPY and KWD."""
    await shop.set_stock({f"T{n:03}": AMPLE for n in range(10)}, "second")
    loop = asyncio.get_running_loop()
    told = settings(
        max_examples=STORIES or 5, stateful_step_count=60 if STORIES else 45, derandomize=not STORIES, deadline=None, database=None,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    await asyncio.to_thread(run_state_machine_as_test, lambda: Stories(shop, loop), settings=told)


async def test_fifty_clients_with_conflicting_requests_are_explained_by_a_serial_order(shop: Shop) -> None:
    """Promises 1 and 3. Captures, refunds, edits, holds: each accepted once, each refusal right at its moment."""
    crowd = await of_three_lines(shop, "by_hand", "JPY")
    clients = [
        *(crowd.captures(line, pieces) for line in "123" for pieces in (2, 3, 4, 5)),
        *(crowd.asks("capture") for _ in range(4)),
        *(crowd.refunds(line, quantity=pieces) for line in "12" for pieces in (1, 2, 3, 7)),
        *(crowd.refunds(line, amount_minor=minor) for line in "12" for minor in (1, 999, 4_000)),
        *(crowd.edits(pieces) for pieces in (1, 4, 7, 9, 12, 15, 18, 20)),
        *(crowd.holds() for _ in range(6)),
        *(crowd.asks("approve") for _ in range(6)),
    ]
    assert len(clients) == 50
    sent = [one for client in await asyncio.gather(*clients) for one in client]
    accepted = await crowd.in_order(sent)
    model = explained(crowd.subject.model, accepted, [one for one in sent if one.code is not None])
    await Round(crowd).until_one_of(crowd.subject, [model], sent)
    refunds = (await crowd.get("orders", f"{crowd.subject.path}/refunds"))["items"]
    by_people = {one["refund_id"] for one in refunds if one["reason"] != "edit"}
    assert by_people == {one.answer["refund_id"] for one in accepted if one.request.name == "refund"}


async def test_fifty_clients_who_cancel_and_ship_at_once_leave_it_whole_or_gone(shop: Shop) -> None:
    """Promises 1, 3 and 4. Either something has shipped and no cancel counts, or nothing is left of the order."""
    crowd = await of_three_lines(shop, "by_hand", "KWD")
    (sent,) = await crowd.asks("capture")
    assert sent.code is crowd.subject.model.apply(sent.request) is None
    await Round(crowd).until_one_of(crowd.subject, [crowd.subject.model], "its capture")
    stock = await crowd.get("fulfillment", f"/v1/fulfillments/{crowd.subject.order_id}")
    parcels = [(one["shipment_id"], one["location"]) for one in stock["shipments"]]
    clients = [
        *(crowd.asks("cancel") for _ in range(20)),
        *(crowd.ships(*parcel) for parcel in parcels for _ in range(10)),
        *(crowd.refunds(line, quantity=1) for line in "12" for _ in range(5)),
    ]
    assert len(clients) == 50
    sent_all = [one for client in await asyncio.gather(*clients) for one in client]
    shipped = {one.request.body["location"]: one for one in sent_all if one.request.name == "ship" and one.code is None}
    assert {one.code for one in sent_all} <= {None, "order_shipped", "order_cancelled", "shipment_cancelled"}
    model = crowd.subject.model
    for one in [*shipped.values()] or [Sent(Request("cancel"), None, None)]:
        assert model.apply(one.request) is None
    for one in await crowd.in_order(sent_all) if shipped else []:
        if one.request.name == "refund":
            assert model.apply(one.request) is None
    model.loose = not shipped
    await Round(crowd).until_one_of(crowd.subject, [model], sent_all)
    await shop.until_at_rest()
    await shop.assert_promises()
