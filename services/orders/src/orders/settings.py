"""The knobs of orders; those of every service are in `chassis.settings`."""

from __future__ import annotations

from pydantic_settings import SettingsConfigDict

from chassis.settings import ServiceSettings


class Settings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="ORDERS_", frozen=True, use_attribute_docstrings=True, extra="ignore")
