"""A gateway in Stripe's shapes, with a book of its own, Stripe's idempotency, and trouble on request.

    python -m gatewayservers.stripe --port 8901 --api-key sk_test_x --webhook http://127.0.0.1:8002/v1/gateways/... \
        --webhook-secret whsec_x

    POST /v1/payment_intents, /v1/payment_intents/{id}, /{id}/capture, /{id}/cancel, /v1/refunds      forms, Idempotency-Key
    GET  /v1/payment_intents/{id}, /v1/payment_intents/search?query=, /v1/refunds, /v1/refunds/{id}

    GET  /charges?order_id=O         the money that really moved, one entry per time: what a test counts
    PUT  /trouble/{order_id}         {"capture": "timed_out"}, the words of `faults`; {"webhook": "early"}, those of `WEBHOOKS`
    POST /buyers/{intent}/{what}     the buyer pays, passes 3-D Secure, or fails: `confirm`, `fail`
    POST /expire/{intent}            the authorization runs out
    POST /disputes/{charge}          the buyer disputes a charge, and it is lost; ?end=open: it stays open
    POST /disputes/{dispute}/{end}   its end: `won`, `lost`
    GET  /health

Means of payment: `pm_card_visa` pays, `pm_card_authenticationRequired` needs the buyer (3-D Secure),
`pm_card_chargeDeclined` is declined, `pm_card_single` allows one capture only.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import json
import re
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID, uuid4

import aiohttp
from aiohttp import web

from gatewayservers import serving
from gatewayservers.faults import Faults

WEBHOOKS: Final = ("early", "twice", "lost", "reordered")
"""Before the answer; two times; never; only together with the next one, and after it."""
NEEDS_BUYER: Final = "pm_card_authenticationRequired"
DECLINES: Final = "pm_card_chargeDeclined"
SINGLE: Final = "pm_card_single"

Form = Mapping[str, str]
Answer = tuple[int, dict[str, Any]]


class Refused(Exception):
    """An answer that is an error in Stripe's shape."""

    def __init__(self, status: int, kind: str, code: str | None, message: str, **more: Any) -> None:
        self.answer: Answer = (status, {"error": {"type": kind, "code": code, "message": message} | more})
        super().__init__(message)


def refuse(code: str | None, message: str, **more: Any) -> Refused:
    return Refused(400, "invalid_request_error", code, message, **more)


@dataclass
class Saved:
    """The first answer to an idempotency key; null while the request is executed."""

    at: float
    request: tuple[str, Form]
    answer: Answer | None = None


@dataclass
class Charge:
    id: str
    multicapture: bool
    refunded: int = 0


@dataclass
class Intent:
    id: str
    amount: int
    currency: str
    metadata: dict[str, str]
    status: str
    is_automatic: bool
    """Captured when it is authorized."""
    charge: Charge | None = None
    received: int = 0
    settles_at: float = 0
    """When the status `processing` ends."""
    cancellation_reason: str | None = None
    error: dict[str, Any] | None = None

    @property
    def order_id(self) -> str:
        return self.metadata.get("order_id", "")


@dataclass
class Refund:
    id: str
    amount: int
    intent: Intent
    metadata: dict[str, str]
    settles_at: float

    @property
    def status(self) -> str:
        return "succeeded" if time.time() >= self.settles_at else "pending"


@dataclass
class Moved:
    """Money that moved, or will have moved at `settles_at`."""

    operation: str
    kind: str
    order_id: str
    amount: int
    currency: str
    reference: str
    settles_at: float = 0


@dataclass
class Books:
    intents: dict[str, Intent] = field(default_factory=dict)
    refunds: dict[str, Refund] = field(default_factory=dict)
    disputes: dict[str, dict[str, Any]] = field(default_factory=dict)
    moved: list[Moved] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)


