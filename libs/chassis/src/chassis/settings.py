"""The settings that every service reads from the environment. Names contain their units."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

SECRETS: Final = Path("/run/secrets")
"""Files named like settings in lower case, e.g. `orders_database_url`: where Docker and Kubernetes mount secrets."""


class ServiceSettings(BaseSettings):
    """Read from `<SERVICE>_<NAME>`, else from a file of that name in SECRETS; subclasses set `env_prefix` and add their own."""

    model_config = SettingsConfigDict(
        frozen=True,
        use_attribute_docstrings=True,
        extra="ignore",
        secrets_dir=SECRETS if SECRETS.is_dir() else None,
    )

    database_url: str
    """postgresql://user@host:port/database of this service alone."""
    kafka_bootstrap_servers: str = "127.0.0.1:9092"
    """host:port[,host:port...] of the brokers."""
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """How the brokers are reached; certificates are verified against the system's trust store."""
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    """With one of the SASL protocols."""
    kafka_sasl_username: str = ""
    """With one of the SASL protocols."""
    kafka_sasl_password: str = Field("", repr=False)
    """With one of the SASL protocols; never printed."""
    kafka_group_instance_id: str | None = None
    """Static membership: only if a supervisor ensures one process per id. Null: dynamic, the safe choice."""
    replication_factor: PositiveInt = 1
    """For topics created by `provision`; 3 in production, with min.insync.replicas 2."""
    topic_retention_hours: PositiveInt = 168
    """For topics created by `provision`. The inbox stores claims for this time plus a day."""

    idempotency_retention_days: PositiveInt = 30
    """How long the answer to a request with an Idempotency-Key is stored. After that the key is a new request."""

    http_host: str = "127.0.0.1"
    """The address of the HTTP server; 0.0.0.0 in a container."""
    http_port: NonNegativeInt = 0
    """0: any free port (printed at start)."""
    database_connections_max: int = Field(8, ge=4)
    """Per process, at least 4: a worker uses 4; an api uses up to all."""
    database_read_connections_max: PositiveInt = 4
    """Per process, beside DATABASE_CONNECTIONS_MAX: for lists, searches and single reads over HTTP, and for gauges."""
    database_read_seconds_max: PositiveFloat = 10
    """A read over HTTP that takes longer is cancelled and answered 503 `query_timed_out`."""

    batch_records_max: PositiveInt = 500
    """Records per poll and transaction. More: faster under load, slower to retry."""
    session_timeout_seconds: PositiveFloat = 10
    """A silent member loses its partitions after this."""
    idle_in_transaction_seconds: PositiveFloat = 5
    """A stopped process loses its locks after this; below the session timeout, or its successor waits for it."""
    transaction_seconds_max: PositiveFloat = 60
    """Maximum duration of a transaction; the relay's floor relies on it."""
    intake_outbox_age_seconds_max: PositiveFloat = 2
    """Intake topics pause while the oldest unpublished row is older."""
    intake_in_flight_max: PositiveInt = 500
    """Intake topics pause while this many orders wait for an answer of our own services. Answers awaited for more than 5 s
    count, per store, for at most a quarter of it."""

    relay_rows_max: PositiveInt = 2_000
    """Rows per flush."""
    relay_lease_seconds: PositiveFloat = 5
    """Another process takes over a relay that does not renew its lease for this time."""
    relay_poll_ms_max: PositiveInt = 100
    """Between two polls of an idle outbox."""

    task_concurrency: PositiveInt = 32
    """Concurrent external calls per process."""
    park_retries_max: NonNegativeInt = 3
    """Automatic retries of a parked order; then it waits for a person."""
    park_retry_seconds: PositiveFloat = 10
    """Before the first retry; doubles."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """What is written to standard output, one JSON object per line."""

    @property
    def inbox_horizon_seconds(self) -> int:
        """How long the inbox stores the claims of messages, counted from their `ce_time`."""
        return (self.topic_retention_hours + 24) * 3600

    @model_validator(mode="after")
    def a_stopped_process_frees_its_locks_before_its_partitions_move(self) -> Self:
        if self.idle_in_transaction_seconds >= self.session_timeout_seconds:
            raise ValueError("IDLE_IN_TRANSACTION_SECONDS must be below SESSION_TIMEOUT_SECONDS")
        return self

    @model_validator(mode="after")
    def no_transaction_outlives_the_floor_of_the_relay(self) -> Self:
        if self.transaction_seconds_max > 90:  # relay.FLOOR_SECONDS, less what a cancelled statement may still take
            raise ValueError("TRANSACTION_SECONDS_MAX is at most 90")
        return self
