"""The gateways that are set up, and the tasks that call them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from chassis.declare.app import App
from chassis.declare.service import Attempt, TaskKind, TryAgain
from payments.domain.gateway import CHECK_KIND, TASK_KIND, GatewayCall, GatewayOutcome
from payments.gateways.policy import Policy
from payments.gateways.port import Gateway
from payments.gateways.test import TestGateway
from payments.settings import Settings


class Gateways:
    """The gateways that are set up, by name."""

    def __init__(self, by_name: Mapping[str, Gateway], settings: Settings) -> None:
        self._by_name = {name: Policy(gateway, settings) for name, gateway in by_name.items()}
        self._settings = settings

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
