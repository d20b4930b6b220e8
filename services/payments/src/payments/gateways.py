"""Calls to payment gateways, outside any transaction. Nothing is ever charged twice.

Every call carries its operation's id as `Idempotency-Key` and as reference. What became of a call is often unclear (a
timeout, a broken connection, a 5xx, an answer that does not read): then the gateway is asked by the key whether it has
the operation, and called again with the same key only if it does not. Past the lifetime of the key the same call could
charge again, so from then on it is only asked, by reference, until it answers or a person has checked.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal, Protocol, cast

import aiohttp
from pydantic import Field, ValidationError

from chassis import crash
from chassis.declare.app import App
from chassis.declare.service import Attempt, TaskKind, TryAgain
from contracts.base import Frozen, MinorUnsigned
from payments.domain.gateway import CHECK_KIND, TASK_KIND, GatewayCall, GatewayOutcome
from payments.settings import Settings

ANSWER_BYTES_MAX = 64 * 1024


class Gateway(Protocol):
    async def run(self, call: GatewayCall, attempt: Attempt) -> GatewayOutcome:
        """The outcome of the call. Raises TryAgain until there is one; any worker may run it again."""

    async def check(self, call: GatewayCall, attempt: Attempt) -> GatewayOutcome:
        """What it has under the operation, `unknown` included; moves nothing. Raises TryAgain until it has an answer."""

    async def close(self) -> None:
        """Let go of what it holds open."""


class Gateways:
    """The gateways that are set up, by name."""

    def __init__(self, by_name: Mapping[str, Gateway], settings: Settings) -> None:
        self._by_name, self._settings = by_name, settings

    async def run(self, call: GatewayCall, attempt: Attempt) -> GatewayOutcome:
        gateway = self._by_name.get(call.gateway)
        if gateway is not None:
            return await gateway.run(call, attempt)
        if attempt.number == 1 and not call.ask_only:
            reason = f"no gateway {call.gateway!r} is set up"
            return GatewayOutcome(state="not_set_up", code="gateway_unknown", reason=reason)
        # It was set up when an earlier attempt was made, which may have moved money: a no could be wrong.
        raise TryAgain(f"gateway {call.gateway!r} is no longer set up", self._settings.gateway_backoff_seconds_max)

    async def check(self, call: GatewayCall, attempt: Attempt) -> GatewayOutcome:
        gateway = self._by_name.get(call.gateway)
        if gateway is None:
            raise TryAgain(f"gateway {call.gateway!r} is not set up")
        return await gateway.check(call, attempt)

    def task_kinds(self) -> tuple[TaskKind, ...]:
        calls = TaskKind(
            kind=TASK_KIND,
            body=GatewayCall,
            outcome=GatewayOutcome,
            run=self.run,
            lease_seconds=self._settings.gateway_lease_seconds,
            backoff_seconds_max=self._settings.gateway_backoff_seconds_max,
            close=self.close,
        )
        return calls, replace(calls, kind=CHECK_KIND, run=self.check, close=None)

    async def close(self) -> None:
        for gateway in self._by_name.values():
            await gateway.close()


def tasks(app: App) -> tuple[TaskKind, ...]:
    settings = cast(Settings, app.settings)
    by_name: dict[str, Gateway] = {}
    if settings.test_gateway_url:
        by_name["test"] = TestGateway(settings.test_gateway_url, settings)
    return Gateways(by_name, settings).task_kinds()


class Unclear(Exception):
    """The call may or may not have reached the gateway, or it did and its answer cannot be read."""


class Answer(Frozen):
    """The test gateway's answer about an operation."""

    operation: str
    """The idempotency key that it received."""
    state: Literal["succeeded", "pending", "refused"]
    reference: str | None = Field(None, max_length=500)
    amount_minor: MinorUnsigned | None = None
    code: str = ""
    reason: str = ""


