"""Requests to Stripe. One authorization is one payment intent with manual capture; its metadata names our operations.

Stripe has no question by idempotency key, but repeats the first answer to a repeated key for at least 24 hours, errors
included (docs.stripe.com/api/idempotent_requests). So `by_key` has nothing to ask, and a call that is repeated after an
unclear outcome is safe. By reference an intent is found in Stripe's search, which may be a minute behind
(docs.stripe.com/search), a capture or void in the metadata of its intent, a refund in the list of the charge's refunds.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Final, Self

from payments.domain.disputes import DisputeCall, DisputeState
from payments.domain.gateway import GatewayCall, GatewayOutcome, Refunds, RefundsCall
from payments.domain.listing import ListedPage, Listing
from payments.gateways.accounts import Access
from payments.gateways.http import Answer, Http
from payments.gateways.port import Action, Unclear, outcome
from payments.gateways.stripe import answers, listing
from payments.gateways.stripe.amounts import NotChargeable, to_stripe
from payments.gateways.stripe.answers import Intent, Refund

URL: Final = "https://api.stripe.com"
API_VERSION: Final = "2025-09-30.clover"
"""Pinned: the account's default version would change the shapes under us."""
REFUNDS_PAGE: Final = 100


class Stripe:
    def __init__(self, url: str, api_key: str, timeout_seconds: float) -> None:
        headers = {"Authorization": f"Bearer {api_key}", "Stripe-Version": API_VERSION}
        self._http = Http(url, timeout_seconds, headers)

    @classmethod
    def of(cls, access: Access, timeout_seconds: float) -> Self:
        return cls(access.url, access.credentials["api_key"], timeout_seconds)

    async def call(self, call: GatewayCall) -> GatewayOutcome:
        try:
            amount = to_stripe(call.amount_minor, call.currency)
        except NotChargeable as no:
            return outcome("refused", code="amount_not_chargeable", reason=str(no))
        match call.kind:
            case "authorize":
                return await self._authorize(call, amount)
            case "capture":
                return await self._capture(call, amount)
            case "void":
                return await self._void(call, amount)
            case "refund":
                return await self._refund(call, amount)

    async def by_key(self, call: GatewayCall) -> GatewayOutcome | None:
        return None

    async def by_reference(self, call: GatewayCall) -> GatewayOutcome | None:
        match call.kind:
            case "authorize":
                intent = await self._intent(call.reported_as, str(call.operation_id))
                return answers.authorized(intent, call) if intent else None
            case "refund":
                return await self._refund_of(call)
        intent = await self._intent(call.source, str(call.refers_to))
        if intent is None:
            return None
        return answers.captured(intent, call) if call.kind == "capture" else answers.voided(intent, call)

    async def action(self, call: GatewayCall) -> Action | None:
        intent = await self._intent(call.reported_as, str(call.operation_id))
        return answers.action(intent) if intent else None

    async def abandon(self, call: GatewayCall) -> GatewayOutcome | None:
        """Stripe cancels an intent unless it is captured or just being processed (docs.stripe.com/api/payment_intents/cancel).
        Without an idempotency key, under which a refusal of that moment would be repeated for a day."""
        intent = await self._intent(call.reported_as, str(call.operation_id))
        if intent is None:
            return None
        if intent.status not in ("canceled", "succeeded", "processing"):
            form = {"cancellation_reason": "abandoned"}
            answer = await self._http.request("POST", f"/v1/payment_intents/{intent.id}/cancel", data=form)
            if answer.status == 200:
                return answers.abandoned(answers.intent_of(answer.body), call)
            intent = await self._intent(intent.id, str(call.operation_id))
            assert intent is not None, "an intent that Stripe reported is found, or Unclear"
        return answers.abandoned(intent, call)

    async def listed(self, asked: Listing) -> ListedPage:
        return listing.page_of(await self._http.request("GET", "/v1/balance_transactions", params=listing.query(asked)))

    async def dispute(self, call: DisputeCall) -> DisputeState:
        answer = await self._http.request("GET", f"/v1/disputes/{call.reference}")
        if answer.status != 200:
            raise answers.unclear(answer)
        return answers.disputed(answers.dispute_of(answer.body), call)

    async def refunds(self, call: RefundsCall) -> Refunds:
        found = [one async for one in self._refunds({"payment_intent": call.payment}) if one.status == "succeeded"]
        return Refunds(made=tuple(listing.refunded(one) for one in reversed(found)))

    async def close(self) -> None:
        await self._http.close()

    # -- the four operations ------------------------------------------------------------------------------------------

    async def _authorize(self, call: GatewayCall, amount: int) -> GatewayOutcome:
        form = {
            "amount": str(amount),
            "currency": call.currency.lower(),
            "capture_method": "automatic" if call.capture else "manual",
            "payment_method_types[]": "card",
            "metadata[operation_id]": str(call.operation_id),
            "metadata[order_id]": str(call.order_id),
            "metadata[store_id]": call.store_id,
            "expand[]": "latest_charge",
        }
        if not call.capture:
            form |= {"payment_method_options[card][request_multicapture]": "if_available"}
        if call.reference is not None:
            form |= {"description": call.reference}
        if call.payment_token is not None:
            form |= {"payment_method": call.payment_token, "confirm": "true"}
            if call.return_url is not None:  # docs.stripe.com/api/payment_intents/create: only with `confirm`
                form |= {"return_url": call.return_url}
        answer = await self._post("/v1/payment_intents", call, form)
        return (
            answers.authorized(answers.intent_of(answer.body), call)
            if answer.status == 200
            else answers.refused(answer)
        )

    async def _capture(self, call: GatewayCall, amount: int) -> GatewayOutcome:
        """A part is captured with `final_capture=false` where the intent allows several captures. Elsewhere Stripe releases
        the rest with the first capture, and refuses a second one."""
        intent_id = call.source
        form = {"amount_to_capture": str(amount), f"metadata[{answers.capture_key(call.operation_id)}]": str(amount)}
        if call.left_minor or intent_id is None:
            intent = await self._source(call)
            intent_id, charge = intent.id, intent.latest_charge
            if call.left_minor and isinstance(charge, answers.Charge) and charge.multicapture_is_available:
                form |= {"final_capture": "false"}
        answer = await self._post(f"/v1/payment_intents/{intent_id}/capture", call, form)
        if answer.status != 200:
            return answers.refused(answer)
        captured = answers.captured(answers.intent_of(answer.body), call)
        if captured is None:
            raise Unclear(f"the answer on capture {call.operation_id} does not record it")
        return captured

    async def _void(self, call: GatewayCall, amount: int) -> GatewayOutcome:
        """Stripe releases an authorization as a whole: a part is recorded on the intent, and released with the rest."""
        intent = await self._source(call)
        if (done := answers.voided(intent, call)) is not None:
            return done
        path = f"/v1/payment_intents/{intent.id}"
        if call.left_minor:
            answer = await self._post(path, call, {f"metadata[{answers.void_key(call.operation_id)}]": str(amount)})
        elif intent.amount_received:  # docs.stripe.com/payments/multicapture: a final capture of 0 releases the rest
            answer = await self._post(f"{path}/capture", call, {"amount_to_capture": "0"})
        else:
            answer = await self._post(f"{path}/cancel", call, {})
        if answer.status != 200:
            return answers.refused(answer)
        released = answers.voided(answers.intent_of(answer.body), call)
        if released is None:
            raise Unclear(f"the answer on void {call.operation_id} still holds the amount")
        return released

    async def _refund(self, call: GatewayCall, amount: int) -> GatewayOutcome:
        form = {"amount": str(amount), "metadata[operation_id]": str(call.operation_id)}
        form |= {"metadata[order_id]": str(call.order_id), **_charge_of(call)}
        answer = await self._post("/v1/refunds", call, form)
        return (
            answers.refunded(answers.refund_of(answer.body), call) if answer.status == 200 else answers.refused(answer)
        )

    # -- lookups ------------------------------------------------------------------------------------------------------

    async def _source(self, call: GatewayCall) -> Intent:
        """The intent that a capture or void draws on, with its charge."""
        intent = await self._intent(call.source, str(call.refers_to))
        if intent is None:
            raise Unclear(f"Stripe has no payment intent of the authorization {call.refers_to}")
        return intent

    async def _intent(self, intent_id: str | None, operation_id: str) -> Intent | None:
        """By its id, else by the operation in its metadata. Raises Unclear if an id that Stripe reported is not found."""
        expanded = {"expand[]": "latest_charge"}
        if intent_id is not None:
            answer = await self._http.request("GET", f"/v1/payment_intents/{intent_id}", params=expanded)
            if answer.status != 200:
                raise answers.unclear(answer)
            return answers.intent_of(answer.body)
        sought = {"query": f"metadata['operation_id']:'{operation_id}'", "limit": "1", "expand[]": "data.latest_charge"}
        found, _ = answers.items_of(await self._http.request("GET", "/v1/payment_intents/search", params=sought))
        return answers.intent_of(found[0]) if found else None

    async def _refund_of(self, call: GatewayCall) -> GatewayOutcome | None:
        if call.reported_as is not None:
            answer = await self._http.request("GET", f"/v1/refunds/{call.reported_as}")
            if answer.status != 200:
                raise answers.unclear(answer)
            return answers.refunded(answers.refund_of(answer.body), call)
        async for refund in self._refunds(_charge_of(call)):
            if (refund.metadata or {}).get("operation_id") == str(call.operation_id):
                return answers.refunded(refund, call)
        return None

    async def _refunds(self, of: Mapping[str, str]) -> AsyncIterator[Refund]:
        """Those of a charge or an intent, newest first."""
        sought = {"limit": str(REFUNDS_PAGE), **of}
        while True:
            found, has_more = answers.items_of(await self._http.request("GET", "/v1/refunds", params=sought))
            refunds = [answers.refund_of(one) for one in found]
            for refund in refunds:
                yield refund
            if not has_more or not refunds:
                return
            sought |= {"starting_after": refunds[-1].id}

    async def _post(self, path: str, call: GatewayCall, form: Mapping[str, str]) -> Answer:
        headers = {"Idempotency-Key": str(call.operation_id)}
        answer = await self._http.request("POST", path, data=form, headers=headers)
        return answer


def _charge_of(call: GatewayCall) -> dict[str, str]:
    """The charge that a refund draws on, as parameters; the whole intent if its capture reported no charge."""
    if call.source is None:
        raise Unclear(f"the capture {call.refers_to} has no reference of Stripe: a person refunds it there")
    return {"payment_intent" if call.source.startswith("pi_") else "charge": call.source}
