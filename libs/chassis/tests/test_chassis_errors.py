"""Which errors of a batch are transient: the same batch is retried. All others are a fault of a message or of ours: its stack is
stored with the message."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
import pytest
from asyncpg.exceptions import InternalClientError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from chassis.batch import parking
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


def test_the_stack_of_an_error_names_our_lines_alone_without_its_message() -> None:
    """Values may be personal, and the driver shows SQL."""
    toy: dict[str, Any] = {"__name__": "orders.domain.toy", "loads": json.loads}
    exec(compile("def decide(text):\n    return loads(text)", "toy.py", "exec"), toy)
    with pytest.raises(ValueError, match="Expecting") as raised:
        toy["decide"]("the name of a customer")
    stack = parking.frames(raised.value)
    assert stack == ["orders.domain.toy:2 decide"] and parking.raised_at(stack) == "orders.domain.toy:2"
    assert parking.frames(ValueError()) == [] and parking.raised_at([]) is None
