"""Orders of any story against a model: edits, refunds, cancels, holds, captures by hand, snapshots, parcels, a gateway that fails.

Hypothesis makes the stories, of several orders at once in three currencies. After each round every order settles, and what
the four services show of it is what `order_model` computes, to the minor unit. Requests that are sent to one order at the
same time are explained by one of their orders.

    TRADEWIND_MODEL_STORIES=200 pytest tests/integration/test_order_model.py      # longer, other stories each time
"""

from __future__ import annotations

import asyncio
import copy
import os
import random
import time
import uuid
from collections import Counter
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import permutations
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.integration.order_model import CHARGE, Line, Model, Request
from tests.integration.shop import AMPLE, Options, Shop, order_content

SHOP = Options(
    gateway=("--latency-ms", "1", "--late-ms", "100", "--hold-ms", "1000"),
    markets={
        "at_placement": {"gateway": "test", "capture": "on_placement", "approval": "manual"},
        "at_approval": {"gateway": "marketplace", "capture": "on_approval", "approval": "manual", "on_change": "apply"},
        "by_parcel": {"gateway": "test", "capture": "per_shipment", "on_change": "apply"},
        "by_hand": {"gateway": "test", "capture": "manual"},
    },
    settings={
        "PAYMENTS_GATEWAY_TIMEOUT_SECONDS": "0.3",
        "PAYMENTS_GATEWAY_LEASE_SECONDS": "2",
        "PAYMENTS_GATEWAY_RETRY_SECONDS": "0.1",
        "PAYMENTS_GATEWAY_POLL_SECONDS": "0.1",
    },
)
for _terms in SHOP.markets.values():
    _terms["locations"] = ["main", "second"]  # type: ignore[index]
ORDERS = [
    ("at_placement", "EUR"),
    ("by_parcel", "JPY"),
    ("by_hand", "KWD"),
    ("at_approval", "EUR"),
    ("by_parcel", "KWD"),
    ("by_hand", "JPY"),
]
STORIES = int(os.environ.get("TRADEWIND_MODEL_STORIES", 0))
GATEWAY = ("authorize", "capture", "void", "refund")
AMOUNTS = ("net_minor", "vat_minor", "gross_minor")
PASSING = ("late", "timed_out", "lost", "broken", "down")
"""Troubles of a gateway that end by themselves."""
RATES = ("20.00", "5.5", "0")
STREETS = ("1 Way", "2 Way", "3 Way")
DIFFERENCES = frozenset({"line_cancelled", "address_changed", "snapshot_changed"})
"""Exceptions that an edit takes over."""
SECONDS_MAX = 30
T = TypeVar("T")


@dataclass
class Subject:
    """An order and its model."""

    account: str
    currency: str
    content: dict[str, Any]
    """As the marketplace states it."""
    model: Model
    order_id: str = ""
    edit_id: str = ""
    hold_ids: list[str] = field(default_factory=list)

    @property
    def path(self) -> str:
        return f"/v1/orders/{self.order_id}"


