"""Requests to Dintero. One authorization is one session, and the transaction that it results in.

Dintero documents no idempotency key, so a repeated request would move money again. These keep an operation to one effect:

- Each request carries the operation's id: `merchant_reference` of a payment, `capture_reference`, `refund_reference`. Before
  a request that moves money the transaction is read: an event with the reference is the answer, and nothing is requested.
- A payment with a token is created with `strict-merchant-reference`: Dintero rejects a second one of the same reference.
- Calls of one operation in a process wait for each other, and one that was held up since it had read requests nothing.
- A request whose outcome is unclear is not repeated before `SETTLED_SECONDS`, when it would be among the events.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, Self
from weakref import WeakValueDictionary

from contracts.differences import TheirSide
from payments.domain.gateway import GatewayCall, GatewayOutcome, Refunds, RefundsCall
from payments.domain.listing import ListedPage, Listing
from payments.gateways.accounts import Access
from payments.gateways.dintero import answers, listing
from payments.gateways.dintero.answers import AMOUNT_MAX, Transaction
from payments.gateways.dintero.tokens import Authorized
from payments.gateways.http import Answer, Http
from payments.gateways.port import Action, Unclear, outcome

URL: Final = "https://checkout.dintero.com"
PRODUCT: Final = "dintero_psp.creditcard"
"""The payment product of tokens, unless the account states another one."""
RELEASES_THE_REST: Final = frozenset({"dintero_psp"})
"""Products that take `final_capture`."""
SETTLED_SECONDS: Final = 60.0
"""Longer than Dintero works on a request, so that its event is there."""
STRICT: Final = {"Dintero-Feature-Toggles": "strict-merchant-reference"}


class Dintero:
    def __init__(self, access: Access, timeout_seconds: float) -> None:
        self._http, self._timeout = Http(access.url, timeout_seconds), timeout_seconds
        credentials = (access.credentials["client_id"], access.credentials["client_secret"])
        self._api = Authorized(self._http, access.settings["account_id"], *credentials)
        self._url, self._settings = access.url.rstrip("/"), access.settings
        self._clock: Callable[[], float] = time.monotonic
        self._calls: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @classmethod
    def of(cls, access: Access, timeout_seconds: float) -> Self:
        return cls(access, timeout_seconds)

    async def call(self, call: GatewayCall) -> GatewayOutcome:
        if call.amount_minor > AMOUNT_MAX:
            return outcome("refused", code="amount_too_large", reason=f"Dintero takes at most {AMOUNT_MAX}")
        if call.kind == "void" and call.left_minor:
            # Dintero releases an authorization as a whole: this part with the last capture, or with the void of the rest.
            return outcome("succeeded", reference=call.source, amount_minor=call.amount_minor)
        one_at_a_time = self._calls.setdefault(str(call.operation_id), asyncio.Lock())
        try:
            async with asyncio.timeout(2 * self._timeout), one_at_a_time:
                return await (self._authorize(call) if call.kind == "authorize" else self._move(call))
        except TimeoutError as late:
            raise Unclear(f"{call.kind} {call.operation_id} took too long", SETTLED_SECONDS) from late

    async def by_key(self, call: GatewayCall) -> GatewayOutcome | None:
        return None  # there is no key: everything is found by reference

    async def by_reference(self, call: GatewayCall) -> GatewayOutcome | None:
        if call.kind == "authorize":
            return answers.authorized(await self._payments(str(call.operation_id)), call)
        transaction = await self._source(call)
        return answers.recorded(transaction, call) if transaction else None

    async def action(self, call: GatewayCall) -> Action | None:
        for payment in await self._payments(str(call.operation_id)):
            if payment.status != "INITIATED":
                return None
            if payment.url.approval_url:
                return Action("confirm", redirect_url=payment.url.approval_url)
            if payment.payment_operation:
                return None
        if call.reported_as is None:
            return None
        return Action("pay", redirect_url=f"{self._url}/v1/view/{call.reported_as}")

    async def abandon(self, call: GatewayCall) -> GatewayOutcome | None:
        """Cancels the session; Dintero voids what was authorized, unless something of it is captured."""
        try:
            async with asyncio.timeout(2 * self._timeout):
                return await self._abandon(call)
        except TimeoutError as late:
            raise Unclear(f"the cancel of {call.operation_id} took too long") from late

    async def listed(self, asked: Listing) -> ListedPage:
        for limit in listing.LIMITS:
            answer = await self._api.request("GET", "/v1/transactions", params=listing.query(asked, limit))
            if answer.status != 200 or answer.body is not None:
                break
        return listing.page_of(answers.transactions_of(answer), asked)

    async def refunds(self, call: RefundsCall) -> Refunds:
        rows = listing.movements(await self._transaction(answers.transaction_id(call.payment)), "refund")
        return Refunds(made=tuple(TheirSide(**row._asdict()) for row in rows))

    async def close(self) -> None:
        await self._http.close()

    # -- the four operations ------------------------------------------------------------------------------------------

    async def _authorize(self, call: GatewayCall) -> GatewayOutcome:
        read_at = self._clock()
        known = answers.authorized(await self._payments(str(call.operation_id)), call)
        if known is not None:
            return known
        if call.payment_token is None:
            return await self._session(call)
        product, _, token = call.payment_token.rpartition(":")
        product = product or self._settings.get("payment_product_type", PRODUCT)
        session = {
            "order": _order(call),
            "metadata": _metadata(call),
            "customer": {"tokens": {product: {"payment_token": token}}},
            "configuration": {"auto_capture": False},  # a capture of ours has a reference, Dintero's own has none
        }
        payment = {"payment_product_type": product, "operation": "unscheduled_purchase"}
        answer = await self._post("/v1/sessions/pay", {"session": session, "payment": payment}, read_at, STRICT)
        found = [answers.transaction_of(answer.body)] if answer.status == 200 else None
        if found is None and answer.status == 400:  # declined, or there is one already
            found = await self._payments(str(call.operation_id))
        paid = answers.authorized(found, call) if found else None
        if paid is None:
            raise answers.unclear(answer)
        return paid

    async def _session(self, call: GatewayCall) -> GatewayOutcome:
        """The buyer pays at Dintero's page. A session that is repeated is another page, to which no buyer was sent."""
        body = {
            "url": {"return_url": call.return_url or self._settings["return_url"]},
            "order": _order(call),
            "metadata": _metadata(call),
            "profile_id": self._settings.get("profile_id", "default"),
        }
        answer = await self._api.request("POST", "/v1/sessions-profile", json=body)
        if answer.status != 200:
            raise answers.unclear(answer)
        return outcome("pending", reference=answers.session_of(answer.body).id)

    async def _move(self, call: GatewayCall) -> GatewayOutcome:
        """A capture, a refund, or the void of all that is left: 200 is done, 202 is accepted and still runs."""
        read_at = self._clock()
        transaction = await self._source(call)
        if transaction is None:
            raise Unclear(f"Dintero has no transaction of {call.refers_to}")
        known = answers.recorded(transaction, call)
        if known is not None:
            return known
        path = f"/v1/transactions/{transaction.id}/{call.kind}"
        answer = await self._post(path, _body(transaction, call), read_at)
        if answer.status in (200, 202):
            after = answers.transaction_of(answer.body)
        elif answer.status in (400, 403, 409):
            after = await self._transaction(transaction.id)
        else:
            raise answers.unclear(answer, None if answer.status == 503 else SETTLED_SECONDS)
        done = answers.recorded(after, call)
        if done is None and answer.status not in (200, 202):
            done = answers.excluded(after, call) or _refused_void(answer, call)
        if done is None:
            raise answers.unclear(answer, answers.retry_after(after, call))
        return done

    async def _abandon(self, call: GatewayCall) -> GatewayOutcome | None:
        session_id = call.reported_as
        if session_id is None:
            session_id = next((one.session_id for one in await self._payments(str(call.operation_id))), None)
        if session_id is None:
            return None
        path = f"/v1/sessions/{session_id}"
        answer = await self._api.request("POST", f"{path}/cancel")
        if answer.status != 200:  # it may be cancelled already, or captured
            answer = await self._api.request("GET", path)
        if answer.status != 200:
            raise answers.unclear(answer)
        session = answers.session_of(answer.body)
        paid = await self._transaction(session.transaction_id) if session.transaction_id else None
        return answers.abandoned(session, paid, call, datetime.now(UTC))

    # -- lookups ------------------------------------------------------------------------------------------------------

    async def _source(self, call: GatewayCall) -> Transaction | None:
        """The transaction that a capture, void or refund draws on."""
        if call.source is not None:
            return await self._transaction(answers.transaction_id(call.source))
        if call.kind == "refund":
            raise Unclear(f"the capture {call.refers_to} has no reference of Dintero: a person refunds it there")
        found = [one for one in await self._payments(str(call.refers_to)) if one.status in answers.HAS_AUTHORIZED]
        return found[0] if found else None

    async def _transaction(self, transaction_id: str) -> Transaction:
        answer = await self._api.request("GET", f"/v1/transactions/{transaction_id}")
        if answer.status != 200:
            raise answers.unclear(answer)
        transaction = answers.transaction_of(answer.body)
        if transaction.id != transaction_id:
            raise Unclear(f"asked about {transaction_id}, got another transaction")
        return transaction

    async def _payments(self, merchant_reference: str) -> list[Transaction]:
        sought = {"merchant_reference": merchant_reference, "limit": "100"}
        return answers.transactions_of(await self._api.request("GET", "/v1/transactions", params=sought))

    async def _post(self, path: str, body: Any, read_at: float, headers: Any = None) -> Answer:
        """Requests what moves money. Raises Unclear if the transaction was read too long ago: another worker may be ahead."""
        if self._clock() - read_at > self._timeout:
            raise Unclear(f"held up between reading and {path}")
        try:
            return await self._api.request("POST", path, headers=headers or {}, **({"json": body} if body else {}))
        except Unclear as unclear:
            raise Unclear(str(unclear), SETTLED_SECONDS) from unclear


