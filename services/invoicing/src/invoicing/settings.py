"""The settings of invoicing, from the environment."""

from __future__ import annotations

from pydantic_settings import SettingsConfigDict

from chassis.settings import ServiceSettings


class Settings(ServiceSettings):
    """Read from `INVOICING_<NAME>`. Invoicing has no knob of its own: who sells and how is data, see `sellers`."""

    model_config = SettingsConfigDict(env_prefix="INVOICING_")
