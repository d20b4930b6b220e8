"""When a gateway is called, asked and left alone: the same rules for every gateway. Nothing is ever charged twice.

Every call carries its operation's id as idempotency key and as reference. The outcome of a call is often unclear (a
timeout, a broken connection, a 5xx, an answer that cannot be read). Then the gateway is asked by the key whether it has
the operation, then by the reference, and called again with the same key only if it has neither. After the lifetime of the
key the same call could charge again: from then on it is only asked, until it answers or a person has checked.
"""

from __future__ import annotations

from datetime import timedelta

from chassis import crash
from chassis.declare.service import Attempt, TryAgain
from payments.domain.gateway import GatewayCall, GatewayOutcome
from payments.gateways.port import Abandons, Gateway, Unclear
from payments.settings import Settings


class Policy:
    """One gateway under the rules."""

    def __init__(self, gateway: Gateway, settings: Settings) -> None:
        self.gateway, self._settings = gateway, settings

    async def run(self, call: GatewayCall, attempt: Attempt) -> GatewayOutcome:
        """Returns the outcome of the call. Raises TryAgain until there is one; any worker may run it again."""
        answer = await self._run(call, attempt)
        if answer.state == "pending" and call.kind == "authorize" and isinstance(self.gateway, Abandons):
            return answer.model_copy(update={"expires_in_seconds": self._settings.buyer_seconds_max})
        return answer

    async def _run(self, call: GatewayCall, attempt: Attempt) -> GatewayOutcome:
        if call.ask_only:
            return await self._after_pending(call, attempt)
        if self._key_may_have_expired(attempt):
            return await self._by_reference_only(call)
        if attempt.number > 1:  # the last attempt may have reached it, even if its worker died
            known = await self._ask(call, attempt)
            if known is not None:
                return known
        crash.point("before_gateway_call")
        try:
            answer = await self.gateway.call(call)
        except Unclear as unclear:
            crash.point("after_gateway_call")
            known = await self._ask(call, attempt)
            if known is not None:
                return known
            pause = unclear.after_seconds if unclear.after_seconds is not None else self._pause(attempt)
            raise TryAgain(f"{unclear}; the gateway has no record of the operation", pause) from unclear
        crash.point("after_gateway_call")
        return answer

    async def check(self, call: GatewayCall, attempt: Attempt) -> GatewayOutcome:
        """Returns the gateway's record, `unknown` included; moves nothing. Raises TryAgain until there is an answer."""
        try:
            known = await self._known(call)
        except Unclear as unclear:
            raise TryAgain(str(unclear)) from unclear
        if known is not None and known.state == "pending":
            raise TryAgain(f"{call.kind} {call.operation_id} is still pending")
        if known is not None:
            return known
        lease = self._settings.gateway_lease_seconds
        if attempt.now - attempt.first_tried_at < timedelta(seconds=lease):
            raise TryAgain("a call that was under way when the outcome was stated may still arrive", lease)
        return GatewayOutcome(state="unknown")

    async def close(self) -> None:
        await self.gateway.close()

    async def _after_pending(self, call: GatewayCall, attempt: Attempt) -> GatewayOutcome:
        pause = self._poll_pause(attempt)
        try:
            known = await (self._abandoned(call) if call.abandon else self._known(call))
        except Unclear as unclear:
            raise TryAgain(str(unclear), pause) from unclear
        if known is None or known.state == "pending":
            what = "is still pending" if known else "is no longer recorded at the gateway, which had accepted it"
            raise TryAgain(f"{call.kind} {call.operation_id} {what}", pause)
        return known

    async def _abandoned(self, call: GatewayCall) -> GatewayOutcome | None:
        """Cancels it. A gateway that cannot is asked until the authorization ends by itself."""
        if not isinstance(self.gateway, Abandons):
            return await self._known(call)
        crash.point("before_gateway_call")
        known = await self.gateway.abandon(call)
        crash.point("after_gateway_call")
        return known

    async def _by_reference_only(self, call: GatewayCall) -> GatewayOutcome:
        try:
            known = await self.gateway.by_reference(call)
        except Unclear as unclear:
            raise TryAgain(str(unclear), self._settings.gateway_backoff_seconds_max) from unclear
        if known is None:
            raise TryAgain(
                f"the key of {call.kind} {call.operation_id} may have expired and the gateway has no record of its"
                " reference: it is not called again; a person compares both sides",
                self._settings.gateway_backoff_seconds_max,
            )
        return known

    async def _ask(self, call: GatewayCall, attempt: Attempt) -> GatewayOutcome | None:
        try:
            return await self._known(call)
        except Unclear as unclear:
            raise TryAgain(f"asked what became of it: {unclear}", self._pause(attempt)) from unclear

    async def _known(self, call: GatewayCall) -> GatewayOutcome | None:
        """The gateway's record by the key or, if it has none, by the reference."""
        return await self.gateway.by_key(call) or await self.gateway.by_reference(call)

    def _key_may_have_expired(self, attempt: Attempt) -> bool:
        """Measured at the end of the call: a slow one must not arrive after the key's end."""
        latest = attempt.now + timedelta(seconds=self._settings.gateway_lease_seconds)
        return latest - attempt.first_tried_at > timedelta(hours=self._settings.gateway_key_hours)

    def _pause(self, attempt: Attempt) -> float | None:
        """Soon after the first try; then the chassis' own growing backoff."""
        return self._settings.gateway_retry_seconds if attempt.number == 1 else None

    def _poll_pause(self, attempt: Attempt) -> float:
        """Doubles with each query, up to the maximum."""
        doubled: float = self._settings.gateway_poll_seconds * 2.0 ** min(attempt.number - 1, 30)
        return min(doubled, self._settings.gateway_backoff_seconds_max)
