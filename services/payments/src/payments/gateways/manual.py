"""The gateway `manual`: bank transfers and invoices. What it waits for is a table of ours, which imports of statements fill.

An authorization and a refund are pending until transfers that name the order sum to their amount. A capture takes money that has
arrived, so it succeeds at once. A void gives back money that has arrived, so it is pending as a refund is; if none has (a person
stated that the order is paid), it succeeds at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from asyncpg import Record

from chassis.batch.errors import is_transient
from payments.domain.gateway import GatewayCall, GatewayOutcome
from payments.domain.listing import ListedPage, Listing
from payments.gateways.port import Action, NotListable, Unclear, outcome

Fetch = Callable[..., Awaitable[Sequence[Record]]]
AT_ONCE: Final = ("capture",)
"""Its money has arrived before."""
# A refund is paid to who has paid: the payee's bank shows the reference of the order's authorization.
EXPECT: Final = """
insert into expected_transfers (operation_id, store_id, order_id, kind, reference, currency, amount_minor, expires_at)
values ($1, $2, $3, $4, coalesce($5, (select reference from expected_transfers
    where order_id = $3 and store_id = $2 and kind = 'authorize' order by created_at limit 1), $3::text), $6, $7,
  case $4 when 'authorize' then now() + make_interval(days => $8) end)
on conflict (operation_id) do nothing"""
GIVE_BACK: Final = """
insert into expected_transfers (operation_id, store_id, order_id, kind, reference, currency, amount_minor)
select $1, $2, $3, 'refund', reference, $4, least($5, moved_minor) from expected_transfers
where operation_id = $6 and store_id = $2 and moved_minor > 0 on conflict (operation_id) do nothing"""
FOUND: Final = """
select reference, moved_minor >= amount_minor as moved,
  expires_at < now() and moved_minor = 0 as expired from expected_transfers where operation_id = $1"""
DONE: Final = """
select reference from expected_transfers where order_id = $1 and store_id = $2 and kind = 'authorize' order by created_at limit 1"""


class Manual:
    def __init__(self, fetch: Fetch, expires_days: int) -> None:
        """fetch: `App.fetch`. expires_days: how long an authorization waits for its money."""
        self._fetch, self._expires_days = fetch, expires_days

    async def call(self, call: GatewayCall) -> GatewayOutcome:
        if call.kind in AT_ONCE:
            return outcome("succeeded", reference=await self._reference(call))
        if call.kind == "void":
            await self._ask(
                GIVE_BACK,
                call.operation_id,
                call.store_id,
                call.order_id,
                call.currency,
                call.amount_minor,
                call.refers_to,
            )
            back = await self.by_key(call)
            return back or outcome("succeeded", reference=await self._reference(call))
        await self._ask(
            EXPECT, call.operation_id, call.store_id, call.order_id, call.kind, call.reference, call.currency, call.amount_minor,
            self._expires_days,
        )  # fmt: skip
        known = await self.by_key(call)
        assert known is not None, "it was written"
        return known

    async def by_key(self, call: GatewayCall) -> GatewayOutcome | None:
        if call.kind in AT_ONCE:
            return None  # calling again has no second effect
        rows = await self._ask(FOUND, call.operation_id)
        if not rows:
            return None
        reference = rows[0]["reference"]
        if rows[0]["moved"]:
            return outcome("succeeded", reference=reference)
        if rows[0]["expired"]:
            return outcome(
                "refused", reference=reference, code="transfer_expired", reason="the money has not come in time"
            )
        return outcome("pending", reference=reference)

    async def by_reference(self, call: GatewayCall) -> GatewayOutcome | None:
        return await self.by_key(call)

    async def action(self, call: GatewayCall) -> Action | None:
        return None

    async def listed(self, asked: Listing) -> ListedPage:
        raise NotListable("transfers are on the statements of a bank: import them")

    async def close(self) -> None:
        """It has no connections of its own."""

    async def _reference(self, call: GatewayCall) -> str | None:
        rows = await self._ask(DONE, call.order_id, call.store_id)
        return rows[0]["reference"] if rows else None

    async def _ask(self, statement: str, *arguments: Any) -> Sequence[Record]:
        try:
            return await self._fetch(statement, *arguments)
        except Exception as error:
            if is_transient(error):
                raise Unclear(f"the database did not answer: {error}") from error
            raise
