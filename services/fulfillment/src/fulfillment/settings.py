"""What fulfillment can be told by the environment: `FULFILLMENT_<NAME>`."""

from __future__ import annotations

from pydantic_settings import SettingsConfigDict

from chassis.settings import ServiceSettings


class Settings(ServiceSettings):
    """The chassis' knobs; none of its own: which locations, and in which order, stands in each reserve command."""

    model_config = SettingsConfigDict(env_prefix="FULFILLMENT_")