class TestGateway:
    """The gateway of `payments.testgateway`: POST /operations, GET /operations/{key}, GET /operations?reference=."""

    __test__ = False  # not a test class

    def __init__(self, url: str, settings: Settings) -> None:
        self._url, self._settings = url.rstrip("/"), settings
        self._session: aiohttp.ClientSession | None = None

    async def run(self, call: GatewayCall, attempt: Attempt) -> GatewayOutcome:
        if call.ask_only:
            return await self._after_pending(call)
        if self._key_may_be_forgotten(attempt):
            return await self._by_reference_only(call)
        if attempt.number > 1:  # the last attempt may have reached it, even if its worker died
            known = await self._ask(call, attempt)
            if known is not None:
                return _outcome(known)
        crash.point("before_gateway_call")
        try:
            answer = await self._call(call)
        except Unclear as unclear:
            crash.point("after_gateway_call")
            known = await self._ask(call, attempt)
            if known is not None:
                return _outcome(known)
            raise TryAgain(f"{unclear}; the gateway has no record of the operation", self._pause(attempt)) from unclear
        crash.point("after_gateway_call")
        return _outcome(answer)

    async def _after_pending(self, call: GatewayCall) -> GatewayOutcome:
        try:
            known = await self._anything(call)
        except Unclear as unclear:
            raise TryAgain(str(unclear), self._settings.gateway_poll_seconds) from unclear
        if known is None or known.state == "pending":
            what = "is still pending" if known else "is no longer recorded at the gateway, which had accepted it"
            raise TryAgain(f"{call.kind} {call.operation_id} {what}", self._settings.gateway_poll_seconds)
        return _outcome(known)

    async def check(self, call: GatewayCall, attempt: Attempt) -> GatewayOutcome:
        try:
            known = await self._anything(call)
        except Unclear as unclear:
            raise TryAgain(str(unclear)) from unclear
        if known is not None and known.state == "pending":
            raise TryAgain(f"{call.kind} {call.operation_id} is still pending")
        if known is not None:
            return _outcome(known)
        lease = self._settings.gateway_lease_seconds
        if attempt.now - attempt.first_tried_at < timedelta(seconds=lease):
            raise TryAgain("a call that was under way when the outcome was stated may still arrive", lease)
        return GatewayOutcome(state="unknown")

    async def _anything(self, call: GatewayCall) -> Answer | None:
        """Its record by the key or, once that has expired, by the reference."""
        known = await self._known(f"/operations/{call.operation_id}", call)
        return known or await self._known("/operations", call, reference=str(call.operation_id))

    async def _by_reference_only(self, call: GatewayCall) -> GatewayOutcome:
        try:
            known = await self._known("/operations", call, reference=str(call.operation_id))
        except Unclear as unclear:
            raise TryAgain(str(unclear), self._settings.gateway_backoff_seconds_max) from unclear
        if known is None:
            raise TryAgain(
                f"the key of {call.kind} {call.operation_id} may have expired and the gateway has no record of its"
                " reference: it is not called again; a person compares both sides",
                self._settings.gateway_backoff_seconds_max,
            )
        return _outcome(known)

    async def _ask(self, call: GatewayCall, attempt: Attempt) -> Answer | None:
        try:
            return await self._known(f"/operations/{call.operation_id}", call)
        except Unclear as unclear:
            raise TryAgain(f"asked what became of it: {unclear}", self._pause(attempt)) from unclear

    def _key_may_be_forgotten(self, attempt: Attempt) -> bool:
        """Judged by the end of the call, not by its beginning: a slow one must not arrive after the key's end."""
        latest = attempt.now + timedelta(seconds=self._settings.gateway_lease_seconds)
        return latest - attempt.first_tried_at > timedelta(hours=self._settings.gateway_key_hours)

    def _pause(self, attempt: Attempt) -> float | None:
        """Soon after the first try; then the chassis' own growing backoff."""
        return self._settings.gateway_retry_seconds if attempt.number == 1 else None

    # -- HTTP ---------------------------------------------------------------------------------------------------------

    async def _call(self, call: GatewayCall) -> Answer:
        status, answer = await self._request(
            "POST",
            "/operations",
            headers={"Idempotency-Key": str(call.operation_id)},
            json={
                "kind": call.kind,
                "order_id": str(call.order_id),
                "amount_minor": call.amount_minor,
                "currency": call.currency,
                "refers_to": str(call.refers_to) if call.refers_to else None,
                "reference": str(call.operation_id),
                "statement": call.reference,
            },
        )
        if status in (200, 201, 202, 402):
            return _read(answer, call)
        # Everything else (a key used for another body, too many calls, wrong credentials, an error of its own) states
        # nothing about the operation: only 402 is a no.
        raise Unclear(f"{call.kind} {call.operation_id} was answered with status {status}")

    async def _known(self, path: str, call: GatewayCall, **query: str) -> Answer | None:
        """The gateway's record of the operation; None if it has none. Changes nothing there."""
        status, answer = await self._request("GET", path, params=query)
        if status == 404 and isinstance(answer, dict) and answer.get("code") == "unknown_operation":
            return None  # the gateway's own 404; another 404 may come from a proxy or a wrong address
        if status == 200:
            return _read(answer, call)
        raise Unclear(f"asking after {call.operation_id} was answered with status {status}")

    async def _request(self, method: str, path: str, **request: Any) -> tuple[int, Any]:
        try:
            async with self._client().request(method, self._url + path, allow_redirects=False, **request) as response:
                body = b""
                while len(body) < ANSWER_BYTES_MAX and (more := await response.content.read(ANSWER_BYTES_MAX)):
                    body += more
                return response.status, _json(body)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unclear(f"{method} {path}: {type(error).__name__} {error}".strip()) from error

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            timeout = aiohttp.ClientTimeout(total=self._settings.gateway_timeout_seconds)
            self._session = aiohttp.ClientSession(timeout=timeout, trust_env=False)
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            await asyncio.sleep(0)  # lets the transports see it


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _read(answer: Any, call: GatewayCall) -> Answer:
    try:
        read = Answer.model_validate(answer)
    except ValidationError as error:
        raise Unclear(f"the answer on {call.operation_id} does not read: {error.error_count()} errors") from error
    if read.operation != str(call.operation_id):
        raise Unclear(f"asked about {call.operation_id}, got an answer about {read.operation}"[:500])
    return read


def _outcome(answer: Answer) -> GatewayOutcome:
    return GatewayOutcome(
        state=answer.state,
        gateway_reference=_text(answer.reference) if answer.reference else None,
        amount_minor=answer.amount_minor,
        code=_text(answer.code),
        reason=_text(answer.reason),
    )


def _text(theirs: str) -> str:
    """Their words, as our database and our readers can keep them."""
    return theirs.replace("\0", "")[:500]