class Client:
    """Sends requests to the services, and reads what they show."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.documents: dict[str, dict[str, Any]] = {}
        """By id: an issued document never changes."""

    async def place(self, subject: Subject) -> None:
        status, placed = await self.post("/v1/orders", subject.content | {"account": subject.account})
        assert status == 201, placed
        subject.order_id = placed["order_id"]

    async def send(self, subject: Subject, request: Request) -> str | None:
        """Returns the code that refuses it."""
        if request.fault is not None:
            refused = ["refund" if request.name == "refund" else "authorize"]
            await self.trouble(subject, request.fault, refused if request.fault == "declined" else GATEWAY)
        send = getattr(self, f"_{request.name}", None)
        if send is not None:
            found: str | None = await send(subject, request.body)
            return found
        return code_of(await self.post(f"{subject.path}/{request.name}", request.body))

    async def post(self, path: str, body: Any = None, key: str | None = None) -> tuple[int, Any]:
        return await self.shop.call("orders", "POST", path, body, key=key)

    async def trouble(self, subject: Subject, fault: str | None, kinds: Iterable[str]) -> None:
        gateway, http = self.shop.gateway, self.shop._http
        assert gateway is not None and http is not None
        async with http.put(f"{gateway.url}/trouble/{subject.order_id}", json=dict.fromkeys(kinds, fault)) as answer:
            assert answer.status == 200, await answer.text()

    async def _capture(self, subject: Subject, body: dict[str, Any]) -> str | None:
        lines = [{"line_id": name, "quantity": pieces} for name, pieces in body.get("pieces", {}).items()]
        return code_of(await self.post(f"{subject.path}/capture", {"lines": lines} if lines else {}))

    async def _hold(self, subject: Subject, body: dict[str, Any]) -> str | None:
        status, answer = await self.post(f"{subject.path}/holds", {"reason": "manual"})
        if status < 300:
            subject.hold_ids.append(answer["hold_id"])
        return code_of((status, answer))

    async def _release(self, subject: Subject, body: dict[str, Any]) -> str | None:
        return code_of(await self.post(f"{subject.path}/holds/{subject.hold_ids.pop()}/release"))

    async def _open(self, subject: Subject, body: dict[str, Any]) -> str | None:
        status, answer = await self.post(f"{subject.path}/edits", body)
        if status < 300:
            subject.edit_id = answer["edit_id"]
        return code_of((status, answer))

    async def _confirm(self, subject: Subject, body: dict[str, Any]) -> str | None:
        return code_of(await self.post(f"{subject.path}/edits/{subject.edit_id}/confirm", {}))

    async def _discard(self, subject: Subject, body: dict[str, Any]) -> str | None:
        return code_of(await self.post(f"{subject.path}/edits/{subject.edit_id}/discard", {}))

    async def _edit(self, subject: Subject, body: dict[str, Any]) -> str | None:
        return await self._open(subject, body) or await self._confirm(subject, body)

    async def _refund(self, subject: Subject, body: dict[str, Any]) -> str | None:
        lines = [{"line_id": name, "quantity": pieces} for name, pieces in body.get("pieces", {}).items()]
        lines += [{"line_id": name, "amount_minor": minor} for name, minor in body.get("minor", {}).items()]
        more = {name: body[name] for name in ("goodwill_minor", "restock") if name in body}
        return code_of(await self.post(f"{subject.path}/refunds", {"lines": lines} | more))

    async def _retry_refund(self, subject: Subject, body: dict[str, Any]) -> str | None:
        return code_of(await self.post(f"{await self.refused(subject, body['number'])}/retry"))

    async def _give_up_refund(self, subject: Subject, body: dict[str, Any]) -> str | None:
        path = f"{await self.refused(subject, body['number'])}/give_up"
        return code_of(await self.post(path, {"reason": "paid by hand"}))

    async def refused(self, subject: Subject, number: int) -> str:
        refunds = (await self.get("orders", f"{subject.path}/refunds"))["items"]
        refused = [
            one["refund_id"] for one in sorted(refunds, key=lambda one: one["number"]) if one["state"] == "refused"
        ]
        return f"{subject.path}/refunds/{refused[number]}"

    async def _ship(self, subject: Subject, body: dict[str, Any]) -> str | None:
        _, fulfillment = await self.shop.call("fulfillment", "GET", f"/v1/fulfillments/{subject.order_id}")
        (parcel,) = [one["shipment_id"] for one in fulfillment["shipments"]
                     if one["location"] == body["location"] and one["status"] in ("picking", "on_hold")]  # fmt: skip
        return code_of(await self.shop.call("fulfillment", "POST", f"/v1/shipments/{parcel}/ship", {}))

    async def _snapshot(self, subject: Subject, body: dict[str, Any]) -> str | None:
        """What the marketplace states: the order as before, with changes, or with other pieces, which a person does not accept.
        Returns why it is not taken over."""
        await self.keep(subject)
        if (changes := body.get("changes")) is not None:
            state(subject.content, changes)
        content = copy.deepcopy(subject.content)
        if body.get("differs"):
            content["lines"][0]["quantity"]["ordered"] += 7
        before = await self.taken_over(subject)
        await self.shop.send([self.shop.snapshot_of(content, subject.account)])

        async def outcome() -> tuple[str | None] | None:
            if raised := await self.differences(subject):
                return (raised[0]["why_not"],)
            return (None,) if changes and await self.taken_over(subject) != before else None

        if not changes and not body.get("differs"):
            return None

        async def told() -> str:
            return f"{changes} of {subject}"

        what = "the change is taken over, or is an exception"
        (why_not,) = await self.shop.until(outcome, what, SECONDS_MAX, told)
        if why_not != "edit_open":
            await self.keep(subject)
        found: str | None = why_not
        return found

    async def taken_over(self, subject: Subject) -> tuple[int, bool]:
        """The number of edits that the marketplace caused, and whether the order is cancelled or is being cancelled."""
        edits = (await self.get("orders", f"{subject.path}/edits"))["items"]
        order = await self.shop.order(subject.order_id)
        undone = order["status"] == "cancelled" or any(one["kind"] == "undo" for one in order["processes"])
        return sum(one["cause"] == "marketplace" for one in edits), undone

    async def keep(self, subject: Subject) -> None:
        """A person decides that the order stays as it runs here."""
        for one in await self.differences(subject):
            path = f"{subject.path}/exceptions/{one['exception_id']}/resolve"
            kept = await self.post(path, {"resolution": "keep", "reason": "agreed with the buyer"})
            assert kept[0] == 200, kept

    async def differences(self, subject: Subject) -> list[dict[str, Any]]:
        raised = (await self.shop.order(subject.order_id))["exceptions"]
        return [one for one in raised if one["code"] in DIFFERENCES]

    async def show(self, subject: Subject) -> dict[str, Any] | None:
        """What the four services show; None while something is under way."""
        order = await self.shop.order(subject.order_id)
        if any(one["waits_for"] in ("answer", "outcomes", "no_answer", "invoice") for one in order["processes"]):
            return None
        ledger, stock, documents = await asyncio.gather(
            self.get("payments", f"/v1/payments/{subject.order_id}"),
            self.get("fulfillment", f"/v1/fulfillments/{subject.order_id}"),
            self.get("invoicing", f"/v1/invoices?limit=500&order_id={subject.order_id}"),
        )
        if order["money"] != ledger["totals"]:
            return None
        totals, lines = ledger["totals"], Counter[tuple[str, str]]()
        for line in ledger["lines"]:
            for kind in ("captured", "refunded"):
                lines[kind, line["line_id"]] += line[f"{kind}_minor"]
        invoiced, credited = [
            sum(one["total_minor"] for one in documents["items"] if one["kind"] == kind)
            for kind in ("invoice", "credit")
        ]
        papers = await self.papers([one["document_id"] for one in documents["items"]])
        _, history = await self.shop.call("orders", "GET", f"{subject.path}/lines")
        prices = Counter[str]()
        for row in history["items"]:
            if row["kind"] != "refund":
                prices[row["line_id"]] += row["amount_minor"]
        return {
            "status": order["status"], "holds": len(order["holds"]), "payment": order["payment_status"],
            "total": order["grand_minor"], "completed": order["completed_at"] is not None,
            "prices": {name: minor for name, minor in prices.items() if minor},
            "to refund": totals["captured_minor"] - totals["refunded_minor"],
            "to capture": totals["authorized_minor"] - totals["captured_minor"] - totals["voided_minor"],
            "authorized": totals["authorized_minor"], "invoiced": invoiced, "invoices less credit notes": invoiced - credited,
            "captured and refunded": {
                name: (lines["captured", name], lines["refunded", name]) for _, name in lines if lines["captured", name]
            },
            "reserved": stock["totals"]["reserved"], "shipped": stock["totals"]["shipped"],
            "restocked": sum(one["quantity"] for one in stock["restocked"]), "documents": papers,
            "ship_to": {name: value for name, value in order["order"]["ship_to"].items() if value is not None},
        }  # fmt: skip

    async def papers(self, document_ids: list[str]) -> list[list[tuple[str, tuple[Fraction, int, int, int, int]]]]:
        """As `Model.documents`, sorted. The amounts of a document are those of its lines, per rate and in all."""
        for document_id in document_ids:
            if document_id not in self.documents:
                self.documents[document_id] = await self.get("invoicing", f"/v1/invoices/{document_id}")
        documents = [self.documents[document_id] for document_id in document_ids]
        for one in documents:
            of_rates = Counter[tuple[Fraction, str]]()
            for line in one["lines"]:
                for amount in AMOUNTS:
                    of_rates[Fraction(line["rate"]), amount] += line[amount]
            assert of_rates == Counter(
                {(Fraction(rate["rate"]), name): rate[name] for rate in one["vat"] for name in AMOUNTS}
            ), one
            totals = {"net_minor": one["net_minor"], "vat_minor": one["vat_minor"], "gross_minor": one["total_minor"]}
            assert totals == {name: sum(line[name] for line in one["lines"]) for name in AMOUNTS}, one
        credited = Counter[tuple[str, str, str]]()
        for one in documents:
            for line in one["lines"] if one["kind"] == "credit" else ():
                for amount in AMOUNTS:
                    credited[one["invoice_id"], line["line_id"], amount] += line[amount]
        return sorted(
            sorted(
                (line["line_id"], (Fraction(line["rate"]), line["gross_minor"], line["vat_minor"],
                                   *(credited[one["document_id"], line["line_id"], name] for name in ("gross_minor", "vat_minor"))))
                for line in one["lines"] if line["gross_minor"]
            )
            for one in documents if one["kind"] == "invoice"
        )  # fmt: skip

    async def get(self, service: str, path: str) -> Any:
        status, answer = await self.shop.call(service, "GET", path)
        assert status == 200, answer
        return answer


def state(content: dict[str, Any], changes: dict[str, Any]) -> None:
    """Makes a marketplace's statement of an order one with these changes: fewer pieces of lines, another address."""
    for one in changes["lines"]:
        line = next(line for line in content["lines"] if line["external_line_id"] == one["line_id"])
        if one["quantity"]:
            line["quantity"]["cancelled"] = line["quantity"]["ordered"] - one["quantity"]
        else:
            line["cancellation"] = {"executed": True, "executed_by": "buyer"}
    content |= {"ship_to": changes["ship_to"]} if "ship_to" in changes else {}


