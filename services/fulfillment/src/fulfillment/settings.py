"""The settings of fulfillment, from the environment: `FULFILLMENT_<NAME>`."""

from __future__ import annotations

from pydantic_settings import SettingsConfigDict

from chassis.settings import ServiceSettings


class Settings(ServiceSettings):
    """The chassis' settings and none of its own: each reserve command names the locations in their order."""

    model_config = SettingsConfigDict(env_prefix="FULFILLMENT_")