def _order(call: GatewayCall) -> dict[str, Any]:
    order: dict[str, Any] = {
        "amount": call.amount_minor,
        "currency": call.currency,
        "merchant_reference": str(call.operation_id),
    }
    if call.reference is not None:
        order["merchant_reference_2"] = call.reference
    if call.lines:
        order["items"] = [item | {"id": item["line_id"], "description": item["line_id"]} for item in _items(call)]
    return order


def _metadata(call: GatewayCall) -> dict[str, str]:
    return {"order_id": str(call.order_id), "store_id": call.store_id}


def _body(transaction: Transaction, call: GatewayCall) -> dict[str, Any]:
    """A void has none."""
    if call.kind == "void":
        return {}
    body: dict[str, Any] = {"amount": call.amount_minor, f"{call.kind}_reference": str(call.operation_id)}
    if call.lines and _has_all(transaction, call):
        body["items"] = _items(call)
    if call.kind == "capture" and call.left_minor == 0 and transaction.payment_product in RELEASES_THE_REST:
        body["final_capture"] = True
    return body


def _has_all(transaction: Transaction, call: GatewayCall) -> bool:
    """Returns whether Dintero has all lines of a call as items. It has none of an order that gift cards have paid in part, and none
    that a reversal has added; a request that states others is rejected, one without items is not."""
    return {line.line_id for line in call.lines} <= {str(item.get("line_id")) for item in transaction.items}


def _items(call: GatewayCall) -> list[dict[str, Any]]:
    return [
        {"line_id": line.line_id, "quantity": line.quantity, "amount": line.amount_minor}
        for line in call.lines
    ]  # fmt: skip


def _refused_void(answer: Answer, call: GatewayCall) -> GatewayOutcome | None:
    """A void's failed event does not name its operation; the error of its own answer does."""
    error = answers.error_of(answer)
    if call.kind != "void" or error.policy != "DO_NOT_RETRY":
        return None
    return outcome("refused", code=error.name, reason=error.message)
