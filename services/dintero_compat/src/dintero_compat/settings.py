"""The settings of the service, with their units and defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pydantic import Field, HttpUrl, PositiveFloat, TypeAdapter, field_validator
from pydantic_settings import SettingsConfigDict

from chassis.settings import ServiceSettings

_URL: TypeAdapter[HttpUrl] = TypeAdapter(HttpUrl)


class Owner(NamedTuple):
    """A service that is asked, and with which API key."""

    url: str
    api_key: str


class Settings(ServiceSettings):
    model_config = SettingsConfigDict(
        env_prefix="DINTERO_COMPAT_", frozen=True, use_attribute_docstrings=True, extra="ignore"
    )

    orders_url: str = ""
    """Where orders answers, e.g. `http://orders:8000`. Empty: requests are answered 503."""
    orders_api_key: str = Field("", repr=False)
    """An administrator's API key of orders with the scopes `*` and `act_as`; never printed. The service acts with it for the owner of
    the key of a request, with at most the scopes of that key."""
    payments_url: str = ""
    """As ORDERS_URL, of payments."""
    payments_api_key: str = Field("", repr=False)
    """As ORDERS_API_KEY, of payments."""
    ask_seconds_max: PositiveFloat = 10
    """An owner that has not answered by then: the request is answered 503 and may be sent again."""

    @field_validator("orders_url", "payments_url")
    @classmethod
    def _urls_are_complete(cls, value: str) -> str:
        if value:
            _URL.validate_python(value)
        return value.rstrip("/")

    @property
    def owners(self) -> Mapping[str, Owner]:
        """Returns the services that can be asked, by name."""
        found = {
            "orders": Owner(self.orders_url, self.orders_api_key),
            "payments": Owner(self.payments_url, self.payments_api_key),
        }
        return {name: owner for name, owner in found.items() if owner.url and owner.api_key}
