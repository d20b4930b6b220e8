"""The settings of payments, with their units and defaults."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from pydantic_settings import SettingsConfigDict

from chassis.settings import ServiceSettings


class Settings(ServiceSettings):
    model_config = SettingsConfigDict(
        env_prefix="PAYMENTS_", frozen=True, use_attribute_docstrings=True, extra="ignore"
    )

    test_gateway_url: str | None = None
    """Where the gateway `test` listens, e.g. http://127.0.0.1:8900. Null: not configured; payments that name it are declined."""
    transfer_days_max: PositiveInt = 14
    """How long an order paid by bank transfer waits for its money, before its authorization is declined with `transfer_expired`."""
    reconciliation_hour: Annotated[int, Field(ge=0, le=23)] | None = 2
    """Hour of the day (UTC) from which on each account is reconciled over the day before. Null: only by hand."""
    gateway_timeout_seconds: PositiveFloat = 8
    """One call to a gateway, from connect to last byte. Too short: many outcomes have to be queried."""
    gateway_lease_seconds: PositiveFloat = 30
    """A task held longer goes to another worker. Too short: called twice. Too long: late after a crash."""
    gateway_key_hours: PositiveFloat = 23
    """How long a gateway honours an idempotency key; set it below the gateway's own figure. After that, an operation that may
    have been called is only queried, never called again. Too long: charged twice."""
    gateway_retry_seconds: PositiveFloat = 1
    """Before the first retry after an outcome that a query could not determine; doubles from the second retry on."""
    gateway_poll_seconds: PositiveFloat = 2
    """Before the first query of an operation that is pending at the gateway; doubles with each query."""
    gateway_backoff_seconds_max: PositiveFloat = 300
    """Maximum time between two tries."""

    buyer_seconds_max: PositiveInt = 86_400
    """How long an authorization may wait for its buyer where no payment session states it; then it is cancelled at the gateway
    and declined with `payment_abandoned`. Too long: stock stays reserved for buyers who have left."""

    session_order_seconds_max: Annotated[int, Field(ge=1, le=2_592_000)] = 86_400
    """How long what a buyer has paid in a session before the order waits for the order; then it is given back. Too short: orders
    that come later are not paid. Too long: buyers whose orders never come wait for their money."""

    @model_validator(mode="after")
    def the_lease_outlasts_a_call_and_its_queries(self) -> Self:
        # A query before, the call, a query after; a runner is stopped at nine tenths of its lease.
        if 0.9 * self.gateway_lease_seconds < 3 * self.gateway_timeout_seconds:
            raise ValueError("PAYMENTS_GATEWAY_LEASE_SECONDS must be 3.4 times PAYMENTS_GATEWAY_TIMEOUT_SECONDS")
        return self

    @model_validator(mode="after")
    def a_key_outlives_the_lease(self) -> Self:
        if self.gateway_key_hours * 3600 <= 2 * self.gateway_lease_seconds:
            raise ValueError("PAYMENTS_GATEWAY_KEY_HOURS must exceed twice PAYMENTS_GATEWAY_LEASE_SECONDS")
        return self
