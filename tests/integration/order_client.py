"""A client of the services that sends the same requests to an order and to its model, and compares the two afterwards."""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import permutations
from typing import Any

from tests.integration.order_model import CHARGE, Line, Model, Request
from tests.integration.shop import Options, Shop, order_content
from tests.waiting import PATIENCE_SECONDS

SHOP = Options(
    gateway=("--latency-ms", "1", "--late-ms", "100", "--hold-ms", "1000"),
    markets={
        "at_placement": {"gateway": "test", "capture": "on_placement", "approval": "manual"},
        "at_approval": {"gateway": "marketplace", "capture": "on_approval", "approval": "manual", "on_change": "apply"},
        "by_parcel": {"gateway": "test", "capture": "per_shipment", "on_change": "apply"},
        "by_hand": {
            "capture": "manual",
            "payment_methods": [
                {"code": "foreign", "gateway": "marketplace", "capture": "on_approval", "countries": ["IS"]},
                {"code": "own", "gateway": "test", "account": "second"},
            ],
        },
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
GATEWAY = ("authorize", "capture", "void", "refund")
AMOUNTS = ("net_minor", "vat_minor", "gross_minor")
RATES = ("20.00", "5.5", "0")
STREETS = ("1 Way", "2 Way", "3 Way")
DIFFERENCES = frozenset({"line_cancelled", "address_changed", "snapshot_changed"})
"""Exceptions that an edit takes over."""
SECONDS_MAX = PATIENCE_SECONDS


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
