"""The knobs of orders; those of every service are in `chassis.settings`."""

from __future__ import annotations

from functools import cache

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from chassis.settings import SECRETS, ServiceSettings


class SearchSettings(BaseSettings):
    """Read where rows are written, too: see `email_keys`."""

    model_config = SettingsConfigDict(
        env_prefix="ORDERS_", frozen=True, use_attribute_docstrings=True, extra="ignore",
        secrets_dir=SECRETS if SECRETS.is_dir() else None,
    )  # fmt: skip

    email_keys: str = Field("", repr=False)
    """Keys, separated by spaces, of the hashes by which orders are found by the buyer's e-mail address; never printed. The first
    one is written, all are searched. Empty: no address is searched."""


class Settings(SearchSettings, ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="ORDERS_", frozen=True, use_attribute_docstrings=True, extra="ignore")


@cache
def email_keys() -> tuple[bytes, ...]:
    """Returns the keys of the e-mail hashes, as this process was started with."""
    return tuple(key.encode() for key in SearchSettings().email_keys.split())
