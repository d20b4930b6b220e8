"""A gateway in Dintero's shapes, with a book of its own and trouble on request. It recognises no repeated capture or refund.

    python -m gatewayservers.dintero --port 8902 --account-id T12345678 --client-id x --client-secret y \
        --webhook http://127.0.0.1:8002/v1/gateways/... --webhook-secret z

    POST /v1/accounts/{aid}/auth/token                                        client credentials, Basic
    POST /v1/sessions-profile, /v1/sessions/pay, /v1/sessions/{id}/cancel
    GET  /v1/sessions/{id}
    GET  /v1/transactions/{id}
    GET  /v1/transactions?merchant_reference=, ?captured_at.gte=, ?refunded_at.gte=     [&limit=&starting_after=], the newest first
    POST /v1/transactions/{id}/capture, /refund, /void                        200 done, 202 accepted and still running

    POST /buyers/{session}/{what}    the buyer pays, passes 3-D Secure, or fails: `confirm`, `fail`
    POST /expire/{transaction}       the authorization runs out
    POST /dashboard/refunds/{transaction}?amount=    a person refunds there, without us
    and the routes of `controls`

Tokens: `tok_pays`, `tok_needs_buyer` (3-D Secure), `tok_declines`.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

import aiohttp
from aiohttp import web

from gatewayservers import controls, serving
from gatewayservers.controls import Answer, Controls, Errors, Event, Handler, Webhooks, responded
from gatewayservers.dintero_book import DECLINES, NEEDS_BUYER, PAYS, Books, Refused, Session
from gatewayservers.faults import Faults

__all__ = ["DECLINES", "NEEDS_BUYER", "PAYS", "Server", "signature"]
ERRORS: Final = Errors(
    down=(503, {"error": {"code": "unavailable", "message": "Processor temporarily unavailable"}}),
    broken=(500, {"error": {"code": "unexpected", "message": "done, and answered as an error"}}),
    late=(504, {"error": {"code": "timeout", "message": "too late"}}),
)
MOVED_SINCE: Final = {"capture": "captured_at.gte", "refund": "refunded_at.gte"}


class Server:
    def __init__(
        self,
        faults: Faults,
        account_id: str,
        client_id: str,
        client_secret: str,
        webhook: str | None = None,
        webhook_secret: str = "",
        token_seconds: float = 3600,
    ) -> None:
        """token_seconds: how long an access token is valid."""
        self.faults, self.books = faults, Books(account_id, faults.times.late_ms)
        self._basic, self.token_seconds = aiohttp.BasicAuth(client_id, client_secret).encode(), token_seconds
        self.tokens: dict[str, float] = {}
        """Token -> when it expires."""
        self.webhooks = Webhooks(webhook, lambda event, body: _headers(event, body, webhook_secret))
        self.controls = Controls(faults, self.books.moved, self.webhooks, ERRORS)

    @property
    def payments(self) -> list[str]:
        """What the buyer has before them, the oldest first."""
        return [*self.books.sessions]

    @property
    def return_urls(self) -> list[str]:
        return [session.return_url for session in self.books.sessions.values()]

    @property
    def event_ids(self) -> set[str]:
        return {event["event_delivery"] for event in self.books.events}

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self.controls.answered(self._rejected)])
        app.router.add_post("/v1/accounts/{aid}/auth/token", self._token)
        app.router.add_post("/v1/sessions-profile", self._create)
        app.router.add_post("/v1/sessions/pay", self._pay)
        app.router.add_get("/v1/sessions/{id}", self._get_session)
        app.router.add_post("/v1/sessions/{id}/cancel", self._cancel)
        app.router.add_get("/v1/transactions", self._list)
        app.router.add_get("/v1/transactions/{id}", self._get)
        for kind in ("capture", "refund", "void"):
            app.router.add_post(f"/v1/transactions/{{id}}/{kind}", self._operation(kind))
        app.router.add_post("/buyers/{id}/{what}", self._buyer)
        app.router.add_post("/expire/{id}", self._expire)
        app.router.add_post("/dashboard/refunds/{id}", self._dashboard)
        self.controls.add_to(app)
        return app

    def _rejected(self, request: web.Request) -> Answer | None:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if request.path.endswith("/auth/token") or time.time() < self.tokens.get(token, 0):
            return None
        return 401, {"error": {"code": "invalid_token", "message": "The token is not valid"}}

    async def _written(
        self, kind: str, order_id: str, key: str, write: Callable[[str | None], Answer]
    ) -> web.StreamResponse:
        return await self.controls.written(kind, order_id, key, write, self.books.events)

    # -- Dintero's routes ---------------------------------------------------------------------------------------------

    async def _token(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        wanted = f"https://api.dintero.com/v1/accounts/{self.books.account_id}"
        known = request.headers.get("Authorization") == self._basic and asked.get("audience") == wanted
        if not known or request.match_info["aid"] != self.books.account_id:
            return responded(401, {"error": {"code": "invalid_client", "message": "Unknown client"}})
        token = uuid4().hex
        self.tokens[token] = time.time() + self.token_seconds
        return responded(200, {"access_token": token, "token_type": "Bearer", "expires_in": self.token_seconds})

    async def _create(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if not body["url"]["return_url"] or not body["profile_id"]:
            raise Refused(400, "invalid_session", "url.return_url and profile_id are needed")
        order_id, key = _order_id(body), f"session {body['order']['merchant_reference']}"

        def write(trouble: str | None) -> Answer:
            session = self.books.create(body, "dintero_psp.creditcard")
            return 200, {"id": session.id, "url": f"https://checkout.dintero.com/v1/view/{session.id}"}

        return await self._written("authorize", order_id, key, write)

    async def _pay(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        is_strict = "strict-merchant-reference" in request.headers.get("Dintero-Feature-Toggles", "")
        key = body["session"]["order"]["merchant_reference"]
        return await self._written(
            "authorize", _order_id(body["session"]), key, lambda trouble: self.books.pay(body, is_strict, trouble)
        )

    def _operation(self, kind: str) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            body = await request.json() if request.can_read_body else {}
            transaction = self.books.transaction(request.match_info["id"])
            key = body.get(f"{kind}_reference") or f"{kind} {transaction.id}"
            return await self._written(
                kind, transaction.order_id, key, lambda trouble: self.books.operate(transaction, kind, body, trouble)
            )

        return handler

    def _session(self, request: web.Request) -> Session:
        if request.match_info["id"] not in self.books.sessions:
            raise Refused(404, "not_found", "No such session")
        return self.books.sessions[request.match_info["id"]]

    async def _get_session(self, request: web.Request) -> web.StreamResponse:
        session = self._session(request)
        if self.controls.is_silent(session.metadata.get("order_id", "")):
            return await self.controls.held()
        return responded(200, self.books.shown_session(session))

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        session = self._session(request)
        order_id, key = session.metadata.get("order_id", ""), f"cancel {session.id}"
        return await self._written("void", order_id, key, lambda trouble: self.books.cancel(session, trouble))

    async def _get(self, request: web.Request) -> web.StreamResponse:
        transaction = self.books.transaction(request.match_info["id"])
        if self.controls.is_silent(transaction.order_id):
            return await self.controls.held()
        return responded(200, self.books.shown(transaction))

    async def _list(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        kind = next((one for one in ("capture", "refund") if MOVED_SINCE[one] in query), None)
        if kind is not None:
            found = self.books.moved_since(kind, datetime.fromisoformat(query[MOVED_SINCE[kind]]))
        else:
            found = self.books.named(query["merchant_reference"])
            if any(self.controls.is_silent(one.order_id) for one in found):
                return await self.controls.held()
        after = next((n + 1 for n, one in enumerate(found) if one.id == query.get("starting_after")), 0)
        limit = int(query.get("limit", "10"))
        if not 1 <= limit <= 100:
            raise Refused(400, "invalid_limit", "limit is 1 to 100")
        return responded(200, [self.books.shown(one) for one in found[after : after + limit]])

    # -- the world around it ------------------------------------------------------------------------------------------

    async def _buyer(self, request: web.Request) -> web.StreamResponse:
        session, before = self._session(request), len(self.books.events)
        if session.is_cancelled:
            raise Refused(400, "cancelled", "The session is cancelled")
        transaction = session.transaction or self.books.initiate(session)
        if transaction.status != "INITIATED":
            raise Refused(400, "invalid_status", f"The transaction has the status {transaction.status}")
        if request.match_info["what"] == "confirm":
            self.books.authorize(transaction)
        else:
            self.books.decline(transaction)
        await self.webhooks.notify(self.books.events[before:], transaction.order_id)
        return responded(200, self.books.shown(transaction))

    async def _dashboard(self, request: web.Request) -> web.StreamResponse:
        transaction, before = self.books.transaction(request.match_info["id"]), len(self.books.events)
        status, body = self.books.operate(transaction, "refund", {"amount": int(request.query["amount"])}, None)
        await self.webhooks.notify(self.books.events[before:], transaction.order_id)
        return responded(status, body)

    async def _expire(self, request: web.Request) -> web.StreamResponse:
        transaction, before = self.books.transaction(request.match_info["id"]), len(self.books.events)
        self.books.expire(transaction)
        await self.webhooks.notify(self.books.events[before:], transaction.order_id)
        return responded(200, self.books.shown(transaction))


def signature(body: bytes, secret: str) -> str:
    """The header `event-signature`."""
    return hmac.new(secret.encode(), body, hashlib.sha1).hexdigest()


def _headers(event: Event, body: bytes, secret: str) -> Mapping[str, str]:
    signed = signature(body, secret)
    return {"event": event["event"], "event-delivery": event["event_delivery"], "event-signature": signed}


def _order_id(session: dict[str, Any]) -> str:
    return str((session.get("metadata") or {}).get("order_id", ""))


def parser() -> argparse.ArgumentParser:
    arguments = controls.parser("dintero", __doc__.partition("\n")[0])
    for name in ("--account-id", "--client-id", "--client-secret"):
        arguments.add_argument(name, required=True)
    arguments.add_argument("--token-seconds", type=float, default=3600)
    return arguments


def main(argv: list[str] | None = None) -> int:
    options = parser().parse_args(argv)
    server = Server(
        serving.faults(options), options.account_id, options.client_id, options.client_secret, options.webhook,
        options.webhook_secret, options.token_seconds,
    )  # fmt: skip
    asyncio.run(serving.serve(server.app(), options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
