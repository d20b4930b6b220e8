"""Errors of a batch: which are transient, which are a limit that was exceeded, which have a text for the sender."""

from __future__ import annotations

import asyncpg
from sqlalchemy.exc import TimeoutError as PoolTimeout


class Conflict(Exception):
    """Another transaction wrote the row between our read and our write. Transient: the batch is retried."""


class CatchingUp(TimeoutError):
    """A restored database is still reading its own events again, and the caller has waited READY_SECONDS_MAX."""


class OutcomeUnknown(ConnectionError):
    """The commit was sent and not acknowledged: the transaction may have been committed or rolled back."""


class QueryTimedOut(TimeoutError):
    """A read was cancelled because it exceeded its time limit."""


class TooSlow(TimeoutError):
    """The transaction was cancelled because it exceeded its time limit."""


class Explained(Exception):
    """Its text is for the sender of the message: it contains no row, no error of the driver and no other order."""


class TooLarge(Explained):
    """A decision returned a message that is larger than a topic accepts."""


class StoreDiffers(Explained):
    """The aggregate belongs to another store than the message."""


TRANSIENT_CLASSES = ("08", "40", "53", "55", "57", "58")
"""SQLSTATE classes: connection, rollback (deadlock), resources, object state (lock timeout), operator, system."""


def is_transient(error: BaseException) -> bool:
    """Whether the same batch may succeed when it is retried unchanged."""
    if isinstance(error, (Conflict, OSError, TimeoutError, PoolTimeout)):  # PoolTimeout: every connection is busy
        return True
    if isinstance(error, asyncpg.PostgresError):
        return (getattr(error, "sqlstate", None) or "")[:2] in TRANSIENT_CLASSES or (
            getattr(error, "sqlstate", None) == "25P03"  # idle_in_transaction_session_timeout: we were stopped
        )
    if isinstance(error, (asyncpg.InterfaceError, asyncpg.InternalClientError)):
        return True  # the connection is gone, was closed during a query, or its connect was cancelled
    original = getattr(error, "orig", None) or error.__cause__
    return original is not None and original is not error and is_transient(original)


# query_canceled (statement timeout), lock_not_available, out_of_memory, configuration_limit_exceeded (temporary files)
OVERTAXING = ("57014", "55P03", "53200", "53400")


def overtaxes(error: BaseException) -> bool:
    """Whether the transaction exceeded a limit of time or memory: by itself, or because the database is slow for all."""
    return isinstance(error, TooSlow) or getattr(error, "sqlstate", None) in OVERTAXING
