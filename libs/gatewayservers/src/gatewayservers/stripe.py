"""A gateway in Stripe's shapes, with a book of its own, Stripe's idempotency, and trouble on request.

    python -m gatewayservers.stripe --port 8901 --api-key sk_test_x --webhook http://127.0.0.1:8002/v1/gateways/... \
        --webhook-secret whsec_x

    POST /v1/payment_intents, /v1/payment_intents/{id}, /{id}/capture, /{id}/cancel, /v1/refunds      forms, Idempotency-Key
    GET  /v1/payment_intents/{id}, /v1/payment_intents/search?query=, /v1/refunds, /v1/refunds/{id}
    GET  /v1/balance_transactions?created[gte]=&created[lt]=          captures and refunds, with `expand[]=data.source`

    POST /buyers/{intent}/{what}     the buyer pays, passes 3-D Secure, or fails: `confirm`, `fail`
    POST /expire/{intent}            the authorization runs out
    POST /dashboard/refunds/{charge}?amount=     a person refunds there, without us
    POST /disputes/{charge}          the buyer disputes a charge, and it is lost; ?end=open: it stays open
    POST /disputes/{dispute}/{end}   its end: `won`, `lost`
    and the routes of `controls`

Means of payment: `pm_card_visa` pays, `pm_card_authenticationRequired` needs the buyer (3-D Secure),
`pm_card_chargeDeclined` is declined, `pm_card_single` allows one capture only.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from aiohttp import web

from gatewayservers import controls, serving
from gatewayservers.controls import Answer, Controls, Errors, Handler, Webhooks, responded
from gatewayservers.faults import Faults
from gatewayservers.stripe_book import DECLINES, NEEDS_BUYER, SINGLE, Books, Form, Refused, metadata, shown_refund

__all__ = ["DECLINES", "NEEDS_BUYER", "SINGLE", "Server", "signature"]
ERRORS: Final = Errors(
    down=(503, {"error": {"type": "api_error", "message": "try later"}}),
    broken=(500, {"error": {"type": "api_error", "message": "done"}}),
    late=(504, {"error": {"type": "api_error", "message": "too late"}}),
)


@dataclass
class Saved:
    """The first answer to an idempotency key; null while the request is executed."""

    at: float
    request: tuple[str, Form]
    answer: Answer | None = None


class Server:
    def __init__(
        self, faults: Faults, api_key: str, webhook: str | None = None, webhook_secret: str = "", search_lag: float = 0
    ) -> None:
        """search_lag: seconds until the search finds a new intent."""
        self.faults, self.books = faults, Books(faults.times.late_ms)
        self._api_key, self.search_lag = api_key, search_lag
        self.webhooks = Webhooks(webhook, lambda _, body: {"Stripe-Signature": signature(body, webhook_secret)})
        self.controls = Controls(faults, self.books.moved, self.webhooks, ERRORS)
        self._saved: dict[str, Saved] = {}

    @property
    def payments(self) -> list[str]:
        """What the buyer has before them, the oldest first."""
        return [*self.books.intents]

    @property
    def return_urls(self) -> list[str]:
        return [intent.return_url for intent in self.books.intents.values()]

    @property
    def event_ids(self) -> set[str]:
        return {event["id"] for event in self.books.events}

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self.controls.answered(self._rejected)])
        app.router.add_post("/v1/payment_intents", self._post(self._create, "authorize"))
        app.router.add_get("/v1/payment_intents/search", self._search)
        app.router.add_get("/v1/payment_intents/{id}", self._get_intent)
        app.router.add_post("/v1/payment_intents/{id}", self._post(self._update, "void"))
        app.router.add_post("/v1/payment_intents/{id}/capture", self._post(self._capture, "capture"))
        app.router.add_post("/v1/payment_intents/{id}/cancel", self._post(self._cancel, "void"))
        app.router.add_post("/v1/refunds", self._post(self._refund, "refund"))
        app.router.add_get("/v1/refunds", self._list_refunds)
        app.router.add_get("/v1/refunds/{id}", self._get_refund)
        app.router.add_get("/v1/balance_transactions", self._transactions)
        app.router.add_post("/buyers/{id}/{what}", self._buyer)
        app.router.add_post("/expire/{id}", self._expire)
        app.router.add_post("/dashboard/refunds/{charge}", self._dashboard)
        app.router.add_get("/v1/disputes/{id}", self._get_dispute)
        app.router.add_post("/disputes/{id}", self._dispute)
        app.router.add_post("/disputes/{id}/{end}", self._dispute_ends)
        self.controls.add_to(app)
        return app

    # -- every request ------------------------------------------------------------------------------------------------

    def _rejected(self, request: web.Request) -> Answer | None:
        if request.headers.get("Authorization") == f"Bearer {self._api_key}":
            return None
        return 401, {"error": {"type": "invalid_request_error", "message": "Invalid API Key provided"}}

    def _post(self, execute: Callable[[Form, web.Request, str | None], Answer], kind: str) -> Handler:
        """A write under Stripe's idempotency: the first answer is saved once the execution begins, errors included."""

        async def handler(request: web.Request) -> web.StreamResponse:
            form: Form = {name: str(value) for name, value in (await request.post()).items()}
            key = request.headers.get("Idempotency-Key") or str(uuid4())
            order_id, done_as = self._order_of(request, form), self._kind_of(form, kind)
            known = self._known(key, request.path, form)
            if known is not None:
                silent = self.faults.of(order_id, done_as) == "silent"
                return await self.controls.held() if silent else responded(*known)

            def write(trouble: str | None) -> Answer:
                self._saved[key] = Saved(time.time(), (request.path, form))
                try:
                    return execute(form, request, trouble)
                except Refused as refused:
                    return refused.answer

            def saved(answer: Answer) -> None:
                self._saved[key].answer = answer

            return await self.controls.written(done_as, order_id, key, write, self.books.events, saved)

        return handler

    def _known(self, key: str, path: str, form: Form) -> Answer | None:
        """The answer that is saved of a key; null: none is, or no longer."""
        saved = self._saved.get(key)
        if saved is None or time.time() - saved.at >= self.faults.times.key_seconds:
            return None
        if saved.request != (path, form):
            raise Refused(400, "idempotency_error", None, "Keys can only be used with the same parameters")
        if saved.answer is None:
            raise Refused(409, "invalid_request_error", "idempotency_key_in_use", "Another request uses the key")
        return saved.answer

    def _order_of(self, request: web.Request, form: Form) -> str:
        if "metadata[order_id]" in form:
            return form["metadata[order_id]"]
        intent = self.books.intents.get(request.match_info.get("id", ""))
        return intent.order_id if intent else ""

    def _kind_of(self, form: Form, kind: str) -> str:
        return "void" if kind == "capture" and form.get("amount_to_capture") == "0" else kind

    # -- Stripe's routes ----------------------------------------------------------------------------------------------

    def _create(self, form: Form, request: web.Request, trouble: str | None) -> Answer:
        return self.books.create(form, trouble)

    def _capture(self, form: Form, request: web.Request, trouble: str | None) -> Answer:
        return self.books.capture(self.books.intent(request.match_info["id"]), form, trouble)

    def _cancel(self, form: Form, request: web.Request, trouble: str | None) -> Answer:
        return self.books.cancel(self.books.intent(request.match_info["id"]), form, trouble)

    def _update(self, form: Form, request: web.Request, trouble: str | None) -> Answer:
        intent = self.books.intent(request.match_info["id"])
        intent.metadata |= metadata(form)
        return 200, self.books.shown(intent)

    def _refund(self, form: Form, request: web.Request, trouble: str | None) -> Answer:
        return self.books.refund(form, trouble)

    async def _get_intent(self, request: web.Request) -> web.StreamResponse:
        intent = self.books.intent(request.match_info["id"])
        if self.controls.is_silent(intent.order_id):
            return await self.controls.held()
        return responded(200, self.books.shown(intent, expanded="expand[]" in request.query))

    async def _search(self, request: web.Request) -> web.StreamResponse:
        sought = re.fullmatch(r"metadata\['operation_id'\]:'([0-9a-f-]{36})'", request.query["query"])
        assert sought is not None, request.query["query"]
        found = [
            intent
            for intent in self.books.intents.values()
            if intent.metadata.get("operation_id") == sought[1] and time.time() - intent.created_at >= self.search_lag
        ]
        if found and self.controls.is_silent(found[0].order_id):
            return await self.controls.held()
        shown = [self.books.shown(self.books.settled(intent), expanded=True) for intent in found]
        return responded(200, {"object": "search_result", "data": shown, "has_more": False})

    async def _list_refunds(self, request: web.Request) -> web.StreamResponse:
        intent = self.books.charged(request.query)
        if self.controls.is_silent(intent.order_id):
            return await self.controls.held()
        found = [refund for refund in reversed([*self.books.refunds.values()]) if refund.intent is intent]
        start, limit = request.query.get("starting_after"), int(request.query.get("limit", "10"))
        after = next((n + 1 for n, refund in enumerate(found) if refund.id == start), 0)
        page = [shown_refund(refund) for refund in found[after : after + limit]]
        return responded(200, {"object": "list", "data": page, "has_more": len(found) > after + limit})

    async def _get_refund(self, request: web.Request) -> web.StreamResponse:
        refund = self.books.refunds.get(request.match_info["id"])
        if refund is None:
            raise Refused(404, "invalid_request_error", "resource_missing", "No such refund")
        if self.controls.is_silent(refund.intent.order_id):
            return await self.controls.held()
        return responded(200, shown_refund(refund))

    async def _transactions(self, request: web.Request) -> web.StreamResponse:
        """Newest first, as Stripe's lists."""
        query = request.query
        found = self.books.transactions(float(query["created[gte]"]), float(query["created[lt]"]))
        start, limit = query.get("starting_after"), int(query.get("limit", "10"))
        after = next((n + 1 for n, one in enumerate(found) if one["id"] == start), 0)
        page = found[after : after + limit]
        return responded(200, {"object": "list", "data": page, "has_more": len(found) > after + limit})

    async def _get_dispute(self, request: web.Request) -> web.StreamResponse:
        dispute = self.books.disputes.get(request.match_info["id"])
        if dispute is None:
            raise Refused(404, "invalid_request_error", "resource_missing", "No such dispute")
        return responded(200, dispute)

    # -- the world around it ------------------------------------------------------------------------------------------

    async def _buyer(self, request: web.Request) -> web.StreamResponse:
        intent, before = self.books.intent(request.match_info["id"]), len(self.books.events)
        if intent.status not in ("requires_action", "requires_payment_method"):
            raise self.books.unexpected(intent)
        if request.match_info["what"] == "confirm":
            self.books.authorize(intent)
        else:
            intent.status = "requires_payment_method"
            self.books.confirm(intent, DECLINES)
        await self.webhooks.notify(self.books.events[before:], intent.order_id)
        return responded(200, self.books.shown(intent))

    async def _expire(self, request: web.Request) -> web.StreamResponse:
        intent, before = self.books.intent(request.match_info["id"]), len(self.books.events)
        self.books.release(intent, "automatic")
        await self.webhooks.notify(self.books.events[before:], intent.order_id)
        return responded(200, self.books.shown(intent))

    async def _dashboard(self, request: web.Request) -> web.StreamResponse:
        form = {"charge": request.match_info["charge"], "amount": request.query["amount"]}
        before = len(self.books.events)
        status, refund = self.books.refund(form, None)
        await self.webhooks.notify(self.books.events[before:], self.books.charged(form).order_id)
        return responded(status, refund)

    async def _dispute(self, request: web.Request) -> web.StreamResponse:
        intent, before = self.books.charged({"charge": request.match_info["id"]}), len(self.books.events)
        dispute = self.books.dispute(request.match_info["id"])
        if request.query.get("end") != "open":
            self.books.end_dispute(dispute["id"], "lost")
        await self.webhooks.notify(self.books.events[before:], intent.order_id)
        return responded(200, dispute)

    async def _dispute_ends(self, request: web.Request) -> web.StreamResponse:
        before = len(self.books.events)
        dispute = self.books.end_dispute(request.match_info["id"], request.match_info["end"])
        order_id = self.books.intents[dispute["payment_intent"]].order_id
        await self.webhooks.notify(self.books.events[before:], order_id)
        return responded(200, dispute)


def signature(body: bytes, secret: str, at: float | None = None) -> str:
    """The header `Stripe-Signature`. at: seconds since 1970; null: now."""
    signed_at = int(time.time() if at is None else at)
    digest = hmac.new(secret.encode(), f"{signed_at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={signed_at},v1={digest},v0={'0' * 64}"


def parser() -> argparse.ArgumentParser:
    arguments = controls.parser("stripe", __doc__.partition("\n")[0])
    arguments.add_argument("--api-key", required=True)
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
