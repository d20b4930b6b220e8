"""The settings of the console, with their units and defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, Self
from urllib.parse import urlsplit

from pydantic import Field, HttpUrl, PositiveFloat, PositiveInt, TypeAdapter, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from chassis.settings import ServiceSettings

OWNERS: Final = ("orders", "payments", "fulfillment", "invoicing", "webhooks")
"""The services that the pages ask."""
_URL: Final = TypeAdapter(HttpUrl)


class Owner(NamedTuple):
    """A service that is asked, and with which API key."""

    url: str
    api_key: str
    process_urls: tuple[str, ...]
    """Where each of its processes answers."""


def protected(url: str) -> str:
    """Returns a URL. Raises ValueError unless it is of TLS, or of this machine."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")):
        raise ValueError("the URL begins with https://; http:// is for this machine alone")
    if not parts.hostname:
        raise ValueError("the URL has no host")
    return url


class Settings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="CONSOLE_", frozen=True, use_attribute_docstrings=True, extra="ignore")

    public_url: str = ""
    """Where a browser reaches the console, e.g. `https://console.example.com`; the links of `sign-in` begin with it. Empty:
    `http://127.0.0.1:<HTTP_PORT>`."""
    orders_url: str = ""
    """Where orders answers, e.g. `http://orders:8000`. Empty: its panels show what the console has itself."""
    orders_process_urls: str = ""
    """Where each process of orders answers, workers too, separated by commas, e.g. `http://orders-api:8000,http://orders-worker:8000`.
    A name may have several addresses: each is asked. Empty: ORDERS_URL, which is enough unless it is a load balancer's."""
    orders_api_key: str = Field("", repr=False)
    """An administrator's API key of orders with the scopes `*` and `act_as`, or those of the roles and `act_as`; never printed. The
    console acts with it for the person who is signed in, with at most that person's scopes."""
    payments_url: str = ""
    """As ORDERS_URL, of payments."""
    payments_process_urls: str = ""
    """As ORDERS_PROCESS_URLS, of payments."""
    payments_api_key: str = Field("", repr=False)
    """As ORDERS_API_KEY, of payments."""
    fulfillment_url: str = ""
    """As ORDERS_URL, of fulfillment."""
    fulfillment_process_urls: str = ""
    """As ORDERS_PROCESS_URLS, of fulfillment."""
    fulfillment_api_key: str = Field("", repr=False)
    """As ORDERS_API_KEY, of fulfillment."""
    invoicing_url: str = ""
    """As ORDERS_URL, of invoicing."""
    invoicing_process_urls: str = ""
    """As ORDERS_PROCESS_URLS, of invoicing."""
    invoicing_api_key: str = Field("", repr=False)
    """As ORDERS_API_KEY, of invoicing."""
    webhooks_url: str = ""
    """As ORDERS_URL, of webhooks."""
    webhooks_process_urls: str = ""
    """As ORDERS_PROCESS_URLS, of webhooks."""
    webhooks_api_key: str = Field("", repr=False)
    """As ORDERS_API_KEY, of webhooks."""
    database_read_seconds_max: PositiveFloat = 0.5
    """A query of a page that takes longer is cancelled, and the person is asked to narrow the time."""
    ask_seconds_max: PositiveFloat = 0.8
    """A service that has not answered by then leaves a panel with what the console has itself."""
    session_idle_minutes: PositiveInt = 30
    """A session without a request for that long is over."""
    session_hours_max: PositiveInt = 12
    """A session is over after that time in any case."""

    oidc_issuer: str = ""
    """The identity provider that people sign in at, to the letter as its tokens name it, e.g. `https://id.example.com/realms/shop`.
    Empty: people sign in by one-time links alone."""
    oidc_client_id: str = ""
    """With OIDC_ISSUER: as the console is registered there, with the redirect URI `<PUBLIC_URL>/sign-in/callback`."""
    oidc_client_secret: str = Field("", repr=False)
    """With OIDC_ISSUER; never printed. Empty: the console is registered as a public client."""
    oidc_scopes: str = "openid profile email"
    """What is asked of the provider, separated by spaces. Some need one more to state groups."""
    oidc_groups_claim: str = "groups"
    """The claim that lists a person's groups, in the ID token or at the userinfo endpoint."""

    @field_validator("oidc_issuer")
    @classmethod
    def _issuer_is_protected(cls, value: str) -> str:
        return protected(value) if value else value

    @model_validator(mode="after")
    def _client_is_complete(self) -> Self:
        if self.oidc_issuer and not (self.oidc_client_id and "openid" in self.oidc_scopes.split()):
            raise ValueError("OIDC_ISSUER needs OIDC_CLIENT_ID, and openid among OIDC_SCOPES")
        return self

    @field_validator("public_url", *(f"{name}_url" for name in OWNERS))
    @classmethod
    def _urls_are_complete(cls, value: str) -> str:
        if value:
            _URL.validate_python(value)
        return value.rstrip("/")

    @field_validator(*(f"{name}_process_urls" for name in OWNERS))
    @classmethod
    def _lists_have_urls(cls, value: str) -> str:
        return ",".join(cls._urls_are_complete(url.strip()) for url in value.split(",") if url.strip())

    @property
    def owners(self) -> Mapping[str, Owner]:
        """Returns the services that can be asked, by name."""
        found = {name: self._owner(name) for name in OWNERS}
        return {name: owner for name, owner in found.items() if owner.url and owner.api_key}

    def _owner(self, name: str) -> Owner:
        url, processes = getattr(self, f"{name}_url"), getattr(self, f"{name}_process_urls")
        return Owner(url, getattr(self, f"{name}_api_key"), tuple(processes.split(",")) if processes else (url,))

    @property
    def base_url(self) -> str:
        return self.public_url or f"http://127.0.0.1:{self.http_port}"