class Server:
    def __init__(
        self, faults: Faults, api_key: str, webhook: str | None = None, webhook_secret: str = "", search_lag: float = 0
    ) -> None:
        """search_lag: seconds until the search finds a new intent."""
        self.faults, self.books = faults, Books()
        self._api_key, self._search_lag = api_key, search_lag
        self.webhook, self.webhook_secret = webhook, webhook_secret
        self._webhook_trouble: dict[str, str | None] = {}
        self._withheld: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._saved: dict[str, Saved] = {}
        self._created: dict[str, float] = {}
        self._sending: set[asyncio.Task[None]] = set()

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._answered])
        app.router.add_post("/v1/payment_intents", self._post(self._create, "authorize"))
        app.router.add_get("/v1/payment_intents/search", self._search)
        app.router.add_get("/v1/payment_intents/{id}", self._get_intent)
        app.router.add_post("/v1/payment_intents/{id}", self._post(self._update, "void"))
        app.router.add_post("/v1/payment_intents/{id}/capture", self._post(self._capture, "capture"))
        app.router.add_post("/v1/payment_intents/{id}/cancel", self._post(self._cancel, "void"))
        app.router.add_post("/v1/refunds", self._post(self._refund, "refund"))
        app.router.add_get("/v1/refunds", self._list_refunds)
        app.router.add_get("/v1/refunds/{id}", self._get_refund)
        app.router.add_get("/charges", self._charges)
        app.router.add_put("/trouble/{order_id}", self._trouble)
        app.router.add_post("/buyers/{id}/{what}", self._buyer)
        app.router.add_post("/expire/{id}", self._expire)
        app.router.add_get("/v1/disputes/{id}", self._get_dispute)
        app.router.add_post("/disputes/{id}", self._dispute)
        app.router.add_post("/disputes/{id}/{end}", self._dispute_ends)
        app.router.add_get("/health", self._health)
        app.on_cleanup.append(self._stop)
        return app

    # -- every request ------------------------------------------------------------------------------------------------

    @web.middleware
    async def _answered(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if request.path.startswith("/v1/"):
            await self.faults.latency()
            if request.headers.get("Authorization") != f"Bearer {self._api_key}":
                return _json(401, {"error": {"type": "invalid_request_error", "message": "Invalid API Key provided"}})
        try:
            return await handler(request)
        except Refused as refused:
            return _json(*refused.answer)

    def _post(
        self, execute: Callable[[Form, web.Request, str | None], Answer], kind: str
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """A write under Stripe's idempotency: the first answer is saved once the execution begins, errors included."""

        async def handler(request: web.Request) -> web.StreamResponse:
            form: Form = {name: str(value) for name, value in (await request.post()).items()}
            key = request.headers.get("Idempotency-Key") or str(uuid4())
            order_id, done_as = self._order_of(request, form), self._kind_of(request, form, kind)
            trouble = self.faults.of(order_id, done_as)
            saved = self._saved.get(key)
            if saved is not None and time.time() - saved.at < self.faults.times.key_seconds:
                if saved.request != (request.path, form):
                    raise Refused(400, "idempotency_error", None, "Keys can only be used with the same parameters")
                if saved.answer is None:
                    raise Refused(
                        409, "invalid_request_error", "idempotency_key_in_use", "Another request uses the key"
                    )
                return await self._held() if trouble == "silent" else _json(*saved.answer)
            is_first = self.faults.is_first(key)
            if trouble == "lost" and is_first:
                return await self._held()
            if trouble == "down" and is_first:
                return _json(503, {"error": {"type": "api_error", "message": "try later"}})
            saved = self._saved[key] = Saved(time.time(), (request.path, form))
            events_before = len(self.books.events)
            try:
                answer = execute(form, request, trouble)
            except Refused as refused:
                answer = refused.answer
            is_broken = trouble == "broken" and is_first and answer[0] == 200
            saved.answer = (500, {"error": {"type": "api_error", "message": "done"}}) if is_broken else answer
            await self._notify(self.books.events[events_before:], order_id)
            if trouble == "silent" or (trouble == "timed_out" and is_first and answer[0] == 200):
                return await self._held()
            return _json(*saved.answer)

        return handler

    def _order_of(self, request: web.Request, form: Form) -> str:
        if "metadata[order_id]" in form:
            return form["metadata[order_id]"]
        intent = self.books.intents.get(request.match_info.get("id", ""))
        return intent.order_id if intent else ""

    def _kind_of(self, request: web.Request, form: Form, kind: str) -> str:
        return "void" if kind == "capture" and form.get("amount_to_capture") == "0" else kind

    async def _held(self) -> web.StreamResponse:
        await self.faults.hold()
        return _json(504, {"error": {"type": "api_error", "message": "too late"}})

    # -- intents ------------------------------------------------------------------------------------------------------

    def _create(self, form: Form, request: web.Request, trouble: str | None) -> Answer:
        amount = int(form["amount"])
        if amount < 1:
            raise refuse("amount_too_small", "Amount must be at least 1")
        if amount > 99_999_999:
            raise refuse("amount_too_large", "Amount must be no more than 999,999.99")
        intent = Intent(
            f"pi_{uuid4().hex[:24]}",
            amount,
            form["currency"],
            _metadata(form),
            "requires_payment_method",
            form["capture_method"] == "automatic",
        )
        self.books.intents[intent.id], self._created[intent.id] = intent, time.time()
        if form.get("confirm") == "true":
            self._confirm(intent, form.get("payment_method", ""), trouble)
            if intent.error is not None:
                error = intent.error | {"payment_intent": self._shown(intent)}
                return 402, {"error": error}
        return 200, self._shown(intent)

    def _confirm(self, intent: Intent, method: str, trouble: str | None = None) -> None:
        if trouble == "declined" or method == DECLINES:
            intent.error = {
                "type": "card_error",
                "code": "card_declined",
                "decline_code": "generic_decline",
                "message": "Your card was declined.",
            }
            self._event("payment_intent.payment_failed", intent)
            return
        intent.error, intent.charge = None, Charge(f"ch_{uuid4().hex[:24]}", method != SINGLE)
        if method == NEEDS_BUYER:
            intent.status = "requires_action"
            self._event("payment_intent.requires_action", intent)
            return
        self._authorized(intent, trouble)

    def _authorized(self, intent: Intent, trouble: str | None = None) -> None:
        is_late = trouble == "late"
        intent.settles_at = time.time() + self.faults.times.late_ms / 1000 if is_late else 0
        intent.status = "processing" if is_late else "requires_capture"
        self._move(
            intent, "authorize", intent.metadata.get("operation_id", ""), intent.amount, intent.id, intent.settles_at
        )
        if intent.is_automatic:
            intent.received = intent.amount
            intent.status = "processing" if is_late else "succeeded"
            assert intent.charge is not None
            self._move(intent, "capture", "", intent.amount, intent.charge.id, intent.settles_at)
        done = "payment_intent.succeeded" if intent.is_automatic else "payment_intent.amount_capturable_updated"
        self._event("payment_intent.processing" if is_late else done, intent)

    def _capture(self, form: Form, request: web.Request, trouble: str | None) -> Answer:
        intent = self._known_intent(request)
        if self._settled(intent).status != "requires_capture":
            raise self._unexpected(intent)
        amount = int(form.get("amount_to_capture", intent.amount - intent.received))
        is_final = form.get("final_capture", "true") == "true"
        assert intent.charge is not None
        if not is_final and not intent.charge.multicapture:
            raise refuse("parameter_invalid", "final_capture is not available for this payment", param="final_capture")
        if amount and trouble == "declined":
            raise Refused(
                402, "card_error", "card_declined", "The capture was declined.", decline_code="generic_decline"
            )
        if intent.received + amount > intent.amount or (not amount and not intent.received):
            raise refuse("amount_too_large", "The amount is greater than what is capturable", param="amount_to_capture")
        released = intent.amount - intent.received - amount if is_final else 0
        intent.received += amount
        metadata = _metadata(form)
        intent.metadata |= metadata
        operation = next((key.removeprefix("capture_") for key in metadata if key.startswith("capture_")), "")
        is_late = trouble == "late" and amount > 0
        settles_at = time.time() + self.faults.times.late_ms / 1000 if is_late else 0
        if amount:
            self._move(
                intent, "capture", str(UUID(operation)) if operation else "", amount, intent.charge.id, settles_at
            )
        if released:
            self._move(intent, "void", "", released, intent.id)
        intent.status = "succeeded" if is_final else "requires_capture"
        if is_late:
            intent.status, intent.settles_at = "processing", settles_at
        self._event("charge.captured" if is_final else "charge.updated", intent)
        return 200, self._shown(intent)

    def _cancel(self, form: Form, request: web.Request, trouble: str | None) -> Answer:
        intent = self._known_intent(request)
        if self._settled(intent).status in ("succeeded", "canceled", "processing"):
            raise self._unexpected(intent)
        if trouble == "declined":
            raise self._unexpected(intent)
        self._release(intent, form.get("cancellation_reason", "requested_by_customer"))
        return 200, self._shown(intent)

    def _release(self, intent: Intent, reason: str) -> None:
        held = intent.amount - intent.received if intent.status == "requires_capture" else 0
        if held:
            self._move(intent, "void", "", held, intent.id)
        intent.status, intent.cancellation_reason = ("succeeded", None) if intent.received else ("canceled", reason)
        self._event("payment_intent.canceled", intent)

    def _update(self, form: Form, request: web.Request, trouble: str | None) -> Answer:
        intent = self._known_intent(request)
        intent.metadata |= _metadata(form)
        return 200, self._shown(intent)

    async def _get_intent(self, request: web.Request) -> web.StreamResponse:
        intent = self._known_intent(request)
        if await self._is_silent(intent.order_id):
            return await self._held()
        return _json(200, self._shown(intent, expanded="expand[]" in request.query))

    async def _search(self, request: web.Request) -> web.StreamResponse:
        sought = re.fullmatch(r"metadata\['operation_id'\]:'([0-9a-f-]{36})'", request.query["query"])
        assert sought is not None, request.query["query"]
        found = [
            intent
            for intent in self.books.intents.values()
            if intent.metadata.get("operation_id") == sought[1]
            and time.time() - self._created[intent.id] >= self._search_lag
        ]
        if found and await self._is_silent(found[0].order_id):
            return await self._held()
        shown = [self._shown(intent, expanded=True) for intent in found]
        return _json(200, {"object": "search_result", "data": shown, "has_more": False})

    def _known_intent(self, request: web.Request) -> Intent:
        intent = self.books.intents.get(request.match_info["id"])
        if intent is None:
            raise Refused(404, "invalid_request_error", "resource_missing", "No such payment_intent")
        return intent

    def _unexpected(self, intent: Intent) -> Refused:
        message = f"This PaymentIntent has a status of {intent.status}"
        return refuse("payment_intent_unexpected_state", message, payment_intent=self._shown(intent))

    def _settled(self, intent: Intent) -> Intent:
        """A late authorization or capture ends by itself."""
        if intent.status == "processing" and time.time() >= intent.settles_at:
            is_whole = intent.received == intent.amount
            is_final = any(m.kind == "void" and m.reference == intent.id for m in self.books.moved) or is_whole
            intent.status = "succeeded" if is_final else "requires_capture"
        return intent

    async def _is_silent(self, order_id: str) -> bool:
        return any(self.faults.of(order_id, kind) == "silent" for kind in ("authorize", "capture", "void", "refund"))

    def _shown(self, intent: Intent, expanded: bool = False) -> dict[str, Any]:
        self._settled(intent)
        charge: Any = intent.charge.id if intent.charge else None
        if expanded and intent.charge:
            multicapture = {"status": "available" if intent.charge.multicapture else "unavailable"}
            details = {"type": "card", "card": {"multicapture": multicapture}}
            charge = {"object": "charge", "id": intent.charge.id, "payment_method_details": details}
        has_action = intent.status == "requires_action"
        return {
            "object": "payment_intent",
            "id": intent.id,
            "amount": intent.amount,
            "amount_capturable": intent.amount - intent.received if intent.status == "requires_capture" else 0,
            "amount_received": intent.received,
            "currency": intent.currency,
            "metadata": dict(intent.metadata),
            "status": intent.status,
            "latest_charge": charge,
            "last_payment_error": intent.error,
            "cancellation_reason": intent.cancellation_reason,
            "client_secret": f"{intent.id}_secret_{intent.id[3:]}",
            "next_action": {"type": "use_stripe_sdk", "use_stripe_sdk": {}} if has_action else None,
        }

    # -- refunds ------------------------------------------------------------------------------------------------------

    def _refund(self, form: Form, request: web.Request, trouble: str | None) -> Answer:
        intent = self._charged(form)
        assert intent.charge is not None
        amount = int(form["amount"])
        if intent.charge.refunded + amount > intent.received:
            if intent.charge.refunded == intent.received:
                raise refuse("charge_already_refunded", "Charge has already been refunded")
            raise refuse(None, "Refund amount is greater than unrefunded amount on charge", param="amount")
        if trouble == "declined":
            raise refuse("charge_disputed", "The charge is disputed")
        settles_at = time.time() + self.faults.times.late_ms / 1000 if trouble == "late" else 0
        refund = Refund(f"re_{uuid4().hex[:24]}", amount, intent, _metadata(form), settles_at)
        self.books.refunds[refund.id] = refund
        intent.charge.refunded += amount
        self._move(intent, "refund", refund.metadata.get("operation_id", ""), amount, refund.id, settles_at)
        self._event("refund.created", intent, refund)
        return 200, _shown_refund(refund)

    async def _list_refunds(self, request: web.Request) -> web.StreamResponse:
        intent = self._charged(request.query)
        if await self._is_silent(intent.order_id):
            return await self._held()
        found = [refund for refund in reversed([*self.books.refunds.values()]) if refund.intent is intent]
        start, limit = request.query.get("starting_after"), int(request.query.get("limit", "10"))
        after = next((n + 1 for n, refund in enumerate(found) if refund.id == start), 0)
        page = [_shown_refund(refund) for refund in found[after : after + limit]]
        return _json(200, {"object": "list", "data": page, "has_more": len(found) > after + limit})

    async def _get_refund(self, request: web.Request) -> web.StreamResponse:
        refund = self.books.refunds.get(request.match_info["id"])
        if refund is None:
            raise Refused(404, "invalid_request_error", "resource_missing", "No such refund")
        if await self._is_silent(refund.intent.order_id):
            return await self._held()
        return _json(200, _shown_refund(refund))

    def _charged(self, form: Mapping[str, str]) -> Intent:
        named = form.get("charge"), form.get("payment_intent")
        for intent in self.books.intents.values():
            if intent.charge and (intent.charge.id == named[0] or intent.id == named[1]):
                return intent
        raise Refused(404, "invalid_request_error", "resource_missing", "No such charge")

    # -- the world around it ------------------------------------------------------------------------------------------

    def _move(
        self, intent: Intent, kind: str, operation: str, amount: int, reference: str, settles_at: float = 0
    ) -> None:
        moved = Moved(operation, kind, intent.order_id, amount, intent.currency.upper(), reference, settles_at)
        self.books.moved.append(moved)

    async def _charges(self, request: web.Request) -> web.StreamResponse:
        order_id, now = request.query.get("order_id"), time.time()
        moved = [
            {"operation": m.operation, "kind": m.kind, "order_id": m.order_id, "amount_minor": m.amount,
             "currency": m.currency, "reference": m.reference}
            for m in self.books.moved
            if now >= m.settles_at and order_id in (None, m.order_id)
        ]  # fmt: skip
        return _json(200, {"charges": moved})

    async def _trouble(self, request: web.Request) -> web.StreamResponse:
        told, order_id = dict(await request.json()), UUID(request.match_info["order_id"])
        if "webhook" in told:
            webhook = told.pop("webhook")
            if webhook not in (*WEBHOOKS, None):
                return _json(400, {"error": {"message": f"webhook: {WEBHOOKS}"}})
            self._webhook_trouble[str(order_id)] = webhook
        try:
            self.faults.tell(order_id, told)
        except ValueError as error:
            return _json(400, {"error": {"message": str(error)}})
        return _json(200, told)

    async def _buyer(self, request: web.Request) -> web.StreamResponse:
        intent, before = self._known_intent(request), len(self.books.events)
        if intent.status not in ("requires_action", "requires_payment_method"):
            raise self._unexpected(intent)
        if request.match_info["what"] == "confirm":
            intent.charge = intent.charge or Charge(f"ch_{uuid4().hex[:24]}", True)
            intent.error = None
            self._authorized(intent)
        else:
            intent.status = "requires_payment_method"
            self._confirm(intent, DECLINES)
        await self._notify(self.books.events[before:], intent.order_id)
        return _json(200, self._shown(intent))

    async def _expire(self, request: web.Request) -> web.StreamResponse:
        intent, before = self._known_intent(request), len(self.books.events)
        self._release(intent, "automatic")
        await self._notify(self.books.events[before:], intent.order_id)
        return _json(200, self._shown(intent))

    async def _dispute(self, request: web.Request) -> web.StreamResponse:
        intent, before = self._charged({"charge": request.match_info["id"]}), len(self.books.events)
        dispute: dict[str, Any] = {
            "object": "dispute", "id": f"dp_{uuid4().hex[:24]}", "charge": request.match_info["id"], "payment_intent": intent.id,
            "amount": intent.received, "currency": intent.currency, "status": "needs_response", "reason": "fraudulent",
            "metadata": {}, "evidence_details": {"due_by": int(time.time()) + 604_800},
            "balance_transactions": [{"amount": -intent.received, "fee": 1500}],
        }  # fmt: skip
        self.books.disputes[dispute["id"]] = dispute
        self._event("charge.dispute.created", intent, shown=dict(dispute))
        if request.query.get("end") != "open":
            self._end_dispute(intent, dispute, "lost")
        await self._notify(self.books.events[before:], intent.order_id)
        return _json(200, dispute)

    async def _dispute_ends(self, request: web.Request) -> web.StreamResponse:
        dispute, before = self.books.disputes[request.match_info["id"]], len(self.books.events)
        intent = self.books.intents[dispute["payment_intent"]]
        self._end_dispute(intent, dispute, request.match_info["end"])
        await self._notify(self.books.events[before:], intent.order_id)
        return _json(200, dispute)

    def _end_dispute(self, intent: Intent, dispute: dict[str, Any], end: str) -> None:
        dispute["status"] = end
        if end == "won":
            dispute["balance_transactions"] = [
                *dispute["balance_transactions"],
                {"amount": dispute["amount"], "fee": 0},
            ]
        self._event("charge.dispute.closed", intent, shown=dict(dispute))

    async def _get_dispute(self, request: web.Request) -> web.StreamResponse:
        dispute = self.books.disputes.get(request.match_info["id"])
        if dispute is None:
            raise Refused(404, "invalid_request_error", "resource_missing", "No such dispute")
        return _json(200, dispute)

    async def _health(self, request: web.Request) -> web.StreamResponse:
        return _json(200, {"entries": len(self.books.moved)})

    # -- webhooks -----------------------------------------------------------------------------------------------------

    def _event(
        self, kind: str, intent: Intent, refund: Refund | None = None, shown: dict[str, Any] | None = None
    ) -> None:
        if shown is None:
            shown = _shown_refund(refund) if refund else self._shown(intent)
        if kind.startswith("charge.") and shown.get("object") == "payment_intent":
            shown = {"object": "charge", "id": shown["latest_charge"], "payment_intent": intent.id, "metadata": {}}
        event = {"object": "event", "id": f"evt_{uuid4().hex[:24]}", "type": kind, "created": int(time.time())}
        self.books.events.append(event | {"data": {"object": shown}})

    async def _notify(self, events: list[dict[str, Any]], order_id: str) -> None:
        """Sends events to the webhook, as the order's trouble has it; without trouble after the answer."""
        trouble = self._webhook_trouble.get(order_id)
        if self.webhook is None or not events or trouble == "lost":
            return
        if trouble == "reordered" and not self._withheld[order_id]:
            self._withheld[order_id] = events
            return
        due = [*events, *self._withheld.pop(order_id, ())] * (2 if trouble == "twice" else 1)
        if trouble == "early":
            await self._send(due)
            return
        task = asyncio.create_task(self._send(due))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, events: list[dict[str, Any]]) -> None:
        assert self.webhook is not None
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            for event in events:
                body = json.dumps(event).encode()
                headers = {"Content-Type": "application/json", "Stripe-Signature": signature(body, self.webhook_secret)}
                try:
                    async with session.post(self.webhook, data=body, headers=headers):
                        pass
                except (aiohttp.ClientError, TimeoutError):
                    continue  # Stripe would send it again for days; here it is lost

    async def _stop(self, app: web.Application) -> None:
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)