def code_of(answer: tuple[int, Any]) -> str | None:
    status, body = answer
    if status < 300:
        return None
    assert status in (404, 409), answer
    found: str = body["type"].rpartition("/")[2]
    return found


# -- what is sent in a round, and what explains it --------------------------------------------------------------------


def outcomes(model: Model, requests: list[Request], answers: list[str | None]) -> list[Model]:
    """The models after these requests in each of their orders that gives these answers.

    A confirm or a cancel may be accepted and refused later: a parcel has left meanwhile.
    """
    found = []
    for order in permutations(range(len(requests))):
        after = copy.deepcopy(model)
        for number in order:
            request, answer = requests[number], answers[number]
            code = after.apply(request)
            if code in ("order_shipped", "order_fulfilled") and answer is None and len(requests) > 1:
                if request.name == "confirm":
                    after.apply(Request("discard"))
            elif code != answer:
                break
        else:
            after.loose = after.loose or (after.cancelled and not model.cancelled and len(requests) > 1)
            found.append(after)
    return found


class Round:
    """Requests to several orders, those of one order at the same time."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.requests: dict[int, list[Request]] = {}

    async def run(self, subjects: list[Subject]) -> None:
        planned, self.requests = self.requests, {}
        await asyncio.gather(*(self._run(subjects[number], requests) for number, requests in planned.items()))

    async def _run(self, subject: Subject, requests: list[Request]) -> None:
        answers = await asyncio.gather(*(self.client.send(subject, request) for request in requests))
        after = outcomes(subject.model, requests, answers)
        assert after, f"no order of {requests} gives {answers}: {subject}"
        subject.model = await self.until_one_of(subject, after, (requests, answers))
        if any(request.fault for request in requests):
            await self.client.trouble(subject, None, GATEWAY)

    async def until_one_of(self, subject: Subject, models: list[Model], sent: object) -> Model:
        async def agrees() -> Model | None:
            shown = await self.client.show(subject)
            return next((one for one in models if shown is not None and differences(one, shown) == {}), None)

        async def told() -> str:
            shown = await self.client.show(subject)
            which = [differences(one, shown) for one in models] if shown is not None else "it is not settled"
            return f"(shown, expected): {which} after {sent} of {subject}"

        found: Model = await self.client.shop.until(agrees, "an order that is as its model", SECONDS_MAX, told)
        return found


def differences(model: Model, shown: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    expected = model.expected()
    return {name: (shown[name], value) for name, value in expected.items() if shown[name] != value}


# -- the stories ------------------------------------------------------------------------------------------------------

KINDS = (
    ["edit"] * 5 + ["refund"] * 5 + ["ship"] * 3 + ["end_of_edit"] * 3 + ["approve", "capture", "release", "refused_refund", "open"] * 2
    + ["snapshot"] * 3 + ["hold", "cancel"]
)  # fmt: skip


def subject_of(account: str, currency: str, number: str, seed: list[int]) -> Subject:
    """Two or three lines, some with a discount, and a shipping charge. Prices of pieces are odd, and over a hundred."""
    lines: dict[str, Line] = {}
    totals: dict[str, Any] = {"shipping_minor": 495, "discount_minor": 0, "grand_minor": 495}
    goods = []
    for n, pick in enumerate(seed, 1):
        sku, pieces, price, discount = (
            f"{'ST'[pick % 2]}{pick % 10:03}",
            1 + pick % 3,
            300 + pick % 9_001,
            pick % 4 * 37,
        )
        goods.append(
            {"external_line_id": str(n), "sku": sku, "title": sku, "quantity": {"ordered": pieces}, "line_total_minor": price,
             "discount_minor": discount, "tax": [{"rate": RATES[pick % 3]}]}
        )  # fmt: skip
        lines[str(n)] = Line(sku, pieces, price - discount, (pieces, price - discount), RATES[pick % 3])
        totals = {
            **totals,
            "discount_minor": totals["discount_minor"] + discount,
            "grand_minor": totals["grand_minor"] + price - discount,
        }
    totals |= {"shipping_tax": [{"rate": "20"}]}
    content = order_content(number, []) | {
        "lines": goods,
        "currency": currency,
        "totals": totals,
        "ship_to": address(0),
    }
    lines[CHARGE] = Line(None, 0, 495)
    terms = SHOP.markets[account]
    model = Model(lines, terms["capture"], terms.get("approval") != "manual", ship_to=address(0))
    return Subject(account, currency, content, model)


def address(pick: int) -> dict[str, Any]:
    return {"name": "Ann", "line1": STREETS[pick % len(STREETS)], "city": "Paris", "country": "FR"}


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


# -- fifty clients ----------------------------------------------------------------------------------------------------


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
        assert any(one.answered_by(copy.deepcopy(then)) for then in moments), (one, accepted)
    return model


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
