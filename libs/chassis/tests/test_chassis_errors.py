"""Which errors of a batch are transient: the same batch is retried. All others are a fault of a message or of ours."""

from __future__ import annotations

import asyncpg
import pytest
from asyncpg.exceptions import InternalClientError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from chassis.batch.errors import Conflict, TooLarge, is_transient


def wrapped(error: BaseException) -> BaseException:
    """As SQLAlchemy raises it."""
    return DBAPIError("select 1", None, error)


TRANSIENT = [
    Conflict("written between"),
    ConnectionResetError(),
    TimeoutError(),
    PoolTimeout("every connection is busy"),
    asyncpg.DeadlockDetectedError("deadlock"),
    asyncpg.LockNotAvailableError("lock timeout"),
    asyncpg.IdleInTransactionSessionTimeoutError("stopped for too long"),
    asyncpg.InterfaceError("connection is closed"),
    InternalClientError("cannot switch to state 11; another operation (2) is in progress"),  # its connect was cancelled
]
LASTING = [
    asyncpg.UniqueViolationError("twice"),
    asyncpg.UndefinedColumnError("no such column"),
    TooLarge("2 MB"),
    ValueError("a fault of ours"),
]


@pytest.mark.parametrize("error", TRANSIENT, ids=lambda error: type(error).__name__)
def test_what_the_database_or_its_connection_did_is_transient_wrapped_or_not(error: BaseException) -> None:
    assert is_transient(error)
    assert is_transient(wrapped(error))


@pytest.mark.parametrize("error", LASTING, ids=lambda error: type(error).__name__)
def test_what_would_fail_again_is_not(error: BaseException) -> None:
    assert not is_transient(error)
    assert not is_transient(wrapped(error))
