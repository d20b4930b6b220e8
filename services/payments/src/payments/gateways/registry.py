"""The gateways that are set up, and the tasks that call them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final, Protocol, cast

from chassis.declare.app import App
from chassis.declare.service import Attempt, TaskKind, TryAgain
from payments.domain.disputes import DISPUTE_KIND, DisputeCall, DisputeState
from payments.domain.gateway import (
    CHECK_KIND,
    REFUNDS_KIND,
    TASK_KIND,
    GatewayCall,
    GatewayOutcome,
    Refunds,
    RefundsCall,
    is_done_uncalled,
)
from payments.gateways.accounts import Access, Account, Accounts, CredentialsMissing, access
from payments.gateways.dintero import events as dintero_events
from payments.gateways.dintero.gateway import URL as DINTERO_URL
from payments.gateways.dintero.gateway import Dintero
from payments.gateways.inbound import Inbound
from payments.gateways.manual import Manual
from payments.gateways.policy import Policy
from payments.gateways.port import Gateway, HasDisputes, HasRefunds, Unclear
from payments.gateways.stripe import events as stripe_events
from payments.gateways.stripe.gateway import URL as STRIPE_URL
from payments.gateways.stripe.gateway import Stripe
from payments.gateways.test import TestGateway
from payments.settings import Settings


@dataclass(frozen=True, slots=True)
class Kind:
    """One gateway of which stores have accounts."""

    url: str
    """Where it is, unless an account states another address."""
    make: Callable[[Access, float], Gateway]
    """(the account's access, time limit of a request in seconds)."""
    inbound: Inbound
    lists: bool = False
    """Whether it has a list of its movements (`Gateway.listed`), so that accounts are reconciled every night."""


KINDS: Final[Mapping[str, Kind]] = {
    "dintero": Kind(DINTERO_URL, Dintero.of, Inbound(dintero_events.verify, dintero_events.read), lists=True),
    "stripe": Kind(STRIPE_URL, Stripe.of, Inbound(stripe_events.verify, stripe_events.read), lists=True),
}

LISTS: Final = frozenset({"test", *(name for name, kind in KINDS.items() if kind.lists)})
"""Gateways that can list their movements."""


class ReadsAccounts(Protocol):
    async def of_store(self, store_id: str, gateway: str, name: str | None) -> Account | None: ...


class Gateways:
    """Finds the gateway of a call: one for all stores, by name, or the account of the call's store."""

    def __init__(self, for_all: Mapping[str, Gateway], accounts: ReadsAccounts, settings: Settings) -> None:
        self._for_all = {name: Policy(gateway, settings) for name, gateway in for_all.items()}
        self._accounts, self._settings = accounts, settings
        self._opened: dict[tuple[str, str, str], tuple[Access, Policy]] = {}

    async def run(self, call: GatewayCall, attempt: Attempt) -> GatewayOutcome:
        if is_done_uncalled(call.gateway, call.amount_minor):  # of a restored ledger, which has lost that it was done
            return GatewayOutcome(state="succeeded", captured=call.capture)
        missing = GatewayOutcome(
            state="not_set_up", code="gateway_unknown", reason=f"no gateway {_named(call)} is set up"
        )
        try:
            gateway = await self._policy(call)
        except CredentialsMissing as error:
            gateway = None
            missing = GatewayOutcome(state="not_set_up", code="credentials_missing", reason=str(error))
        if gateway is not None:
            return await gateway.run(call, attempt)
        if attempt.number == 1 and not call.ask_only:
            return missing
        # It was set up when an earlier attempt was made, which may have moved money: a no could be wrong.
        raise TryAgain(f"{missing.code}: {missing.reason}; it was, before", self._settings.gateway_backoff_seconds_max)

    async def check(self, call: GatewayCall, attempt: Attempt) -> GatewayOutcome:
        try:
            gateway = await self._policy(call)
        except CredentialsMissing as error:
            raise TryAgain(f"credentials_missing: {error}") from None
        if gateway is None:
            raise TryAgain(f"gateway {_named(call)} is not set up")
        return await gateway.check(call, attempt)

    async def dispute(self, call: DisputeCall, attempt: Attempt) -> DisputeState:
        """The gateway is asked until it answers."""
        async with self._asked(call) as gateway:
            if not isinstance(gateway, HasDisputes):
                raise TryAgain(f"gateway {_named(call)} is not set up")
            return await gateway.dispute(call)

    async def refunds(self, call: RefundsCall, attempt: Attempt) -> Refunds:
        """The gateway is asked until it answers."""
        async with self._asked(call) as gateway:
            if not isinstance(gateway, HasRefunds):
                raise TryAgain(f"gateway {_named(call)} is not set up")
            return await gateway.refunds(call)

    @asynccontextmanager
    async def _asked(self, call: DisputeCall | RefundsCall) -> AsyncIterator[Gateway | None]:
        """The gateway; what hinders its answer is to be tried again."""
        try:
            yield await self.of_store(call.store_id, call.gateway, call.account)
        except CredentialsMissing as error:
            raise TryAgain(f"credentials_missing: {error}") from None
        except Unclear as unclear:
            raise TryAgain(str(unclear)) from unclear

    async def opened(self, call: GatewayCall) -> Gateway | None:
        """The gateway of a call, to ask it something else. Raises CredentialsMissing."""
        return await self.of_store(call.store_id, call.gateway, call.account)

    async def of_store(self, store_id: str, name: str, account: str | None = None) -> Gateway | None:
        """The gateway of a store, by its account there, or its first; None if it is not set up. Raises CredentialsMissing."""
        policy = await self._of_store(store_id, name, account)
        return policy.gateway if policy is not None else None

    async def account(self, store_id: str, name: str, account: str | None) -> str | None:
        """The name of the store's account at a gateway, of its first one if none is named; None if it has none. A gateway for all
        stores has one account of each store, with the store's name."""
        if name in self._for_all:
            return store_id if account in (None, store_id) else None
        found = await self._accounts.of_store(store_id, name, account)
        return found.account if found is not None else None

    async def _policy(self, call: GatewayCall) -> Policy | None:
        return await self._of_store(call.store_id, call.gateway, call.account)

    async def _of_store(self, store_id: str, gateway: str, account_name: str | None) -> Policy | None:
        if gateway in self._for_all:
            return self._for_all[gateway]
        kind = KINDS.get(gateway)
        account = await self._accounts.of_store(store_id, gateway, account_name) if kind else None
        if kind is None or account is None:
            return None
        name, found = (account.store, account.gateway, account.account), access(account, kind.url)
        opened = self._opened.get(name)
        if opened is not None and opened[0] == found:
            return opened[1]
        policy = Policy(kind.make(found, self._settings.gateway_timeout_seconds), self._settings)
        self._opened[name] = (found, policy)
        if opened is not None:
            await opened[1].close()  # its calls under way end as unclear, and are asked after
        return policy

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
        asking = replace(calls, close=None)
        return (
            calls,
            replace(asking, kind=CHECK_KIND, run=self.check),
            replace(asking, kind=DISPUTE_KIND, body=DisputeCall, outcome=DisputeState, run=self.dispute),
            replace(asking, kind=REFUNDS_KIND, body=RefundsCall, outcome=Refunds, run=self.refunds),
        )

    async def close(self) -> None:
        for policy in (*self._for_all.values(), *(policy for _, policy in self._opened.values())):
            await policy.close()


def _named(call: GatewayCall | DisputeCall | RefundsCall) -> str:
    return repr(call.gateway if call.account is None else f"{call.gateway}/{call.account}")


def tasks(app: App) -> tuple[TaskKind, ...]:
    return gateways_of(app).task_kinds()


def gateways_of(app: App) -> Gateways:
    """Those of the process, for its tasks and its routes."""
    return app.shared(_made)


def _made(app: App) -> Gateways:
    settings = cast(Settings, app.settings)
    for_all: dict[str, Gateway] = {}
    if settings.test_gateway_url:
        for_all["test"] = TestGateway(settings.test_gateway_url, settings.gateway_timeout_seconds)
    for_all["manual"] = Manual(app.fetch, settings.transfer_days_max)
    return Gateways(for_all, app.shared(Accounts), settings)