def signature(body: bytes, secret: str, at: float | None = None) -> str:
    """The header `Stripe-Signature`. at: seconds since 1970; null: now."""
    signed_at = int(time.time() if at is None else at)
    digest = hmac.new(secret.encode(), f"{signed_at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={signed_at},v1={digest},v0={'0' * 64}"


def _shown_refund(refund: Refund) -> dict[str, Any]:
    assert refund.intent.charge is not None
    return {
        "object": "refund",
        "id": refund.id,
        "amount": refund.amount,
        "status": refund.status,
        "charge": refund.intent.charge.id,
        "payment_intent": refund.intent.id,
        "metadata": dict(refund.metadata),
        "failure_reason": None,
    }


def _metadata(form: Form) -> dict[str, str]:
    given = {match[1]: value for name, value in form.items() if (match := re.fullmatch(r"metadata\[(.+)\]", name))}
    if any(len(name) > 40 or len(value) > 500 for name, value in given.items()):
        raise refuse("parameter_invalid", "Metadata keys have at most 40 characters and values 500")
    return given


def _json(status: int, body: dict[str, Any]) -> web.Response:
    return web.json_response(body, status=status)


def parser() -> argparse.ArgumentParser:
    arguments = serving.parser("python -m gatewayservers.stripe", __doc__.partition("\n")[0])
    arguments.add_argument("--api-key", required=True)
    arguments.add_argument("--webhook", help="where events are sent")
    arguments.add_argument("--webhook-secret", default="")
    arguments.add_argument("--search-lag-seconds", type=float, default=0)
    return arguments


def main(argv: list[str] | None = None) -> int:
    options = parser().parse_args(argv)
    lag = options.search_lag_seconds
    server = Server(serving.faults(options), options.api_key, options.webhook, options.webhook_secret, lag)
    asyncio.run(serving.serve(server.app(), options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
