"""The settings of webhooks, with their units and defaults."""

from __future__ import annotations

from pydantic import PositiveInt
from pydantic_settings import SettingsConfigDict

from chassis.settings import ServiceSettings


class Settings(ServiceSettings):
    model_config = SettingsConfigDict(
        env_prefix="WEBHOOKS_", frozen=True, use_attribute_docstrings=True, extra="ignore"
    )

    feed_days: PositiveInt = 30
    """How long the feed keeps events at least. Whole partitions are dropped, of 1,000,000 events each."""
    streams_max: PositiveInt = 10
    """Streams of the feed that an API key may have open at a process. A further one is answered 429 `too_many_streams`."""
