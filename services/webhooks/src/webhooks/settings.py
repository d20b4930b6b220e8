"""The settings of webhooks, with their units and defaults."""

from __future__ import annotations

from ipaddress import ip_network

from pydantic import Field, PositiveInt, field_validator
from pydantic_settings import SettingsConfigDict

from chassis.settings import ServiceSettings
from webhooks.domain.addresses import Network
from webhooks.domain.urls import Gate
from webhooks.vault import KEY_CHARACTERS_MIN, Vault


class Settings(ServiceSettings):
    model_config = SettingsConfigDict(
        env_prefix="WEBHOOKS_", frozen=True, use_attribute_docstrings=True, extra="ignore"
    )

    feed_days: PositiveInt = 30
    """How long the feed keeps events at least. Whole partitions are dropped, of 1,000,000 events each."""
    streams_max: PositiveInt = 10
    """Streams of the feed that an API key may have open at a process. A further one is answered 429 `too_many_streams`."""
    secret_keys: str = Field("", repr=False)
    """Keys, separated by spaces, that encrypt the secrets of endpoints; each of at least 32 characters of a random generator;
    never printed. The first one encrypts, all decrypt. Empty: no endpoint can be created, and none that has a secret is served."""
    endpoint_ports: str = "443 8443"
    """Ports, separated by spaces, that the URL of an endpoint may have."""
    allowed_networks: str = ""
    """Networks, separated by spaces, e.g. `10.1.0.0/16`, that deliveries may go to although they are not public; over plain HTTP
    and to any port, too. Empty: public addresses alone."""

    @field_validator("secret_keys")
    @classmethod
    def _keys_are_long(cls, value: str) -> str:
        if any(len(key) < KEY_CHARACTERS_MIN for key in value.split()):
            raise ValueError(f"each key needs at least {KEY_CHARACTERS_MIN} characters")
        return value

    @field_validator("endpoint_ports")
    @classmethod
    def _ports_are_numbers(cls, value: str) -> str:
        if not all(port.isascii() and port.isdecimal() and 0 < int(port) < 65_536 for port in value.split()):
            raise ValueError("ports are numbers of 1 to 65535")
        return value

    @field_validator("allowed_networks")
    @classmethod
    def _networks_are_readable(cls, value: str) -> str:
        for network in value.split():
            ip_network(network)
        return value

    @property
    def networks(self) -> tuple[Network, ...]:
        return tuple(ip_network(network) for network in self.allowed_networks.split())

    @property
    def gate(self) -> Gate:
        return Gate(frozenset(int(port) for port in self.endpoint_ports.split()), self.networks)

    @property
    def vault(self) -> Vault:
        return Vault(self.secret_keys.split())
